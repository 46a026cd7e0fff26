"""The commands that follow one photo: where it came from, who saw it, and how to take it out for good."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fer_pipeline import console
from fer_pipeline.cli.app import Overrides, app, read_config

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fer_pipeline.dataset.experiment import Experiment
    from fer_pipeline.lineage.run_usage import RunUsage
    from fer_pipeline.lineage.trace import Step, Trace

What = Annotated[str, typer.Argument(metavar="PATH", help="Path as in predictions.csv, a file, a name, or a URL.")]
Experimental = Annotated[
    Path | None, typer.Option("--config", "-c", help="YAML file of the experiment; default: found from PATH.")
]
Of = Annotated[Path | None, typer.Option("--run", help="Run whose tables name PATH, as in runs/sample.")]
SHOWN = 300  # characters of a value


def find_experiment(config: Path | None, overrides: list[str] | None) -> Experiment | None:
    """The experiment of a configuration, if one is given."""
    from fer_pipeline.dataset.experiment import of_config

    return of_config(read_config(config, overrides)) if config is not None else None


@app.command()
def trace(
    path: What,
    run: Of = None,
    config: Experimental = None,
    set_: Overrides = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object for each photo found.")] = False,
) -> None:
    """Follow a prediction, crop or photo back to its source.

    Example: fer trace test/smile/0123456789ab.png --run runs/sample
    """
    from fer_pipeline.lineage.find import find_photos
    from fer_pipeline.lineage.trace import trace as follow

    for photo in find_photos(path, find_experiment(config, set_), run):
        found = follow(photo, run)
        if as_json:
            typer.echo(json.dumps(found.as_dict(), ensure_ascii=False))
        else:
            for line in draw_tree(found):
                console.out.print(line, markup=False)


@app.command()
def forget(
    path: What,
    run: Of = None,
    config: Experimental = None,
    set_: Overrides = None,
    copies: Annotated[bool, typer.Option("--copies", help="Also the photos that look almost the same.")] = False,
    all_: Annotated[
        bool, typer.Option("--all", help="All images that PATH means, if more than one; do not ask.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask, for one image.")] = False,
) -> None:
    """Take an image out of every folder for good, and say which runs saw it.

    Example: fer forget https://example.org/photo.jpg --dry-run
    """
    from fer_pipeline.lineage.forget import forget as take_out
    from fer_pipeline.lineage.forget import plan_forget

    plans = plan_forget(path, find_experiment(config, set_), run, copies=copies)
    for plan in plans:
        for line in plan.describe(copies=copies):
            console.out.print(line, markup=False)
    if dry_run:
        return
    count = sum(plan.images for plan in plans)
    if not all_ and (count > 1 or not yes):
        _ask(path, count, can_answer=not yes)
    for plan in plans:
        for line in take_out(plan):
            console.note(f"forget: {line}")
        console.note(f"forget: done; {plan.raw}/blocklist.jsonl keeps it from coming back")


def _ask(path: str, count: int, *, can_answer: bool) -> None:
    """Go on if the answer is yes, or the count of several images; where none can be given, the remedy is named."""
    from fer_pipeline.errors import UsageError

    if count > 1 and not can_answer:
        raise UsageError(f"forget: {path} means {count:,} images: pass --all for all of them, or name one")
    remedy = "--all" if count > 1 else "--yes"
    question = f"forget {count:,} images? Type {count} to go on" if count > 1 else "forget? [y/N]"
    try:
        answer = typer.prompt(question, default="", show_default=False).strip().lower()
    except typer.Abort:  # the end of a file, as in a script, or Ctrl-C
        raise UsageError(f"forget: no answer, nothing was removed: pass {remedy}, or --dry-run to look only") from None
    if answer != str(count) if count > 1 else answer not in {"y", "yes"}:
        console.note("forget: nothing was removed")
        raise typer.Exit(1)


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
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"
