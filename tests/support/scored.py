"""Scores of made-up predictions, for the tests of what reads them."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from fer_pipeline.evaluation.evaluate import measure
from fer_pipeline.evaluation.scores import Metrics


def make_metrics(
    targets: Sequence[int], guesses: Sequence[int], labels: Sequence[str] = "ab", **fields: Any
) -> Metrics:
    """The metrics of predictions that are certain of their class."""
    probabilities = np.eye(len(labels), dtype=np.float32)[list(guesses)]
    metrics = measure(np.array(targets, np.int64), probabilities, list(labels), {})
    return metrics.model_copy(update=fields)
