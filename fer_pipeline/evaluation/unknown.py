"""How well a model tells what it was not trained on: what stays known of the test images, and of other pictures."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fer_pipeline.console import format_interval
from fer_pipeline.dataset.class_folders import list_pictures
from fer_pipeline.errors import InputError
from fer_pipeline.evaluation.metrics import round_interval, wilson_interval
from fer_pipeline.evaluation.scores import Others, Unknown
from fer_pipeline.evaluation.suitability import WHOLE
from fer_pipeline.models.predictor import Predictor
from fer_pipeline.vision.crop import as_crop, prepare
from fer_pipeline.vision.image_io import BadImage, Image, read_photo

Answers = NDArray[np.float32]  # (n, classes + 1): probabilities, then the distance from training


def check_distance(predictor: Predictor, others: Path | None) -> None:
    """Raise InputError where others are to be told apart by a model that measures no distance."""
    if others is not None and not predictor.measures_distance:
        raise InputError(
            f"--others {others}: this model measures no distance: train it again, with train.unknown above 0"
        )


def measure_unknown(predictor: Predictor, targets: NDArray[np.int64], answers: Answers, folder: Path | None) -> Unknown:
    """Measure what stays known of test images, and what does not of the pictures in `folder`, if one is named."""
    known, answered = _known(predictor, answers), _answered(predictor, answers)
    hits = int((answered & (answers[:, :-1].argmax(axis=1) == targets)).sum())
    count, left = len(targets), int(answered.sum())
    return Unknown(
        known=round(float(known.mean()), 4),
        known_ci95=round_interval(wilson_interval(int(known.sum()), count)),
        answered=round(left / count, 4),
        accuracy=round(hits / left, 4) if left else None,
        accuracy_ci95=round_interval(wilson_interval(hits, left)),
        others=None if folder is None else _measure_others(predictor, answers, folder),
    )


def format_unknown(unknown: Unknown | None) -> list[str]:
    """Say in a sentence what stays known of the test images, and in another what does not of other pictures."""
    if unknown is None:
        return []
    told = f"Known: {unknown.known:.1%} of the images (95 %: {format_interval(unknown.known_ci95)})"
    told += f", {unknown.answered:.1%} answered"
    lines = [told if unknown.accuracy is None else f"{told}, {unknown.accuracy:.1%} of those right"]
    if (others := unknown.others) is not None:
        told = f"{others.unknown:.1%} (95 %: {format_interval(others.unknown_ci95)}) of {others.count:,} are unknown"
        told += f", {others.withheld:.1%} unknown or uncertain"
        told += f"; AUROC {others.auroc:.3f}, by confidence alone {others.auroc_confidence:.3f}"
        lines.append(f"{others.data}: {told}")
    return lines


def _known(predictor: Predictor, answers: Answers) -> NDArray[np.bool_]:
    return answers[:, -1] <= predictor.unknown


def _answered(predictor: Predictor, answers: Answers) -> NDArray[np.bool_]:
    sure: NDArray[np.bool_] = answers[:, :-1].max(axis=1) >= predictor.uncertain
    return _known(predictor, answers) & sure


def _measure_others(predictor: Predictor, test: Answers, folder: Path) -> Others:
    from sklearn.metrics import roc_auc_score

    paths = list_pictures([folder])
    crops = [crop for crop in _read_crops(predictor, paths) if crop is not None]
    if not crops:
        raise InputError(f"--others {folder}: shows nothing the model could be asked of: name other pictures")
    others = predictor.answer_crops(np.stack(crops))
    both, is_other = np.concatenate([test, others]), np.arange(len(test) + len(others)) >= len(test)
    unknown = int((~_known(predictor, others)).sum())
    return Others(
        data=str(folder),
        count=len(others),
        left_out=len(paths) - len(others),
        unknown=round(unknown / len(others), 4),
        unknown_ci95=round_interval(wilson_interval(unknown, len(others))),
        withheld=round(1 - float(_answered(predictor, others).mean()), 4),
        auroc=round(float(roc_auc_score(is_other, both[:, -1])), 4),
        auroc_confidence=round(float(roc_auc_score(is_other, -both[:, :-1].max(axis=1))), 4),
    )


def _read_crops(predictor: Predictor, paths: list[Path]) -> Iterator[Image | None]:
    """Read each picture as a crop (size, size, 3); None for one that cannot be read, or a face without a mouth.

    A face in it is cut out as in prediction; what shows none, or hardly more than a face, is a crop already.
    """
    for path in paths:
        try:
            image, _ = read_photo(path)
        except (BadImage, OSError):
            yield None
            continue
        found = next(iter(prepare(image, predictor.quick)), None)
        if found is None or max(found.face.box.width, found.face.box.height) > WHOLE * max(image.shape[:2]):
            yield as_crop(image, predictor.card.size)
        else:
            yield None if found.missing else as_crop(found.image, predictor.card.size)
