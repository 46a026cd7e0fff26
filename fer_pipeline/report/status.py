"""The status of an experiment: its stages, training and evaluation, and what has changed since."""

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from fer_pipeline.config.schema import Config, TrainConfig
from fer_pipeline.console import counted
from fer_pipeline.dataset.provenance import format_difference, make_provenance, read_provenance
from fer_pipeline.errors import FerError, InputError
from fer_pipeline.files import TableReader
from fer_pipeline.report.funnel import places_of, read_steps

HISTORY = "history.csv"  # as `model.history`, which imports Lightning, writes it


class StageStatus(NamedTuple):
    """A line of `fer status`; `stale` says how the folder differs from what would be made now."""

    step: str
    kept: str
    dropped: str
    told: str
    folder: Path
    stale: str = ""
    finished: bool = True


def read_status(config: Config) -> list[StageStatus]:
    """Read the status of every step that has begun, in order."""
    stages = [
        StageStatus(step.stage, f"{step.kept:,}", f"{step.dropped:,}", step.told or "-", step.folder, step.stale)
        for step in read_steps(places_of(config), config)
    ]
    return [*stages, *_train(config.train), *_eval(config.train)]


def _train(config: TrainConfig) -> Iterator[StageStatus]:
    history = read_curves(config.output)
    finished = (config.output / "model.onnx").is_file()
    if not history and not finished:
        return
    told = f"epoch {history[-1]['epoch']:.0f}, validation {history[-1]['val_accuracy']:.1%}" if history else "-"
    stale = ""
    made = read_provenance(config.output)
    if made is not None:
        try:
            stale = format_difference(made, make_provenance("train", config, _hash(config.input)))
        except FerError:  # the command itself will tell
            stale = ""
    yield StageStatus("train", "", "", told if finished else f"begun: {told}", config.output, stale, finished)


def _hash(folder: Path) -> str:
    from fer_pipeline.models.data import hash_data

    return hash_data(folder)


def _eval(config: TrainConfig) -> Iterator[StageStatus]:
    from fer_pipeline.evaluation.evaluate import is_evaluated, read_metrics
    from fer_pipeline.evaluation.scores import METRICS

    if not (config.output / METRICS).is_file():
        return
    stale = "" if is_evaluated(config.output, config.input) else "measured with another model or on other data"
    try:
        metrics = read_metrics(config.output)
        low, high = metrics.accuracy_ci95
        told = f"accuracy {metrics.accuracy:.1%} ({low:.1%} to {high:.1%}), {counted(metrics.count, 'image')}"
    except InputError:
        told, stale = "-", "damaged, or written by another version"
    yield StageStatus("eval", "", "", told, config.output, stale)


def read_json(path: Path) -> dict[str, Any]:
    """Read an object from a JSON file; empty if it is missing or damaged."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def read_table(path: Path) -> list[dict[str, str]]:
    """Read the rows of a CSV file; empty if it is missing or damaged."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return [{str(key): str(value) for key, value in row.items()} for row in TableReader(file)]
    except (OSError, ValueError, csv.Error):
        return []


def read_curves(run: Path) -> list[dict[str, float]]:
    """Read the training curves of a run, a row per epoch; empty if the file is missing or damaged."""
    try:
        rows = [{key: float(value) for key, value in row.items()} for row in read_table(run / HISTORY)]
    except ValueError:
        return []
    wanted = {"epoch", "train_loss", "val_loss", "train_accuracy", "val_accuracy"}
    return [row for row in rows if wanted <= row.keys()]
