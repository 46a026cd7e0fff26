"""Part images into two sets: by label in the right proportion, and never through a group."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Sequence


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
    held: Counter[str] = Counter()
    chosen = [False] * len(labels)
    for group in sorted(members, key=lambda name: _order(name, seed)):
        content = Counter(labels[index] for index in members[group])
        if all(held[label] + count <= wanted[label] for label, count in content.items()):
            held += content
            for index in members[group]:
                chosen[index] = True
    return chosen


def _order(name: str, seed: int) -> str:
    return hashlib.sha256(f"{seed} {name}".encode()).hexdigest()
