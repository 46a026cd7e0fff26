"""What somebody means by a path, a name or an address: the photos of an experiment that it can be."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from fer_pipeline.dataset.experiment import (
    Experiment,
    file_of,
    find_homes,
    find_stage_folder,
    is_file,
    name_of,
    of_home,
    rows_with,
    strip_part,
)
from fer_pipeline.dataset.naming import photo_of
from fer_pipeline.dataset.rows import Row, Status, iter_rows
from fer_pipeline.errors import InputError
from fer_pipeline.files import hash_file
from fer_pipeline.lineage.run_usage import find_data

FACES = ("crop", "split")  # the stages that know a photo's faces by number


@dataclass(frozen=True)
class Photo:
    """A photo of an experiment; `face` is the stem of one of its crops, if that one was meant.

    `plain` is a file that no stage made, of class folders that a run learned from.
    """

    experiment: Experiment
    name: str
    face: str | None = None
    plain: Path | None = None


def find_photos(what: str, experiment: Experiment | None = None, run: Path | None = None) -> list[Photo]:
    """The photos meant: by URL, by a path in a stage's folder or in a run's tables, by a file's bytes, or by name.

    Without `experiment` and `run` those below `data/` are searched. InputError says where was looked in vain.
    """
    data = find_data(run) if run else None
    if run is not None and data is None and experiment is None:
        raise InputError(f"{run} does not say which data it is of: name the experiment with --config")
    if "://" not in what:
        path = _below(data, what) if data is not None else Path(what)
        folder = find_stage_folder(path)
        if folder is not None:
            return [_in_stage(path, folder, experiment)]
        if run is not None and is_file(path):
            return [Photo(Experiment({}, (run.parent,)), photo_of(what), plain=path)]
    searched = [experiment] if experiment else [of_home(home) for home in _homes(data)]
    photos = [Photo(one, name) for one in searched for name in _search(what, one)]
    if not photos:
        places = ", ".join(str(one.raw or next(iter(one.folders.values()), "?")) for one in searched) or "data/"
        raise InputError(f"{what}: no photo of {places}: name a URL, a file, or the experiment with --config")
    return photos


def _homes(data: Path | None) -> list[Path]:
    return find_homes() if data is None else [data.parent]


def _below(data: Path, what: str) -> Path:
    """A path as the tables of a run have it; one that exists by itself is taken as it is."""
    return Path(what) if is_file(Path(what)) else data / what


def _in_stage(path: Path, folder: Path, experiment: Experiment | None) -> Photo:
    """A path in a stage's folder; its file may be gone, as with a photo that was dropped."""
    inside = path.relative_to(folder).as_posix()
    inside = strip_part(inside)
    moved = [str(row.attributes["moved_from"]) for row in rows_with(folder, inside) if _was_moved_to(row, inside)]
    inside = moved[0] if moved else inside
    own = experiment or of_home(folder.resolve().parent if folder == Path() else folder.parent)
    stage = next((stage for stage, one in own.folders.items() if one.resolve() == folder.resolve()), "")
    return Photo(own, photo_of(inside), str(Path(inside).with_suffix("")) if stage in FACES else None)


def _was_moved_to(row: Row, path: str) -> bool:
    return row.path == path and "moved_from" in row.attributes


def _search(what: str, experiment: Experiment) -> list[str]:
    """Names of photos in the earliest folder that knows them."""
    tests = [_by_url] if "://" in what else [_by_bytes, _by_name]
    for folder in experiment.folders.values():
        for test in tests:
            found = dict.fromkeys(photo_of(row.path) for row in test(what, folder))
            if found:
                return list(found)
    return []


def _by_url(what: str, folder: Path) -> Iterator[Row]:
    return (row for row in rows_with(folder, what) if row.source.get("url") == what)


def _by_bytes(what: str, folder: Path) -> Iterable[Row]:
    path = Path(what)
    if not is_file(path):
        return []
    digest = hash_file(path)
    return (row for row in rows_with(folder, digest) if row.sha256 == digest)


def _by_name(what: str, folder: Path) -> Iterator[Row]:
    """By whole parts of a path: the end of the name in its source, or the name the photo has in every folder."""
    name = Path(what).name
    if not name or what.endswith("/"):
        return
    inside = strip_part(what)
    for row in rows_with(folder, *{name, Path(name).stem.partition("-")[0]} - {""}):
        file = str(row.source.get("file", ""))
        if (file and (_ends_with(file, what) or _ends_with(what, file))) or _is_stem(row, inside):
            yield row


def _ends_with(path: str, tail: str) -> bool:
    """Whether a path ends with the whole parts of another."""
    return path == tail or path.endswith(f"/{tail}")


def find_below(what: str, experiment: Experiment) -> list[str]:
    """Names of the photos below a folder, which is named by whole parts of a path.

    That is one of a stage, and means the images in it, or one of what was imported, with or without the name of its
    source.
    """
    raw, folder = experiment.raw, find_stage_folder(Path(what) / "any")
    if raw is None or not what.strip("/."):
        return []
    if folder is not None:
        stage = next((name for name, one in experiment.folders.items() if one.resolve() == folder.resolve()), None)
        return _names_in(stage, folder, Path(what)) if stage else []  # else it is another experiment's
    parts = what.strip("/")
    rows = rows_with(raw, parts.rpartition("/")[2])
    return _names_below(parts, ((row, _paths_of(row)) for row in rows))


def _names_in(stage: str, folder: Path, place: Path) -> list[str]:
    """The photos whose files lie below a place in a stage's folder; of raw also those that have no file."""
    rows = (row for row in iter_rows(folder) if stage == "crawl" or row.status is Status.KEPT)
    found = (row for row in rows if file_of(stage, folder, row).is_relative_to(place))
    return list(dict.fromkeys(name_of(row) for row in found))


def _paths_of(row: Row) -> tuple[str, ...]:
    file = str(row.source.get("file", ""))
    return (row.path, file, f"{row.source.get('name')}/{file}")


def _names_below(parts: str, rows: Iterable[tuple[Row, tuple[str, ...]]]) -> list[str]:
    found = (row for row, paths in rows if parts in {".", ""} or any(f"/{parts}/" in f"/{path}" for path in paths))
    return list(dict.fromkeys(photo_of(row.path) for row in found))


def _is_stem(row: Row, what: str) -> bool:
    photo = photo_of(row.path)
    return photo == photo_of(what) or photo.rpartition("/")[2] == photo_of(what)
