"""Near pairs are found exactly, as by comparing all with all."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fer_pipeline.stages import near_duplicates as neighbours
from fer_pipeline.stages.dedupe import group_beside
from fer_pipeline.stages.near_duplicates import Hashes, group_hashes, key_sets, near_hashes, near_vectors, tie


@pytest.fixture(params=[1, 500, 2_000_000])
def block(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Small blocks show what goes wrong where one ends."""
    for name in ("AT_ONCE", "BLOCK", "PENDING"):
        monkeypatch.setattr(neighbours, name, request.param)


def draw_hashes(count: int, clusters: int, flips: int, seed: int) -> Hashes:
    """Hashes in clusters: bits of some chosen ones flipped at random; without flips all are copies."""
    rng = np.random.default_rng(seed)
    hashes = rng.integers(0, 2**64, max(clusters, 1), np.uint64)[rng.integers(0, max(clusters, 1), count)]
    for _ in range(flips):
        hashes ^= np.uint64(1) << rng.integers(0, 64, count, np.uint64)
    return hashes


def compare_all(hashes: Hashes, distance: int) -> list[tuple[int, int]]:
    near = np.bitwise_count(hashes[:, None] ^ hashes[None]) <= distance
    return [(int(i), int(j)) for i, j in np.argwhere(np.triu(near, 1))]


def all_pairs(hashes: Hashes, distance: int) -> list[tuple[int, int]]:
    return sorted(
        pair for block in near_hashes(hashes, distance) for pair in zip(*(ends.tolist() for ends in block), strict=True)
    )


def group_by(count: int, pairs: list[tuple[int, int]]) -> list[int]:
    """Union-find as in a textbook."""
    parent = list(range(count))

    def root(item: int) -> int:
        return item if parent[item] == item else root(parent[item])

    for first, second in pairs:
        low, high = sorted((root(first), root(second)))
        parent[high] = low
    return [root(item) for item in range(count)]


HASHES = st.builds(
    draw_hashes, st.integers(0, 120), st.integers(1, 40), st.integers(0, 12), st.integers(0, 2**32)
)  # fmt: skip


@settings(max_examples=40, deadline=None)
@given(HASHES, st.integers(0, 20), st.data())
def test_near_hashes_are_those_of_brute_force_whatever_the_keys(hashes: Hashes, distance: int, data: Any) -> None:
    keys = data.draw(st.sampled_from(list(key_sets(distance))))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(neighbours, "choose_keys", lambda *_: keys)
        patch.setattr(neighbours, "LONG", data.draw(st.sampled_from([2, 8, 1024])))
        wanted = compare_all(hashes, distance)
        assert all_pairs(hashes, distance) == wanted
        assert group_hashes(hashes, distance).tolist() == group_by(len(hashes), wanted)


