"""Source bias: can the label be predicted from anything but the expression?

From each attribute alone a shallow tree predicts each class against the rest, and from all attributes of a kind a
forest predicts all classes, always out of fold with groups kept whole. The measure is balanced accuracy (mean recall),
which is a half by chance, whatever the class sizes. An attribute of the file raises the alarm if the lower end of its
interval is above a limit well over chance; an attribute of the light, which the expression itself changes, is a hint.
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
CLOSE = 0.01  # balanced accuracies that differ by less are taken as equal


@dataclass(frozen=True)
class AttributeBias:
    """How well one attribute alone predicts a class against the rest; the interval is of the balanced accuracy."""

    attribute: str
    label: str
    balanced: float
    ci95: tuple[float, float]
    accuracy: float
    majority: float  # accuracy of always predicting the more frequent side
    of_file: bool

    def is_clear(self, limit: float) -> bool:
        """Whether the interval lies above the limit."""
        return self.ci95[0] > limit


@dataclass(frozen=True)
class JointBias:
    """How well all attributes of a kind together predict all classes; by chance the balanced accuracy is `chance`."""

    balanced: float
    ci95: tuple[float, float]
    chance: float
    of_file: bool

    def is_clear(self, limit: float) -> bool:
        """Whether the interval lies above the limit, scaled from two classes to the number of classes."""
        return self.ci95[0] > self.chance + (1 - self.chance) * (2 * limit - 1)


@dataclass(frozen=True)
class Bias:
    """Bias of each attribute, the strongest first, and of all together; classes with a `single` source."""

    attributes: list[AttributeBias]
    together: list[JointBias]
    single: dict[str, str]
    sources: int
    limit: float

    @property
    def is_alarming(self) -> bool:
        """Whether attributes of the file predict a class, or a class comes from one source of several."""
        biases: list[AttributeBias | JointBias] = [*self.attributes, *self.together]
        return bool(self.single) or any(one.of_file and one.is_clear(self.limit) for one in biases)


def check_bias(table: Table, rows: Sequence[Row], folds: NDArray[np.int64], limit: float) -> Bias:
    """Measure how well the attributes of n images predict their labels; `folds` (n,) keeps groups whole."""
    labels = np.array([str(row.label) for row in rows])
    groups = np.array([row.group or row.path for row in rows])
    names = sorted(set(labels.tolist()))
    attributes = [
        _measure_alone(name, columns, np.asarray(labels == label), label, groups, folds)
        for name, columns in ((name, as_columns(values)) for name, values in table.items())
        for label in (names if len(names) > 2 else names[:1])
    ]
    kinds = ((FILE_ATTRIBUTES, True), (LIGHT_ATTRIBUTES, False))
    parts = [([as_columns(table[name]) for name in kind if name in table], of_file) for kind, of_file in kinds]
    together = [_measure_together(columns, labels, groups, folds, of_file) for columns, of_file in parts if columns]
    order = list(FILE_ATTRIBUTES | LIGHT_ATTRIBUTES)
    attributes.sort(key=lambda one: (not one.of_file, -one.balanced, order.index(one.attribute)))
    return Bias(attributes, together, single_sources(rows), len({source_of(row) for row in rows}), limit)


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


def _measure_alone(
    attribute: str,
    columns: NDArray[np.float64],
    own: NDArray[np.bool_],
    label: str,
    groups: NDArray[np.str_],
    folds: NDArray[np.int64],
) -> AttributeBias:
    from sklearn.tree import DecisionTreeClassifier

    leaf = max(5, len(own) // 100)
    tree = DecisionTreeClassifier(max_depth=3, min_samples_leaf=leaf, class_weight="balanced", random_state=0)
    guesses = _predict_out_of_fold(tree, columns, own, folds)
    balanced, ci95 = balanced_accuracy(own, guesses, groups)
    accuracy, share = float((guesses == own).mean()), float(own.mean())
    return AttributeBias(
        attribute, label, balanced, ci95, accuracy, max(share, 1 - share), attribute in FILE_ATTRIBUTES
    )


def _measure_together(
    columns: list[NDArray[np.float64]],
    labels: NDArray[np.str_],
    groups: NDArray[np.str_],
    folds: NDArray[np.int64],
    of_file: bool,
) -> JointBias:
    from sklearn.ensemble import RandomForestClassifier

    leaf = max(5, len(labels) // 100)
    forest = RandomForestClassifier(50, max_depth=6, min_samples_leaf=leaf, class_weight="balanced", random_state=0)
    guesses = _predict_out_of_fold(forest, np.hstack(columns), labels, folds)
    return JointBias(*balanced_accuracy(labels, guesses, groups), 1 / len(set(labels.tolist())), of_file)


def _predict_out_of_fold(
    model: Any, columns: NDArray[np.float64], targets: NDArray[Any], folds: NDArray[np.int64]
) -> NDArray[Any]:
    """Predict every image by the model trained on the other folds."""
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
