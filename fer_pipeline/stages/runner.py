"""What all stages share: the loop, what is reused, resume, and the one broad `except`.

Promises, each with a test: every item ends in a row; a killed run goes on where it stopped; a finished stage is left
alone; after any change of input or settings the folder is, byte for byte, that of a clean start, and only what changed
is processed; only files that the stage's own records name are replaced or removed; a broken set-up is not taken for a
broken image.

Beside images and manifest a folder holds `outcomes.jsonl`: what the stage found out about each image by itself, before
it looked at all of them together, with a key that changes with all it depends on. While a folder is being made again
its manifest is gone, and `.files.jsonl` names the files it had.
"""

import hashlib
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from heapq import merge
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from fer_pipeline.config.schema import StageConfig
from fer_pipeline.console import detail, progress
from fer_pipeline.dataset.journal import LOCK, Entry, Journal, cannot_write
from fer_pipeline.dataset.provenance import (
    format_difference,
    list_changes,
    locked_output,
    make_provenance,
    read_provenance,
    write_provenance,
)
from fer_pipeline.dataset.rows import MANIFEST, Row, Status, iter_rows
from fer_pipeline.errors import FerError, InputError, SetupError, reason_of
from fer_pipeline.stages.records import OUTCOMES, Records
from fer_pipeline.stages.stage import C, Drop, Keep, Stage
from fer_pipeline.vision.image_io import BadImage, Image, link_image, write_image
from fer_pipeline.workers.ray_nodes import join_cluster, share
from fer_pipeline.workers.ray_shards import work_on_cluster
from fer_pipeline.workers.stage_workers import WorkerCrash, Workers, work


@dataclass(frozen=True)
class Summary:
    """What a stage did: how many images went on and why the others did not.

    `reused`, `new` and `gone` count images of the input beside those of the folder's last state (None: it had none).
    `changes` names the settings that changed since.
    """

    stage: str
    folder: Path
    kept: int
    reasons: dict[str, int]
    seconds: float = 0.0
    fresh: bool = False  # False: it was finished before, and nothing was done
    second_look: int = 0  # kept images whose face a second detector found
    counts: tuple[int, int, int] | None = None
    changes: tuple[str, ...] = ()

    @property
    def total(self) -> int:
        return self.kept + sum(self.reasons.values())


def run_stage(stage: Stage[C], config: C, *, workers: Workers = 1, force: bool = False) -> Summary:
    """Bring the output folder up to date with input and settings; what is known of unchanged images is reused.

    `force` processes every image again. An interrupted run goes on where it stopped.
    """
    started = time.monotonic()
    provenance = make_provenance(stage.name, config, per_image=stage.per_image)
    detail(f"{stage.name}: {config.input} -> {config.output}, workers: {workers}, {provenance['settings']}")
    with locked_output(config.output, stage.name, journal=OUTCOMES) as journal:
        made = read_provenance(config.output)
        if made == provenance and (config.output / MANIFEST).is_file() and not force:
            records = Records(config.output, stage, journal)
            records.forget()
            if records.are_complete():
                return summarise(stage.name, config.output)
        _check_ready(stage, config)
        if workers == "ray" and stage.process_image is not None:
            join_cluster(config)
        changes = tuple(list_changes(made, provenance)) if made is not None else ()
        counts = _make(stage, config, journal, provenance, workers=workers, force=force)
    return summarise(stage.name, config.output, time.monotonic() - started, counts=counts, changes=changes, fresh=True)


def find_change(stage: Stage[C], config: C) -> str:
    """Say what `run_stage` would find changed, to go after "was"; empty if there is nothing to do."""
    made = read_provenance(config.output)
    if made is None or not (config.output / MANIFEST).is_file():
        return "not finished"
    wanted = make_provenance(stage.name, config, per_image=stage.per_image)
    return format_difference(made, wanted) or ("made from an input that was made otherwise" if made != wanted else "")


def _check_ready(stage: Stage[C], config: C) -> None:
    """Whether there is something to do and this machine can do it."""
    if next(iter(stage.gather(config.input)), None) is None:
        raise InputError(f"{config.input} has no image left for `fer {stage.name}`: `fer status` shows where they went")
    stage.get_ready(config)


