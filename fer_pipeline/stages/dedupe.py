"""Drop near-copies by perceptual hash; the largest and sharpest of each group of copies stays.

Hashes are taken of whole photos: cut-out lips of two people look alike to a hash. A larger distance only ties photos
together for the split, it never deletes.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from sys import intern
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fer_pipeline.config.schema import DedupeConfig
from fer_pipeline.dataset.naming import photo_of
from fer_pipeline.dataset.rows import Row, session_of
from fer_pipeline.stages.near_duplicates import Hashes, Indices, group_hashes, name_members, near_hashes, tie
from fer_pipeline.stages.stage import Keep, Stage, Verdict
from fer_pipeline.vision.image_io import Image, hash_image, measure_sharpness, shrink


def measure_photo(image: Image, _: Row, config: DedupeConfig) -> Verdict:
    """Note the hash, and what decides which of several copies is the best."""
    return Keep(
        attributes={
            "hash": hash_image(image, config.hash),
            "sharpness": round(measure_sharpness(shrink(image, 512)), 1),
        }
    )


class Photo(NamedTuple):
    """What a photo is judged by beside the others: a hundredth of a row, so that a million fit in memory."""

    path: str
    label: str | None
    group: str | None
    hash: int
    worth: tuple[int, float]  # pixels, sharpness
    is_session: bool  # before one's own camera


Drops = dict[int, tuple[str, dict[str, Any]]]  # by index: reason, attributes


def drop_copies(rows: Iterable[Row], config: DedupeConfig) -> Iterator[Row]:
    """Of each group of copies keep the best; tie what is left and still alike by a group id."""
    photos = [_look_at(row) for row in rows]
    drops = _choose(photos, _group(photos, config.distance), config)
    tied = _group(photos, max(config.distance, config.group_distance))
    _tie_known(tied, photos)
    sizes = np.bincount(tied, minlength=len(photos))
    for index, row in enumerate(rows):
        reason, attributes = drops.get(index, ("", {}))
        final = row.dropped(reason, **attributes) if reason else row
        first = photos[tied[index]]  # names the group, so that the id is the same in every run
        yield final.replace(group=first.group or photo_of(first.path)) if sizes[tied[index]] > 1 else final


def _look_at(row: Row) -> Photo:
    attributes = row.attributes
    worth = attributes.get("width", 0) * attributes.get("height", 0), attributes["sharpness"]
    label = row.label and intern(row.label)
    return Photo(row.path, label, row.group, int(attributes["hash"], 16), worth, session_of(row) is not None)


def _group(photos: list[Photo], distance: int) -> Indices:
    """The first of the photos each is a near-copy of, also by way of others.

    Before one camera all photos look alike but for the mouth: `fer collect` has judged by that, so these are not
    compared with each other.
    """
    hashes = np.array([photo.hash for photo in photos], dtype=np.uint64)
    own = np.array([photo.is_session for photo in photos], dtype=bool)
    return group_beside(hashes, own, distance) if own.any() else group_hashes(hashes, distance)


def group_beside(hashes: Hashes, apart: NDArray[np.bool_], distance: int) -> Indices:
    """As `group_hashes`, but those set apart are tied to the others only, not to each other, however near they are."""
    values, places = np.unique(hashes, return_inverse=True)
    common = np.zeros(len(values), dtype=bool)  # whether a hash is also one of the others'
    common[places[~apart]] = True
    groups = np.arange(len(values))
    groups[common] = np.flatnonzero(common)[group_hashes(values[common], distance)]
    tied = common.copy()
    # What is not tied yet bears one number here, so that a crowd set apart is not compared with itself.
    known = np.where(tied, groups, len(values))
    for first, second in near_hashes(values, distance, known):
        beside = common[first] != common[second]
        tie(groups, first[beside], second[beside])
        tied[first[beside]] = tied[second[beside]] = True
        known[:] = np.where(tied, groups, len(values))
    return name_members(np.where(tied[places], groups[places], len(values) + np.arange(len(hashes))))


def _tie_known(groups: Indices, photos: list[Photo]) -> None:
    """Tie what came tied already, by an import that knows the person."""
    first: dict[str, int] = {}
    known = [
        (first.setdefault(photo.group, index), index) for index, photo in enumerate(photos) if photo.group is not None
    ]
    pairs = np.array(known, dtype=np.int64).reshape(-1, 2)
    tie(groups, pairs[:, 0], pairs[:, 1])


def _choose(photos: list[Photo], copies: Indices, config: DedupeConfig) -> Drops:
    drops: Drops = {}
    groups = defaultdict(list)
    for index in np.flatnonzero(np.bincount(copies, minlength=len(photos))[copies] > 1):
        groups[copies[index]].append(int(index))
    for members in groups.values():
        drops |= _drop_copies_of(photos, members, config)
    return drops


def _drop_copies_of(photos: list[Photo], members: list[int], config: DedupeConfig) -> Drops:
    """All but the best of some copies; all of them where their labels contradict each other and are not kept.

    What has no label contradicts nothing: it gives way to a copy that has one.
    """
    drops: Drops = {}
    named = [index for index in members if photos[index].label is not None]
    if named:
        drops = {index: ("copy", {"copy_of": photos[named[0]].path}) for index in set(members) - set(named)}
        members = named
    labels = sorted({str(photos[index].label) for index in members})
    if len(labels) > 1 and config.conflicts == "drop":
        return drops | {index: ("conflicting_labels", {"labels": labels}) for index in members}
    for label in labels:
        same = [index for index in members if str(photos[index].label) == label]
        best = max(same, key=lambda index: (photos[index].worth, photos[index].path))
        drops |= {index: ("copy", {"copy_of": photos[best].path}) for index in same if index != best}
    return drops


DEDUPE = Stage("dedupe", process_image=measure_photo, finalize_rows=drop_copies, per_image=("hash",))
