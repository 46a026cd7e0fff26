"""What all stages share: the loop, the journal, resume, and the one broad `except`.

Promises, each with a test: every item ends in a row; a killed run goes on where it stopped and ends with the same
bytes; a finished stage is a no-op; other settings are refused; a broken set-up is not taken for a broken image.
"""

import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from heapq import merge
from pathlib import Path

from fer_pipeline.console import detail, progress
from fer_pipeline.dataset.journal import LOCK, Journal, cannot_write
from fer_pipeline.dataset.provenance import locked_output, make_provenance
from fer_pipeline.dataset.rows import MANIFEST, Row, Status, iter_rows
from fer_pipeline.errors import FerError, InputError, SetupError
from fer_pipeline.stages.stage import JOINED, C, Drop, Keep, Stage
from fer_pipeline.vision.image_io import BadImage, Image, link_image, write_image
from fer_pipeline.workers.ray_nodes import join_cluster, share, sweep
from fer_pipeline.workers.stage_workers import WorkerCrash, Workers, work


@dataclass(frozen=True)
class Summary:
    """What a stage did: how many images went on and why the others did not."""

    stage: str
    folder: Path
    kept: int
    reasons: dict[str, int]
    seconds: float
    fresh: bool  # False: it was finished before, and nothing was done

    @property
    def total(self) -> int:
        return self.kept + sum(self.reasons.values())


def run_stage(stage: Stage[C], config: C, *, workers: Workers = 1, force: bool = False) -> Summary:
    """Bring the output folder up to date; an interrupted run goes on where it stopped."""
    started = time.monotonic()
    provenance = make_provenance(stage.name, config)
    detail(f"{stage.name}: {config.input} -> {config.output}, workers: {workers}, {provenance['settings']}")
    if force or not (config.output / MANIFEST).is_file():  # before anything is removed or noted down
        _check_ready(stage, config)
        if workers == "ray" and stage.process_image is not None:
            join_cluster(config)
    with locked_output(config.output, provenance, force=force) as journal:
        fresh = not (config.output / MANIFEST).is_file()
        if fresh:
            _make(stage, config, journal, workers)
        journal.drop()
    return summarise(stage.name, config.output, time.monotonic() - started, fresh=fresh)


def _check_ready(stage: Stage[C], config: C) -> None:
    """Whether there is something to do and this machine can do it."""
    if next(iter(stage.gather(config.input)), None) is None:
        raise InputError(f"{config.input} has no image left for `fer {stage.name}`: `fer status` shows where they went")
    stage.get_ready(config)


def _make(stage: Stage[C], config: C, journal: Journal, workers: Workers) -> None:
    if stage.process_image is not None:
        _process_all(stage, config, journal, workers)
        sweep(config.output)
        entries = sorted(journal.entries())
        rows = Stored(lambda: journal.rows_of(entries))
    else:
        joined = sorted(stage.join(config), key=_by_path)
        rows = Stored(lambda: merge(stage.gather(config.input), joined, key=_by_path))
    if stage.finalize_rows is None:
        journal.finish_sorted(rows)
        return
    settled = _finalize(stage, config, rows)
    if stage.renames(config):
        journal.finish(list(settled))
    else:
        journal.finish_sorted(settled)
    shutil.rmtree(config.output / JOINED, ignore_errors=True)


def _by_path(row: Row) -> str:
    return row.path


class Stored:
    """Rows that lie on disk, to be gone over again and again."""

    def __init__(self, read: Callable[[], Iterator[Row]]) -> None:
        self._read = read

    def __iter__(self) -> Iterator[Row]:
        return self._read()


def _finalize(stage: Stage[C], config: C, rows: Iterable[Row]) -> Iterator[Row]:
    """The rows as they are after a look at all of them, each kept one's file in its place."""
    assert stage.finalize_rows is not None
    kept = Stored(lambda: (row for row in rows if row.status is Status.KEPT))
    return _place_finalized(stage, config, rows, iter(stage.finalize_rows(kept, config)))


def _place_finalized(stage: Stage[C], config: C, rows: Iterable[Row], settled: Iterator[Row]) -> Iterator[Row]:
    for row in rows:
        after = next(settled, None) if row.status is Status.KEPT else row
        assert after is not None, "settle lost rows"
        if after.status is Status.KEPT:
            link_image(stage.origin(after, config), config.output / stage.locate(after))
        yield after


def _process_all(stage: Stage[C], config: C, journal: Journal, workers: Workers) -> None:
    done = {entry.item for entry in journal.entries()}
    total = sum(1 for _ in stage.gather(config.input))
    todo = (row for row in stage.gather(config.input) if row.path not in done)
    if workers == "ray":
        config = share(config)
    shared = config.input / MANIFEST, config.output / LOCK
    with progress(stage.name, total) as advance:
        advance(len(done))
        for row, result in work(partial(process_one, stage, config), todo, workers, shared):
            rows = [_failed(row, "WorkerCrash")] if isinstance(result, WorkerCrash) else result
            journal.append(row.path, rows)
            advance(1)


def process_one(stage: Stage[C], config: C, row: Row) -> list[Row]:
    """Open one image, judge it, put the outcome in place; runs in a worker."""
    assert stage.process_image is not None
    try:
        verdict = stage.process_image(_open(stage, config, config.input / row.path), row, config)
    except BadImage as error:
        return [row.dropped(error.reason)]
    except FerError:  # a lack of this machine, not of the image: stop the stage
        raise
    except Exception as error:  # noqa: BLE001  the one broad `except`: whatever an image does, it costs that image only
        return [_failed(row, type(error).__name__)]
    if isinstance(verdict, Drop):
        return [row.dropped(verdict.reason, **verdict.attributes)]
    try:
        return list(_place(stage, config, row, verdict))
    except OSError as error:
        raise cannot_write(config.output, error) from None


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


def _failed(row: Row, error: str) -> Row:
    return row.replace(status=Status.FAILED, reason=error)


def _place(stage: Stage[C], config: C, row: Row, verdict: Keep | list[Keep]) -> Iterator[Row]:
    """Write or link what is kept; a second face of a photo is named `-2`."""
    keeps = verdict if isinstance(verdict, list) else [verdict]
    for number, keep in enumerate(keeps, start=1):
        path = row.path if keep.image is None else _name(row.path, stage.suffix, number)
        kept = row.replace(
            path=path,
            box=keep.box or row.box,
            landmarks=keep.landmarks or row.landmarks,
            attributes={**row.attributes, **keep.attributes},
        )
        if keep.image is not None:
            write_image(config.output / path, keep.image, getattr(config, "quality", 95))
        elif stage.finalize_rows is None:
            link_image(config.input / path, config.output / path)
        yield kept


def _name(path: str, suffix: str, number: int) -> str:
    stem = Path(path).with_suffix("").as_posix()
    return f"{stem}{suffix}" if number == 1 else f"{stem}-{number}{suffix}"


def summarise(stage: str, folder: Path, seconds: float = 0.0, *, fresh: bool = False) -> Summary:
    """Count what a finished stage kept and why it did not keep the rest."""
    counts = Counter("" if row.status is Status.KEPT else row.reason for row in iter_rows(folder))
    kept = counts.pop("", 0)
    return Summary(stage, folder, kept, dict(counts.most_common()), seconds, fresh)
