"""Take images out of an experiment for good: out of raw, onto the blocklist, then the stages run again.

The blocklist is written first and decides what goes, the rows of the raw folder go last: killed at any point, the same
command, any other `fer forget`, or the next `fer run` finishes what was begun.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fer_pipeline.config.schema import FOLDERS
from fer_pipeline.dataset.blocklist import BLOCKLIST, Blocklist, blocklist_of, extend_blocklist, read_blocklist
from fer_pipeline.dataset.experiment import (
    Experiment,
    file_of,
    find_homes,
    is_file,
    name_of,
    of_home,
    strip_part,
)
from fer_pipeline.dataset.journal import JOURNAL
from fer_pipeline.dataset.naming import photo_of
from fer_pipeline.dataset.provenance import CACHE, locked_raw, settings_of
from fer_pipeline.dataset.rows import MANIFEST, Row, Status, iter_rows, write_rows
from fer_pipeline.errors import FerError, InputError
from fer_pipeline.files import hash_file, is_own_file, remove_files
from fer_pipeline.lineage.find import find_below, find_photos
from fer_pipeline.lineage.run_usage import RunUsage, find_data, find_runs, run_usage
from fer_pipeline.sources.crawl.host_stats import HOST_STATS, write_host_stats
from fer_pipeline.stages.records import recorded_files
from fer_pipeline.stages.refresh import STAGES, list_current, refresh

SHOWN = 20  # files to be removed that are named one by one
SHEET = "sheet.png"  # what a crawl draws beside the folders
ARRAY = re.compile(r"(measures-)?crops-\d+-[0-9a-f]{16}(-[0-9a-f]{8})?\.npy")  # how a run's cache names decoded crops


@dataclass(frozen=True)
class Plan:
    """What is to go from one experiment: rows of its raw folder, and all that came of them."""

    experiment: Experiment
    rows: list[Row]
    blocklist: Blocklist  # entries for these rows, and for what was forgotten before under the same names
    usage: list[RunUsage]
    pages: list[Path]  # pages with pictures in them, and arrays of decoded crops
    near: dict[str, int]  # path in `unique` of a near-copy that stays: differing bits
    elsewhere: list[Path]  # data folders of other experiments that know the image

    @property
    def raw(self) -> Path:
        return _raw(self.experiment)

    @property
    def images(self) -> int:
        """How many images go: rows that bring the same bytes again count once."""
        return len({row.sha256 or row.path for row in self.rows})

    def describe(self, *, copies: bool = False) -> Iterator[str]:
        """Say what a person should know before it is done, a line each."""
        for row in self.rows:
            yield f"{self.raw}/{row.path}: {row.status.value} {row.reason}".rstrip() + f" ({_format_origin(row)})"
        if not self.rows:
            yield "forgotten already; what is left of it is removed"
        files = [*self.files(), *self.pages]
        shown = files if len(files) <= SHOWN else [f"{len(files):,} files in {self.raw.parent} and its runs"]
        yield from (f"remove {what}" for what in shown)
        yield from self._describe_runs()
        hidden = [row.path for row in _find_shadowed(self.experiment, self.blocklist)]
        if hidden:
            yield f"it stood for copies of it, of which one takes its place: {', '.join(hidden)}"
        for path, bits in self.near.items():
            hint = "too far to be taken" if copies else "--copies takes it too"
            yield f"a near-copy stays: {path} ({bits} bits differ; {hint})"
        for home in self.elsewhere:
            yield f"also in {home}: forget it there too, by --config or by its path in a folder of it"
        if any("file" in row.source for row in self.rows):
            yield "the originals that were imported are not touched"

    def files(self) -> list[Path]:
        """List the files of these images in the stages' folders, by the records of those."""
        folders = self.experiment.folders.items()
        return [folder / name for stage, folder in folders for name in _find_files(stage, folder, self.blocklist)]

    def _describe_runs(self) -> Iterator[str]:
        runs: dict[str, set[str]] = {}
        for one in self.usage:
            runs.setdefault(one.run, set()).add(one.part)
        for run, parts in sorted(runs.items()):
            remedy = (
                "its model holds what it learned: train again, and delete it"
                if parts - {"test"}
                else "measure it again"
            )
            yield f"run {run} saw it ({', '.join(sorted(parts))}): {remedy}"


def _format_origin(row: Row) -> str:
    source = row.source
    return str(source.get("url") or f"{source.get('name', 'unknown')}: {source.get('file', '?')}")


