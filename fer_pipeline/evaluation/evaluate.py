"""Measure a model file on crops it was not trained on; what is measured is the file that will be served.

`metrics.json` holds

    count accuracy macro_f1 …_ci95   of all images; intervals by Wilson (shares) and bootstrap (macro-F1)
    per_class per_source             precision, recall with its interval, F1, support; accuracy with its interval
    confusion labels                 rows are true, columns predicted
    calibration                      ece and bins on these images, as served; temperature and, under `validation`, what
                                     fitting it changed there (None: no temperature was fitted)
    selective                        coverage and accuracy of what is answered at the model's threshold, and at others
    leakage                          checked (or the reason why not); images, share and kinds of copies of training
                                     images, listed in `leaks.csv`; the score without them; limit, allowed, passed
    data model                       the folder, the SHA-256 of the model file
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fer_pipeline.dataset.journal import Journal
from fer_pipeline.dataset.provenance import read_provenance
from fer_pipeline.dataset.rows import MANIFEST
from fer_pipeline.errors import InputError
from fer_pipeline.evaluation.confidence import measure_reliability, measure_selective
from fer_pipeline.evaluation.leakage import LEAKS, LIMIT, check_leakage, judge_leakage
from fer_pipeline.evaluation.metrics import score
from fer_pipeline.evaluation.predictions import score_sources, write_predictions
from fer_pipeline.files import hash_file, write_aside, write_csv
from fer_pipeline.models.data import Crops, hash_data, list_crops, load_crops
from fer_pipeline.models.model_file import MODEL, Card, find_model
from fer_pipeline.models.predictor import Predictor

METRICS = "metrics.json"


@dataclass(frozen=True)
class Evaluation:
    """The figures of `metrics.json`, and where it lies."""

    metrics: dict[str, Any]
    folder: Path


def evaluate(
    run: Path,
    data: Path | None = None,
    out: Path | None = None,
    *,
    max_leakage: float = LIMIT,
    allow_leakage: bool = False,
) -> Evaluation:
    """Score a run on the test part of its own data, or on another folder; writes metrics and predictions.

    InputError if another command writes there.
    """
    predictor = Predictor(run)
    target = out or _target(run, data)
    crops = read_test(run, predictor.card, data, target)
    with Journal(target):  # for its lock alone
        return _measure(
            run, predictor, crops, data or predictor.card.training_folder, target, (max_leakage, allow_leakage)
        )


def _measure(
    run: Path, predictor: Predictor, crops: Crops, folder: Path, target: Path, gate: tuple[float, bool]
) -> Evaluation:
    probabilities = predictor.classify(crops.images)
    metrics = score(crops.targets, probabilities, predictor.card.labels)
    metrics |= {"per_source": score_sources(crops, probabilities), "data": str(folder)}
    metrics |= {"model": hash_file(find_model(run)), **measure_confidence(predictor.card, crops.targets, probabilities)}
    leakage = check_leakage(predictor.card, folder, crops, probabilities, cache_of(run, target))
    metrics |= {"leakage": judge_leakage(leakage.figures, gate[0], allow=gate[1])}
    write_predictions(target, crops, probabilities)
    write_csv(target / LEAKS, ["test", "train", "kind", "distance"], leakage.lines)
    write_aside(target / METRICS, [json.dumps(metrics, indent=2, ensure_ascii=False).encode()])
    return Evaluation(metrics, target)


def read_test(run: Path, card: Card, data: Path | None, target: Path) -> Crops:
    """The crops to measure on; raises InputError for photos, or where what is test now may have been trained on."""
    folder = data or card.training_folder
    stage = (read_provenance(folder) or {}).get("stage")
    if (folder / MANIFEST).is_file() and stage not in {"crop", "split"} and card.preprocessing.cut.region != "whole":
        raise InputError(f"{folder} holds photos, not crops: name the crops cut out of them, as in data/NAME/crops")
    rows = list_crops(folder, "test")
    if not data and hash_data(folder) != card.data:
        raise InputError(f"{folder} has changed since {run} was trained on it: run `fer train`, or name --data")
    if not data and any(row.split != "test" for row in rows):
        raise InputError(
            f"{folder} has no test part: name other images by --data, or cross-validate by `fer train --folds`"
        )
    return load_crops(folder, rows, card.labels, card.size, cache_of(run, target))


def measure_confidence(card: Card, targets: NDArray[np.int64], probabilities: NDArray[np.float32]) -> dict[str, Any]:
    """What the confidences are worth, as they are served, and what withholding the unsure ones would bring."""
    validation = card.calibration.model_dump() if card.calibration else None
    temperature = card.calibration.temperature if card.calibration else 1.0
    reliability = measure_reliability(targets, probabilities)
    return {
        "calibration": {**reliability, "temperature": temperature, "validation": validation},
        "selective": measure_selective(targets, probabilities, card.uncertain),
    }


def _home(run: Path) -> Path:
    return run if run.is_dir() else run.parent


def _target(run: Path, data: Path | None) -> Path:
    """Where to write unless told: the run's folder for its own model and data, else a folder named after the other."""
    if data is not None:
        place = data.resolve()
        # `crops` and `split` are the names of every data set's folders.
        name = f"{place.parent.name}-{place.name}" if (data / MANIFEST).is_file() else place.name
        return _home(run) / f"eval-{name}"
    return _home(run) if run.is_dir() or run.name == MODEL else _home(run) / f"eval-{run.stem}"


def cache_of(run: Path, target: Path) -> Path:
    """Where decoded crops are kept: where the training left its own, if it did."""
    kept = _home(run) / "cache"
    return kept if kept.is_dir() else target / "cache"


def is_evaluated(run: Path, data: Path) -> bool:
    """Whether the run's `metrics.json` tells of the model that is there now, on its own data."""
    try:
        metrics = read_metrics(run)
        current = metrics["data"] == str(data) and metrics["model"] == hash_file(find_model(run))
        return bool(current and "leakage" in metrics)
    except (InputError, OSError, KeyError):
        return False


def read_metrics(run: Path) -> dict[str, Any]:
    """The figures of a run; raises InputError where there are none."""
    path = run / METRICS
    try:
        metrics = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: cannot be read ({error}): run `fer eval {run}`") from None
    if not isinstance(metrics, dict):
        raise InputError(f"{path}: holds no figures: run `fer eval {run}`")
    return metrics
