"""The commands that tell what a model is worth."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fer_pipeline import console
from fer_pipeline.cli.app import app, check_given
from fer_pipeline.cli.figures import format_score, print_comparison, print_metrics
from fer_pipeline.cli.model import Run, need_extra
from fer_pipeline.cli.report import add_run_page

if TYPE_CHECKING:
    from fer_pipeline.evaluation.evaluate import Evaluation


@app.command("eval")
def eval_(
    run: Run,
    data: Annotated[Path | None, typer.Option(help="Other folder to measure on; default: the run's test part.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="Where to write; default: the run's folder, eval-NAME in it for --data.")
    ] = None,
    max_leakage: Annotated[
        float, typer.Option(min=0, max=1, help="Largest share of test images that may be copies of training images.")
    ] = 0.01,
    allow_leakage: Annotated[bool, typer.Option("--allow-leakage", help="Take any leakage for granted.")] = False,
) -> None:
    """Measure a model on images it never saw.  Example: fer eval runs/sample --data other/crops --out scores"""
    check_given(data)
    run_evaluation(run, data, out, max_leakage=max_leakage, allow_leakage=allow_leakage)


def run_evaluation(run: Path, data: Path | None = None, out: Path | None = None, **gate: Any) -> None:
    """Evaluate, draw the pictures, print the tables; raises InputError for a score that leaks."""
    need_extra("train", "sklearn", "matplotlib")
    from fer_pipeline.dataset.rows import MANIFEST
    from fer_pipeline.evaluation.evaluate import evaluate
    from fer_pipeline.evaluation.leakage import refuse_leaks
    from fer_pipeline.report.plots import plot_confusion, plot_reliability
    from fer_pipeline.report.warnings import warn_of_guessing

    if data is not None and not (data / MANIFEST).is_file():
        console.note(
            f"eval: {data} is taken for crops, as they are; whole photos must be cut first (`fer run --until crop`)"
        )
    result: Evaluation = evaluate(run, data, out, **gate)
    plot_confusion(result.metrics, result.folder / "confusion.png")
    plot_reliability(result.metrics.calibration, result.folder / "reliability.png")
    print_metrics(result.metrics)
    for sentence in warn_of_guessing(result.metrics):
        console.note(f"eval: {sentence}")
    console.note(f"eval: {result.folder / 'metrics.json'}, predictions.csv, leaks.csv, confusion.png, reliability.png")
    add_run_page(run, result.folder)
    refuse_leaks(result.metrics, result.folder)


def ensure_evaluation(run: Path, data: Path) -> None:
    """Evaluate a run unless its figures are there already; what leaks too much is refused either way."""
    from fer_pipeline.evaluation.evaluate import is_evaluated, read_metrics
    from fer_pipeline.evaluation.leakage import refuse_leaks

    if is_evaluated(run, data):
        refuse_leaks(read_metrics(run), run)
        console.note(f"eval: {run} is measured, nothing to do (see {run / 'metrics.json'})")
    else:
        run_evaluation(run)


@app.command()
def compare(
    run_a: Annotated[
        Path, typer.Argument(help="Folder of a measured run or cross-validation, or its predictions.csv.")
    ],
    run_b: Annotated[Path, typer.Argument(help="The other one.")],
    out: Annotated[Path | None, typer.Option(help="CSV of the images on which they differ.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Tell whether one model is better, or lucky.  Example: fer compare runs/lips runs/tutorial --out differ.csv"""
    need_extra("train", "scipy")
    from fer_pipeline.evaluation.compare import compare_runs, write_differences

    result = compare_runs(run_a, run_b)
    if as_json:
        typer.echo(result.summary().model_dump_json())
    else:
        print_comparison(result, str(run_a), str(run_b))
    if out is not None:
        console.note(f"compare: {write_differences(out, result):,} images on which they differ -> {out}")


@app.command()
def quantise(run: Run) -> None:
    """Make an 8-bit model file and weigh it against the float one.  Example: fer quantise runs/sample"""
    need_extra("train", "onnx", "scipy", "sklearn")
    from fer_pipeline.training.quantise import FIGURES, QUANTISED
    from fer_pipeline.training.quantise import quantise as make

    scores = make(run)
    for name, score in (("float32", scores.float32), ("int8", scores.int8)):
        size = f"{scores.bytes[name] / 1e6:.2f} MB, {score.images_per_second:,.0f} images/s a thread"
        console.out.print(f"{name}: {format_score(score)}; {size}", markup=False)
    console.out.print(f"float32 (A) against int8 (B): {scores.paired.verdict}", markup=False)
    console.out.print(f"int8 is {scores.speed_ratio:.2f} times as fast here", markup=False)
    console.note(f"quantise: {QUANTISED}, {FIGURES} beside the model of {run}")
