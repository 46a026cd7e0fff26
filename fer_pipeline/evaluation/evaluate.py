"""Measure a model file on crops it was not trained on; the file measured is the file that is served.

Writes `metrics.json` (see `scores.Metrics`), `predictions.csv` with a row per crop, and `leaks.csv` with the test
images that are copies of training images.
"""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fer_pipeline.dataset.provenance import locked_results, read_provenance
from fer_pipeline.dataset.rows import MANIFEST
from fer_pipeline.errors import InputError
from fer_pipeline.evaluation.confidence import measure_calibration, measure_selective
from fer_pipeline.evaluation.leakage import LEAKS, LIMIT, Gate, check_leakage
from fer_pipeline.evaluation.metrics import score
from fer_pipeline.evaluation.predictions import COLUMNS, PREDICTIONS, score_sources, write_predictions
from fer_pipeline.evaluation.scores import METRICS, Metrics, SourceScore, read_record, write_record
from fer_pipeline.evaluation.suitability import find_doubts
from fer_pipeline.evaluation.unknown import check_distance, measure_unknown
from fer_pipeline.files import hash_file, is_own_file, write_csv
from fer_pipeline.models.data import Crops, hash_data, list_crops, load_crops
from fer_pipeline.models.model_file import MODEL, Card, find_model
from fer_pipeline.models.predictor import Predictor

PAIR = ("test", "train", "kind", "distance")  # the columns of leaks.csv
CONFUSION, RELIABILITY = "confusion.png", "reliability.png"


@dataclass(frozen=True)
class Evaluation:
    """The scores of a model, the folder they were written to, and why they may not be what they seem."""

    metrics: Metrics
    folder: Path
    doubts: list[str] = field(default_factory=list)


def evaluate(
    run: Path,
    data: Path | None = None,
    out: Path | None = None,
    *,
    max_leakage: float = LIMIT,
    allow_leakage: bool = False,
    others: Path | None = None,
) -> Evaluation:
    """Score a run on the test part of its own data, or on another folder; writes metrics and predictions.

    `others` is a folder of pictures that show none of the classes: how many of them are `unknown` to the model?

    Raises InputError if another command writes there, or if fer did not make the folder.
    """
    predictor = Predictor(run)
    check_distance(predictor, others)
    target = out or _target(run, data)
    if (target / MODEL).is_file() and target.resolve() != _home(run).resolve():
        raise InputError(f"{target} is a run of its own: name another folder by --out")
    with locked_results(target, "eval"):
        _check_place(target)
        crops = read_test(run, predictor.card, data, target)
        folder = data or predictor.card.training_folder
        return _evaluate(run, predictor, crops, folder, target, Gate(max_leakage, allow_leakage), others)


def _check_place(target: Path) -> None:
    """Refuse to replace a file of somebody else's that bears the name of one of an evaluation's."""
    begins = {
        METRICS: f'{{\n  "{next(iter(Metrics.model_fields))}"',
        PREDICTIONS: ",".join(COLUMNS),
        LEAKS: ",".join(PAIR),
    }
    for name in (*begins, CONFUSION, RELIABILITY):
        path = target / name
        if path.exists() and not is_own_file(path, begins.get(name, "").encode()):
            raise InputError(f"{path}: fer did not write it: rename it, or name another folder by --out")


def _evaluate(
    run: Path, predictor: Predictor, crops: Crops, folder: Path, target: Path, gate: Gate, others: Path | None
) -> Evaluation:
    card, answers = predictor.card, predictor.answer_crops(crops.images)
    probabilities = answers[:, :-1]
    unknown = measure_unknown(predictor, crops.targets, answers, others) if predictor.measures_distance else None
    metrics = measure(
        crops.targets, probabilities, card.labels, score_sources(crops, probabilities), threshold=card.uncertain
    )
    temperature = card.calibration.temperature if card.calibration else 1.0
    calibration = metrics.calibration.model_copy(update={"temperature": temperature, "validation": card.calibration})
    check = check_leakage(card, folder, crops, probabilities, cache_of(run, target), gate)
    metrics = metrics.model_copy(
        update={
            "calibration": calibration,
            "leakage": check.leakage,
            "unknown": unknown,
            "data": str(folder),
            "model": hash_file(find_model(run)),
        }
    )
    write_predictions(target, crops, probabilities)
    write_csv(target / LEAKS, PAIR, check.lines)
    write_record(target / METRICS, metrics)
    return Evaluation(metrics, target, find_doubts(card, folder, crops.rows))


def measure(
    targets: NDArray[np.int64],
    probabilities: NDArray[np.float32],
    labels: list[str],
    per_source: dict[str, SourceScore],
    threshold: float = 0,
) -> Metrics:
    """All scores of probabilities (n, classes) against targets (n,); below `threshold` a prediction is withheld."""
    scores = score(targets, probabilities, labels)
    return Metrics(
        **dict(scores)
        | {
            "per_source": per_source,
            "calibration": measure_calibration(targets, probabilities),
            "selective": measure_selective(targets, probabilities, threshold),
        }
    )


def read_test(run: Path, card: Card, data: Path | None, target: Path) -> Crops:
    """Read the crops to measure on; raises InputError for photos, or if they may have been trained on."""
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


def _home(run: Path) -> Path:
    return run if run.is_dir() else run.parent


def _target(run: Path, data: Path | None) -> Path:
    """The default folder to write to: the run's for its own model and data, else one named after model or data."""
    if data is not None:
        place = data.resolve()
        # `crops` and `split` are the names of every data set's folders.
        name = f"{place.parent.name}-{place.name}" if (data / MANIFEST).is_file() else place.name
        return _home(run) / f"eval-{name}"
    home = _home(run)
    if read_provenance(home) is None:  # somebody's own folder with a model in it
        return home / "eval"
    return home if run.is_dir() or run.name == MODEL else home / f"eval-{run.stem}"


def cache_of(run: Path, target: Path) -> Path:
    """The folder that caches decoded crops: the run's, if it has one."""
    kept = _home(run) / "cache"
    return kept if kept.is_dir() else target / "cache"


def is_evaluated(run: Path, data: Path) -> bool:
    """Whether the run's `metrics.json` is of its present model, on its own data."""
    try:
        metrics = read_metrics(run)
        current = metrics.data == str(data) and metrics.model == hash_file(find_model(run))
    except (InputError, OSError):
        return False
    return current and metrics.leakage is not None


def read_metrics(run: Path) -> Metrics:
    """Read the `metrics.json` of a folder; raises InputError if it is missing or damaged."""
    return read_record(Metrics, run / METRICS, f"run `fer eval {run}`")
