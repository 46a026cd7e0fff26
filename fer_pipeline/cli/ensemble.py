"""The command that averages finished models, or cross-validations."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fer_pipeline import console
from fer_pipeline.cli.app import Force, app
from fer_pipeline.cli.figures import format_score, print_comparison, print_metrics
from fer_pipeline.cli.model import need_extra
from fer_pipeline.errors import UsageError


@app.command()
def ensemble(
    runs: Annotated[list[Path], typer.Argument(help="Folders of finished runs, or of cross-validations.")],
    output: Annotated[Path, typer.Option(help="Folder to write to, as in runs/NAME.")],
    force: Force = False,
) -> None:
    """Average several models into one file.  Example: fer ensemble runs/lips runs/classical --output runs/both

    Of cross-validations the answers are averaged and measured: each image is judged by models that did not see it.
    """
    from fer_pipeline.training.cv_ensemble import is_cross_validation

    folds = [run for run in runs if is_cross_validation(run)]
    if folds and len(folds) < len(runs):
        one = next(run for run in runs if run not in folds)
        raise UsageError(f"{folds[0]} is a cross-validation and {one} is none: average models, or cross-validations")
    if folds:
        average_folds(runs, output, force=force)
    else:
        join_models(runs, output, force=force)


def join_models(runs: list[Path], output: Path, *, force: bool) -> None:
    """Write the model file and say what it costs."""
    need_extra("train", "onnx")
    from fer_pipeline.training.ensemble import make_ensemble

    made = make_ensemble(runs, output, force=force)
    if not made.fresh:
        console.note(f"ensemble: {output} is finished, nothing to do")
        return
    side = max(member.card.size for member in made.members)
    for member in made.members:
        shrunk = "" if member.card.size == side else f", which the file makes of {side} px"
        console.note(f"ensemble: {member.run}: {member.card.network}, crops of {member.card.size} px{shrunk}")
    console.note(f"ensemble: {made.model}, {made.model.stat().st_size / 1e6:.1f} MB; `fer eval {output}` measures it")


def average_folds(runs: list[Path], output: Path, *, force: bool) -> None:
    """Print every member's score, that of their mean, and whether it is better than the best of them."""
    need_extra("train", "sklearn", "scipy")
    from fer_pipeline.training.cv_ensemble import average_cross_validations

    result = average_cross_validations(runs, output, force=force)
    for name, score in result.scores.members.items():
        console.out.print(f"{name}: {format_score(score)}", markup=False)
    print_metrics(result.scores.pooled)
    print_comparison(result.paired, str(result.best), str(output))
    console.note("ensemble: members chosen for these figures, or after others were tried, make them a little too good")
    console.note(f"ensemble: {output / 'folds.json'}, predictions.csv")
