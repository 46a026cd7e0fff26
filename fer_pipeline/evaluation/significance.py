"""Whether one classifier is significantly better than another on the same images."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Comparison:
    """Difference in accuracy on the same images, with its 95 % interval and the p-value of McNemar's exact test."""

    gain: float
    low: float
    high: float
    won: int  # images that only the first got right
    lost: int  # images that only the second got right
    p_value: float
    count: int


def mcnemar(won: int, lost: int) -> float:
    """p-value of McNemar's exact test (1947): a binomial test of the images that only one has right."""
    from scipy.stats import binomtest

    return float(binomtest(won, won + lost).pvalue) if won + lost else 1.0


def compare_hits(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> Comparison:
    """Compare which of n images two classifiers have right: McNemar's test, and a percentile bootstrap."""
    won, lost = int((first & ~second).sum()), int((second & ~first).sum())
    differences = first.astype(np.float64) - second.astype(np.float64)
    rng = np.random.default_rng(0)
    count = len(differences)
    gains = [float(differences[rng.integers(0, count, count)].mean()) for _ in range(2000)]
    low, high = np.percentile(gains, [2.5, 97.5])
    return Comparison(float(differences.mean()), float(low), float(high), won, lost, mcnemar(won, lost), count)
