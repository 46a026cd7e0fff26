"""The predictions for every crop of a test set, `predictions.csv`, and the accuracy by source."""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fer_pipeline.errors import InputError
from fer_pipeline.evaluation.metrics import round_interval, wilson_interval
from fer_pipeline.evaluation.scores import SourceScore
from fer_pipeline.files import TableReader, write_csv
from fer_pipeline.models.data import Crops, source_of

PREDICTIONS = "predictions.csv"
SEEN = "seen.csv"
COLUMNS = ("path", "label", "predicted", "confidence")  # the first of predictions.csv


def write_predictions(folder: Path, crops: Crops, probabilities: NDArray[np.float32]) -> None:
    """Write a row per crop: path, label, predicted, confidence, the probability of each class, and its group if any."""
    header = [*COLUMNS, *(f"p_{label}" for label in crops.labels), "group"]
    write_csv(folder / PREDICTIONS, header, _lines(crops, probabilities))


def write_seen(folder: Path, training: Crops, validation: Crops, base: Path | None = None) -> None:
    """Write which images a run was trained and validated on, so that it is known after the data have changed.

    Images that only the run it was fine-tuned from has seen are of the part `base`.
    """
    parts = (("training", training), ("validation", validation))
    rows = [(row.path, str(row.label), part) for part, crops in parts for row in crops.rows]
    own = {path for path, _, _ in rows}
    before = read_seen(base) if base else []
    rows += [(path, label, "base") for path, label, _ in before if path not in own]
    write_csv(folder / SEEN, ["path", "label", "part"], rows)


def read_seen(run: Path) -> list[tuple[str, str, str]]:
    """Read path, label and part of the images a run has seen; empty if the file is missing or damaged."""
    try:
        with (run / SEEN).open(newline="", encoding="utf-8") as file:
            return [(line["path"], line["label"], line["part"]) for line in TableReader(file)]
    except (OSError, ValueError, KeyError, csv.Error):
        return []


def _lines(crops: Crops, probabilities: NDArray[np.float32]) -> Iterator[list[str | None]]:
    for row, values in zip(crops.rows, probabilities, strict=True):
        best = int(values.argmax())
        shown = [f"{float(value):.6f}" for value in values]
        yield [row.path, row.label, crops.labels[best], shown[best], *shown, row.group]


@dataclass(frozen=True)
class PredictedLabel:
    """A line of `predictions.csv`; the group of an image without one is its path."""

    label: str
    predicted: str
    group: str


def read_predictions(run: Path) -> dict[str, PredictedLabel]:
    """Read the predictions of a run folder or a file, by path; raises InputError for a missing or damaged file."""
    path = run / PREDICTIONS if run.is_dir() else run
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            return _read_lines(TableReader(file), path)
    except FileNotFoundError:
        raise InputError(f"{path} does not exist: run `fer eval` first, or name another run") from None
    except (OSError, ValueError, csv.Error) as error:
        raise InputError(f"{path}: cannot be read ({error}): run `fer eval` again") from None


def _read_lines(reader: TableReader, path: Path) -> dict[str, PredictedLabel]:
    missing = {"path", "label", "predicted"} - set(reader.fieldnames or [])
    if missing:
        raise InputError(f"{path}: has no column {sorted(missing)[0]!r}: name a run, or its {PREDICTIONS}")
    predictions: dict[str, PredictedLabel] = {}
    for line in reader:
        where = f"{path}:{reader.line_num}"
        if not (line["path"] and line["label"] and line["predicted"]):
            raise InputError(f"{where}: path, label or predicted is empty: run `fer eval` again")
        if line["path"] in predictions:
            raise InputError(f"{where}: {line['path']} is listed twice: run `fer eval` again")
        predictions[line["path"]] = PredictedLabel(line["label"], line["predicted"], line.get("group") or line["path"])
    if not predictions:
        raise InputError(f"{path}: holds no prediction: run `fer eval` again")
    return predictions


def score_sources(crops: Crops, probabilities: NDArray[np.float32]) -> dict[str, SourceScore]:
    """Accuracy on each source: a model that has learned the camera in place of the expression shows here."""
    hits = probabilities.argmax(axis=1) == crops.targets
    sources = np.array([source_of(row) for row in crops.rows])
    table = {}
    for source in sorted(set(sources.tolist())):
        chosen = hits[sources == source]
        correct, count = int(chosen.sum()), len(chosen)
        interval = round_interval(wilson_interval(correct, count))
        table[source] = SourceScore(count=count, accuracy=round(correct / count, 4), accuracy_ci95=interval)
    return table
