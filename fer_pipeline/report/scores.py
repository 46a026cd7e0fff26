"""The scores of `metrics.json` and the mistakes of `predictions.csv`, arranged for a page."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fer_pipeline.dataset.rows import Row
from fer_pipeline.errors import FerError
from fer_pipeline.evaluation.evaluate import read_metrics
from fer_pipeline.evaluation.metrics import wilson_interval
from fer_pipeline.evaluation.scores import METRICS, Metrics, Scores, Selective, SourceScore
from fer_pipeline.evaluation.unknown import format_unknown
from fer_pipeline.models.data import list_crops
from fer_pipeline.report.dataset_stats import Table
from fer_pipeline.report.figures import draw_reliability
from fer_pipeline.report.pages import interval, percent
from fer_pipeline.report.pictures import Picture, embed_file, link_of
from fer_pipeline.report.predictions_table import PredictedImage, pick, read_images
from fer_pipeline.report.warnings import warn_of_metrics

MISTAKES = 24


@dataclass(frozen=True)
class Cell:
    """One cell of the confusion matrix; `share` is of its row."""

    count: int
    share: float


@dataclass(frozen=True)
class ScoreTables:
    """The scores of a measurement as tables and pictures."""

    metrics: Metrics
    matrix: list[tuple[str, list[Cell]]]
    classes: Table
    sources: Table
    mistakes: list[Picture]
    count_of_mistakes: int
    reliability: Picture
    selective: Table
    unknown: list[str]
    warnings: list[str]


def read_scores(folder: Path) -> ScoreTables | None:
    """Arrange what `fer eval` wrote into a folder; None if nothing. Raises InputError if `metrics.json` is damaged."""
    if not (folder / METRICS).is_file():
        return None
    metrics, images = read_metrics(folder), read_images(folder)
    return ScoreTables(
        metrics=metrics,
        matrix=_matrix(metrics),
        classes=_table_classes(metrics),
        sources=_table_sources(metrics.per_source),
        mistakes=_show_mistakes(Path(metrics.data or ""), images),
        count_of_mistakes=sum(not one.right for one in images),
        reliability=draw_reliability(metrics.calibration.bins),
        selective=_table_selective(metrics.selective),
        unknown=format_unknown(metrics.unknown),
        warnings=warn_of_metrics(metrics),
    )


def _matrix(scores: Scores) -> list[tuple[str, list[Cell]]]:
    """Rows of the confusion matrix with the name of the true class."""
    rows = zip(scores.labels, scores.confusion, strict=True)
    return [(label, [Cell(count, count / max(1, sum(row))) for count in row]) for label, row in rows]


def _table_classes(scores: Scores) -> Table:
    """Precision and recall of each class with their 95 % intervals (Wilson)."""
    head = ["class", "images", "recall", "95 %", "precision", "95 %", "F1"]
    lines = []
    for place, label in enumerate(scores.labels):
        one, column = scores.per_class[label], [row[place] for row in scores.confusion]
        cells = [f"{one.support:,}", percent(one.recall), interval(one.recall_ci95)]
        cells += [percent(one.precision), interval(wilson_interval(column[place], sum(column))), f"{one.f1:.3f}"]
        lines.append([label, *cells])
    return Table(head, lines)


def _table_sources(sources: Mapping[str, SourceScore]) -> Table:
    lines = [
        [name, f"{one.count:,}", percent(one.accuracy), interval(one.accuracy_ci95)]
        for name, one in sorted(sources.items(), key=lambda pair: -pair[1].count)
    ]
    return Table(["source", "images", "accuracy", "95 %"], lines)


def _table_selective(selective: Selective) -> Table:
    """Coverage and accuracy if less confident predictions are withheld."""
    lines = [
        [
            f"{one.threshold:.0%}",
            percent(one.coverage),
            "-" if one.accuracy is None else percent(one.accuracy),
            interval(one.accuracy_ci95),
        ]
        for one in selective.table
    ]
    return Table(["confidence of at least", "answered", "accuracy of those", "95 %"], lines)


def _show_mistakes(folder: Path, images: list[PredictedImage]) -> list[Picture]:
    """The most confident mistakes."""
    rows = _read_rows(folder)
    pictures = []
    for one in pick(images, lambda image: not image.right, MISTAKES):
        lines = (f"{one.label} → {one.predicted}", f"{one.confidence:.0%} confident", one.path)
        link = link_of(rows[one.path]) if one.path in rows else ""
        alt = f"{one.label}, predicted {one.predicted}"
        pictures.append(embed_file(folder / one.path, alt, lines, side=128, link=link))
    return pictures


def _read_rows(folder: Path) -> dict[str, Row]:
    """The rows of the folder measured on, by the path in `predictions.csv`."""
    try:
        return {row.path: row for row in list_crops(folder)}
    except (FerError, OSError):
        return {}
