"""Near pairs are found exactly, as by comparing all with all."""

import numpy as np
import pytest

from fer_pipeline import neighbours
from fer_pipeline.neighbours import join, near_hashes, near_vectors


@pytest.fixture(params=[1, 500, 2_000_000])
def block(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Small blocks show what goes wrong where one ends."""
    monkeypatch.setattr(neighbours, "AT_ONCE", request.param)


@pytest.mark.usefixtures("block")
@pytest.mark.parametrize("distance", [0, 3, 8, 64])
def test_near_hashes_are_those_of_brute_force(distance: int) -> None:
    rng = np.random.default_rng(distance)
    hashes = rng.integers(0, 2**64, 10, np.uint64)
    flipped = [hashes[index] ^ np.bitwise_or.reduce(np.uint64(1) << rng.integers(0, 64, index, np.uint64))
               for index in range(1, 10)]  # fmt: skip
    hashes = np.concatenate((hashes, np.array(flipped, np.uint64), hashes[:2], np.array([0, 2**64 - 1], np.uint64)))
    wanted = [
        (i, j, bits)
        for i in range(len(hashes))
        for j in range(i + 1, len(hashes))
        if (bits := (int(hashes[i]) ^ int(hashes[j])).bit_count()) <= distance
    ]
    assert sorted(near_hashes(hashes, distance)) == wanted
    assert len(wanted) >= 2


@pytest.mark.usefixtures("block")
@pytest.mark.parametrize("distance", [0.5, 1.0])
def test_near_vectors_are_those_of_brute_force(distance: float) -> None:
    vectors = np.random.default_rng(1).normal(0, 0.3, (20, 5)).astype(np.float32)
    wanted = [
        (i, j)
        for i in range(20)
        for j in range(i + 1, 20)
        if np.linalg.norm(vectors[i].astype(float) - vectors[j]) <= distance
    ]
    assert sorted(near_vectors(vectors, distance)) == wanted
    assert 0 < len(wanted) < 190


def test_nothing_has_no_neighbours() -> None:
    assert list(near_hashes(np.array([], np.uint64), 5)) == []
    assert list(near_vectors(np.zeros((0, 4), np.float32), 1)) == []


def test_joined_items_bear_the_name_of_their_smallest_member() -> None:
    assert join(7, [(5, 6), (1, 2), (4, 5), (2, 0)]) == [0, 0, 0, 3, 4, 4, 4]
    assert join(3, []) == [0, 1, 2]


def test_joining_does_not_depend_on_the_order_of_the_pairs() -> None:
    rng = np.random.default_rng(0)
    pairs = [(int(a), int(b)) for a, b in rng.integers(0, 40, (25, 2))]
    wanted = join(40, pairs)
    for _ in range(5):
        rng.shuffle(pairs)
        assert join(40, [(b, a) for a, b in pairs]) == wanted


def test_a_long_chain_is_one_group() -> None:
    assert set(join(5000, [(index, index + 1) for index in range(4999)])) == {0}
