"""Promises of `fer_pipeline.evaluation.metrics` and `confidence`."""

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import f1_score

from fer_pipeline.evaluation.confidence import measure_calibration, measure_selective
from fer_pipeline.evaluation.evaluate import measure
from fer_pipeline.evaluation.metrics import bootstrap_macro_f1, score, wilson_interval
from fer_pipeline.evaluation.scores import ReliabilityBin
from fer_pipeline.report.warnings import warn_of_guessing


@pytest.mark.parametrize(
    ("correct", "total", "low", "high"),
    [
        (8, 10, 0.4902, 0.9433),
        (0, 10, 0.0, 0.2775),
        (10, 10, 0.7225, 1.0),
        (1, 1, 0.2065, 1.0),
        (50, 100, 0.4038, 0.5962),
        (0, 0, 0.0, 1.0),
    ],
)
def test_the_interval_is_the_one_wilson_gives(correct: int, total: int, low: float, high: float) -> None:
    assert list(wilson_interval(correct, total)) == pytest.approx([low, high], abs=5e-5)


def guessed(count: int, classes: int, hit: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Targets, and guesses of which about a share `hit` is right."""
    rng = np.random.default_rng(5)
    targets = rng.integers(0, classes, count)
    return targets, np.where(rng.random(count) < hit, targets, rng.integers(0, classes, count))


def as_probabilities(guesses: NDArray[np.int64], classes: int) -> NDArray[np.float32]:
    return np.eye(classes, dtype=np.float32)[guesses]


def test_macro_f1_is_that_of_scikit_learn() -> None:
    targets, guesses = guessed(200, 4, 0.6)
    metrics = score(targets, as_probabilities(guesses, 4), list("abcd"))
    assert metrics.macro_f1 == pytest.approx(f1_score(targets, guesses, average="macro"), abs=5e-5)
    each = f1_score(targets, guesses, average=None)
    assert [values.f1 for values in metrics.per_class.values()] == pytest.approx(each.tolist(), abs=5e-5)


def test_counts_add_up() -> None:
    targets, guesses = guessed(100, 3, 0.5)
    metrics = score(targets, as_probabilities(guesses, 3), ["a", "b", "c"])
    confusion = np.array(metrics.confusion)
    assert confusion.sum() == metrics.count == 100
    assert confusion.sum(axis=1).tolist() == [values.support for values in metrics.per_class.values()]
    assert metrics.accuracy == pytest.approx(np.trace(confusion) / 100)
    assert confusion[0, 1] == ((targets == 0) & (guesses == 1)).sum(), "rows are true, columns predicted"
    recall = confusion[1, 1] / confusion[1].sum()
    precision = confusion[1, 1] / confusion[:, 1].sum()
    assert metrics.per_class["b"].recall == pytest.approx(recall, abs=5e-5)
    assert metrics.per_class["b"].precision == pytest.approx(precision, abs=5e-5)


def test_the_bootstrap_brackets_the_score_and_narrows_with_the_count() -> None:
    widths = []
    for count in (40, 400):
        targets, guesses = guessed(count, 3, 0.7)
        low, high = bootstrap_macro_f1(targets, guesses, 3)
        assert 0 <= low < f1_score(targets, guesses, average="macro") < high <= 1
        widths.append(high - low)
    assert widths[1] < widths[0] / 2


def test_the_bootstrap_repeats() -> None:
    targets, guesses = guessed(50, 3, 0.7)
    assert bootstrap_macro_f1(targets, guesses, 3) == bootstrap_macro_f1(targets, guesses, 3)


def test_intervals_hold_their_score() -> None:
    targets, guesses = guessed(60, 3, 0.8)
    metrics = score(targets, as_probabilities(guesses, 3), ["a", "b", "c"])
    for name in ("accuracy", "macro_f1"):
        low, high = getattr(metrics, f"{name}_ci95")
        assert low < getattr(metrics, name) < high


def test_a_class_without_test_images_does_not_spoil_the_mean() -> None:
    targets = np.array([0, 0, 1, 1])
    metrics = score(targets, as_probabilities(targets, 3), ["a", "b", "never"])
    assert metrics.accuracy == metrics.macro_f1 == 1
    assert metrics.per_class["never"].support == 0


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


def test_a_measurement_of_one_class_is_told_to_be_its_recall() -> None:
    probabilities = np.tile(np.array([0.9, 0.1], np.float32), (50, 1))
    metrics = measure(np.zeros(50, np.int64), probabilities, ["a", "b"], {})
    (told,) = warn_of_guessing(metrics)
    assert told.startswith("Only a was measured: this is its recall")
