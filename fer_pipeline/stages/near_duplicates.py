"""Which hashes, points or names belong together: exact search for near pairs, and the groups they form."""

from collections.abc import Iterable, Iterator
from itertools import combinations
from math import comb

import numpy as np
from numpy.typing import NDArray

AT_ONCE = 2_000_000  # pairs of vectors compared at a time: 16 MB, whatever their number
BLOCK = 32_768  # hashes compared at a time, each with one so many places on: they stay in the processor's cache
PENDING = 262_144  # near pairs collected before they are handed on
SORTING = 100  # what bringing one hash into order costs, in comparisons of two hashes (60 against 0.6 ns)
LONG = 1024  # runs of one key from this length on are compared row by row
ROWS = 64  # of a long run, before a look whether the rest is one group
SAMPLE = 4096  # hashes on which ways to search are tried

Hashes = NDArray[np.uint64]
Indices = NDArray[np.int64]
Pairs = tuple[Indices, Indices]


def group_hashes(hashes: Hashes, distance: int) -> Indices:
    """The smallest member of the group of each of n hashes, shape (n,): near ones are tied, also by way of others.

    Equal hashes are looked at once and groups that are one already not again: all blank photos are no harder than one.
    """
    values, places = np.unique(hashes, return_inverse=True)
    groups = np.arange(len(values))
    for first, second in near_hashes(values, distance, groups):
        tie(groups, first, second)
    return name_members(groups[places])


def name_members(groups: Indices) -> Indices:
    """Each item's group by the number of its smallest member, whatever the groups are called."""
    _, first, members = np.unique(groups, return_index=True, return_inverse=True)
    return first[members]


def near_hashes(hashes: Hashes, distance: int, groups: Indices | None = None) -> Iterator[Pairs]:
    """All pairs i < j of hashes with at most `distance` differing bits, each once, as arrays of i and of j.

    Hashes that agree in some bits, the key, are compared with each other, for as many keys as it takes that no pair
    is missed. Pairs of one number in `groups` may be left out; it may change between one array and the next.
    """
    keys = choose_keys(hashes, distance)
    for number, key in enumerate(keys):
        pairs = _near_by_key(hashes, distance, key, groups)
        for left, right in _gather(pairs if groups is None else (_apart(pair, groups) for pair in pairs)):
            differing = hashes[left] ^ hashes[right]
            fresh = differing & key == 0
            for earlier in keys[:number]:
                fresh &= differing & earlier != 0
            yield np.minimum(left, right)[fresh], np.maximum(left, right)[fresh]