def _make(
    stage: Stage[C], config: C, journal: Journal, provenance: dict[str, Any], *, workers: Workers, force: bool
) -> tuple[int, int, int] | None:
    """Process, look at all rows together, put files in place; returns reused, new and gone."""
    records = Records(config.output, stage, journal)
    before = records.open(again=force)
    write_provenance(config.output, provenance)
    with ExitStack() as stack:
        place = Path()
        if stage.process_image is not None:
            outcomes = _process_all(stage, config, journal, str(provenance["images"]), workers)
            rows = Stored(outcomes.rows)
            entries, reused = outcomes.entries, outcomes.reused
        else:
            place = Path(stack.enter_context(TemporaryDirectory(prefix="fer-")))
            joined = sorted(stage.join(config, place), key=_by_path) if stage.join else []
            rows = Stored(lambda: merge(stage.gather(config.input), joined, key=_by_path))
            entries, reused = [], None
        final = rows if stage.finalize_rows is None else _finalize(stage, config, rows)
        records.close(
            sorted(final, key=_by_path) if stage.renames(config) else final, entries, _linker(stage, config, place)
        )
    return _count(stage, config, before, reused)


def _count(stage: Stage[C], config: C, before: set[str] | None, reused: int | None) -> tuple[int, int, int] | None:
    if before is None:
        return None
    items = {row.path for row in stage.gather(config.input)}
    known = len(items & before) if reused is None else reused
    return known, len(items) - known, len(before - items)


def _by_path(row: Row) -> str:
    return row.path


class Stored:
    """Rows that lie on disk, to be gone over again and again."""

    def __init__(self, read: Callable[[], Iterator[Row]]) -> None:
        self._read = read

    def __iter__(self) -> Iterator[Row]:
        return self._read()


def _finalize(stage: Stage[C], config: C, rows: Iterable[Row]) -> Iterator[Row]:
    """The rows as they are after a look at all of them."""
    assert stage.finalize_rows is not None
    kept = Stored(lambda: (row for row in rows if row.status is Status.KEPT))
    finalized = iter(stage.finalize_rows(kept, config))
    for row in rows:
        after = next(finalized, None) if row.status is Status.KEPT else row
        assert after is not None, "finalize_rows lost rows"
        yield after


def _linker(stage: Stage[C], config: C, place: Path) -> Callable[[Row], None] | None:
    """What puts a kept row's file in place once all rows are known; None if processing has done that."""
    if stage.finalize_rows is None:
        return None
    return lambda row: link_image(stage.origin(row, config, place), config.output / stage.locate(row))


# Each image by itself.


@dataclass(frozen=True)
class Outcomes:
    """What became of every image by itself, some of it as it was known before."""

    rows: Callable[[], Iterator[Row]]
    entries: list[Entry]  # of the journal, in the order of the input
    reused: int


def _process_all(stage: Stage[C], config: C, journal: Journal, images: str, workers: Workers) -> Outcomes:
    known = {entry.item: entry for entry in journal.entries()}
    folder = config.output

    def is_done(item: str, key: str) -> bool:
        entry = known.get(item)
        return (
            entry is not None
            and entry.key == key
            and all(_is_valid(stage, folder, outcome) for outcome in journal.rows_at(entry))
        )

    keys = {row.path: _key(images, row) for row in stage.gather(config.input)}
    done = {item for item, key in keys.items() if is_done(item, key)}
    total, left = len(keys), len(keys) - len(done)
    todo = (row for row in (stage.gather(config.input) if left else ()) if row.path not in done)
    sent = share(config) if workers == "ray" else config
    task = partial(process_one, stage, sent)
    if workers == "ray":
        results = work_on_cluster(task, todo, (config.input / MANIFEST, folder / LOCK))
    else:
        results = work(task, todo, workers, left)
    with progress(stage.name, total) as advance:
        advance(len(done))
        for row, result in results:
            outcome = [_failed(row, "crash")] if isinstance(result, WorkerCrash) else result
            journal.append(row.path, outcome, keys[row.path])
            advance(1)
    known = {entry.item: entry for entry in journal.entries()}
    entries = [known[item] for item in keys]

    def rows() -> Iterator[Row]:
        for row, entry in zip(stage.gather(config.input), entries, strict=True):
            yield from (apply_outcome(row, outcome) for outcome in journal.rows_at(entry))

    return Outcomes(rows, entries, len(done))


def _key(images: str, row: Row) -> str:
    """Changes with all that the outcome of an image depends on: settings, and what is known of the image itself."""
    seen = row.model_dump_json(include={"path", "sha256", "box", "landmarks", "attributes"}, exclude_defaults=True)
    return hashlib.sha256(f"{images} {seen}".encode()).hexdigest()[:16]


