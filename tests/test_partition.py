"""Whole groups, the right share of every label, and a test part that stays when images are added."""

from collections import Counter

import numpy as np
import pytest

from fer_pipeline.stages.partition import choose_test, hold_sessions, part_groups

SEEDS = range(5)


def draw_labels(seed: int, count: int = 600) -> tuple[list[str], list[str]]:
    """Labels of three unequal classes and groups of one to five images, some with more than one label."""
    rng = np.random.default_rng(seed)
    groups = np.repeat(np.arange(count), rng.integers(1, 6, count))[:count]
    labels = rng.choice(["a", "b", "c"], count, p=[0.6, 0.3, 0.1])[groups]
    strays = rng.random(count) < 0.05
    labels[strays] = rng.choice(["a", "b", "c"], strays.sum())
    return [str(label) for label in labels], [f"g{group}" for group in groups]


@pytest.mark.parametrize("seed", SEEDS)
def test_a_group_stays_in_one_part(seed: int) -> None:
    labels, groups = draw_labels(seed)
    held = part_groups(labels, groups, 0.2, seed)
    assert all(len({part for part, name in zip(held, groups, strict=True) if name == group}) == 1 for group in groups)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("share", [0.1, 0.25, 0.5])
def test_every_label_gets_its_share(seed: int, share: float) -> None:
    labels, groups = draw_labels(seed)
    held = Counter(label for label, part in zip(labels, part_groups(labels, groups, share, seed), strict=True) if part)
    for label, total in Counter(labels).items():
        assert held[label] / total == pytest.approx(share, abs=0.04)


def test_single_images_are_parted_nine_to_one_exactly() -> None:
    labels = ["a"] * 100 + ["b"] * 50
    held = part_groups(labels, [str(index) for index in range(150)], 0.1, 0)
    assert Counter(label for label, part in zip(labels, held, strict=True) if part) == {"a": 10, "b": 5}


def test_the_same_seed_gives_the_same_parts_and_another_others() -> None:
    labels, groups = draw_labels(0)
    first = part_groups(labels, groups, 0.2, 0)
    assert part_groups(labels, groups, 0.2, 0) == first
    assert part_groups(labels, groups, 0.2, 1) != first


def test_the_order_of_the_images_does_not_matter() -> None:
    labels, groups = draw_labels(0)
    order = np.random.default_rng(1).permutation(len(labels))
    held = part_groups(labels, groups, 0.2, 0)
    shuffled = part_groups([labels[i] for i in order], [groups[i] for i in order], 0.2, 0)
    assert [held[i] for i in order] == shuffled


def test_a_few_more_images_move_few_others() -> None:
    names = [f"image {number}" for number in range(1050)]
    before = part_groups(["a"] * 1000, names[:1000], 0.1, 0)
    after = part_groups(["a"] * 1050, names, 0.1, 0)
    assert sum(old != new for old, new in zip(before, after, strict=False)) <= 10


def test_each_label_gets_one_image_if_it_has_one_to_spare() -> None:
    assert sum(part_groups(["a", "a"], ["1", "2"], 0.1, 0)) == 1
    assert part_groups(["a"], ["1"], 0.1, 0) == [False]


@pytest.mark.parametrize("seed", SEEDS)
def test_groups_larger_than_the_share_leave_no_label_without_a_part(seed: int) -> None:
    labels = ["a"] * 20 + ["b"] * 20
    groups = [str(index // 5) for index in range(40)]
    held = part_groups(labels, groups, 0.1, seed)
    assert Counter(label for label, part in zip(labels, held, strict=True) if part) == {"a": 5, "b": 5}


def test_a_label_of_one_group_is_never_held_back_whole() -> None:
    assert part_groups(["a"] * 6, ["only"] * 6, 0.5, 0) == [False] * 6


def test_nothing_is_parted_into_nothing() -> None:
    assert part_groups([], [], 0.1, 0) == []


@pytest.mark.parametrize("seed", SEEDS)
def test_a_group_is_in_the_test_part_or_not_whatever_else_there_is(seed: int) -> None:
    labels, groups = draw_labels(seed)
    whole = dict(zip(groups, choose_test(labels, groups, 0.2, seed), strict=True))
    half = dict(zip(groups[::2], choose_test(labels[::2], groups[::2], 0.2, seed), strict=True))
    assert all(whole[group] == part for group, part in half.items())
    assert sum(whole.values()) / len(whole) == pytest.approx(0.2, abs=0.07)


def test_a_label_without_a_test_image_gives_its_group_of_lowest_hash_for_good() -> None:
    for seed in range(30):
        few = [f"g{number}" for number in range(3)]
        held = choose_test(["a"] * 3, few, 0.01, seed)
        assert sum(held) == 1
        more = choose_test(["a"] * 2 + ["b"] * 300, few[:2] + [f"b{n}" for n in range(300)], 0.01, seed)
        assert sum(more[:2]) == 1, "each label by itself"


def test_a_label_keeps_a_group_to_learn_from() -> None:
    for seed in range(30):
        assert sum(choose_test(["a"] * 2, ["1", "2"], 0.95, seed)) == 1
        assert choose_test(["a"] * 4, ["only"] * 4, 0.95, seed) == [False] * 4


def test_test_images_that_come_from_elsewhere_move_no_other_back_to_training() -> None:
    for seed in range(30):
        alone = choose_test(["a"] * 3, ["1", "2", "3"], 0.001, seed)
        assert choose_test(["a"] * 3, ["1", "2", "3"], 0.001, seed, {("a", "test"), ("a", "train")}) == alone


def test_an_only_image_is_tested_on_where_the_training_images_come_from_elsewhere() -> None:
    assert choose_test(["a"], ["1"], 0.001, 0, {("a", "train")}) == [True]
    assert choose_test(["a"], ["1"], 0.001, 0, {("a", "train"), ("a", "test")}) == [False]


def test_one_session_is_learned_from_and_of_two_the_second_is_held_out() -> None:
    names = [f"webcam:2026-11-{day}" for day in range(10, 30)]
    for count in range(1, len(names)):
        sessions = {name: {"a", "b"} for name in names[:count]}
        held = hold_sessions(sessions, {"a", "b"}, 0.1)
        assert len(held) == (0 if count == 1 else max(1, round(0.1 * count)))
        assert count == 1 or names[1] in held
        assert held == {
            name for name in hold_sessions({**sessions, "webcam:2027": {"a"}}, {"a", "b"}, 0.1) if name in sessions
        }


def test_a_session_that_alone_has_some_label_is_learned_from() -> None:
    sessions = {"webcam:1": {"a"}, "webcam:2": {"b"}, "webcam:3": {"a"}}
    assert hold_sessions(sessions, {"a"}, 0.1) == {"webcam:3"}
    assert hold_sessions(sessions, {"a", "b"}, 0.1) == {"webcam:2"}


def test_the_tenth_session_of_a_day_comes_after_its_second() -> None:
    day = ["webcam:2026-11-20", *(f"webcam:2026-11-20-{number}" for number in range(2, 13))]
    assert hold_sessions({name: {"a"} for name in day}, {"a"}, 0.1) == {day[1]}
