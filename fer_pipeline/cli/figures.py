"""Scores as people read them: each with its 95 % interval."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fer_pipeline import console

if TYPE_CHECKING:
    from fer_pipeline.evaluation.compare import Comparison


def print_metrics(metrics: dict[str, Any]) -> None:
    """The tables of a score, its sum in one line, and what to think of it."""
    _print_classes(metrics)
    if len(metrics["per_source"]) > 1:
        _print_sources(metrics["per_source"])
    console.out.print(format_score(metrics), markup=False)
    for line in (*_format_leakage(metrics), *_format_confidence(metrics)):
        console.out.print(line, markup=False)


def format_score(figures: dict[str, Any]) -> str:
    """Accuracy and macro-F1 with their intervals, and of how many images."""
    accuracy = f"accuracy {figures['accuracy']:.1%} (95 %: {format_interval(figures['accuracy_ci95'])})"
    low, high = figures["macro_f1_ci95"]
    f1 = f"macro-F1 {figures['macro_f1']:.3f} (95 %: {low:.3f} to {high:.3f})"
    return f"{accuracy}, {f1}, {figures['count']:,} images"


def format_interval(pair: list[float]) -> str:
    """`81.2% to 93.4%`."""
    return f"{pair[0]:.1%} to {pair[1]:.1%}"


def _print_classes(metrics: dict[str, Any]) -> None:
    from rich.table import Table

    table = Table("class", "precision", "recall", "95 %", "F1", "images", box=None)
    for label, values in metrics["per_class"].items():
        low, high = values["recall_ci95"]
        recall, interval = f"{values['recall']:.3f}", f"{low:.3f} to {high:.3f}"
        table.add_row(
            label, f"{values['precision']:.3f}", recall, interval, f"{values['f1']:.3f}", str(values["support"])
        )
    console.out.print(table)


def _print_sources(sources: dict[str, Any]) -> None:
    from rich.table import Table

    table = Table("source", "accuracy", "95 %", "images", box=None)
    for name, values in sources.items():
        interval = format_interval(values["accuracy_ci95"])
        table.add_row(name, f"{values['accuracy']:.1%}", interval, str(values["count"]))
    console.out.print(table)


def _format_leakage(metrics: dict[str, Any]) -> list[str]:
    told = metrics.get("leakage")
    if told is None:
        return []
    if not told["checked"]:
        return [f"leakage: not checked, {told['reason']}"]
    if not told["images"]:
        return ["leakage: no test image is a copy of a training image"]
    kinds = ", ".join(f"{kind} {count:,}" for kind, count in told["kinds"].items())
    count = f"{told['images']:,} of {metrics['count']:,} test images are copies of training images ({kinds})"
    without = f"without them {format_score(told['without'])}" if told["without"] else "nothing is left without them"
    return [f"leakage: {count}; {without}"]


def _format_confidence(metrics: dict[str, Any]) -> list[str]:
    calibration, selective = metrics["calibration"], metrics["selective"]
    error = f"calibration error {calibration['ece']:.3f}"
    if "temperature" in calibration:
        error += f" at temperature {calibration['temperature']:.2f}"
    if not selective["threshold"]:
        return [error]
    answered = f"answered at {selective['threshold']:.0%} confidence or more: {selective['coverage']:.1%} of the images"
    if selective["accuracy"] is None:
        return [error, answered]
    interval = format_interval(selective["accuracy_ci95"])
    return [error, f"{answered}, accuracy {selective['accuracy']:.1%} (95 %: {interval})"]


def print_comparison(result: Comparison, first: str, second: str) -> None:
    """Both scores on the shared images, their difference, and a plain sentence."""
    from fer_pipeline.evaluation.compare import score_sides

    for name, run, figures, only in zip("AB", (first, second), score_sides(result), result.only, strict=True):
        alone = f"{only:,} right that the other has wrong"
        console.out.print(f"{name} = {run}: {format_score(figures)}; {alone}", markup=False)
    if any(result.alone):
        left = f"{result.alone[0]:,} images of A and {result.alone[1]:,} of B are not shared, and left out"
        console.out.print(left, markup=False)
    value, low, high = result.macro_f1
    groups = f"{result.groups:,} groups of images resampled"
    console.out.print(f"macro-F1, B less A: {value:+.3f} (95 %: {low:+.3f} to {high:+.3f}), {groups}", markup=False)
    console.out.print(result.verdict, markup=False)


def print_gains(gains: dict[str, Any]) -> None:
    """What a training that went on from a finished model gained and lost on each source, and a plain sentence."""
    from rich.markup import escape
    from rich.table import Table

    table = Table("source", "before % (95 %)", "after % (95 %)", "difference (95 %)", "images", box=None)
    for name, told in gains["sources"].items():
        low, high = told["gain_ci95"]
        sides = [_format_side(side) for side in (told["before"], told["after"])]
        difference = f"{100 * told['gain']:+.1f} ({100 * low:+.0f} to {100 * high:+.0f})"
        table.add_row(escape(name), *sides, difference, f"{told['count']:,}")
    if gains["sources"]:
        console.out.print(table)
    told = [gains[part]["told"] for part in ("new", "old") if gains[part]]
    if told:
        console.out.print(", ".join(told), markup=False)
    if not gains["new"]:
        console.out.print(
            "no session is held out: a second one (`fer collect`) tells what the camera gained; `fer status` says "
            "whether the split has the first"
        )
    if gains["left_out"]:
        console.out.print(f"{gains['left_out']:,} test images left out, which {gains['before']['run']} learned from")


def _format_side(side: dict[str, Any]) -> str:
    low, high = side["accuracy_ci95"]
    return f"{100 * side['accuracy']:.1f} ({100 * low:.0f} to {100 * high:.0f})"
