"""What a model said of every crop it was measured on: `predictions.csv`, and the accuracy of each source."""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fer_pipeline.errors import InputError
from fer_pipeline.evaluation.metrics import wilson_interval
from fer_pipeline.files import write_csv
from fer_pipeline.models.data import Crops, source_of

PREDICTIONS = "predictions.csv"
SEEN = "seen.csv"


def write_predictions(folder: Path, crops: Crops, probabilities: NDArray[np.float32]) -> None:
    """A row for every crop: path, label, predicted, confidence, the probability of each class, and its group if any."""
    header = ["path", "label", "predicted", "confidence", *(f"p_{label}" for label in crops.labels), "group"]
    write_csv(folder / PREDICTIONS, header, _lines(crops, probabilities))


def write_seen(folder: Path, training: Crops, validation: Crops, base: Path | None = None) -> None:
    """What a run learned from and what chose its epoch, so that it is known when the data have changed.

    What the run it went on from had seen before, and this one did not, is of the part `base`.
    """
    parts = (("training", training), ("validation", validation))
    rows = [(row.path, str(row.label), part) for part, crops in parts for row in crops.rows]
    own = {path for path, _, _ in rows}
    before = read_seen(base) if base else []
    rows += [(path, label, "base") for path, label, _ in before if path not in own]
    write_csv(folder / SEEN, ["path", "label", "part"], rows)


def read_seen(run: Path) -> list[tuple[str, str, str]]:
    """Path, label and part of what a run has seen; nothing of an old run, of which nothing is known."""
    try:
        with (run / SEEN).open(newline="", encoding="utf-8") as file:
            return [(line["path"], line["label"], line["part"]) for line in csv.DictReader(file)]
    except (OSError, ValueError, KeyError, csv.Error):
        return []


def _lines(crops: Crops, probabilities: NDArray[np.float32]) -> Iterator[list[str | None]]:
    for row, values in zip(crops.rows, probabilities, strict=True):
        best = int(values.argmax())
        shown = [f"{float(value):.6f}" for value in values]
        yield [row.path, row.label, crops.labels[best], shown[best], *shown, row.group]


@dataclass(frozen=True)
class Judged:
    """A line of `predictions.csv`: the true label and the predicted one; an image without a group is its own."""

    label: str
    predicted: str
    group: str


def read_predictions(run: Path) -> dict[str, Judged]:
    """What a run said of every image, by path; a run folder or a file; raises InputError for what is none."""
    path = run / PREDICTIONS if run.is_dir() else run
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            return _read_lines(csv.DictReader(file), path)
    except FileNotFoundError:
        raise InputError(f"{path} does not exist: run `fer eval` first, or name another run") from None
    except (OSError, ValueError, csv.Error) as error:
        raise InputError(f"{path}: cannot be read ({error}): run `fer eval` again") from None


def _read_lines(reader: "csv.DictReader[str]", path: Path) -> dict[str, Judged]:
    missing = {"path", "label", "predicted"} - set(reader.fieldnames or [])
    if missing:
        raise InputError(f"{path}: has no column {sorted(missing)[0]!r}: name a run, or its {PREDICTIONS}")
    judged: dict[str, Judged] = {}
    for line in reader:
        where = f"{path}:{reader.line_num}"
        if not (line["path"] and line["label"] and line["predicted"]):
            raise InputError(f"{where}: path, label or predicted is empty: run `fer eval` again")
        if line["path"] in judged:
            raise InputError(f"{where}: {line['path']} stands there twice: run `fer eval` again")
        judged[line["path"]] = Judged(line["label"], line["predicted"], line.get("group") or line["path"])
    if not judged:
        raise InputError(f"{path}: holds no prediction: run `fer eval` again")
    return judged


def score_sources(crops: Crops, probabilities: NDArray[np.float32]) -> dict[str, Any]:
    """Accuracy of each source: a model that only knows its camera shows here."""
    hits = probabilities.argmax(axis=1) == crops.targets
    sources = np.array([source_of(row) for row in crops.rows])
    table = {}
    for source in sorted(set(sources.tolist())):
        chosen = hits[sources == source]
        correct, count = int(chosen.sum()), len(chosen)
        interval = [round(value, 4) for value in wilson_interval(correct, count)]
        table[source] = {"count": count, "accuracy": round(correct / count, 4), "accuracy_ci95": interval}
    return table