def plan_forget(
    what: str, experiment: Experiment | None = None, run: Path | None = None, *, copies: bool
) -> list[Plan]:
    """Plan to forget what a person names: a URL, a file, a name, whole parts of a path.

    Returns a plan for each experiment that knows it; InputError if none does and none ever did.
    """
    try:
        photos = [(photo.experiment, photo.name) for photo in find_photos(what, experiment, run)]
        error = None
    except InputError as problem:
        photos, error = [], problem
    if not any(_choose_rows(one, {name}) for one, name in photos):
        below = [(one, name) for one in _searched(experiment) for name in find_below(what, one)]
        photos = below or photos
    if error is not None and not photos:
        return _plan_again(what, experiment, error)
    found: dict[Path, tuple[Experiment, set[str]]] = {}
    for one, name in photos:
        found.setdefault(_raw(one), (one, set()))[1].add(name)
    plans = [_plan(one, names, copies=copies) for one, names in found.values()]
    if len(plans) == 1 and not plans[0].rows and not plans[0].blocklist.photos:
        raise InputError(f"{what}: {plans[0].raw} has no such photo: `fer trace` shows what is known of it")
    return plans


def _searched(experiment: Experiment | None) -> list[Experiment]:
    return [experiment] if experiment else [of_home(home) for home in find_homes()]


def _raw(experiment: Experiment) -> Path:
    raw = experiment.raw
    if raw is None or not (raw / MANIFEST).is_file():
        raise InputError(f"{raw or 'the experiment'} holds no finished raw folder: name the experiment with --config")
    if (raw / JOURNAL).is_file():
        raise InputError(f"{raw} holds an unfinished crawl or import: let the same command finish first")
    return raw


def _plan(experiment: Experiment, photos: set[str], *, copies: bool) -> Plan:
    rows = _choose_rows(experiment, photos)
    noted = read_blocklist(_raw(experiment))
    before = Blocklist(contents=frozenset(), photos=frozenset(photos) & noted.photos)
    blocklist = blocklist_of(rows) | before
    near = _find_near(experiment, blocklist)
    if copies and near:
        rows = _choose_rows(experiment, photos | {photo_of(path) for path in near})
        blocklist = blocklist_of(rows) | before
        near = _find_near(experiment, blocklist)
    usage, pages = _find_runs(experiment, blocklist)
    return Plan(experiment, rows, blocklist, usage, pages, near, _find_elsewhere(experiment, blocklist))


def _choose_rows(experiment: Experiment, photos: set[str]) -> list[Row]:
    """The rows of the raw folder that are these photos: also those that bring the same bytes again."""
    rows = list(iter_rows(_raw(experiment)))
    digests = {row.sha256 for row in rows if row.sha256 and photo_of(row.path) in photos}
    return [row for row in rows if photo_of(row.path) in photos or row.sha256 in digests]


def _plan_again(what: str, experiment: Experiment | None, error: FerError) -> list[Plan]:
    """A URL or name that only the blocklist still knows: finish what a killed `fer forget` left."""
    known = [one for one in _searched(experiment) if one.raw and _is_known(what, read_blocklist(one.raw))]
    if not known:
        raise error
    return [_plan(one, set(), copies=False) for one in known]


def _is_known(what: str, noted: Blocklist) -> bool:
    path = Path(what)
    return noted.knows_origin(what) or (is_file(path) and hash_file(path) in noted.contents)


def forget(plan: Plan) -> list[str]:
    """Do what a plan says; returns what could not be brought up to date without the images, a line each."""
    experiment, raw = plan.experiment, plan.raw
    current = list_current(experiment)
    with locked_raw(raw):
        extend_blocklist(raw, plan.blocklist)
        _remove(experiment, raw, read_blocklist(raw), plan.pages)
    try:
        for _ in refresh(experiment, current):
            pass
    except FerError as error:
        return [str(error)]
    stale = [stage for stage in experiment.folders if stage not in {"crawl", *current}]
    return [f"{experiment.folders[stale[0]]} was not up to date: `fer run` brings it up to date"] if stale else []


def list_unfinished(experiment: Experiment) -> list[Row]:
    """List the raw rows that a killed `fer forget` has left, though they are on the blocklist."""
    raw = experiment.raw
    if raw is None or not (raw / MANIFEST).is_file() or not (raw / BLOCKLIST).is_file():
        return []
    blocklist = read_blocklist(raw)
    return [row for row in iter_rows(raw) if blocklist.knows_row(row)]


def finish_forgetting(experiment: Experiment) -> int:
    """Do to raw folder and pages what a killed `fer forget` has left undone; returns how many rows that were.

    The stages' folders follow as they are brought up to date.
    """
    rows = list_unfinished(experiment)
    if rows:
        raw = _raw(experiment)
        with locked_raw(raw):
            _, pages = _find_runs(experiment, blocklist_of(rows))
            _remove(experiment, raw, read_blocklist(raw), pages)
    return len(rows)


