"""Print scores, each with its 95 % interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from fer_pipeline import console

if TYPE_CHECKING:
    from fer_pipeline.evaluation.compare import Comparison
    from fer_pipeline.evaluation.scores import (
        Accuracy,
        Calibration,
        Gains,
        Leakage,
        Metrics,
        Score,
        Selective,
        SourceScore,
    )


def print_metrics(metrics: Metrics) -> None:
    """Print the tables of classes and sources, the score in one line, and leakage and calibration."""
    _print_classes(metrics)
    if len(metrics.per_source) > 1:
        _print_sources(metrics.per_source)
    console.out.print(format_score(metrics), markup=False)
    if metrics.leakage is not None:
        console.out.print(_format_leakage(metrics.leakage, metrics.count), markup=False)
    console.out.print(_format_calibration(metrics.calibration), markup=False)
    if metrics.selective.threshold:
        console.out.print(_format_selective(metrics.selective), markup=False)


def format_score(score: Score) -> str:
    """Accuracy and macro-F1 with their intervals, and the number of images."""
    accuracy = f"accuracy {score.accuracy:.1%} (95 %: {format_interval(score.accuracy_ci95)})"
    low, high = score.macro_f1_ci95
    f1 = f"macro-F1 {score.macro_f1:.3f} (95 %: {low:.3f} to {high:.3f})"
    return f"{accuracy}, {f1}, {score.count:,} images"


def format_interval(interval: Sequence[float]) -> str:
    """`81.2% to 93.4%`."""
    low, high = interval
    return f"{low:.1%} to {high:.1%}"


def _print_classes(metrics: Metrics) -> None:
    from rich.table import Table

    table = Table("class", "precision", "recall", "95 %", "F1", "images", box=None)
    for label, score in metrics.per_class.items():
        low, high = score.recall_ci95
        recall, interval = f"{score.recall:.3f}", f"{low:.3f} to {high:.3f}"
        table.add_row(label, f"{score.precision:.3f}", recall, interval, f"{score.f1:.3f}", str(score.support))
    console.out.print(table)


def _print_sources(sources: Mapping[str, SourceScore]) -> None:
    from rich.table import Table

    table = Table("source", "accuracy", "95 %", "images", box=None)
    for name, score in sources.items():
        table.add_row(name, f"{score.accuracy:.1%}", format_interval(score.accuracy_ci95), str(score.count))
    console.out.print(table)


def _format_leakage(leakage: Leakage, count: int) -> str:
    if not leakage.checked:
        return f"leakage: not checked, {leakage.reason}"
    if not leakage.images:
        return "leakage: no test image is a copy of a training image"
    kinds = ", ".join(f"{kind} {number:,}" for kind, number in leakage.kinds.items())
    copies = f"{leakage.images:,} of {count:,} test images are copies of training images ({kinds})"
    without = f"without them {format_score(leakage.without)}" if leakage.without else "nothing is left without them"
    return f"leakage: {copies}; {without}"


def _format_calibration(calibration: Calibration) -> str:
    error = f"calibration error {calibration.ece:.3f}"
    return error if calibration.temperature is None else f"{error} at temperature {calibration.temperature:.2f}"


def _format_selective(selective: Selective) -> str:
    answered = f"answered at {selective.threshold:.0%} confidence or more: {selective.coverage:.1%} of the images"
    if selective.accuracy is None:
        return answered
    return f"{answered}, accuracy {selective.accuracy:.1%} (95 %: {format_interval(selective.accuracy_ci95)})"


def print_comparison(result: Comparison, first: str, second: str) -> None:
    """Print both scores on the shared images, their difference, and the verdict."""
    from fer_pipeline.evaluation.compare import score_sides

    for name, run, score, only in zip("AB", (first, second), score_sides(result), result.only, strict=True):
        alone = f"{only:,} right that the other has wrong"
        console.out.print(f"{name} = {run}: {format_score(score)}; {alone}", markup=False)
    if any(result.alone):
        left = f"{result.alone[0]:,} images of A and {result.alone[1]:,} of B are not shared, and left out"
        console.out.print(left, markup=False)
    value, low, high = result.macro_f1
    groups = f"{result.groups:,} groups of images resampled"
    console.out.print(f"macro-F1, B less A: {value:+.3f} (95 %: {low:+.3f} to {high:+.3f}), {groups}", markup=False)
    console.out.print(result.verdict, markup=False)


def print_gains(gains: Gains) -> None:
    """Print what fine-tuning gained and lost on each source, and in one line on all."""
    from rich.markup import escape
    from rich.table import Table

    table = Table("source", "before % (95 %)", "after % (95 %)", "difference (95 %)", "images", box=None)
    for name, gain in gains.sources.items():
        low, high = gain.gain_ci95
        difference = f"{100 * gain.gain:+.1f} ({100 * low:+.0f} to {100 * high:+.0f})"
        before, after = _format_accuracy(gain.before), _format_accuracy(gain.after)
        table.add_row(escape(name), before, after, difference, f"{gain.count:,}")
    if gains.sources:
        console.out.print(table)
    summaries = [gain.summary for gain in (gains.new, gains.old) if gain is not None]
    if summaries:
        console.out.print(", ".join(summaries), markup=False)
    if gains.new is None:
        console.out.print(
            "no session is held out: record a second one (`fer collect`) to measure the gain on the camera; "
            "`fer status` says whether the split has the first"
        )
    if gains.left_out:
        console.out.print(f"{gains.left_out:,} test images left out, since {gains.before.run} was trained on them")


def _format_accuracy(accuracy: Accuracy) -> str:
    low, high = accuracy.accuracy_ci95
    return f"{100 * accuracy.accuracy:.1f} ({100 * low:.0f} to {100 * high:.0f})"
