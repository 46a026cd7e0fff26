"""Compare two models by a paired test on the images that both have predicted."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fer_pipeline.console import counted
from fer_pipeline.errors import InputError
from fer_pipeline.evaluation.metrics import macro_f1, score
from fer_pipeline.evaluation.predictions import PredictedLabel, read_predictions
from fer_pipeline.evaluation.scores import ComparisonSummary, Score
from fer_pipeline.evaluation.significance import mcnemar
from fer_pipeline.files import check_target, write_csv

RESAMPLES = 2000
LEVEL = 0.05

DIFFERENCES = ("path", "label", "a", "b", "right")  # the columns of the table of differences


@dataclass(frozen=True)
class Comparison:
    """n shared images with true class and both predictions as indices of `labels`, and the tests on them.

    `only` counts the images that one model alone has right; `p` is of McNemar's exact test (1947). `accuracy` and
    `macro_f1` are B less A, with the 95 % interval of a paired bootstrap over groups of images.
    """

    paths: list[str]
    labels: list[str]
    targets: NDArray[np.int64]
    guesses: tuple[NDArray[np.int64], NDArray[np.int64]]
    alone: tuple[int, int]  # images only A, only B has in its file
    groups: int
    only: tuple[int, int]
    p: float
    accuracy: tuple[float, float, float]
    macro_f1: tuple[float, float, float]

    @property
    def verdict(self) -> str:
        """One sentence; a model is called better only if both the test and the interval show it."""
        difference, low, high = self.accuracy
        told = f"p = {self.p:.2g}, on {counted(len(self.paths), 'image')}"
        if self.p < LEVEL and (low > 0 or high < 0):
            name, sign = ("B", 1) if difference > 0 else ("A", -1)
            ends = sorted((sign * 100 * low, sign * 100 * high))
            span = f"{ends[0]:.1f} to {ends[1]:.1f}"
            return f"{name} is better by {abs(100 * difference):.1f} points of accuracy ({span}), {told}"
        if low > 0 or high < 0:
            return (
                f"a difference in accuracy that is not certain: B less A is {_points(self.accuracy)}, {told}; "
                "test and interval disagree, more images would tell"
            )
        shown = f"no difference in accuracy that {counted(len(self.paths), 'image')} could show"
        return f"{shown}: B less A is {_points(self.accuracy)}, p = {self.p:.2g}"

    def summary(self) -> ComparisonSummary:
        """The comparison without its images, for JSON."""
        return ComparisonSummary(
            images=len(self.paths),
            groups=self.groups,
            alone=self.alone,
            only_right=self.only,
            p=self.p,
            accuracy_difference=self.accuracy,
            macro_f1_difference=self.macro_f1,
            verdict=self.verdict,
        )


def _points(interval: tuple[float, float, float]) -> str:
    value, low, high = (100 * one for one in interval)
    return f"{value:+.1f} points ({low:+.1f} to {high:+.1f})"


def compare_runs(first: Path, second: Path) -> Comparison:
    """Compare two runs, or two cross-validations, by their `predictions.csv`."""
    one, two = read_predictions(first), read_predictions(second)
    paths = sorted(one.keys() & two.keys())
    if not paths:
        raise InputError(f"{first} and {second} have predicted no image in common: compare runs on the same test part")
    for path in paths:
        if one[path].label != two[path].label:
            labels = f"{one[path].label!r} in {first} and {two[path].label!r} in {second}"
            raise InputError(f"{path} is {labels}: evaluate both on the same data")
    return compare([one[path] for path in paths], [two[path] for path in paths], paths, (len(one), len(two)))


def compare(
    one: list[PredictedLabel], two: list[PredictedLabel], paths: list[str], counts: tuple[int, int]
) -> Comparison:
    """Compare the predictions of two models for the same images; `counts` are the images of each file."""
    labels = sorted({name for each in (*one, *two) for name in (each.label, each.predicted)})
    places = {label: place for place, label in enumerate(labels)}
    targets = np.array([places[each.label] for each in one], np.int64)
    guesses = tuple(np.array([places[each.predicted] for each in side], np.int64) for side in (one, two))
    hits = [guess == targets for guess in guesses]
    only = int((hits[0] & ~hits[1]).sum()), int((hits[1] & ~hits[0]).sum())
    _, groups = np.unique([each.group for each in one], return_inverse=True)
    accuracy, f1 = _bootstrap(targets, (guesses[0], guesses[1]), groups, len(labels))
    return Comparison(
        paths=paths,
        labels=labels,
        targets=targets,
        guesses=(guesses[0], guesses[1]),
        alone=(counts[0] - len(paths), counts[1] - len(paths)),
        groups=int(groups.max()) + 1,
        only=only,
        p=mcnemar(*only),
        accuracy=accuracy,
        macro_f1=f1,
    )


def _bootstrap(
    targets: NDArray[np.int64], guesses: tuple[NDArray[np.int64], NDArray[np.int64]], groups: NDArray[Any], classes: int
) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """Difference B less A of accuracy and macro-F1, with percentile intervals over resamples of whole groups."""
    rng, count = np.random.default_rng(0), int(groups.max()) + 1
    cells = [targets * classes + guess for guess in guesses]

    def differences(weights: NDArray[Any]) -> tuple[float, float]:
        tables = [np.bincount(cell, weights, classes * classes).reshape(classes, classes) for cell in cells]
        rates = [np.trace(table) / weights.sum() for table in tables]
        return float(rates[1] - rates[0]), macro_f1(tables[1]) - macro_f1(tables[0])

    drawn = [differences(np.bincount(rng.integers(0, count, count), minlength=count)[groups]) for _ in range(RESAMPLES)]
    found = differences(np.ones(len(targets)))
    low, high = np.percentile(drawn, [2.5, 97.5], axis=0)
    return (found[0], float(low[0]), float(high[0])), (found[1], float(low[1]), float(high[1]))


def score_sides(comparison: Comparison) -> list[Score]:
    """Score each of the two models on the shared images."""
    size = len(comparison.labels)
    return [
        score(comparison.targets, np.eye(size, dtype=np.float32)[guess], comparison.labels)
        for guess in comparison.guesses
    ]


def check_differences(path: Path, *, force: bool) -> None:
    """Refuse to replace a file that is no table of differences, unless forced."""
    check_target(path, force=force, begins=",".join(DIFFERENCES).encode())


def write_differences(path: Path, comparison: Comparison) -> int:
    """Write the images on which the two disagree as CSV; returns how many."""
    labels, (one, two) = comparison.labels, comparison.guesses
    different = np.flatnonzero(one != two)
    lines = []
    for index in different:
        truth = int(comparison.targets[index])
        right = "A" if one[index] == truth else "B" if two[index] == truth else "neither"
        lines.append([comparison.paths[index], labels[truth], labels[one[index]], labels[two[index]], right])
    path.parent.mkdir(parents=True, exist_ok=True)
    write_csv(path, DIFFERENCES, lines)
    return len(lines)
