"""Audit a data set: what predicts the label besides the expression, and which labels are suspect.

A label is suspect if models that were trained without the image and its group find it unlikely. Labels are ranked by
self-confidence, the mean probability of the given label (Northcutt et al. 2021, by cleanlab).
"""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fer_pipeline.config.schema import AuditConfig, TrainConfig
from fer_pipeline.dataset.provenance import locked_results, read_provenance
from fer_pipeline.dataset.rows import Row
from fer_pipeline.errors import InputError
from fer_pipeline.evaluation.bias import Bias, check_bias
from fer_pipeline.evaluation.bias_text import format_bias
from fer_pipeline.evaluation.image_attributes import measure_attributes
from fer_pipeline.evaluation.label_models import predict_labels
from fer_pipeline.evaluation.metrics import score
from fer_pipeline.evaluation.predictions import PREDICTIONS, score_sources
from fer_pipeline.evaluation.scores import FoldScores, Score, Scores, read_record
from fer_pipeline.files import TableReader, write_aside, write_csv
from fer_pipeline.models.data import (
    FOLDS,
    Crops,
    assign_folds,
    check_classes,
    hash_data,
    list_crops,
    load_crops,
    source_of,
)
from fer_pipeline.vision.hog import SIDE

AUDIT_TABLE, AUDIT_FIGURES = "audit.csv", "audit.json"
HEADER = ("path", "label", "suggested", "quality", "rank", "is_issue", "source", "photo")


@dataclass(frozen=True)
class Suspect:
    """One image: the label suggested by the label models, and the probability of its own; low is suspect."""

    row: Row
    suggested: str
    quality: float
    is_issue: bool


@dataclass(frozen=True)
class Audit:
    """The findings; `suspects` has every image, the most suspect first.

    `label_models` holds the accuracy of each label model, `scores` those of their mean, `left_out` the score on each
    source of a network that was trained without it, if that was measured.
    """

    data: Path
    folder: Path
    bias: Bias
    sentences: list[str]
    suspects: list[Suspect]
    label_models: dict[str, float]
    scores: Scores
    left_out: dict[str, Score]


def audit(config: TrainConfig, settings: AuditConfig, folder: Path, originals: Path | None = None) -> Audit:
    """Audit all labelled images of `config.input`; writes `audit.csv` and `audit.json` into `folder`.

    Networks are label models too if they were cross-validated on the same images; `originals` is the raw folder.
    """
    with locked_results(folder, "audit"):
        return _audit(config, settings, folder, originals)


def _audit(config: TrainConfig, settings: AuditConfig, folder: Path, originals: Path | None) -> Audit:
    rows = list_crops(config.input)
    labels = check_classes(rows, config.input)
    folds = assign_folds(rows, settings.folds, config.seed)
    crops = load_crops(config.input, rows, labels, SIDE, folder / "cache")
    bias = check_bias(measure_attributes(config.input, rows, originals), rows, folds, settings.limit)
    predicted = predict_labels(crops, folds, mirror=config.flip)
    networks = read_networks(config, settings.folds, crops)
    predicted |= {} if networks is None else {"networks": networks}
    mean = np.mean(list(predicted.values()), axis=0)
    scores = score(crops.targets, mean, labels).model_copy(update={"per_source": score_sources(crops, mean)})
    accuracies = {name: float((each.argmax(axis=1) == crops.targets).mean()) for name, each in predicted.items()}
    suspects, left_out = rank_labels(crops, mean), read_left_out(config)
    result = Audit(config.input, folder, bias, format_bias(bias), suspects, accuracies, scores, left_out)
    write_csv(folder / AUDIT_TABLE, HEADER, _lines(suspects))
    write_aside(folder / AUDIT_FIGURES, [json.dumps(_summarise(result), indent=2, ensure_ascii=False).encode()])
    return result


def rank_labels(crops: Crops, probabilities: NDArray[np.float64]) -> list[Suspect]:
    """Rank all images, the least likely label first, ties by path."""
    from cleanlab.filter import find_label_issues
    from cleanlab.rank import get_label_quality_scores

    qualities = get_label_quality_scores(crops.targets, probabilities)
    issues = find_label_issues(crops.targets, probabilities, n_jobs=1)
    guesses = probabilities.argmax(axis=1)
    suspects = [
        Suspect(row, crops.labels[int(guess)], float(quality), bool(issue))
        for row, guess, quality, issue in zip(crops.rows, guesses, qualities, issues, strict=True)
    ]
    return sorted(suspects, key=lambda suspect: (suspect.quality, suspect.row.path))


def read_networks(config: TrainConfig, count: int, crops: Crops) -> NDArray[np.float64] | None:
    """Read the probabilities (n, classes) of `fer train --folds`; None unless the same images were cross-validated."""
    folder = config.output.with_name(f"{config.output.name}-folds{count}")
    if not _is_finished(folder, config.input):
        return None
    with (folder / PREDICTIONS).open(newline="", encoding="utf-8") as file:
        found = {line["path"]: line for line in TableReader(file)}
    try:
        rows = [[float(found[row.path][f"p_{label}"]) for label in crops.labels] for row in crops.rows]
    except (KeyError, ValueError, TypeError):
        return None
    return np.array(rows)


def read_left_out(config: TrainConfig) -> dict[str, Score]:
    """Read the score on each source of a network trained on all others (`fer train --by-source`), if there are any."""
    folder = config.output.with_name(f"{config.output.name}-sources")
    if not _is_finished(folder, config.input):
        return {}
    try:
        return read_record(FoldScores, folder / FOLDS, "run `fer train --by-source` again").folds
    except InputError:
        return {}


def _is_finished(folder: Path, data: Path) -> bool:
    """Whether a finished cross-validation of the present data is there."""
    files = (folder / FOLDS, folder / PREDICTIONS)
    return all(path.is_file() for path in files) and (read_provenance(folder) or {}).get("input") == hash_data(data)


def photo_of(row: Row) -> str:
    """The origin of a photo: its URL, or the file it was imported from."""
    return str(row.source.get("url") or row.source.get("file") or row.path)


def _lines(suspects: list[Suspect]) -> Iterator[list[Any]]:
    for rank, one in enumerate(suspects, start=1):
        told = [f"{one.quality:.6f}", rank, int(one.is_issue), source_of(one.row), photo_of(one.row)]
        yield [one.row.path, one.row.label, one.suggested, *told]


def _summarise(result: Audit) -> dict[str, Any]:
    return {
        "data": str(result.data),
        "sentences": result.sentences,
        "alarm": result.bias.is_alarming,
        "bias": asdict(result.bias),
        "issues": sum(suspect.is_issue for suspect in result.suspects),
        "label_models": result.label_models,
        "scores": result.scores.model_dump(mode="json"),
        "left_out": {name: one.model_dump(mode="json") for name, one in result.left_out.items()},
    }
