"""What a model and the audit said of the images, where they were asked: to look at the doubtful ones first."""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from fer_pipeline.dataset.decisions import image_of
from fer_pipeline.dataset.experiment import Experiment, rows_with, strip_part
from fer_pipeline.report.status import read_table

AUDIT, PREDICTIONS = "audit.csv", "predictions.csv"


class Opinion(NamedTuple):
    """`quality`: how likely the audit finds the label, low is suspect; `confidence` is the model's in `predicted`."""

    quality: float | None = None
    suspect: bool = False
    suggested: str = ""
    confidence: float | None = None
    predicted: str = ""


def read_opinions(run: Path, experiment: Experiment) -> dict[str, Opinion]:
    """By image: of `RUN-audit`, of the cross-validations `RUN-folds…`, which see every image, and of the run itself."""
    split = experiment.folders.get("split")
    moved = {
        image_of(row.path): image_of(str(row.attributes["moved_from"]))
        for row in (rows_with(split, "moved_from") if split else [])
        if "moved_from" in row.attributes
    }
    found: dict[str, Opinion] = {}
    for line in read_table(run.with_name(f"{run.name}-audit") / AUDIT):
        image = _image(line, moved)
        doubt = line.get("is_issue") == "1"
        found[image] = Opinion(_number(line.get("quality")), doubt, line.get("suggested", ""))
    folds = sorted(run.parent.glob(f"{run.name}-folds*")) if run.parent.is_dir() else []
    for line in _lines([*folds, run]):
        image, sure = _image(line, moved), _number(line.get("confidence"))
        known = found.get(image, Opinion())
        found[image] = known._replace(confidence=sure, predicted=line.get("predicted", "") if sure is not None else "")
    return found


def _lines(runs: Iterable[Path]) -> Iterable[dict[str, str]]:
    return (line for run in runs for line in read_table(run / PREDICTIONS))


def _image(line: dict[str, str], moved: dict[str, str]) -> str:
    path = strip_part(line.get("path", ""))
    image = image_of(path) if path.strip("./") else ""
    return moved.get(image, image)


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if 0 <= value <= 1 else None
