"""The commands that train, measure and use a model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fer_pipeline import console
from fer_pipeline.cli.app import (
    ClassFolders,
    ConfigFile,
    Force,
    Overrides,
    app,
    available_cores,
    check_given,
    read_config,
)
from fer_pipeline.cli.figures import format_score, print_gains, print_metrics
from fer_pipeline.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from fer_pipeline.config.schema import Config
    from fer_pipeline.models.prediction import FacePrediction, Prediction
    from fer_pipeline.training.train import Outcome

Run = Annotated[Path, typer.Argument(help="Folder of a finished run, as in runs/sample, or its model.onnx.")]


@app.command()
def train(
    config: ConfigFile,
    set_: Overrides = None,
    data: ClassFolders = None,
    folds: Annotated[int | None, typer.Option(min=2, max=100, help="Cross-validate: so many models instead.")] = None,
    by_source: Annotated[bool, typer.Option("--by-source", help="Cross-validate: leave each source out once.")] = False,
    begin: Annotated[
        Path | None, typer.Option("--from", help="Finished run to go on from: a short training into runs/NAME-tuned.")
    ] = None,
    force: Force = False,
) -> None:
    """Train a classifier; after a kill the same command goes on.  Example: fer train --config configs/lips.yaml"""
    check_given(data)
    overrides = [*(set_ or []), *([] if data is None else [f"train.input={json.dumps(str(data))}"])]
    settings = read_config(config, overrides)
    if begin is not None:
        run_finetuning(settings, begin, overrides, judging=bool(folds or by_source), force=force)
    elif folds or by_source:
        run_folds(settings, folds or 0, by_source=by_source, force=force)
    else:
        run_training(settings, force=force)


def run_folds(config: Config, folds: int, *, by_source: bool, force: bool) -> None:
    """Cross-validate, print the pooled figures and each fold's."""
    need_extra("train", "torch", "lightning", "sklearn")
    from fer_pipeline.models.data import FOLDS
    from fer_pipeline.report.warnings import warn_of_guessing
    from fer_pipeline.training.cross_validation import cross_validate

    result = cross_validate(config.train, folds, by_source=by_source, force=force)
    for name, score in result.scores.folds.items():
        console.out.print(f"fold {name}: {format_score(score)}", markup=False)
    print_metrics(result.scores.pooled)
    for sentence in warn_of_guessing(result.scores.pooled):
        console.note(f"train: {sentence}")
    console.note(f"train: {result.folder / FOLDS}, predictions.csv")


def run_training(config: Config, *, force: bool) -> None:
    """Train, then write the resolved configuration, the environment and the curves beside the model."""
    need_extra("train", "torch", "lightning", "sklearn", "matplotlib", "onnx")
    from fer_pipeline.training.train import train as fit

    complete_run(config, fit(config.train, force=force))


def complete_run(config: Config, outcome: Outcome) -> None:
    """Put configuration, environment and curves beside a model, and say where it is."""
    from fer_pipeline.report.environment import write_environment
    from fer_pipeline.report.plots import plot_curves
    from fer_pipeline.training.history import read_history

    folder = outcome.model.parent
    if not console.is_lead():
        return
    if outcome.fresh or not (folder / "curves.png").is_file():  # also after a kill between the model and its pictures
        write_environment(folder, config)
        history = read_history(folder)
        if history:  # a model that is no network has no epochs
            plot_curves(history, folder / "curves.png")
    if not outcome.fresh:
        console.note(f"train: {folder} is finished, nothing to do")
        return
    console.note(f"train: {outcome.model} in {outcome.seconds:.0f} s")


