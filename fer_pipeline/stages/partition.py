"""Part images into two sets: by label in the right proportion, and never through a group."""

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence


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
