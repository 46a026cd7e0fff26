"""Printed results: scores, each with its 95 % interval, searches, and the tree of a photo."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from fer_pipeline import console

if TYPE_CHECKING:
    from collections.abc import Iterator

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
    from fer_pipeline.lineage.run_usage import RunUsage
    from fer_pipeline.lineage.trace import Step, Trace
    from fer_pipeline.sources.folders import Selection
    from fer_pipeline.training.tune import Tuning

TRIALS_SHOWN = 10
CHARACTERS_SHOWN = 300  # of a value in the tree of a photo


def print_metrics(metrics: Metrics) -> None:
    """Print the tables of classes and sources, the score in one line, and leakage and calibration."""
    from fer_pipeline.evaluation.unknown import format_unknown

    _print_classes(metrics)
    if len(metrics.per_source) > 1:
        _print_sources(metrics.per_source)
    console.out.print(format_score(metrics))
    if metrics.leakage is not None:
        console.out.print(_format_leakage(metrics.leakage, metrics.count))
    console.out.print(_format_calibration(metrics.calibration))
    if metrics.selective.threshold:
        console.out.print(_format_selective(metrics.selective))
    for line in format_unknown(metrics.unknown):
        console.out.print(line)


def format_score(score: Score) -> str:
    """Accuracy and macro-F1 with their intervals, and the number of images."""
    accuracy = f"accuracy {score.accuracy:.1%} (95 %: {console.format_interval(score.accuracy_ci95)})"
    low, high = score.macro_f1_ci95
    f1 = f"macro-F1 {score.macro_f1:.3f} (95 %: {low:.3f} to {high:.3f})"
    return f"{accuracy}, {f1}, {console.counted(score.count, 'image')}"


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
        table.add_row(name, f"{score.accuracy:.1%}", console.format_interval(score.accuracy_ci95), str(score.count))
    console.out.print(table)


def _format_leakage(leakage: Leakage, count: int) -> str:
    if not leakage.checked:
        return f"leakage: not checked, {leakage.reason}"
    if not leakage.images:
        looked_for = "the file, the photo, also mirrored or turned, and the crop, also mirrored"
        return f"leakage: no test image is a copy of a training image (looked for: {looked_for})"
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
    return f"{answered}, accuracy {selective.accuracy:.1%} (95 %: {console.format_interval(selective.accuracy_ci95)})"


def print_selection(chosen: Selection) -> None:
    """Print what an import takes for what: pictures of each class and part, and what it passes over."""
    from rich.table import Table

    table = Table("part", "class", "pictures", box=None)
    table.columns[2].justify = "right"
    for part, counts in sorted(chosen.count().items()):
        for label, count in sorted(counts.items()):
            table.add_row(part, label, f"{count:,}")
    if not console.is_quiet():
        console.err.print(table)
    for sentence in chosen.told:
        console.note(f"import: {sentence}")


def print_comparison(result: Comparison, first: str, second: str) -> None:
    """Print both scores on the shared images, their difference, and the verdict."""
    from fer_pipeline.evaluation.compare import score_sides

    for name, run, score, only in zip("AB", (first, second), score_sides(result), result.only, strict=True):
        alone = f"{only:,} right that the other has wrong"
        console.out.print(f"{name} = {run}: {format_score(score)}; {alone}")
    if any(result.alone):
        left = f"{result.alone[0]:,} images of A and {result.alone[1]:,} of B are not shared, and left out"
        console.out.print(left)
    value, low, high = result.macro_f1
    groups = f"{console.counted(result.groups, 'group')} of images resampled"
    console.out.print(f"macro-F1, B less A: {value:+.3f} (95 %: {low:+.3f} to {high:+.3f}), {groups}")
    console.out.print(result.verdict)


def print_gains(gains: Gains) -> None:
    """Print what fine-tuning gained and lost on each source, and in one line on all."""
    from rich.table import Table

    table = Table("source", "before % (95 %)", "after % (95 %)", "difference (95 %)", "images", box=None)
    for name, gain in gains.sources.items():
        low, high = gain.gain_ci95
        difference = f"{100 * gain.gain:+.1f} ({100 * low:+.0f} to {100 * high:+.0f})"
        before, after = _format_accuracy(gain.before), _format_accuracy(gain.after)
        table.add_row(name, before, after, difference, f"{gain.count:,}")
    if gains.sources:
        console.out.print(table)
    summaries = [gain.summary for gain in (gains.new, gains.old) if gain is not None]
    if summaries:
        console.out.print(", ".join(summaries))
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


def print_trials(found: Tuning) -> None:
    """The best trials, and whether the search was worth it."""
    from rich.table import Table

    from fer_pipeline.evaluation.metrics import wilson_interval

    ranked = sorted(found.trials, key=lambda one: (one.state != "complete", -one.accuracy, one.number))
    table = Table("trial", "validation", "95 %", "settings", box=None)
    for place in range(3):
        table.columns[place].no_wrap = True
    count = found.comparison.count
    for one in ranked[:TRIALS_SHOWN]:
        low, high = wilson_interval(round(one.accuracy * count), count)
        ended = f"{low:.1%} to {high:.1%}" if one.state == "complete" else "broken off"
        values = ", ".join(f"{name} {value}" for name, value in one.settings.items()) or "as given"
        table.add_row(str(one.number + 1), f"{one.accuracy:.1%}", ended, values)
    console.out.print(table)
    console.out.print(judge_winner(found))


def judge_winner(found: Tuning) -> str:
    """In plain words, whether the search was worth it."""
    one, count = found.comparison, len(found.trials)
    rivals = sum(trial.state == "complete" for trial in found.trials[1:])
    corrected = min(1.0, one.p_value * rivals)  # Bonferroni: the best of many rivals wins somewhere by chance alone
    if found.best.number == 0:
        return f"none of {count} trials beats the configuration as given: keep it"
    told = f"trial {found.best.number + 1} gets {one.gain:+.1%} (95 %: {one.low:+.1%} to {one.high:+.1%}) more of the "
    told += f"same {one.count} images right than the configuration as given ({one.won} won, {one.lost} lost, "
    told += f"McNemar p = {one.p_value:.2g}, for the best of {rivals} rivals {corrected:.2g}): "
    told += "more than chance" if one.gain > 0 and corrected < 0.05 else "this may be chance"
    return f"{told}; the best of {count} on one validation part is always a little too good: `fer eval` decides"


def draw_tree(found: Trace) -> Iterator[str]:
    """The chain from the last stage back to the source, and below it who saw the photo; a line each."""
    home = f" in {found.steps[0].folder.parent}" if found.steps else ""
    yield f"{found.photo}{home}{' (forgotten)' if found.forgotten else ''}"
    branches = list(_branches(found))
    for number, (title, leaves) in enumerate(branches, start=1):
        last = number == len(branches)
        yield f"{'└' if last else '├'}── {title}"
        for place, leaf in enumerate(leaves, start=1):
            yield f"{' ' if last else '│'}   {'└' if place == len(leaves) else '├'}── {leaf}"


def _branches(found: Trace) -> Iterator[tuple[str, list[str]]]:
    if found.ended:
        yield f"ends here: {found.ended}", []
    befores = [_before(found.steps, index) for index in range(len(found.steps))]
    for step, before in reversed(list(zip(found.steps, befores, strict=True))):
        yield _told(step), [f"{key}: {_short(value)}" for key, value in step.attributes(before).items()]
    if found.steps:
        source = {**found.source, "sha256": found.steps[0].row.sha256}
        yield "source", [f"{key}: {_short(value)}" for key, value in source.items() if value != ""]
    if found.copies:
        yield "dropped as its copies", found.copies
    yield "seen by" if found.runs else "seen by no run", [_seen(one) for one in found.runs]


def _before(steps: list[Step], index: int) -> Step | None:
    """The step of the stage before: faces of one photo share it."""
    return next((one for one in reversed(steps[:index]) if one.stage != steps[index].stage), None)


def _told(step: Step) -> str:
    outcome = " ".join(filter(None, (step.row.status.value, step.row.reason)))
    missing = "" if step.exists or step.row.status != "kept" else ", but the file is gone"
    return f"{'raw' if step.stage == 'crawl' else step.stage}: {step.file}: {outcome}{missing}"


def _seen(one: RunUsage) -> str:
    part = {"train": "train (training or validation)", "folds": "held out once, trained on in the other folds"}
    told = f"{one.run}: {part.get(one.part, one.part)}"
    if one.predicted:
        sure = "" if one.confidence is None else f" ({one.confidence:.0%})"
        told += f", {one.label} predicted as {one.predicted}{sure}"
    return told + (", before the data changed" if one.stale else "")


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= CHARACTERS_SHOWN else f"{text[:CHARACTERS_SHOWN]}…"
