"""Measure a model file on crops it was not trained on; what is measured is the file that will be served."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fer_pipeline.errors import InputError, StaleError
from fer_pipeline.manifest import MANIFEST, hash_file, write_aside
from fer_pipeline.model.bundle import find_model
from fer_pipeline.model.dataset import hash_data, list_crops, load_crops
from fer_pipeline.model.metrics import score
from fer_pipeline.model.predictions import score_sources, write_predictions
from fer_pipeline.model.predictor import Predictor
from fer_pipeline.recipe import read_recipe

METRICS = "metrics.json"


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
    if not data and any(row.split != "test" for row in rows):
        raise InputError(f"{folder} has no test part: run `fer split` first")
    crops = load_crops(folder, rows, predictor.card.labels, predictor.card.size, target / "cache")
    probabilities = predictor.classify(crops.images)
    metrics = score(crops.targets, probabilities, predictor.card.labels)
    model = hash_file(find_model(run))
    metrics |= {"per_source": score_sources(crops, probabilities), "data": str(folder), "model": model}
    target.mkdir(parents=True, exist_ok=True)
    write_predictions(target, crops, probabilities)
    write_aside(target / METRICS, [json.dumps(metrics, indent=2, ensure_ascii=False).encode()])
    return Evaluation(metrics, target)


def is_evaluated(run: Path, data: Path) -> bool:
    """Whether the run's `metrics.json` tells of the model that is there now, on its own data."""
    try:
        metrics = json.loads((run / METRICS).read_text(encoding="utf-8"))
        return bool(metrics["data"] == str(data) and metrics["model"] == hash_file(find_model(run)))
    except (OSError, ValueError, KeyError, TypeError):
        return False
