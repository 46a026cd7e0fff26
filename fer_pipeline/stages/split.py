"""Part the crops into train and test; whole groups stay on one side, official splits and decisions are kept."""

import difflib
from collections import Counter
from collections.abc import Iterable, Iterator
from sys import intern
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from fer_pipeline.config.schema import SplitConfig
from fer_pipeline.dataset.decisions import read_decisions
from fer_pipeline.dataset.naming import photo_of
from fer_pipeline.dataset.rows import Row, Status, kept_rows, session_of
from fer_pipeline.errors import InputError, UsageError
from fer_pipeline.stages.corrections import bring_back, correct, origin_of, rename_moved
from fer_pipeline.stages.description import describe_split
from fer_pipeline.stages.near_duplicates import near_vectors, tie
from fer_pipeline.stages.partition import choose_test, hold_sessions
from fer_pipeline.stages.stage import Stage

Part = Literal["train", "test"]


def assign_parts(rows: Iterable[Row], config: SplitConfig) -> Iterator[Row]:
    """Give every labelled crop its part, once people's decisions are in effect."""
    decisions = read_decisions(config.input.parent)
    if not decisions:
        return part_rows(rows, config)
    return iter(rename_moved(list(part_rows(correct(rows, decisions), config))))


def part_rows(rows: Iterable[Row], config: SplitConfig) -> Iterator[Row]:
    """Give every labelled crop its part; drop the unlabelled and the classes that are not wanted.

    The part of a group follows from its own name and the seed, so that images which come or go move no others.
    """
    labels = [row.label and intern(row.label) if row.status is Status.KEPT else None for row in rows]
    _check_labels(labels, config)
    groups = group_rows(rows, config.same_person)
    sessions = _part_sessions(rows, config.test_share)
    parts: list[Part | None] = [sessions.get(session_of(row) or "", row.split) for row in rows]
    # `train` sorts last and wins: an image tied to both parts must not be tested on.
    told = sorted({(part, group) for part, group in zip(parts, groups, strict=True) if part})
    official: dict[str, Part] = {group: part for part, group in told}
    parts = [part or official.get(group) for part, group in zip(parts, groups, strict=True)]
    free = [index for index, part in enumerate(parts) if part is None and not _unwanted(labels[index], config)]
    covered = {(str(label), part) for label, part in zip(labels, parts, strict=True) if part}
    held = choose_test(
        [str(labels[index]) for index in free],
        [groups[index] for index in free],
        config.test_share,
        config.seed,
        covered,
    )
    for index, is_test in zip(free, held, strict=True):
        parts[index] = "test" if is_test else "train"
    _check_parts(rows, labels, parts, config)
    return (_give_part(*known, config) for known in zip(rows, groups, parts, strict=True))


def _unwanted(label: str | None, config: SplitConfig) -> str:
    """Why a crop goes no further; empty if it does."""
    if label is None:
        return "unlabelled"
    return "" if not config.labels or label in config.labels else "label_not_wanted"


def _part_sessions(rows: Iterable[Row], share: float) -> dict[str, Part]:
    """Whole sessions before a camera go to either part: with the first there is something to learn from."""
    sessions: dict[str, set[str]] = {}
    known: set[str] = set()
    for row in rows:
        if row.status is Status.KEPT:
            name = session_of(row)
            (known if name is None else sessions.setdefault(name, set())).add(str(row.label))
    held = hold_sessions(sessions, known, share)
    return {name: "test" if name in held else "train" for name in sessions}


def _give_part(row: Row, group: str, part: Part | None, config: SplitConfig) -> Row:
    reason = _unwanted(row.label, config) if row.status is Status.KEPT else ""
    return (row.dropped(reason) if reason else row).replace(group=group, split=part)


def group_rows(rows: Iterable[Row], same_person: float | None) -> list[str]:
    """The group of each crop: its photo, tied to near-copies and, if asked, to other photos of the person."""
    names = [row.group or photo_of(row.path) for row in rows]
    known = {name: index for index, name in reversed(list(enumerate(names)))}
    groups = np.array([known[name] for name in names], dtype=np.int64)
    if same_person is not None:
        pairs = np.array(list(near_vectors(_embeddings(rows), same_person)), dtype=np.int64).reshape(-1, 2)
        # Somebody's later session is what shows whether their camera is understood: it may be tested on.
        free = ~np.array([session_of(row) is not None for row in rows])[pairs].any(axis=1)
        tie(groups, pairs[free, 0], pairs[free, 1])
    return [names[first] for first in groups]


def _embeddings(rows: Iterable[Row]) -> NDArray[np.float32]:
    """The face embeddings, shape (n, 128)."""
    vectors = [np.array(row.attributes.get("embedding", ()), dtype=np.float32) for row in rows]
    if not all(map(len, vectors)):
        raise UsageError("split.same_person needs face embeddings: set crop.embedding to true and crop again")
    return np.array(vectors, dtype=np.float32)


def _check_labels(labels: list[str | None], config: SplitConfig) -> None:
    found = sorted({label for label in labels if label is not None})
    if len(found) == 0:
        raise InputError(f"{config.input}: no image has a label: import class folders, or crawl keywords per class")
    for label in config.labels:
        if label not in found:
            near = difflib.get_close_matches(label, found, n=1) or found
            raise UsageError(f"split.labels: no image has the label {label!r}: use {', '.join(near)}")


def _check_parts(rows: Iterable[Row], labels: list[str | None], parts: list[Part | None], config: SplitConfig) -> None:
    there = {(label, part) for label, part in zip(labels, parts, strict=True) if not _unwanted(label, config)}
    for label in sorted({str(label) for label, _ in there}):
        missing = {"train", "test"} - {str(part) for name, part in there if name == label}
        if missing:
            more = "another session" if all(session_of(row) for row in rows) else "images"
            raise InputError(
                f"{config.input}: class {label!r} has too few images (or groups of near-copies) for a {missing.pop()} "
                f"part: add {more}, or name the classes to use in split.labels"
            )


def format_share(config: SplitConfig) -> str:
    """Say which share of the images the test part of a finished split has got."""
    parts = Counter(row.split for row in kept_rows(config.output))
    share = parts["test"] / max(1, parts.total())
    return (
        f"{parts['test']:,} of {parts.total():,} images are for the test, {share:.1%} (asked {config.test_share:.0%})"
    )


def count_parted(config: SplitConfig) -> int:
    """Count groups that are in both parts of a finished split, which only official parts can do."""
    parts: dict[str, set[str | None]] = {}
    for row in kept_rows(config.output):
        parts.setdefault(str(row.group), set()).add(row.split)
    return sum(len(one) > 1 for one in parts.values())


def locate(row: Row) -> str:
    """`split/train/smile/....png`: what any ImageFolder reader can open."""
    return f"{row.split}/{row.path}"


def _is_decided(config: SplitConfig) -> bool:
    return bool(read_decisions(config.input.parent))


SPLIT = Stage(
    "split",
    finalize_rows=assign_parts,
    join=bring_back,
    origin=origin_of,
    renames=_is_decided,
    locate=locate,
    describe=describe_split,
)
