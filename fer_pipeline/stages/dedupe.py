"""Drop copies: a perceptual hash proposes, the pixels decide; the largest and sharpest of some copies stays.

Hashes are taken of whole photos: cut-out lips of two people look alike to a hash. Photos that a hash finds alike and
the pixels tell apart (a sitter before one wall, a burst, a film) all stay, tied together for the split.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from sys import intern
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fer_pipeline.config.schema import DedupeConfig
from fer_pipeline.dataset.naming import photo_of
from fer_pipeline.dataset.rows import Row, Status, iter_rows, session_of
from fer_pipeline.stages.near_duplicates import Hashes, Indices, group_hashes, name_members, near_hashes, tie
from fer_pipeline.stages.stage import Keep, Stage, Verdict
from fer_pipeline.vision.image_io import BadImage, Image, hash_image, measure_sharpness, read_image, shrink
from fer_pipeline.vision.same_picture import Look, are_one_picture, look_at, mirrored, trim_border

COMPARED = 16  # pictures of a group that a photo is compared with


CROWDED = 0.1  # share of a set that goes as copies, from which on it is told
LARGE = 1 / 3  # share of a set in one group, from which on it is told


def measure_photo(image: Image, _: Row, config: DedupeConfig) -> Verdict:
    """Note the hashes, and what decides which of several copies is the best.

    All hashes are of what lies within a plain border, if there is one: else two frames would be alike. `hashes` are
    those of its mirror image and of its turns by a quarter, a half and three quarters.
    """
    content = trim_border(image)
    others = [content[:, ::-1], *(np.rot90(content, turns) for turns in (1, 2, 3))]
    return Keep(
        attributes={
            "hash": hash_image(content, config.hash),
            "hashes": [hash_image(np.ascontiguousarray(other), config.hash) for other in others],
            "sharpness": round(measure_sharpness(shrink(image, 512)), 1),
        }
    )


class Photo(NamedTuple):
    """What a photo is judged by beside the others: a hundredth of a row, so that a million fit in memory."""

    path: str
    label: str | None
    group: str | None
    hash: int
    hashes: tuple[int, ...]  # of its mirror image and its turns
    worth: tuple[int, float]  # pixels, sharpness
    is_session: bool  # before one's own camera
    sha256: str  # of the file as it came


Drops = dict[int, tuple[str, dict[str, Any]]]  # by index: reason, attributes


def drop_copies(rows: Iterable[Row], config: DedupeConfig) -> Iterator[Row]:
    """Of each group of copies keep the best; tie what is left and still alike by a group id."""
    photos = [_read(row) for row in rows]
    alike = _group(photos, config.distance)
    drops = _choose(photos, alike if config.check == "hash" else _verify(photos, alike, config.input), config)
    tied = _tie(photos, max(config.distance, config.group_distance))
    sizes = np.bincount(tied, minlength=len(photos))
    for index, row in enumerate(rows):
        reason, attributes = drops.get(index, ("", {}))
        final = row.dropped(reason, **attributes) if reason else row
        first = photos[tied[index]]  # names the group, so that the id is the same in every run
        yield final.replace(group=first.group or photo_of(first.path)) if sizes[tied[index]] > 1 else final


def _read(row: Row) -> Photo:
    attributes = row.attributes
    worth = attributes.get("width", 0) * attributes.get("height", 0), attributes["sharpness"]
    label = row.label and intern(row.label)
    hashed, *others = (int(text, 16) for text in (attributes["hash"], *attributes.get("hashes", ())))
    is_session = session_of(row) is not None
    return Photo(row.path, label, row.group, hashed, tuple(others), worth, is_session, row.sha256)


def _group(photos: list[Photo], distance: int) -> Indices:
    """The first of the photos each looks like, mirrored or turned too, also by way of others.

    Before one camera all photos look alike but for the mouth: `fer collect` has judged by that, so these are not
    compared with each other.
    """
    hashes = np.array([photo.hash for photo in photos], dtype=np.uint64)
    own = np.array([photo.is_session for photo in photos], dtype=bool)
    return group_beside(hashes, own, distance) if own.any() else _group_all(photos, hashes, distance)


def _group_all(photos: list[Photo], hashes: Hashes, distance: int) -> Indices:
    """Tie photos any two of whose hashes are near."""
    owners = np.repeat(np.arange(len(photos)), [len(photo.hashes) for photo in photos])
    others = np.fromiter((other for photo in photos for other in photo.hashes), np.uint64)
    groups = group_hashes(np.concatenate((hashes, others)), distance)
    tie(groups, owners, np.arange(len(photos), len(groups)))
    return name_members(groups[: len(photos)])


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


def _verify(photos: list[Photo], alike: Indices, folder: Path) -> Indices:
    """Part groups of photos whose hashes are alike into those that are one picture, by their pixels.

    Each photo is compared with the first of the pictures found so far in its group, nearest hashes first, with COMPARED
    of them at most: a film in which all frames look alike takes no longer for each frame than a pair of copies.
    """
    groups = np.arange(len(photos))
    members: dict[int, list[int]] = defaultdict(list)
    for index in np.flatnonzero(np.bincount(alike, minlength=len(photos))[alike] > 1).tolist():
        members[int(alike[index])].append(index)
    for crowd in members.values():
        seen: dict[int, Look | None] = {}
        for index in crowd:
            nearest = sorted(seen, key=lambda first: ((photos[first].hash ^ photos[index].hash).bit_count(), first))
            look = _look(folder / photos[index].path)
            for first in nearest[:COMPARED]:
                if _is_copy(photos[first], photos[index], seen[first], look):
                    groups[index] = first
                    break
            else:
                seen[index] = look
    return groups


def _look(path: Path) -> Look | None:
    """What of a photo is compared; None for a file that cannot be read, which is like no other."""
    try:
        return look_at(read_image(path))
    except (BadImage, OSError):
        return None


def _is_copy(first: Photo, second: Photo, one: Look | None, other: Look | None) -> bool:
    if first.sha256 and first.sha256 == second.sha256:
        return True
    if one is None or other is None:
        return False
    return are_one_picture(one, other) or are_one_picture(one, mirrored(other))


def _tie(photos: list[Photo], distance: int) -> Indices:
    """The group of each photo for the split: of those a hash finds alike, and of those that came tied by an import.

    Likeness never ties two groups that an import named: it found the scene there, not the person. A photo without a
    name that is like several of them goes with the first.
    """
    named = np.array([photo.group is not None for photo in photos], dtype=bool)
    if not named.any() or any(photo.is_session for photo in photos):
        groups = _group(photos, distance)
        _tie_known(groups, photos)
        return groups
    groups = np.arange(len(photos))
    hashes = np.array([photo.hash for photo in photos], dtype=np.uint64)
    others = np.flatnonzero(~named)
    groups[others] = others[_group_all([photos[index] for index in others], hashes[others], distance)]
    _tie_known(groups, photos)
    values, places = np.unique(hashes, return_inverse=True)
    first = np.full((2, len(values)), -1)  # of the photos of each hash: the first named one, and the first other
    for row, chosen in enumerate((named, ~named)):
        indices = np.flatnonzero(chosen)[::-1]
        first[row, places[indices]] = indices
    joined = {int(groups[other]): int(name) for name, other in first.T[::-1] if name >= 0 <= other}
    for left, right in near_hashes(values, distance):
        for one, two in ((left, right), (right, left)):
            for name, other in zip(first[0, one].tolist(), first[1, two].tolist(), strict=True):
                if name >= 0 <= other:
                    cluster = int(groups[other])
                    joined[cluster] = min(name, joined.get(cluster, name))
    pairs = np.array(sorted(joined.items()), dtype=np.int64).reshape(-1, 2)
    tie(groups, pairs[:, 0], pairs[:, 1])
    return groups


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


def warn_of_copies(folder: Path) -> Iterator[str]:
    """Say so if much of a finished folder went as copies, or one group holds much of what is left, and what to set."""
    dropped: Counter[str] = Counter()
    groups: Counter[str] = Counter()
    kept = 0
    for row in iter_rows(folder):
        if row.status is Status.KEPT:
            kept += 1
            groups.update([row.group] if row.group else [])
        elif row.reason in {"copy", "conflicting_labels"}:
            dropped[row.reason] += 1
    total = kept + dropped.total()
    if dropped.total() >= CROWDED * max(total, 1):
        told = " and ".join(f"{count:,} as {reason}" for reason, count in sorted(dropped.items()))
        remedy = "look at them in report.html; if they are pictures of their own, set dedupe.distance: 0"
        if dropped["conflicting_labels"]:
            remedy += ", or dedupe.conflicts: keep"
        yield f"{dropped.total() / total:.0%} of the photos went ({told}): {remedy}"
    name, size = groups.most_common(1)[0] if groups else ("", 0)
    if size >= LARGE * max(kept, 1) and kept > 1:
        remedy = "import again with --group that names the person in the file name, or set dedupe.group_distance lower"
        yield f"{size:,} of {kept:,} photos are one group ({name}), which no split parts: {remedy}"


DEDUPE = Stage("dedupe", process_image=measure_photo, finalize_rows=drop_copies, per_image=("hash",))
