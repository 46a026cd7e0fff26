"""Drop near-copies by perceptual hash; the largest and sharpest of each group of copies stays.

Hashes are taken of whole photos: cut-out lips of two people look alike to a hash. A larger distance only ties photos
together for the split, it never deletes.
"""

from collections import defaultdict
from itertools import pairwise

import numpy as np

from fer_pipeline.config import DedupeConfig
from fer_pipeline.images import Image, hash_image, measure_sharpness, shrink
from fer_pipeline.manifest import Row
from fer_pipeline.neighbours import join, near_hashes
from fer_pipeline.stages.stage import Keep, Stage, Verdict


def measure_photo(image: Image, _: Row, config: DedupeConfig) -> Verdict:
    """Note the hash, and what decides which of several copies is the best."""
    return Keep(
        facts={"hash": hash_image(image, config.hash), "sharpness": round(measure_sharpness(shrink(image, 512)), 1)}
    )


def drop_copies(rows: list[Row], config: DedupeConfig) -> list[Row]:
    """Of each group of copies keep the best; tie what is left and still alike by a group id."""
    hashes = np.array([int(row.facts["hash"], 16) for row in rows], dtype=np.uint64)
    near = list(near_hashes(hashes, max(config.distance, config.group_distance)))
    copies = join(len(rows), [(i, j) for i, j, bits in near if bits <= config.distance])
    tied = join(len(rows), [(i, j) for i, j, _ in near] + _same_group(rows))
    sizes = np.bincount(tied, minlength=len(rows))
    groups = defaultdict(list)
    for index, group in enumerate(copies):
        groups[group].append(index)
    settled = list(rows)
    for index, row in enumerate(rows):
        if sizes[tied[index]] > 1:  # named by its first member, so that the id is the same in every run
            first = rows[tied[index]]
            settled[index] = row.but(group=first.group or first.path)
    for members in groups.values():
        _settle_copies(settled, members, config)
    return settled


def _settle_copies(rows: list[Row], members: list[int], config: DedupeConfig) -> None:
    """Drop all but the best of some copies; all of them where their labels contradict each other and are not kept.

    What has no label contradicts nothing: it gives way to a copy that has one.
    """
    named = [index for index in members if rows[index].label is not None]
    if named:
        for index in set(members) - set(named):
            rows[index] = rows[index].dropped("copy", copy_of=rows[named[0]].path)
        members = named
    labels = sorted({str(rows[index].label) for index in members})
    if len(labels) > 1 and config.conflicts == "drop":
        for index in members:
            rows[index] = rows[index].dropped("conflicting_labels", labels=labels)
        return
    for label in labels:
        same = [index for index in members if str(rows[index].label) == label]
        best = max(same, key=lambda index: _worth(rows[index]))
        for index in same:
            if index != best:
                rows[index] = rows[index].dropped("copy", copy_of=rows[best].path)


def _worth(row: Row) -> tuple[int, float, str]:
    return row.facts.get("width", 0) * row.facts.get("height", 0), row.facts["sharpness"], row.path


def _same_group(rows: list[Row]) -> list[tuple[int, int]]:
    """Pairs that came tied already, by an import that knows the person."""
    known = defaultdict(list)
    for index, row in enumerate(rows):
        if row.group is not None:
            known[row.group].append(index)
    return [pair for members in known.values() for pair in pairwise(members)]


DEDUPE = Stage("dedupe", judge=measure_photo, settle=drop_copies)