def _is_valid(stage: Stage[C], folder: Path, outcome: Row) -> bool:
    """Whether an outcome can be used again: what failed is tried again, and a file must be there."""
    if outcome.status is not Status.KEPT:
        return outcome.status is Status.DROPPED
    return stage.finalize_rows is not None or (folder / outcome.path).is_file()


def process_one(stage: Stage[C], config: C, row: Row) -> list[Row]:
    """Open one image, process it, put the outcome in place; runs in a worker.

    Returns what the image added to its row, a row for each face; see `apply_outcome`.
    """
    assert stage.process_image is not None
    try:
        verdict = stage.process_image(_open(stage, config, config.input / row.path), row, config)
    except BadImage as error:
        return [Row(path=row.path).dropped(error.reason)]
    except FerError:  # a lack of this machine, not of the image: stop the stage
        raise
    except Exception as error:  # noqa: BLE001  the one broad `except`: whatever an image does, it costs that image only
        return [_failed(row, reason_of(error), error)]
    if isinstance(verdict, Drop):
        return [Row(path=row.path).dropped(verdict.reason, **verdict.attributes)]
    try:
        return list(_place(stage, config, row, verdict))
    except OSError as error:
        raise cannot_write(config.output, error) from None


def apply_outcome(row: Row, outcome: Row) -> Row:
    """Add what processing found out to what was known of an image."""
    return row.replace(
        path=outcome.path,
        status=outcome.status,
        reason=outcome.reason,
        box=outcome.box or row.box,
        landmarks=outcome.landmarks or row.landmarks,
        attributes={**row.attributes, **outcome.attributes},
    )


def _open(stage: Stage[C], config: C, path: Path) -> Image:
    """The image; SetupError where its disk or share does not answer, which is no fault of the image."""
    try:
        return stage.open(path, config)
    except OSError as error:
        if isinstance(error, FileNotFoundError) and _are_seen(config.input / MANIFEST, path.parent):
            raise  # it alone has gone
        remedy = "mount its folder or fix its disk, or delete the file, which costs that image only"
        raise SetupError(f"{path}: cannot be read ({error.strerror or error}): {remedy}") from None


def _are_seen(*paths: Path) -> bool:
    try:
        return all(path.exists() for path in paths)
    except OSError:  # a share that is stale, say
        return False


def _failed(row: Row, reason: str, error: Exception | None = None) -> Row:
    told = {"error": f"{type(error).__name__}: {error}"[:200]} if reason == "internal_error" else {}
    return Row(path=row.path, status=Status.FAILED, reason=reason, attributes=told)


def _place(stage: Stage[C], config: StageConfig, row: Row, verdict: Keep | Sequence[Keep | Drop]) -> Iterator[Row]:
    """Write or link what is kept; a second face of a photo is named `-2`, also where it is dropped."""
    found = [verdict] if isinstance(verdict, Keep) else verdict
    for number, keep in enumerate(found, start=1):
        if isinstance(keep, Drop):
            path = _name(row.path, Path(row.path).suffix, number)
            yield Row(path=path).dropped(keep.reason, **keep.attributes)
            continue
        path = row.path if keep.image is None else _name(row.path, stage.suffix, number)
        if keep.image is not None:
            write_image(config.output / path, keep.image, getattr(config, "quality", 95))
        elif stage.finalize_rows is None:
            link_image(config.input / path, config.output / path)
        yield Row(path=path, box=keep.box, landmarks=keep.landmarks, attributes=keep.attributes)


def _name(path: str, suffix: str, number: int) -> str:
    stem = Path(path).with_suffix("").as_posix()
    return f"{stem}{suffix}" if number == 1 else f"{stem}-{number}{suffix}"


def summarise(stage: str, folder: Path, seconds: float = 0.0, **told: Any) -> Summary:
    """Count what a finished stage kept and why it did not keep the rest."""
    counts: Counter[str] = Counter()
    second = 0
    for row in iter_rows(folder):
        kept = row.status is Status.KEPT
        counts["" if kept else row.reason] += 1
        second += kept and stage == "filter" and "second_look" in row.attributes
    total = counts.pop("", 0)
    return Summary(stage, folder, total, dict(counts.most_common()), seconds, second_look=second, **told)
