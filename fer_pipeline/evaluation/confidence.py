"""What a confidence is worth: how far it is from the share of hits, and what is gained by answering only when sure."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fer_pipeline.evaluation.metrics import wilson_interval

BINS = 15  # as in Guo et al. 2017
THRESHOLDS = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95)


def measure_reliability(targets: NDArray[np.int64], probabilities: NDArray[np.float32]) -> dict[str, Any]:
    """The expected calibration error, and for each of 15 equal-wide bins of confidence its count, mean and accuracy.

    ECE = Σ over bins of (images in the bin / all images) · |accuracy - mean confidence| (Guo et al. 2017, eq. 3).
    An empty bin has neither mean nor accuracy.
    """
    sure, hits = probabilities.max(axis=1).astype(float), probabilities.argmax(axis=1) == targets
    places = np.clip(np.ceil(sure * BINS).astype(int) - 1, 0, BINS - 1)
    bins, error = [], 0.0
    for place in range(BINS):
        chosen = places == place
        count = int(chosen.sum())
        told: dict[str, Any] = {"low": round(place / BINS, 4), "high": round((place + 1) / BINS, 4), "count": count}
        if count:
            confidence, accuracy = float(sure[chosen].mean()), float(hits[chosen].mean())
            error += count / len(targets) * abs(accuracy - confidence)
            told |= {"confidence": round(confidence, 4), "accuracy": round(accuracy, 4)}
        bins.append(told)
    return {"ece": round(error, 4), "bins": bins}


def measure_answered(
    targets: NDArray[np.int64], probabilities: NDArray[np.float32], threshold: float
) -> dict[str, Any]:
    """Coverage, and the accuracy of what is answered, if answers below a confidence are withheld.

    Selective prediction: El-Yaniv and Wiener 2010. The accuracy is None where nothing is answered.
    """
    answered = probabilities.max(axis=1) >= threshold
    count, correct = int(answered.sum()), int((answered & (probabilities.argmax(axis=1) == targets)).sum())
    return {
        "threshold": threshold,
        "answered": count,
        "coverage": round(count / len(targets), 4),
        "accuracy": round(correct / count, 4) if count else None,
        "accuracy_ci95": [round(value, 4) for value in wilson_interval(correct, count)],
    }


def measure_selective(
    targets: NDArray[np.int64],
    probabilities: NDArray[np.float32],
    threshold: float,
    thresholds: Sequence[float] = THRESHOLDS,
) -> dict[str, Any]:
    """What is answered at the model's own threshold, and a table of others to choose from."""
    table = [measure_answered(targets, probabilities, one) for one in thresholds]
    return measure_answered(targets, probabilities, threshold) | {"table": table}
