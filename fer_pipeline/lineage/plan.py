"""Say what forgetting an image would do, before anything is done."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fer_pipeline.dataset.blocklist import Blocklist, blocklist_of, read_blocklist
from fer_pipeline.dataset.experiment import Experiment, find_homes, is_file, of_home
from fer_pipeline.dataset.naming import GIVEN_NAME, photo_of
from fer_pipeline.dataset.rows import Row
from fer_pipeline.errors import FerError, InputError
from fer_pipeline.files import hash_file
from fer_pipeline.lineage.find import find_photos
from fer_pipeline.lineage.forget import choose_rows, read_pending
from fer_pipeline.lineage.leavings import Leavings, find_files, find_leavings, shadowed


@dataclass(frozen=True)
class Plan:
    """What is to go from one experiment: rows of its raw folder, and all that came of them."""

    experiment: Experiment
    rows: list[Row]
    forgotten: Blocklist  # these rows, and those of a forgetting that was killed
    leavings: Leavings

    def describe(self, *, copies: bool = False) -> Iterator[str]:
        """One line for each thing a person should know."""
        for row in self.rows:
            yield f"{self.experiment.raw}/{row.path}: {row.status.value} {row.reason}".rstrip() + f" ({_origin(row)})"
        if not self.rows:
            yield "forgotten already; what is left of it is removed"
        files = [*find_files(self.experiment, self.forgotten), *self.leavings.caches, *self.leavings.pages]
        yield from (f"remove {path}" for path in files)
        yield from self._runs()
        yield from self._copies(copies=copies)
        for home in dict.fromkeys(path.parent.parent for path in self.leavings.elsewhere):
            yield f"also in {home}: forget it there too, by --config or by its path in a folder of it"
        if any("file" in row.source for row in self.rows):
            yield "the originals that were imported are not touched"

    def _runs(self) -> Iterator[str]:
        """Which models have to be trained again."""
        runs: dict[str, set[str]] = {}
        for one in self.leavings.runs:
            runs.setdefault(one.run, set()).add(one.part)
        for run, parts in sorted(runs.items()):
            learned = parts - {"test"}
            remedy = "its model holds what it learned: train it again with --force" if learned else "measure it again"
            yield f"run {run} saw it ({', '.join(sorted(parts))}): {remedy}"

    def _copies(self, *, copies: bool) -> Iterator[str]:
        hidden = [row.path for row in shadowed(self.experiment, self.forgotten)]
        if hidden:
            yield f"it stood for copies of it, of which one takes its place: {', '.join(hidden)}"
        for path, bits in self.leavings.near.items():
            told = "; " + ("too far to be taken" if copies else "--copies takes it too")
            yield f"a near-copy stays: {path} ({bits} bits differ{told})"


def _origin(row: Row) -> str:
    source = row.source
    return str(source.get("url") or f"{source.get('name', 'unknown')}: {source.get('file', '?')}")


def prepare(what: str, experiment: Experiment | None, run: Path | None, *, copies: bool) -> list[Plan]:
    """A plan for each experiment that knows the image; InputError if none does and none ever did."""
    try:
        photos = find_photos(what, experiment, run)
    except InputError as error:
        return _already(what, experiment, error)
    found: dict[Path, tuple[Experiment, set[str]]] = {}
    for photo in photos:
        raw = photo.experiment.raw or Path()
        found.setdefault(raw, (photo.experiment, set()))[1].add(photo.name)
    plans = [_plan(one, names, copies=copies) for one, names in found.values()]
    if not any(plan.rows or read_pending(plan.experiment) for plan in plans) and len(plans) == 1:
        plan = plans[0]
        raw_folder = plan.experiment.raw
        if raw_folder is None or not found[raw_folder][1] & read_blocklist(raw_folder).photos:
            raise InputError(f"{what}: {raw_folder} has no such photo: `fer trace` shows what is known of it")
    return plans


def _plan(experiment: Experiment, photos: set[str], *, copies: bool) -> Plan:
    rows = choose_rows(experiment, photos)
    held = read_pending(experiment)
    forgotten = blocklist_of(rows) | (held.forgotten if held else Blocklist()) | _known(experiment, photos)
    leavings = find_leavings(experiment, forgotten)
    if copies and leavings.near:
        more = choose_rows(experiment, photos | {photo_of(path) for path in leavings.near})
        return Plan(experiment, more, forgotten | blocklist_of(more), _again(experiment, forgotten, more))
    return Plan(experiment, rows, forgotten, leavings)


def _again(experiment: Experiment, forgotten: Blocklist, rows: list[Row]) -> Leavings:
    return find_leavings(experiment, forgotten | blocklist_of(rows))


def _known(experiment: Experiment, photos: set[str]) -> Blocklist:
    """What was forgotten before under these names: its remains may still be there."""
    noted = read_blocklist(experiment.raw) if experiment.raw else Blocklist()
    names = frozenset(photos) & noted.photos
    given = [found["digits"] for name in names if (found := GIVEN_NAME.fullmatch(name.rpartition("/")[2]))]
    digests = {digest for digest in noted.contents if digest.startswith(tuple(given))}
    return Blocklist(frozenset(), frozenset(digests), names)


def _already(what: str, experiment: Experiment | None, error: FerError) -> list[Plan]:
    """A URL or name that only the notes still know: finish what a killed forgetting left."""
    searched = [experiment] if experiment else [of_home(home) for home in find_homes()]
    plans = []
    for one in searched:
        noted = read_blocklist(one.raw) if one.raw else Blocklist()
        pending = read_pending(one)
        if _is_known(what, noted | pending.forgotten if pending else noted):
            plans.append(_plan(one, set(), copies=False))
    if not plans:
        raise error
    return plans


def _is_known(what: str, noted: Blocklist) -> bool:
    """Whether this URL, name or file is one that was forgotten."""
    if noted.knows_origin(what):
        return True
    path = Path(what)
    return is_file(path) and hash_file(path) in noted.contents