def _remove(experiment: Experiment, raw: Path, blocklist: Blocklist, pages: Iterable[Path]) -> None:
    for stage, folder in experiment.folders.items():
        remove_files(folder, _find_files(stage, folder, blocklist))
    for path in pages:
        path.unlink(missing_ok=True)
    write_rows(raw, [row for row in iter_rows(raw) if not blocklist.knows_row(row)])
    if (raw / HOST_STATS).is_file():
        write_host_stats(raw, iter_rows(raw))


def _find_files(stage: str, folder: Path, blocklist: Blocklist) -> list[str]:
    """Names below a folder of the files of forgotten images, as its records have them."""
    names: set[str] = set()
    if (folder / MANIFEST).is_file():
        rows = [row for row in iter_rows(folder) if row.status is Status.KEPT]
        gone = [row for row in rows if blocklist.knows_row(row) or name_of(row) in blocklist.photos]
        names = {file_of(stage, folder, row).relative_to(folder).as_posix() for row in gone}
    others = recorded_files(folder, STAGES[stage]) if stage in STAGES else ()
    names |= {name for name in others if photo_of(strip_part(name)) in blocklist.photos}
    return sorted(name for name in names if (folder / name).is_file())


def _find_runs(experiment: Experiment, blocklist: Blocklist) -> tuple[list[RunUsage], list[Path]]:
    """Which runs saw the images, and the pages and arrays of fer's own that may show them."""
    usage, pages = [], []
    folders = {folder.resolve() for folder in experiment.folders.values()}
    for run in find_runs(experiment.roots):
        found = [one for photo in sorted(blocklist.photos) for one in run_usage(run, photo, experiment)]
        usage += found
        data = find_data(run)
        if found or (data is not None and data.resolve() in folders):
            for folder in (run, run.with_name(f"{run.name}-audit")):
                pages += [path for path in sorted(folder.rglob("*.html")) if is_own_file(path)]
                pages += [path for path in sorted(folder.rglob(f"{CACHE}/*.npy")) if ARRAY.fullmatch(path.name)]
    homes = dict.fromkeys(folder.parent for folder in experiment.folders.values())
    beside = (path for home in homes for path in sorted([*home.glob("*.html"), home / SHEET]))
    pages += [path for path in beside if is_own_file(path)]
    return usage, pages


def _find_near(experiment: Experiment, blocklist: Blocklist) -> dict[str, int]:
    """The photos that look like a forgotten one: as near as those that `dedupe` ties together, and the bits between."""
    folder = experiment.folders.get("dedupe")
    if folder is None or not (folder / MANIFEST).is_file():
        return {}
    settings = settings_of(folder, "dedupe") or {}
    limit = max(int(settings.get("distance", 4)), int(settings.get("group_distance", 8)))
    rows = [row for row in iter_rows(folder) if "hash" in row.attributes]
    hashes = np.array([int(str(row.attributes["hash"]), 16) for row in rows], dtype=np.uint64)
    chosen = [index for index, row in enumerate(rows) if blocklist.knows_row(row)]
    near: dict[str, int] = {}
    for index in chosen:
        bits = np.bitwise_count(hashes ^ hashes[index])
        for other in np.flatnonzero(bits <= limit):
            if other not in chosen:
                path = rows[int(other)].path
                near[path] = min(int(bits[other]), near.get(path, limit))
    return dict(sorted(near.items(), key=lambda item: (item[1], item[0])))


def _find_elsewhere(experiment: Experiment, blocklist: Blocklist) -> list[Path]:
    """The data folders of other experiments beside this one that know one of the images."""
    own = {folder.resolve() for folder in experiment.folders.values()}
    names = [photo.rpartition("/")[2].encode() for photo in blocklist.photos]
    names += [digest.encode() for digest in blocklist.contents]
    roots = dict.fromkeys(folder.parent.parent for folder in experiment.folders.values())
    manifests = [home / name / MANIFEST for root in roots for home in find_homes(root) for _, name in FOLDERS.values()]
    others = [path for path in manifests if path.is_file() and path.parent.resolve() not in own]
    return list(dict.fromkeys(path.parent.parent for path in others if _holds(path, names)))


def _holds(manifest: Path, names: Iterable[bytes]) -> bool:
    text = manifest.read_bytes()
    return any(name in text for name in names)


def _find_shadowed(experiment: Experiment, blocklist: Blocklist) -> list[Row]:
    """The rows that `dedupe` dropped as copies of a forgotten image."""
    folder = experiment.folders.get("dedupe")
    if folder is None or not (folder / MANIFEST).is_file():
        return []
    return [row for row in iter_rows(folder) if photo_of(str(row.attributes.get("copy_of", ""))) in blocklist.photos]
