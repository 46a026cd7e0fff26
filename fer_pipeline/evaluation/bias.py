"""Source bias: can the label be told from what is not the expression?

For every attribute alone a shallow tree tells each class from the rest, and for all attributes of a kind together a
forest tells all classes; every image is judged by a tree that has seen neither it nor its group. What counts is the
balanced accuracy (mean recall of both sides), which rewards no guess: chance is a half, whatever the class sizes. An
attribute of the file raises the alarm when the lower end of the interval lies above a limit well over chance, so that
neither luck nor a faint tendency does; an attribute of the light, which the expression itself moves, is a hint only.
"""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fer_pipeline.dataset.rows import Row
from fer_pipeline.evaluation.image_attributes import FILE_ATTRIBUTES, LIGHT_ATTRIBUTES, Value
from fer_pipeline.evaluation.metrics import wilson_interval
from fer_pipeline.models.data import source_of

Table = dict[str, list[Value]]
CLOSE = 0.01  # attributes whose balanced accuracies differ by less tell the same


@dataclass(frozen=True)
class Clue:
    """How well one attribute alone tells a class from the rest; the interval is that of the balanced accuracy."""

    attribute: str
    label: str
    balanced: float
    ci95: tuple[float, float]
    accuracy: float  # share of the images, beside `commoner`: always giving the commoner answer
    commoner: float
    of_file: bool

    def is_clear(self, limit: float) -> bool:
        """Whether it is neither luck nor a faint tendency."""
        return self.ci95[0] > limit


@dataclass(frozen=True)
class Together:
    """How well all attributes of a kind tell all classes; naming one class always has balanced accuracy `chance`."""

    balanced: float
    ci95: tuple[float, float]
    chance: float
    of_file: bool

    def is_clear(self, limit: float) -> bool:
        """The same share of the way from chance to certainty as the limit is for two classes."""
        return self.ci95[0] > self.chance + (1 - self.chance) * (2 * limit - 1)


@dataclass(frozen=True)
class Bias:
    """All clues, the clearest first; `together` for attributes of file and light; sources a class is alone in."""

    clues: list[Clue]
    together: list[Together]
    single: dict[str, str]
    sources: int
    limit: float

    @property
    def is_alarming(self) -> bool:
        """Whether attributes of the file tell a class, or a class comes from one source of several."""
        clear: list[Clue | Together] = [*self.clues, *self.together]
        return bool(self.single) or any(one.of_file and one.is_clear(self.limit) for one in clear)


def check_bias(table: Table, rows: Sequence[Row], folds: NDArray[np.int64], limit: float) -> Bias:
    """Look for clues in the attributes of n images; `folds` (n,) keeps groups whole."""
    labels = np.array([str(row.label) for row in rows])
    groups = np.array([row.group or row.path for row in rows])
    names = sorted(set(labels.tolist()))
    clues = [
        _look_alone(name, columns, np.asarray(labels == label), label, groups, folds)
        for name, columns in ((name, as_columns(values)) for name, values in table.items())
        for label in (names if len(names) > 2 else names[:1])
    ]
    kinds = ((FILE_ATTRIBUTES, True), (LIGHT_ATTRIBUTES, False))
    parts = [([as_columns(table[name]) for name in kind if name in table], of_file) for kind, of_file in kinds]
    together = [_look_together(columns, labels, groups, folds, of_file) for columns, of_file in parts if columns]
    order = list(FILE_ATTRIBUTES | LIGHT_ATTRIBUTES)
    clues.sort(key=lambda clue: (not clue.of_file, -clue.balanced, order.index(clue.attribute)))
    return Bias(clues, together, single_sources(rows), len({source_of(row) for row in rows}), limit)


def single_sources(rows: Sequence[Row]) -> dict[str, str]:
    """Classes whose images all come from one source while others come from elsewhere too."""
    sources: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        sources[str(row.label)].add(source_of(row))
    if len(set().union(*sources.values())) < 2:
        return {}
    return {label: next(iter(found)) for label, found in sorted(sources.items()) if len(found) == 1}


def as_columns(values: list[Value]) -> NDArray[np.float64]:
    """An attribute as numbers (n, k): itself with NaN for unknown, or for names one column each."""
    if any(isinstance(value, str) for value in values):
        names = sorted({str(value) for value in values})
        return np.array([[float(str(value) == name) for name in names] for value in values])
    return np.array([[math.nan if value is None else round(float(value), 4)] for value in values])


def _look_alone(
    attribute: str,
    columns: NDArray[np.float64],
    own: NDArray[np.bool_],
    label: str,
    groups: NDArray[np.str_],
    folds: NDArray[np.int64],
) -> Clue:
    from sklearn.tree import DecisionTreeClassifier

    leaf = max(5, len(own) // 100)
    tree = DecisionTreeClassifier(max_depth=3, min_samples_leaf=leaf, class_weight="balanced", random_state=0)
    guesses = _judge(tree, columns, own, folds)
    balanced, ci95 = balanced_accuracy(own, guesses, groups)
    accuracy, share = float((guesses == own).mean()), float(own.mean())
    return Clue(attribute, label, balanced, ci95, accuracy, max(share, 1 - share), attribute in FILE_ATTRIBUTES)


def _look_together(
    columns: list[NDArray[np.float64]],
    labels: NDArray[np.str_],
    groups: NDArray[np.str_],
    folds: NDArray[np.int64],
    of_file: bool,
) -> Together:
    from sklearn.ensemble import RandomForestClassifier

    leaf = max(5, len(labels) // 100)
    forest = RandomForestClassifier(50, max_depth=6, min_samples_leaf=leaf, class_weight="balanced", random_state=0)
    guesses = _judge(forest, np.hstack(columns), labels, folds)
    return Together(*balanced_accuracy(labels, guesses, groups), 1 / len(set(labels.tolist())), of_file)


def _judge(model: Any, columns: NDArray[np.float64], targets: NDArray[Any], folds: NDArray[np.int64]) -> NDArray[Any]:
    """What the model says of every image when trained on the other folds."""
    guesses = np.empty_like(targets)
    for fold in range(int(folds.max()) + 1):
        held = folds == fold
        guesses[held] = model.fit(columns[~held], targets[~held]).predict(columns[held])
    return guesses


def balanced_accuracy(
    targets: NDArray[Any], guesses: NDArray[Any], groups: NDArray[np.str_]
) -> tuple[float, tuple[float, float]]:
    """Mean recall over the classes, and its 95 % interval from the recalls' Wilson intervals.

    The intervals are combined by MOVER (Zou and Donner 2008), which holds for few images and for recalls of 1. Images
    of one group, such as near-copies, count once.
    """
    recalls, below, above = [], 0.0, 0.0
    for one in np.unique(targets):
        chosen = targets == one
        recall, count = float((guesses[chosen] == one).mean()), len(set(groups[chosen].tolist()))
        low, high = wilson_interval(round(recall * count), count)
        recalls.append(recall)
        below += max(recall - low, 0.0) ** 2
        above += max(high - recall, 0.0) ** 2
    balanced, parts = float(np.mean(recalls)), len(recalls)
    return balanced, (max(0.0, balanced - math.sqrt(below) / parts), min(1.0, balanced + math.sqrt(above) / parts))
