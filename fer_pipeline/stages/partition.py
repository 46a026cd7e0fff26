"""Part images into two sets, never through a group: a test part that stays as data grow, and a validation part."""

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence, Set


def choose_test(
    labels: Sequence[str], groups: Sequence[str], share: float, seed: int, covered: Set[tuple[str, str]] = frozenset()
) -> list[bool]:
    """Choose which of n images are for the test part: each group by the hash of its name and the seed alone.

    So what comes or goes moves no other image, and each label has `share` of its groups there in expectation. A label
    that would have no test image gives its group of lowest hash, if it has two or more; one that would have no training
    image keeps its group of highest hash. `covered` holds the (label, part) that other images see to.
    """
    values = {group: _unit(group, seed) for group in groups}
    held = {group for group, value in values.items() if value < share}
    members: dict[str, set[str]] = defaultdict(set)
    for label, group in zip(labels, groups, strict=True):
        members[label].add(group)
    for label, own in sorted(members.items()):
        order = sorted(own, key=lambda group: (values[group], group))
        needed = (label, "train") in covered and (label, "test") not in covered
        if (len(order) > 1 or needed) and not own & held:  # also if others see to it: they may come later
            held.add(order[0])
    for label, own in sorted(members.items()):
        order = sorted(own, key=lambda group: (values[group], group))
        if (label, "train") not in covered and own <= held:
            held.discard(order[-1])
    return [group in held for group in groups]


def _unit(name: str, seed: int) -> float:
    """A number from 0 to 1 that follows from a name and a seed."""
    return int(_order(name, seed)[:13], 16) / 16**13


def part_groups(labels: Sequence[str], groups: Sequence[str], share: float, seed: int) -> list[bool]:
    """Which of n images belong to the held-out part: about `share` of every label, whole groups only.

    Groups are taken in the order of a hash, not of a shuffle, so that a few more images move few others. Each label
    gets at least one image, if it has one to spare.
    """
    members = defaultdict(list)
    for index, group in enumerate(groups):
        members[group].append(index)
    totals = Counter(labels)
    wanted = {label: max(1, round(share * count)) if count > 1 else 0 for label, count in totals.items()}
    order = sorted(members, key=lambda name: _order(name, seed))
    contents = {group: Counter(labels[index] for index in members[group]) for group in order}
    held: Counter[str] = Counter()
    chosen = set()
    for group in order:
        if all(held[label] + count <= wanted[label] for label, count in contents[group].items()):
            held += contents[group]
            chosen.add(group)
    for label in sorted(label for label in wanted if wanted[label]):
        if not held[label] and (spare := _smallest_spare(contents, label, totals - held)) is not None:
            held += contents[spare]
            chosen.add(spare)
    return [group in chosen for group in groups]


def hold_sessions(sessions: Mapping[str, Collection[str]], known: Collection[str], share: float) -> set[str]:
    """Which sessions before a camera are for the test part; `sessions` are the labels of each, `known` those elsewhere.

    One alone is learned from. Of two or more, in the order of their names and so of time, at least one is held out and
    about `share` of all; a later session never changes the part of an earlier one. One that alone has some label is
    learned from too.
    """
    learned, held = set(known), set[str]()
    for count, name in enumerate(sorted(sessions, key=_by_time), start=1):
        wanted = max(1, round(share * count)) if count > 1 else 0
        if len(held) < wanted and learned.issuperset(sessions[name]):
            held.add(name)
        else:
            learned.update(sessions[name])
    return held


def _by_time(name: str) -> list[str]:
    """Numbers in a name count as numbers: the tenth session of a day comes after its second."""
    return [part.zfill(12) if part.isdigit() else part for part in re.split(r"(\d+)", name)]


def _smallest_spare(contents: dict[str, Counter[str]], label: str, left: Counter[str]) -> str | None:
    """Where every group of a label is larger than its share: the smallest that leaves some of each label behind."""
    spare = [
        group
        for group, content in contents.items()
        if label in content and all(count < left[name] for name, count in content.items())
    ]
    return min(spare, key=lambda group: contents[group].total(), default=None)


def _order(name: str, seed: int) -> str:
    return hashlib.sha256(f"{seed} {name}".encode()).hexdigest()
