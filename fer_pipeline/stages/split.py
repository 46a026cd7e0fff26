"""Part the crops into train and test; whole groups stay on one side, official splits are kept."""

import difflib
from pathlib import PurePosixPath

import numpy as np

from fer_pipeline.config import SplitConfig
from fer_pipeline.errors import InputError, UsageError
from fer_pipeline.manifest import Row, Status
from fer_pipeline.neighbours import join, near_vectors
from fer_pipeline.splits import part_groups
from fer_pipeline.stages.stage import Stage


def settle_split(rows: list[Row], config: SplitConfig) -> list[Row]:
    """Give every labelled crop its part; drop the unlabelled and the classes that are not wanted."""
    _check_labels(rows, config)
    groups = group_rows(rows, config.same_person)
    # `train` sorts last and wins: an image tied to both parts must not be tested on.
    official = {
        group: part
        for part, group in sorted((row.split or "", group) for row, group in zip(rows, groups, strict=True))
        if part
    }
    rows = [
        _choose(row, config).but(group=group, split=row.split or official.get(group))
        for row, group in zip(rows, groups, strict=True)
    ]
    free = [index for index, row in enumerate(rows) if row.status is Status.KEPT and row.split is None]
    parts = part_groups(
        [str(rows[index].label) for index in free], [groups[index] for index in free], config.test_share, config.seed
    )
    for index, held in zip(free, parts, strict=True):
        rows[index] = rows[index].but(split="test" if held else "train")
    _check_parts(rows, config)
    return rows


def _choose(row: Row, config: SplitConfig) -> Row:
    if row.label is None:
        return row.dropped("unlabelled")
    return row if not config.labels or row.label in config.labels else row.dropped("label_not_wanted")


def group_rows(rows: list[Row], same_person: float | None) -> list[str]:
    """The group of each crop: its photo, tied to near-copies and, if asked, to other photos of the person."""
    names = [row.group or _photo(row.path) for row in rows]
    known = {name: index for index, name in reversed(list(enumerate(names)))}
    pairs = [(known[name], index) for index, name in enumerate(names)]
    if same_person is not None:
        if any("embedding" not in row.facts for row in rows):
            raise UsageError("split.same_person needs face embeddings: set crop.embedding to true and crop again")
        vectors = np.array([row.facts["embedding"] for row in rows], dtype=np.float32)
        pairs += list(near_vectors(vectors, same_person))
    return [names[first] for first in join(len(rows), pairs)]


def _photo(path: str) -> str:
    """`smile/0123456789ab-2.png` is the second face of `smile/0123456789ab`."""
    photo = PurePosixPath(path)
    return str(photo.with_name(photo.stem.partition("-")[0]))


def _check_labels(rows: list[Row], config: SplitConfig) -> None:
    found = sorted({row.label for row in rows if row.label is not None})
    if len(found) == 0:
        raise InputError(f"{config.input}: no image has a label: import class folders, or crawl keywords per class")
    for label in config.labels:
        if label not in found:
            near = difflib.get_close_matches(label, found, n=1) or found
            raise UsageError(f"split.labels: no image has the label {label!r}: use {', '.join(near)}")


def _check_parts(rows: list[Row], config: SplitConfig) -> None:
    kept = [row for row in rows if row.status is Status.KEPT]
    for label in sorted({str(row.label) for row in kept}):
        missing = {"train", "test"} - {str(row.split) for row in kept if row.label == label}
        if missing:
            raise InputError(
                f"{config.input}: class {label!r} has too few images (or groups of near-copies) for a {missing.pop()} "
                "part: add images, or name the classes to use in split.labels"
            )


def locate(row: Row) -> str:
    """`split/train/smile/....png`: what any ImageFolder reader can open."""
    return f"{row.split}/{row.path}"


SPLIT = Stage("split", settle=settle_split, locate=locate)