def run_finetuning(config: Config, begin: Path, overrides: list[str], *, judging: bool, force: bool) -> None:
    """Train on from a finished run, and tell source by source what that gained and lost."""
    if judging:
        raise UsageError(f"--from {begin}: it has seen the images that --folds and --by-source would judge: use one")
    need_extra("train", "torch", "lightning", "sklearn", "scipy", "matplotlib", "onnx")
    from fer_pipeline.training.finetune import finetune

    chosen = {one.partition("=")[0].strip().removeprefix("train.") for one in overrides if one.startswith("train.")}
    result = finetune(config.train, begin, chosen, force=force)
    complete_run(config.model_copy(update={"train": result.config}), result.outcome)
    if result.report is not None:
        print_gains(result.report)
        folder = result.config.output
        live = f"watch both models live: fer serve {result.base.run} {folder}"
        console.note(f"train: {folder / 'finetune_report.json'}; {live}")


@app.command()
def predict(
    run: Annotated[
        Path, typer.Argument(help="Folder of a finished run, or its model.onnx; with --url the first photo.")
    ],
    paths: Annotated[list[Path] | None, typer.Argument(help="Photos, or folders of photos.")] = None,
    url: Annotated[str | None, typer.Option(help="Ask a `fer serve` in place of a run: http://127.0.0.1:8000")] = None,
    model: Annotated[str, typer.Option(help="With --url: which of the server's models; default: its first.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
    crops: Annotated[bool, typer.Option("--crops", help="The files are crops already: take them as they are.")] = False,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes; default: one per core for many files.")] = None,
    uncertain: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Confidence below which the answer is `uncertain`; default: the model's own."),
    ] = None,
) -> None:
    """Tell the expression of every face in some photos.  Example: fer predict runs/sample photo.jpg --json"""
    given = {"--crops": crops, "--workers": workers, "--uncertain": uncertain}
    for prediction in (
        _predict_all(run, paths or [], crops, workers, uncertain)
        if url is None
        else _ask(url, [run, *(paths or [])], model, given)
    ):
        if as_json:
            typer.echo(prediction.model_dump_json())
        else:
            faces = ", ".join(_format_face(face) for face in prediction.faces)
            typer.echo(f"{prediction.path}: {faces or prediction.outcome}")


def _ask(url: str, paths: list[Path], model: str, given: Mapping[str, object]) -> Iterator[Prediction]:
    """The predictions of a server; what it serves settles crops, threshold and processes."""
    from fer_pipeline.models.model_file import MODEL
    from fer_pipeline.models.predictor import list_photos
    from fer_pipeline.serve.client import predict_at

    for option, value in given.items():
        if value not in (None, False):
            raise UsageError(f"{option}: the server settles that: leave it out, or name a run in place of --url")
    if (paths[0] / MODEL).is_file():
        raise UsageError(f"{paths[0]}: with --url the server has the model: name photos only, and --model NAME")
    return predict_at(url, list_photos(paths), model)


def _format_face(face: FacePrediction) -> str:
    guess = f"{face.guess} {face.confidence:.0%}"
    return guess if face.outcome == "answered" else f"uncertain ({guess})"


def _predict_all(
    run: Path, paths: list[Path], crops: bool, workers: int | None, uncertain: float | None
) -> Iterator[Prediction]:
    from functools import partial

    from fer_pipeline.models.prediction import Prediction
    from fer_pipeline.models.predictor import list_photos, load_predictor, predict_file
    from fer_pipeline.workers.stage_workers import WorkerCrash, work

    if not paths:
        raise UsageError("no photos: name some, or folders of photos, after the run")
    files = list_photos(paths)
    load_predictor(run, uncertain)  # a bad model is told once, before any photo
    count = workers or (available_cores() if len(files) >= 64 else 1)
    for path, result in work(partial(predict_file, run, crops, uncertain=uncertain), files, count):
        yield Prediction(path=str(path), outcome="bad_image") if isinstance(result, WorkerCrash) else result


def need_extra(extra: str, *modules: str) -> None:
    """Say which extra is missing, without importing anything."""
    from importlib.util import find_spec

    from fer_pipeline.errors import SetupError

    missing = [name for name in modules if find_spec(name) is None]
    if missing:
        raise SetupError(f"{', '.join(missing)} not installed: `pip install 'fer-pipeline[{extra}]'`")
