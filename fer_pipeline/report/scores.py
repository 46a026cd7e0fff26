"""What `metrics.json` and `predictions.csv` say, arranged for a page."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fer_pipeline.dataset.rows import Row
from fer_pipeline.errors import FerError, InputError
from fer_pipeline.evaluation.metrics import wilson_interval
from fer_pipeline.models.data import list_crops
from fer_pipeline.report.dataset_stats import Table
from fer_pipeline.report.figures import draw_reliability
from fer_pipeline.report.pages import interval, percent
from fer_pipeline.report.pictures import Picture, embed_file, link_of
from fer_pipeline.report.predictions_table import Answer, bin_confidence, calibration_error, pick, read_answers
from fer_pipeline.report.warnings import caution_run

MISTAKES = 24
NEEDED = {"count", "accuracy", "accuracy_ci95", "macro_f1", "macro_f1_ci95", "per_class", "confusion", "labels"}


@dataclass(frozen=True)
class Cell:
    """One cell of the confusion matrix; `share` is of its row."""

    count: int
    share: float


@dataclass(frozen=True)
class Scores:
    """The figures of a measurement, as tables and pictures."""

    metrics: Mapping[str, Any]
    matrix: list[tuple[str, list[Cell]]]
    classes: Table
    sources: Table
    mistakes: list[Picture]
    count_of_mistakes: int
    ece: float
    temperature: float | None
    reliability: Picture | None
    selective: Table
    cautions: list[str]


def read_scores(folder: Path, metrics: Mapping[str, Any]) -> Scores | None:
    """Arrange what `fer eval` wrote into a folder; None if it wrote nothing there, or not all of it.

    Raises InputError for a `metrics.json` that holds something else under those names.
    """
    if not metrics.keys() >= NEEDED:
        return None
    try:
        return _arrange(folder, metrics)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        told = f"{type(error).__name__}: {error}"
        raise InputError(f"{folder / 'metrics.json'}: damaged ({told}): run `fer eval` again") from None


def _arrange(folder: Path, metrics: Mapping[str, Any]) -> Scores:
    answers, calibration = read_answers(folder), metrics.get("calibration", {})
    bins = read_bins(metrics) or bin_confidence(answers)
    return Scores(
        metrics=metrics,
        matrix=_matrix(metrics),
        classes=_table_classes(metrics),
        sources=_table_sources(metrics.get("per_source", {})),
        mistakes=_show_mistakes(Path(str(metrics.get("data", ""))), answers),
        count_of_mistakes=sum(not one.right for one in answers),
        ece=calibration.get("ece", calibration_error(bins)),
        temperature=calibration.get("temperature"),
        reliability=draw_reliability(bins) if bins else None,
        selective=_table_selective(metrics.get("selective", {})),
        cautions=caution_run(metrics),
    )


def _matrix(metrics: Mapping[str, Any]) -> list[tuple[str, list[Cell]]]:
    """Rows of the confusion matrix under the name of the true class."""
    rows = zip(metrics["labels"], metrics["confusion"], strict=True)
    return [(label, [Cell(count, count / max(1, sum(row))) for count in row]) for label, row in rows]


def _table_classes(metrics: Mapping[str, Any]) -> Table:
    """Precision and recall of each class with their 95 % intervals (Wilson)."""
    head = ["class", "images", "recall", "95 %", "precision", "95 %", "F1"]
    lines = []
    for place, label in enumerate(metrics["labels"]):
        one, column = metrics["per_class"][label], [row[place] for row in metrics["confusion"]]
        hits = column[place]
        cells = [f"{one['support']:,}", percent(one["recall"]), interval(wilson_interval(hits, one["support"]))]
        cells += [percent(one["precision"]), interval(wilson_interval(hits, sum(column))), f"{one['f1']:.3f}"]
        lines.append([label, *cells])
    return Table(head, lines)


def _table_sources(sources: Mapping[str, Any]) -> Table:
    lines = [
        [name, f"{one['count']:,}", percent(one["accuracy"]), interval(one["accuracy_ci95"])]
        for name, one in sorted(sources.items(), key=lambda pair: -pair[1]["count"])
    ]
    return Table(["source", "images", "accuracy", "95 %"], lines)


def _table_selective(selective: Mapping[str, Any]) -> Table:
    """What is answered, and how well, if less confident answers are withheld."""
    lines = [
        [
            f"{one['threshold']:.0%}",
            percent(one["coverage"]),
            "-" if one["accuracy"] is None else percent(one["accuracy"]),
            interval(one["accuracy_ci95"]),
        ]
        for one in selective.get("table", [])
    ]
    return Table(["confidence of at least", "answered", "accuracy of those", "95 %"], lines)


def read_bins(metrics: Mapping[str, Any]) -> list[tuple[float, float, int]]:
    """Confidence, share right and count of the bins that hold images, where the measurement tells of them."""
    bins = metrics.get("calibration", {}).get("bins", [])
    return [(one["confidence"], one["accuracy"], one["count"]) for one in bins if one.get("count")]


def _show_mistakes(folder: Path, answers: list[Answer]) -> list[Picture]:
    """The wrong answers the model was surest of."""
    rows = _read_rows(folder)
    pictures = []
    for one in pick(answers, lambda answer: not answer.right, MISTAKES):
        lines = (f"{one.label} → {one.predicted}", f"{one.confidence:.0%} sure", one.path)
        link = link_of(rows[one.path]) if one.path in rows else ""
        told = f"{one.label}, called {one.predicted}"
        pictures.append(embed_file(folder / one.path, told, lines, side=128, link=link))
    return pictures


def _read_rows(folder: Path) -> dict[str, Row]:
    """The rows of the folder measured on, by the path the predictions name."""
    try:
        return {row.path: row for row in list_crops(folder)}
    except (FerError, OSError):
        return {}
