"""The commands that train, measure and use a model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fer_pipeline import console
from fer_pipeline.cli.app import ConfigFile, Force, Overrides, app, available_cores, read_config

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fer_pipeline.config import Config
    from fer_pipeline.model.predictor import Prediction

Run = Annotated[Path, typer.Argument(help="Folder of a finished run, as in runs/sample, or its model.onnx.")]


@app.command()
def train(
    config: ConfigFile,
    set_: Overrides = None,
    data: Annotated[Path | None, typer.Option(help="Folder with a folder per class, in place of train.input.")] = None,
    folds: Annotated[int | None, typer.Option(min=2, max=100, help="Cross-validate: so many models instead.")] = None,
    by_source: Annotated[bool, typer.Option("--by-source", help="Cross-validate: leave each source out once.")] = False,
    force: Force = False,
) -> None:
    """Train a classifier; after a kill the same command goes on.  Example: fer train --config configs/lips.yaml"""
    overrides = [*(set_ or []), *([] if data is None else [f"train.input={json.dumps(str(data))}"])]
    settings = read_config(config, overrides)
    if folds or by_source:
        run_folds(settings, folds or 0, by_source=by_source, force=force)
    else:
        run_training(settings, force=force)


def run_folds(config: Config, folds: int, *, by_source: bool, force: bool) -> None:
    """Cross-validate, print the pooled figures and each fold's."""
    need_extra("train", "torch", "lightning", "sklearn")
    from fer_pipeline.model.folds import FOLDS, cross_validate

    result = cross_validate(config.train, folds, by_source=by_source, force=force)
    for name, figures in result.figures["folds"].items():
        told = f"{figures['accuracy']:.1%} ({_interval(figures['accuracy_ci95'])}), {figures['count']} images"
        console.out.print(f"fold {name}: accuracy {told}", markup=False)
    _print_metrics(result.figures["pooled"])
    console.note(f"train: {result.folder / FOLDS}, predictions.csv")


def run_training(config: Config, *, force: bool) -> None:
    """Train, then write the resolved configuration, the environment and the curves beside the model."""
    need_extra("train", "torch", "lightning", "sklearn", "matplotlib", "onnx")
    from fer_pipeline.model.history import read_history
    from fer_pipeline.model.train import train as fit
    from fer_pipeline.report.environment import write_environment
    from fer_pipeline.report.plots import plot_curves

    outcome = fit(config.train, force=force)
    folder = outcome.model.parent
    if outcome.fresh or not (folder / "curves.png").is_file():  # also after a kill between the model and its pictures
        write_environment(folder, config)
        history = read_history(folder)
        if history:  # a model that is no network has no epochs
            plot_curves(history, folder / "curves.png")
    if not outcome.fresh:
        console.note(f"train: {folder} is finished, nothing to do")
        return
    console.note(f"train: {outcome.model} in {outcome.seconds:.0f} s")


@app.command("eval")
def eval_(
    run: Run,
    data: Annotated[Path | None, typer.Option(help="Other folder to measure on; default: the run's test part.")] = None,
    out: Annotated[Path | None, typer.Option(help="Where to write; default: the run's folder.")] = None,
) -> None:
    """Measure a model on images it never saw.  Example: fer eval runs/sample --data other/crops --out scores"""
    run_evaluation(run, data, out)


def run_evaluation(run: Path, data: Path | None = None, out: Path | None = None) -> None:
    """Evaluate, draw the confusion matrix, print the table."""
    need_extra("train", "sklearn", "matplotlib")
    from fer_pipeline.model.evaluate import evaluate
    from fer_pipeline.report.plots import plot_confusion

    result = evaluate(run, data, out)
    plot_confusion(result.metrics, result.folder / "confusion.png")
    _print_metrics(result.metrics)
    console.note(f"eval: {result.folder / 'metrics.json'}, predictions.csv, confusion.png")


def ensure_evaluation(run: Path, data: Path) -> None:
    """Evaluate a run unless its figures are there already."""
    from fer_pipeline.model.evaluate import is_evaluated

    if is_evaluated(run, data):
        console.note(f"eval: {run} is measured, nothing to do (see {run / 'metrics.json'})")
    else:
        run_evaluation(run)


def _print_metrics(metrics: dict[str, Any]) -> None:
    from rich.table import Table

    table = Table("class", "precision", "recall", "F1", "images", box=None)
    for label, values in metrics["per_class"].items():
        figures = [f"{values[name]:.3f}" for name in ("precision", "recall", "f1")]
        table.add_row(label, *figures, str(values["support"]))
    console.out.print(table)
    if len(metrics["per_source"]) > 1:
        sources = Table("source", "accuracy", "95 %", "images", box=None)
        for name, values in metrics["per_source"].items():
            sources.add_row(name, f"{values['accuracy']:.1%}", _interval(values["accuracy_ci95"]), str(values["count"]))
        console.out.print(sources)
    accuracy = f"accuracy {metrics['accuracy']:.1%} (95 %: {_interval(metrics['accuracy_ci95'])})"
    f1 = f"macro-F1 {metrics['macro_f1']:.3f} (95 %: {_interval(metrics['macro_f1_ci95'])})"
    console.out.print(f"{accuracy}, {f1}, {metrics['count']} images", markup=False)


def _interval(pair: list[float]) -> str:
    return f"{pair[0]:.1%} to {pair[1]:.1%}"


@app.command()
def predict(
    run: Run,
    paths: Annotated[list[Path], typer.Argument(help="Photos, or folders of photos.")],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
    crops: Annotated[bool, typer.Option("--crops", help="The files are crops already: take them as they are.")] = False,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes; default: one per core for many files.")] = None,
) -> None:
    """Tell the expression of every face in some photos.  Example: fer predict runs/sample photo.jpg --json"""
    for prediction in _predict_all(run, paths, crops, workers):
        if as_json:
            typer.echo(json.dumps(prediction.as_dict(), ensure_ascii=False))
        else:
            faces = ", ".join(f"{face.label} {face.confidence:.0%}" for face in prediction.faces)
            typer.echo(f"{prediction.path}: {faces or prediction.outcome}")


def _predict_all(run: Path, paths: list[Path], crops: bool, workers: int | None) -> Iterator[Prediction]:
    from functools import partial

    from fer_pipeline.model.predictor import Prediction, list_photos, load_predictor, predict_file
    from fer_pipeline.stages.workers import WorkerCrash, work

    files = list_photos(paths)
    load_predictor(run)  # a bad model is told once, before any photo
    count = workers or (available_cores() if len(files) >= 64 else 1)
    for path, result in work(partial(predict_file, run, crops), files, count):
        yield Prediction(str(path), "bad_image", []) if isinstance(result, WorkerCrash) else result


def need_extra(extra: str, *modules: str) -> None:
    """Say which extra is missing, without importing anything."""
    from importlib.util import find_spec

    from fer_pipeline.errors import SetupError

    missing = [name for name in modules if find_spec(name) is None]
    if missing:
        raise SetupError(f"{', '.join(missing)} not installed: `pip install 'fer-pipeline[{extra}]'`")