def choose_keys(hashes: Hashes, distance: int) -> list[np.uint64]:
    """The set of keys that costs least on these hashes, tried on a sample; the key 0 compares all with all."""
    sample = hashes[:: -(-len(hashes) // SAMPLE) or 1]
    scale = (len(hashes) / max(len(sample), 1)) ** 2

    def cost(keys: list[np.uint64]) -> float:
        tried = keys[:: -(-len(keys) // 8)]
        runs = np.concatenate([np.unique(sample & key, return_counts=True)[1] for key in tried])
        pairs = (runs * (runs - 1) / 2).sum() * scale / len(tried)
        return float(len(keys) * (len(hashes) * SORTING + pairs))

    return min(key_sets(distance), key=cost)


def key_sets(distance: int) -> Iterator[list[np.uint64]]:
    """Sets of bit masks, of each of which any two near hashes agree in at least one mask's bits.

    Two pigeonholes, after Norouzi et al. 2012 and Manku et al. 2007: of p parts of a hash one differs in no more than
    e bits, where the (e + 1) of all parts add up to distance + 1; and of e + k blocks of that part some k are equal.
    """
    yield [np.uint64(0)]
    for parts in range(1, distance + 2):
        errors = [(distance - part) // parts for part in range(parts)]
        for equal in range(1, 7):
            count = sum(comb(wrong + equal, equal) for wrong in errors)
            blocks = np.array_split(np.arange(64, dtype=np.uint64), sum(errors) + parts * equal)
            if count > 200 or len(blocks) > 64:
                break
            masks = iter([np.bitwise_or.reduce(np.uint64(1) << bits) for bits in blocks])
            yield [
                np.bitwise_or.reduce(chosen)
                for wrong in errors
                for chosen in combinations([next(masks) for _ in range(wrong + equal)], equal)
            ]


def _near_by_key(hashes: Hashes, distance: int, key: np.uint64, groups: Indices | None) -> Iterator[Pairs]:
    """Near pairs among hashes that agree in the bits of the key, and a few by the way that do not."""
    order = np.argsort(hashes & key)
    bounds = _bounds((hashes & key)[order])
    lengths = np.diff(bounds)
    for run in np.flatnonzero(lengths > LONG):
        yield from _in_long_run(hashes, order[bounds[run] : bounds[run + 1]], distance, groups)
    order = order[np.repeat(lengths <= LONG, lengths)]
    yield from _in_short_runs(hashes, order, key, distance)


def _in_short_runs(hashes: Hashes, order: Indices, key: np.uint64, distance: int) -> Iterator[Pairs]:
    """Compare each with the next, the second next and so on.

    Whenever the step has grown fourfold, runs are dropped that are no longer than that.
    """
    values = hashes[order]
    step = 1
    while True:
        lengths = np.diff(_bounds(values & key))
        left = np.repeat(lengths > step, lengths)
        order, values = order[left], values[left]
        if not len(order):
            return
        following = min(4 * step, int(lengths.max()))
        for first, second in _steps(values, step, following, distance):
            yield order[first], order[second]
        step = following


def _in_long_run(hashes: Hashes, order: Indices, distance: int, groups: Indices | None) -> Iterator[Pairs]:
    """Compare each with all; those last that are one group already, which need not be compared with each other."""
    while len(order):
        if groups is not None:
            names, members, counts = np.unique(groups[order], return_inverse=True, return_counts=True)
            if len(names) == 1:
                return
            order = order[np.argsort(members == counts.argmax(), kind="stable")]
        values = hashes[order]
        for row in range(min(ROWS, len(order))):
            near = np.flatnonzero(np.bitwise_count(values[row + 1 :] ^ values[row]) <= distance) + row + 1
            if len(near):
                yield np.full(len(near), order[row]), order[near]
        order = order[ROWS:]


def _bounds(keys: Hashes) -> Indices:
    """Where runs of equal keys begin, and where the last one ends."""
    inner = np.flatnonzero(keys[1:] != keys[:-1]) + 1
    return np.concatenate(([0], inner, [len(keys)])) if len(keys) else np.zeros(1, np.int64)


def _steps(values: Hashes, low: int, high: int, distance: int) -> Iterator[Pairs]:
    """Positions of near values that are `low` to `high` - 1 places apart."""
    for start in range(0, len(values), BLOCK):
        for step in range(low, high):
            right = values[start + step : start + step + BLOCK]
            near = np.bitwise_count(values[start : start + len(right)] ^ right) <= distance
            if near.any():
                left = np.flatnonzero(near) + start
                yield left, left + step


def _apart(pair: Pairs, groups: Indices) -> Pairs:
    apart = groups[pair[0]] != groups[pair[1]]
    return pair[0][apart], pair[1][apart]


def _gather(pairs: Iterable[Pairs]) -> Iterator[Pairs]:
    """The same pairs in fewer and longer arrays."""
    waiting: list[Pairs] = []
    count = 0
    for pair in pairs:
        waiting.append(pair)
        count += len(pair[0])
        if count >= PENDING:
            yield _concatenate(waiting)
            waiting, count = [], 0
    if count:
        yield _concatenate(waiting)


def _concatenate(pairs: list[Pairs]) -> Pairs:
    return np.concatenate([left for left, _ in pairs]), np.concatenate([right for _, right in pairs])


def tie(groups: Indices, first: Indices, second: Indices) -> None:
    """Make one group of those of each pair, in place; `groups` names each item's smallest member, before and after."""
    while len(first):
        low, high = np.minimum(groups[first], groups[second]), np.maximum(groups[first], groups[second])
        apart = low != high
        first, second = first[apart], second[apart]
        np.minimum.at(groups, high[apart], low[apart])
        while (groups != (root := groups[groups])).any():
            groups[:] = root


def near_vectors(vectors: NDArray[np.float32], distance: float) -> Iterator[tuple[int, int]]:
    """All pairs (i, j) with i < j whose Euclidean distance is at most `distance`; vectors of shape (n, d)."""
    squares = (vectors**2).sum(axis=1)
    step = max(1, AT_ONCE // max(len(vectors), 1))
    for start in range(0, len(vectors), step):
        block = vectors[start : start + step]
        apart = squares[start : start + step, None] + squares[None, start:] - 2 * block @ vectors[start:].T
        for row, column in np.argwhere(apart <= distance**2):
            if row < column:
                yield start + int(row), start + int(column)
