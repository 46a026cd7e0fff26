"""Take images out of every folder of an experiment, as if they had never been there; killed, it is done again.

The order makes it safe to stop anywhere: first a note of what is to go (`forgetting.json`) and what must not come back
(`blocklist.jsonl`), then the files, then the manifests from raw to split, and the first note last.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fer_pipeline.config.schema import FOLDERS
from fer_pipeline.console import progress
from fer_pipeline.dataset.blocklist import Blocklist, blocklist_of, extend_blocklist, parse_blocklist
from fer_pipeline.dataset.experiment import Experiment
from fer_pipeline.dataset.journal import JOURNAL, Journal
from fer_pipeline.dataset.naming import photo_of
from fer_pipeline.dataset.rows import MANIFEST, Row, iter_rows, write_rows
from fer_pipeline.errors import InputError
from fer_pipeline.files import hash_file, write_aside
from fer_pipeline.lineage.leavings import Leavings, find_files
from fer_pipeline.lineage.replay import is_up_to_date, remove_empty, remove_rows, replay
from fer_pipeline.sources.crawl.host_stats import HOST_STATS, write_host_stats

PENDING = "forgetting.json"


@dataclass(frozen=True)
class Pending:
    """What a forgetting is about, and what every folder held before it began."""

    forgotten: Blocklist
    before: dict[str, str] = field(default_factory=dict)  # stage: hash of its manifest


def choose_rows(experiment: Experiment, photos: Iterable[str]) -> list[Row]:
    """The rows of the raw folder that are these photos: also those that bring the same bytes again."""
    raw = _raw(experiment)
    names = set(photos)
    rows = list(iter_rows(raw))
    digests = {row.sha256 for row in rows if row.sha256 and photo_of(row.path) in names}
    return [row for row in rows if photo_of(row.path) in names or row.sha256 in digests]


def _raw(experiment: Experiment) -> Path:
    raw = experiment.raw
    if raw is None or not (raw / MANIFEST).is_file():
        raise InputError(f"{raw or 'the experiment'} holds no finished raw folder: name the experiment with --config")
    if (raw / JOURNAL).is_file():
        raise InputError(f"{raw} holds an unfinished crawl or import: let the same command finish first")
    return raw


def read_pending(experiment: Experiment) -> Pending | None:
    """What a forgetting that was killed was about."""
    path = experiment.raw / PENDING if experiment.raw else None
    if path is None or not path.is_file():
        return None
    text = path.read_bytes()
    forgotten = parse_blocklist(text, str(path))
    before: Any = json.loads(text).get("before")
    if not isinstance(before, dict) or not all(isinstance(value, str) for value in before.values()):
        raise InputError(f"{path}: not what `fer forget` wrote: remove it")
    return Pending(forgotten, before)


def forget(experiment: Experiment, rows: Sequence[Row], leavings: Leavings) -> list[str]:
    """Take rows of the raw folder, and all that came of them, out of every folder; also what a killed one left.

    `leavings` are the caches and pages to remove. Gives what could not be made consistent, a line each.
    """
    raw = _raw(experiment)
    with Journal(raw):
        pending = _begin(experiment, raw, rows)
        extend_blocklist(raw, pending.forgotten)
        for path in [*find_files(experiment, pending.forgotten), *leavings.caches, *leavings.pages]:
            path.unlink(missing_ok=True)  # one of its names; the others are found by themselves
        write_rows(raw, [row for row in iter_rows(raw) if not pending.forgotten.knows_row(row)])
        if (raw / HOST_STATS).is_file():
            write_host_stats(raw, iter_rows(raw))
        remove_empty(raw)
        troubles = list(filter(None, _make_anew(experiment, pending)))
        (raw / PENDING).unlink()
    return troubles


def _begin(experiment: Experiment, raw: Path, rows: Sequence[Row]) -> Pending:
    """Note what is to be done before anything is."""
    held = read_pending(experiment)
    before = held.before if held else dict(_hashes(experiment))
    forgotten = blocklist_of(rows) | (held.forgotten if held else Blocklist())
    text = json.dumps(forgotten.as_dict() | {"before": before}, ensure_ascii=False)
    write_aside(raw / PENDING, [text.encode()])
    return Pending(forgotten, before)


def _hashes(experiment: Experiment) -> Iterator[tuple[str, str]]:
    for stage, folder in experiment.folders.items():
        if (folder / MANIFEST).is_file():
            yield stage, hash_file(folder / MANIFEST)


def _make_anew(experiment: Experiment, pending: Pending) -> Iterator[str]:
    """Bring the folders after raw in line, in their order; gives what could not be."""
    makers = {folder: stage for stage, (_, folder) in FOLDERS.items()}
    stages = [stage for stage in experiment.folders if stage != "crawl"]
    with progress("forget", len(stages)) as advance:
        for stage in stages:
            maker = makers[str(FOLDERS[stage][0])]
            yield _bring(experiment, stage, maker, pending)
            advance(1)


def _bring(experiment: Experiment, stage: str, maker: str, pending: Pending) -> str:
    folder, source = experiment.folders[stage], experiment.folders.get(maker)
    finished = source is not None and (source / MANIFEST).is_file()
    now = hash_file(source / MANIFEST) if source is not None and finished else None
    hashes = [one for one in (pending.before.get(maker), now) if one]
    if stage in pending.before and finished and source is not None and is_up_to_date(folder, source, hashes):
        return replay(folder, source, pending.forgotten)
    remove_rows(folder, pending.forgotten)
    return ""
