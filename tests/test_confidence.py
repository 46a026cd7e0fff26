"""Promises of `fer_pipeline.evaluation.confidence`."""

import numpy as np
import pytest

from fer_pipeline.evaluation.confidence import measure_calibration, measure_selective
from fer_pipeline.evaluation.scores import ReliabilityBin


def test_the_error_is_the_mean_gap_weighted_by_count() -> None:
    probabilities = np.array([[0.9, 0.1], [0.9, 0.1], [0.9, 0.1], [0.4, 0.6]], np.float32)
    told = measure_calibration(np.array([0, 0, 1, 1]), probabilities)
    assert told.ece == pytest.approx(3 / 4 * (0.9 - 2 / 3) + 1 / 4 * (1 - 0.6), abs=1e-4)
    filled = {one.count: one for one in told.bins if one.count}
    assert filled[3] == ReliabilityBin(low=0.8667, high=0.9333, count=3, confidence=0.9, accuracy=0.6667)
    assert len(told.bins) == 15


def test_a_forecast_that_is_as_sure_as_right_has_no_error() -> None:
    rng = np.random.default_rng(0)
    sure = rng.uniform(0.5, 1, 40_000)
    targets = (rng.random(40_000) > sure).astype(np.int64)
    assert measure_calibration(targets, np.stack([sure, 1 - sure], axis=1).astype(np.float32)).ece < 0.01


def test_certainty_falls_into_the_last_bin() -> None:
    told = measure_calibration(np.array([0]), np.array([[1.0, 0.0]], np.float32))
    assert (told.ece, told.bins[-1].count) == (0, 1)


def test_withholding_the_unsure_tells_coverage_and_accuracy_of_the_rest() -> None:
    probabilities = np.array([[0.95, 0.05], [0.8, 0.2], [0.55, 0.45], [0.45, 0.55]], np.float32)
    told = measure_selective(np.array([0, 1, 1, 1]), probabilities, 0.7, (0.5, 0.9, 0.99))
    assert (told.threshold, told.answered, told.coverage, told.accuracy) == (0.7, 2, 0.5, 0.5)
    assert [one.accuracy for one in told.table] == [0.5, 1.0, None]
    assert told.table[2].accuracy_ci95 == (0, 1), "nothing answered, nothing known"
