"""Cross-validation: predict every image once, with a model that was trained on neither it nor its group."""

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fer_pipeline import console
from fer_pipeline.config.schema import TrainConfig
from fer_pipeline.dataset.provenance import locked_run, make_provenance
from fer_pipeline.dataset.rows import Row
from fer_pipeline.errors import InputError
from fer_pipeline.evaluation.evaluate import measure
from fer_pipeline.evaluation.metrics import score
from fer_pipeline.evaluation.predictions import score_sources, write_predictions
from fer_pipeline.evaluation.scores import FoldScores, write_record
from fer_pipeline.models.data import FOLDS, Crops, assign_folds, hash_data, source_of, write_arrays
from fer_pipeline.models.distributed import check_single_process
from fer_pipeline.models.model_module import predict
from fer_pipeline.training.calibration import calibrate
from fer_pipeline.training.fit import fit
from fer_pipeline.training.train import check_device, hold_back, read_crops


@dataclass(frozen=True)
class CrossValidation:
    """n images with the out-of-fold probabilities (n, classes), the fold of each (n,), and the scores of all."""

    crops: Crops
    folds: NDArray[np.int64]
    probabilities: NDArray[np.float32]
    scores: FoldScores
    folder: Path


def cross_validate(config: TrainConfig, count: int, *, by_source: bool = False, force: bool = False) -> CrossValidation:
    """Train `count` models, each on all folds but one, and predict that one; with `by_source` a fold is a source.

    All labelled images of the input folder take part, whatever their split. Each fold has a folder of its own, so that
    a killed run continues where it stopped. Writes `folds.json` and `predictions.csv` into the run folder.
    """
    check_single_process("cross-validation")
    kind = "sources" if by_source else f"folds{count}"
    config = config.model_copy(update={"output": config.output.with_name(f"{config.output.name}-{kind}")})
    provenance = make_provenance("folds", config, hash_data(config.input)) | {
        "folds": "sources" if by_source else count
    }
    check_device(config.device)
    with locked_run(config.output, provenance, force=force):
        crops = read_crops(config, None)
        names = _names(crops.rows) if by_source else [str(index + 1) for index in range(count)]
        folds = _by_source(crops.rows, names) if by_source else assign_folds(crops.rows, count, config.seed)
        probabilities = np.zeros((len(folds), len(crops.labels)), np.float32)
        minutes = []
        for index, name in enumerate(names):
            held = np.flatnonzero(folds == index)
            console.note(f"train: fold {name}, {len(held)} of {len(folds)} images held out")
            probabilities[held], seconds = _fold(config, crops, held, config.output / f"fold-{index + 1}")
            minutes.append(round(seconds / 60, 2))
        scores = _score(crops, folds, probabilities, names, config.uncertain)
        scores = scores.model_copy(update={"minutes": minutes})
        write_predictions(config.output, crops, probabilities)
        write_record(config.output / FOLDS, scores)
    return CrossValidation(crops, folds, probabilities, scores, config.output)


def _names(rows: list[Row]) -> list[str]:
    names = sorted({source_of(row) for row in rows})
    if len(names) < 2:
        raise InputError(f"all images are of one source, {names[0]!r}: leaving it out leaves nothing to train on")
    return names


def _by_source(rows: list[Row], names: list[str]) -> NDArray[np.int64]:
    return np.array([names.index(source_of(row)) for row in rows], dtype=np.int64)


def _fold(
    config: TrainConfig, crops: Crops, held: NDArray[np.int64], folder: Path
) -> tuple[NDArray[np.float32], float]:
    """Predict the held-out images; return probabilities and seconds, read back if the fold is finished."""
    kept = folder / "probabilities.npy"
    if kept.is_file():
        with kept.open("rb") as file:
            return np.load(file, allow_pickle=False), float(np.load(file, allow_pickle=False))
    started = time.monotonic()
    others = np.setdiff1d(np.arange(len(crops.targets)), held)
    training, validation = hold_back(crops.part(others.tolist()), config)
    folder.mkdir(parents=True, exist_ok=True)
    classifier = fit(config, training, validation, folder)
    if config.calibrate:
        calibrate(classifier, validation)
    probabilities = predict(classifier, crops.part(held.tolist()))
    seconds = time.monotonic() - started
    write_arrays(kept, probabilities, np.float64(seconds))
    return probabilities, seconds


def _score(
    crops: Crops, folds: NDArray[np.int64], probabilities: NDArray[np.float32], names: list[str], threshold: float
) -> FoldScores:
    """The scores pooled over all images, and the score of each fold."""
    each = {}
    for index, name in enumerate(names):
        chosen = folds == index
        each[name] = score(crops.targets[chosen], probabilities[chosen], crops.labels).summary()
    sources = score_sources(crops, probabilities)
    return FoldScores(pooled=measure(crops.targets, probabilities, crops.labels, sources, threshold), folds=each)
