"""Measure a model file on crops it was not trained on; what is measured is the file that will be served."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fer_pipeline.errors import InputError, StaleError
from fer_pipeline.manifest import MANIFEST, Row, hash_file, write_aside, write_csv
from fer_pipeline.model.bundle import find_model
from fer_pipeline.model.dataset import Crops, hash_data, list_crops, load_crops
from fer_pipeline.model.metrics import score, wilson_interval
from fer_pipeline.model.predictor import Predictor
from fer_pipeline.recipe import read_recipe

METRICS = "metrics.json"
PREDICTIONS = "predictions.csv"


@dataclass(frozen=True)
class Evaluation:
    """The figures of `metrics.json`, and where it lies."""

    metrics: dict[str, Any]
    folder: Path


def evaluate(run: Path, data: Path | None = None, out: Path | None = None) -> Evaluation:
    """Score a run on the test part of its own data, or on another folder; writes metrics and predictions."""
    predictor = Predictor(run)
    folder = data or Path(str(predictor.card.settings.get("input", "")))
    target = out or (run if run.is_dir() else run.parent)
    manifest = folder / MANIFEST
    stage = (read_recipe(folder) or {}).get("stage")
    if manifest.is_file() and stage not in {"crop", "split"} and predictor.card.recipe.cut.region != "whole":
        raise InputError(f"{folder} holds photos, not crops: name the crops cut out of them, as in data/NAME/crops")
    rows = list_crops(folder, "test")
    if not data and hash_data(folder) != predictor.card.data:
        raise StaleError(f"{folder} has changed since {run} was trained on it: run `fer train --force`, or name --data")
    if not data and any(row.split == "train" for row in rows):
        raise InputError(f"{folder} has no test part: run `fer split` first")
    crops = load_crops(folder, rows, predictor.card.labels, predictor.card.size, target / "cache")
    probabilities = predictor.classify(crops.images)
    metrics = score(crops.targets, probabilities, predictor.card.labels)
    model = hash_file(find_model(run))
    metrics |= {"per_source": _per_source(crops, probabilities), "data": str(folder), "model": model}
    target.mkdir(parents=True, exist_ok=True)
    header = ["path", "label", "predicted", "confidence", *(f"p_{label}" for label in crops.labels)]
    write_csv(target / PREDICTIONS, header, _predictions(crops, probabilities))
    write_aside(target / METRICS, [json.dumps(metrics, indent=2, ensure_ascii=False).encode()])
    return Evaluation(metrics, target)


def is_evaluated(run: Path, data: Path) -> bool:
    """Whether the run's `metrics.json` tells of the model that is there now, on its own data."""
    try:
        metrics = json.loads((run / METRICS).read_text(encoding="utf-8"))
        return bool(metrics["data"] == str(data) and metrics["model"] == hash_file(find_model(run)))
    except (OSError, ValueError, KeyError, TypeError):
        return False


def source_of(row: Row) -> str:
    """Where a picture came from, in one word: the search engine or the data set."""
    return str(row.source.get("engine") or row.source.get("name") or "unknown")


def _per_source(crops: Crops, probabilities: NDArray[np.float32]) -> dict[str, Any]:
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


def _predictions(crops: Crops, probabilities: NDArray[np.float32]) -> Iterator[list[str | None]]:
    """A row of `predictions.csv` for every crop."""
    for row, values in zip(crops.rows, probabilities, strict=True):
        best = int(values.argmax())
        shown = [f"{float(value):.6f}" for value in values]
        yield [row.path, row.label, crops.labels[best], shown[best], *shown]
