"""Scores of a classifier with their uncertainty, from targets and probabilities."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fer_pipeline.evaluation.scores import ClassScore, Interval, Scores

RESAMPLES = 1000


def wilson_interval(correct: int, total: int) -> tuple[float, float]:
    """95 % interval of a proportion (Wilson 1927); (0, 1) if nothing was counted."""
    from scipy.stats import binomtest

    if total == 0:
        return 0.0, 1.0
    low, high = binomtest(int(correct), int(total)).proportion_ci(method="wilson")
    return float(low), float(high)


def round_interval(interval: tuple[float, float]) -> Interval:
    """An interval as it is written: four digits."""
    low, high = interval
    return round(low, 4), round(high, 4)


def bootstrap_macro_f1(targets: NDArray[np.int64], guesses: NDArray[np.int64], classes: int) -> tuple[float, float]:
    """95 % percentile interval of macro-F1 over 1000 resamples of the images (Efron 1979)."""
    rng = np.random.default_rng(0)
    scores = []
    for _ in range(RESAMPLES):
        chosen = rng.integers(0, len(targets), len(targets))
        counts = np.bincount(targets[chosen] * classes + guesses[chosen], minlength=classes * classes)
        scores.append(macro_f1(counts.reshape(classes, classes)))
    low, high = np.percentile(scores, [2.5, 97.5])
    return float(low), float(high)


def macro_f1(confusion: NDArray[Any]) -> float:
    """Mean F1 of the classes that occur, from a confusion matrix (rows: true).

    As scikit-learn's `f1_score`, but from counts, since a bootstrap needs it a thousand times.
    """
    hits, sums = np.diag(confusion), confusion.sum(axis=0) + confusion.sum(axis=1)
    present = confusion.sum(axis=1) > 0
    return float(np.mean(2 * hits[present] / np.maximum(sums[present], 1)))


def score(targets: NDArray[np.int64], probabilities: NDArray[np.float32], labels: list[str]) -> Scores:
    """Score probabilities (n, classes) against targets (n,): overall, by class, and the confusion matrix."""
    from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

    guesses = probabilities.argmax(axis=1)
    indices = list(range(len(labels)))
    confusion = confusion_matrix(targets, guesses, labels=indices)
    columns = precision_recall_fscore_support(targets, guesses, labels=indices, zero_division=0)
    per_class = {
        label: ClassScore(
            precision=round(float(precision), 4),
            recall=round(float(recall), 4),
            recall_ci95=round_interval(wilson_interval(hits, support)),
            f1=round(float(f1), 4),
            support=int(support),
        )
        for label, hits, precision, recall, f1, support in zip(labels, np.diag(confusion), *columns, strict=True)
    }
    correct = int((targets == guesses).sum())
    return Scores(
        count=len(targets),
        accuracy=round(correct / len(targets), 4),
        accuracy_ci95=round_interval(wilson_interval(correct, len(targets))),
        macro_f1=round(macro_f1(confusion), 4),
        macro_f1_ci95=round_interval(bootstrap_macro_f1(targets, guesses, len(labels))),
        per_class=per_class,
        confusion=confusion.tolist(),
        labels=labels,
    )
