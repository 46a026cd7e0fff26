"""Scores of a classifier with their uncertainty, from targets and probabilities."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

SUM = ("count", "accuracy", "accuracy_ci95", "macro_f1", "macro_f1_ci95")  # of a score, in short
Z95 = 1.959964  # two-sided 95 % of the normal distribution


def wilson_interval(correct: int, total: int) -> tuple[float, float]:
    """95 % interval of a proportion (Wilson 1927); (0, 1) if nothing was counted."""
    if total == 0:
        return 0.0, 1.0
    share, square = correct / total, Z95 * Z95
    centre = (share + square / (2 * total)) / (1 + square / total)
    half = Z95 * math.sqrt(share * (1 - share) / total + square / (4 * total * total)) / (1 + square / total)
    return max(0.0, centre - half), min(1.0, centre + half)


def bootstrap_macro_f1(targets: NDArray[np.int64], guesses: NDArray[np.int64], classes: int) -> tuple[float, float]:
    """95 % percentile interval of macro-F1 over 1000 resamples of the images (Efron 1979)."""
    rng = np.random.default_rng(0)
    scores = []
    for _ in range(1000):
        chosen = rng.integers(0, len(targets), len(targets))
        counts = np.bincount(targets[chosen] * classes + guesses[chosen], minlength=classes * classes)
        scores.append(macro_f1(counts.reshape(classes, classes)))
    low, high = np.percentile(scores, [2.5, 97.5])
    return float(low), float(high)


def macro_f1(confusion: NDArray[Any]) -> float:
    """The mean F1 of the classes that occur, of a confusion matrix (rows: true)."""
    hits, sums = np.diag(confusion), confusion.sum(axis=0) + confusion.sum(axis=1)
    present = confusion.sum(axis=1) > 0
    return float(np.mean(2 * hits[present] / np.maximum(sums[present], 1)))


def sum_up(figures: dict[str, Any]) -> dict[str, Any]:
    """A score in short: how many images, accuracy and macro-F1 with their intervals."""
    return {key: figures[key] for key in SUM}


def score(targets: NDArray[np.int64], probabilities: NDArray[np.float32], labels: list[str]) -> dict[str, Any]:
    """Accuracy, macro-F1, per-class figures and the confusion matrix (rows: true, columns: predicted)."""
    from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

    guesses = probabilities.argmax(axis=1)
    indices = list(range(len(labels)))
    confusion = confusion_matrix(targets, guesses, labels=indices)
    columns = precision_recall_fscore_support(targets, guesses, labels=indices, zero_division=0)
    per_class = {
        label: {
            "precision": round(float(precision), 4),
            "recall": round(float(recall), 4),
            "recall_ci95": [round(value, 4) for value in wilson_interval(round(float(recall) * support), int(support))],
            "f1": round(float(f1), 4),
            "support": int(support),
        }
        for label, precision, recall, f1, support in zip(labels, *columns, strict=True)
    }
    correct = int((targets == guesses).sum())
    return {
        "count": len(targets),
        "accuracy": round(correct / len(targets), 4),
        "accuracy_ci95": [round(value, 4) for value in wilson_interval(correct, len(targets))],
        "macro_f1": round(macro_f1(confusion), 4),
        "macro_f1_ci95": [round(value, 4) for value in bootstrap_macro_f1(targets, guesses, len(labels))],
        "per_class": per_class,
        "confusion": confusion.tolist(),
        "labels": labels,
    }
