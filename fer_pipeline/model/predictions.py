"""What a model said of every crop it was measured on: `predictions.csv`, and the accuracy of each source."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fer_pipeline.manifest import write_csv
from fer_pipeline.model.dataset import Crops, source_of
from fer_pipeline.model.metrics import wilson_interval

PREDICTIONS = "predictions.csv"
SEEN = "seen.csv"


def write_predictions(folder: Path, crops: Crops, probabilities: NDArray[np.float32]) -> None:
    """A row for every crop: path, label, predicted, confidence and the probability of each class."""
    header = ["path", "label", "predicted", "confidence", *(f"p_{label}" for label in crops.labels)]
    write_csv(folder / PREDICTIONS, header, _lines(crops, probabilities))


def write_seen(folder: Path, training: Crops, validation: Crops) -> None:
    """What a run learned from and what chose its epoch, so that it is known when the data have changed."""
    parts = (("training", training), ("validation", validation))
    rows = ((row.path, row.label, part) for part, crops in parts for row in crops.rows)
    write_csv(folder / SEEN, ["path", "label", "part"], rows)


def _lines(crops: Crops, probabilities: NDArray[np.float32]) -> Iterator[list[str | None]]:
    for row, values in zip(crops.rows, probabilities, strict=True):
        best = int(values.argmax())
        shown = [f"{float(value):.6f}" for value in values]
        yield [row.path, row.label, crops.labels[best], shown[best], *shown]


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
