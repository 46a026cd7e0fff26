"""What else holds an image: its files under every name, arrays of decoded crops, pages, and other experiments."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fer_pipeline.config.schema import FOLDERS
from fer_pipeline.dataset.blocklist import Blocklist
from fer_pipeline.dataset.experiment import PARTS, Experiment, file_of, find_homes, name_of, rows_with
from fer_pipeline.dataset.naming import photo_of
from fer_pipeline.dataset.provenance import settings_of
from fer_pipeline.dataset.rows import MANIFEST, Row, iter_rows
from fer_pipeline.lineage.run_usage import RunUsage, find_data, find_runs, run_usage

PICTURES = {".html", ".npy", ".part"}  # pages with pictures in them, arrays of crops


@dataclass(frozen=True)
class Leavings:
    """Where images are left besides the stages' folders, and who saw them."""

    caches: list[Path]
    pages: list[Path]
    runs: list[RunUsage]
    near: dict[str, int]  # path in `unique` of a near-copy that stays: differing bits
    elsewhere: list[Path]  # manifests of other experiments that know the image


def find_leavings(experiment: Experiment, forgotten: Blocklist) -> Leavings:
    """Look everywhere, changing nothing."""
    seen, caches, pages = [], [], []
    for run in find_runs(experiment.roots):
        found = [one for photo in sorted(forgotten.photos) for one in run_usage(run, photo, experiment)]
        seen += found
        if found or _is_of(run, experiment):
            folders = (run, run.with_name(f"{run.name}-audit"))  # `fer audit` shows pictures, and leaves no provenance
            paths = [path for folder in folders for path in sorted(folder.rglob("*"))]
            files = [path for path in paths if path.suffix in PICTURES and path.is_file()]
            caches += [path for path in files if path.parent.name == "cache"]
            pages += [path for path in files if path.suffix == ".html"]
    homes = {folder.parent.resolve(): folder.parent for folder in experiment.folders.values()}
    pages += [path for home in homes.values() for path in sorted(home.glob("*.html"))]
    return Leavings(caches, pages, seen, find_near(experiment, forgotten), find_elsewhere(experiment, forgotten))


def _is_of(run: Path, experiment: Experiment) -> bool:
    """Whether a run learned from this experiment or was measured on it: its pages and arrays may show any image."""
    data = find_data(run)
    return data is not None and data.resolve() in {folder.resolve() for folder in experiment.folders.values()}


def find_near(experiment: Experiment, forgotten: Blocklist) -> dict[str, int]:
    """The photos that look like a forgotten one: as near as those that `dedupe` ties together, and the bits between."""
    folder = experiment.folders.get("dedupe")
    if folder is None or not (folder / MANIFEST).is_file():
        return {}
    settings = settings_of(folder, "dedupe") or {}
    limit = max(int(settings.get("distance", 4)), int(settings.get("group_distance", 8)))
    rows = [row for row in iter_rows(folder) if "hash" in row.attributes]
    hashes = np.array([int(str(row.attributes["hash"]), 16) for row in rows], dtype=np.uint64)
    chosen = [index for index, row in enumerate(rows) if forgotten.knows_row(row)]
    near: dict[str, int] = {}
    for index in chosen:
        bits = np.bitwise_count(hashes ^ hashes[index])
        for other in np.flatnonzero(bits <= limit):
            if other not in chosen:
                path = rows[int(other)].path
                near[path] = min(int(bits[other]), near.get(path, limit))
    return dict(sorted(near.items(), key=lambda item: (item[1], item[0])))


def find_elsewhere(experiment: Experiment, forgotten: Blocklist) -> list[Path]:
    """The manifests of other experiments below the same data folder that know one of the images."""
    own = {folder.resolve() for folder in experiment.folders.values()}
    names = [photo.rpartition("/")[2].encode() for photo in forgotten.photos]
    names += [digest.encode() for digest in forgotten.contents]
    roots = dict.fromkeys(folder.parent.parent for folder in experiment.folders.values())
    manifests = [home / name / MANIFEST for root in roots for home in find_homes(root) for _, name in FOLDERS.values()]
    return [path for path in manifests if path.is_file() and path.parent.resolve() not in own and _holds(path, names)]


def _holds(manifest: Path, names: Iterable[bytes]) -> bool:
    text = manifest.read_bytes()
    return any(name in text for name in names)


def find_files(experiment: Experiment, forgotten: Blocklist) -> Iterator[Path]:
    """Every file of the images in the stages' folders, whatever a manifest says, halves of files too."""
    for folder in experiment.folders.values():
        for root in (folder, *(folder / part for part in PARTS)):
            for label in sorted({photo.rpartition("/")[0] for photo in forgotten.photos}):
                if (root / label).is_dir():
                    yield from _named(root / label, label, forgotten)
    yield from _moved(experiment, forgotten)


def _named(folder: Path, label: str, forgotten: Blocklist) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.is_file() and photo_of(f"{label}/{path.name.lstrip('.')}") in forgotten.photos:
            yield path


def _moved(experiment: Experiment, forgotten: Blocklist) -> Iterator[Path]:
    """Files that people moved into the folder of another class of the split."""
    split = experiment.folders.get("split")
    rows = rows_with(split, "moved_from") if split else iter(())
    files = [file_of("split", split, row) for row in rows if split and name_of(row) in forgotten.photos]
    yield from (path for path in files if path.is_file())


def shadowed(experiment: Experiment, forgotten: Blocklist) -> list[Row]:
    """The rows that `dedupe` dropped as copies of a forgotten image."""
    folder = experiment.folders.get("dedupe")
    if folder is None or not (folder / MANIFEST).is_file():
        return []
    return [row for row in iter_rows(folder) if photo_of(str(row.attributes.get("copy_of", ""))) in forgotten.photos]
