"""Calibration of confidences, and selective prediction: accuracy if only confident predictions are given."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fer_pipeline.evaluation.metrics import round_interval, wilson_interval
from fer_pipeline.evaluation.scores import Calibration, ReliabilityBin, Selective, ThresholdScore

BINS = 15  # as in Guo et al. 2017
THRESHOLDS = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95)


def measure_calibration(targets: NDArray[np.int64], probabilities: NDArray[np.float32]) -> Calibration:
    """Expected calibration error over 15 bins of confidence of equal width, and the bins.

    ECE = Σ over bins of (images in the bin / all images) · |accuracy - mean confidence| (Guo et al. 2017, eq. 3).
    """
    confidences, hits = probabilities.max(axis=1).astype(float), probabilities.argmax(axis=1) == targets
    places = np.clip(np.ceil(confidences * BINS).astype(int) - 1, 0, BINS - 1)
    bins, error = [], 0.0
    for place in range(BINS):
        chosen = places == place
        count = int(chosen.sum())
        low, high = round(place / BINS, 4), round((place + 1) / BINS, 4)
        if not count:
            bins.append(ReliabilityBin(low=low, high=high, count=0))
            continue
        confidence, accuracy = float(confidences[chosen].mean()), float(hits[chosen].mean())
        error += count / len(targets) * abs(accuracy - confidence)
        rounded = {"confidence": round(confidence, 4), "accuracy": round(accuracy, 4)}
        bins.append(ReliabilityBin(low=low, high=high, count=count, **rounded))
    return Calibration(ece=round(error, 4), bins=bins)


def measure_threshold(
    targets: NDArray[np.int64], probabilities: NDArray[np.float32], threshold: float
) -> ThresholdScore:
    """Coverage and accuracy if predictions below a confidence are withheld."""
    answered = probabilities.max(axis=1) >= threshold
    count, correct = int(answered.sum()), int((answered & (probabilities.argmax(axis=1) == targets)).sum())
    return ThresholdScore(
        threshold=threshold,
        answered=count,
        coverage=round(count / len(targets), 4),
        accuracy=round(correct / count, 4) if count else None,
        accuracy_ci95=round_interval(wilson_interval(correct, count)),
    )


def measure_selective(
    targets: NDArray[np.int64],
    probabilities: NDArray[np.float32],
    threshold: float,
    thresholds: Sequence[float] = THRESHOLDS,
) -> Selective:
    """Selective prediction at the model's own threshold, and a table of others to choose from."""
    table = [measure_threshold(targets, probabilities, one) for one in thresholds]
    return Selective(**dict(measure_threshold(targets, probabilities, threshold)), table=table)