@settings(max_examples=40, deadline=None)
@given(HASHES, st.integers(0, 20), st.integers(0, 2**32))
def test_those_set_apart_are_tied_to_the_others_only(hashes: Hashes, distance: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    apart = rng.random(len(hashes)) < rng.random()
    wanted = [(i, j) for i, j in compare_all(hashes, distance) if not (apart[i] and apart[j])]
    assert group_beside(hashes, apart, distance).tolist() == group_by(len(hashes), wanted)


def test_a_crowd_set_apart_is_not_compared_with_itself() -> None:
    """200,000 equal hashes have 20 billion pairs, which would take more memory and time than a test has."""
    alike = np.full(200_000, 7, np.uint64)
    apart = np.arange(len(alike)) > 0
    assert set(group_beside(alike, apart, 8).tolist()) == {0}
    assert group_beside(alike, apart | True, 8).tolist() == list(range(len(alike)))
    beside = np.concatenate((alike, np.full(100_000, 2**64 - 1, np.uint64)))
    groups = group_beside(beside, np.arange(len(beside)) >= len(alike), 8)
    assert set(groups[: len(alike)].tolist()) == {0}
    assert groups[len(alike) :].tolist() == list(range(len(alike), len(beside)))


@pytest.mark.usefixtures("block")
@pytest.mark.parametrize("distance", [0, 3, 8, 64])
def test_near_hashes_are_those_of_brute_force(distance: int) -> None:
    drawn = draw_hashes(60, 20, 1, distance)
    hashes = np.concatenate((drawn, drawn[:2], np.array([0, 2**64 - 1], np.uint64)))
    wanted = compare_all(hashes, distance)
    assert all_pairs(hashes, distance) == wanted
    assert len(wanted) >= 2


@pytest.mark.parametrize("distance", [4, 6, 8])
def test_keys_are_chosen_for_many_hashes_and_no_pair_is_missed(distance: int) -> None:
    hashes = draw_hashes(20_000, 15_000, 0, 1)
    hashes[:10_000] ^= draw_hashes(10_000, 1, distance // 2, 2) ^ draw_hashes(1, 1, 0, 2)[0]
    assert len(neighbours.choose_keys(hashes, distance)) > 1
    sample = np.random.default_rng(3).integers(0, len(hashes), 200)
    near = np.bitwise_count(hashes[sample][:, None] ^ hashes[None]) <= distance
    wanted = {
        (min(int(sample[i]), int(j)), max(int(sample[i]), int(j))) for i, j in np.argwhere(near) if sample[i] != j
    }
    assert wanted <= set(all_pairs(hashes, distance))
    assert wanted


def test_every_set_of_keys_has_one_for_any_few_errors() -> None:
    rng = np.random.default_rng(0)
    for distance in range(21):
        for keys in key_sets(distance):
            for _ in range(30):
                errors = np.bitwise_or.reduce(np.uint64(1) << rng.choice(64, distance, replace=False).astype(np.uint64))
                assert any(key & errors == 0 for key in keys), distance


def test_all_hashes_equal_are_one_group_at_once() -> None:
    assert set(group_hashes(np.full(300_000, 7, np.uint64), 8).tolist()) == {0}


def test_a_crowd_of_hashes_alike_beside_others_is_one_group() -> None:
    crowd = draw_hashes(30_000, 1, 3, 5)
    groups = group_hashes(np.concatenate((np.random.default_rng(6).integers(0, 2**64, 5_000, np.uint64), crowd)), 6)
    assert set(groups[5_000:].tolist()) == {5_000}
    assert groups[:5_000].tolist() == list(range(5_000))


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


@pytest.mark.parametrize("count", [0, 1])
def test_nothing_and_one_have_no_neighbours(count: int) -> None:
    hashes = np.zeros(count, np.uint64)
    assert all_pairs(hashes, 5) == []
    assert group_hashes(hashes, 5).tolist() == list(range(count))
    assert list(near_vectors(np.zeros((0, 4), np.float32), 1)) == []


def tied(count: int, pairs: list[tuple[int, int]]) -> list[int]:
    groups = np.arange(count)
    ends = np.array(pairs, np.int64).reshape(-1, 2)
    tie(groups, ends[:, 0], ends[:, 1])
    return [int(group) for group in groups]


def test_tied_items_bear_the_name_of_their_smallest_member() -> None:
    assert tied(7, [(5, 6), (1, 2), (4, 5), (2, 0)]) == [0, 0, 0, 3, 4, 4, 4]
    assert tied(3, []) == [0, 1, 2]


@given(st.lists(st.tuples(st.integers(0, 39), st.integers(0, 39)), max_size=80))
def test_ties_are_those_of_union_find_whatever_the_order(pairs: list[tuple[int, int]]) -> None:
    assert tied(40, pairs) == tied(40, [(b, a) for a, b in reversed(pairs)]) == group_by(40, pairs)


def test_a_long_chain_is_one_group() -> None:
    assert set(tied(5000, [(index, index + 1) for index in range(4999)])) == {0}
