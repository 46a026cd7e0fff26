"""Which hashes, points or names belong together: exact search for near pairs, and the groups they form."""

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

AT_ONCE = 2_000_000  # pairs compared at a time: 16 MB of hashes, whatever their number


def near_hashes(hashes: NDArray[np.uint64], distance: int) -> Iterator[tuple[int, int, int]]:
    """All pairs (i, j, differing bits) with i < j and at most `distance` differing bits, none missed.

    Compares everything with everything: n²/2 exclusive-ors, a second for 30,000 hashes.
    """
    step = max(1, AT_ONCE // max(len(hashes), 1))
    for start in range(0, len(hashes), step):
        block = hashes[start : start + step]
        bits = np.bitwise_count(block[:, None] ^ hashes[None, start:])
        for row, column in np.argwhere(bits <= distance):
            if row < column:
                yield start + int(row), start + int(column), int(bits[row, column])


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


def join(count: int, pairs: Iterable[tuple[int, int]]) -> list[int]:
    """Union-find: the smallest member of the group each of `count` items belongs to."""
    parent = list(range(count))

    def root(item: int) -> int:
        while parent[item] != item:
            parent[item] = parent[parent[item]]
            item = parent[item]
        return item

    for first, second in pairs:
        low, high = sorted((root(first), root(second)))
        parent[high] = low
    return [root(item) for item in range(count)]
