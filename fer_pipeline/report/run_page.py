"""The page of a run, `runs/NAME/report.html`: scores, mistakes, training, data and model card."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from fer_pipeline.config.schema import Config
from fer_pipeline.dataset.rows import Row
from fer_pipeline.errors import FerError
from fer_pipeline.files import hash_file
from fer_pipeline.models.data import hash_data, list_crops
from fer_pipeline.models.model_file import Card, find_model
from fer_pipeline.models.predictor import Predictor
from fer_pipeline.report.card import describe_model, list_limits
from fer_pipeline.report.dataset_stats import count_sources
from fer_pipeline.report.figures import draw_curves
from fer_pipeline.report.funnel import Place, places_below, places_of, read_steps
from fer_pipeline.report.pages import write_page
from fer_pipeline.report.predictions_table import read_images
from fer_pipeline.report.preprocessing_picture import show_preprocessing
from fer_pipeline.report.saliency import look
from fer_pipeline.report.scores import ScoreTables, read_scores
from fer_pipeline.report.status import read_curves, read_json
from fer_pipeline.report.warnings import warn_of_counts, warn_of_sources

REPORT = "report.html"
SECTIONS = (
    ("mistakes", "Mistakes"),
    ("classes", "Classes"),
    ("sources", "Sources"),
    ("reliability", "Reliability"),
    ("attention", "Attention"),
    ("training", "Training"),
    ("funnel", "Funnel"),
    ("card", "Model card"),
    ("environment", "Environment"),
)
MEASURED = {"mistakes", "classes", "sources", "reliability", "attention"}


@dataclass(frozen=True)
class Data:
    """The images a model was trained on, if they are unchanged."""

    rows: list[Row]
    places: list[Place]
    warning: str = ""


def write_run_page(run: Path, folder: Path | None = None) -> Path:
    """Write the page of a run, or of the scores that `fer eval` wrote into another folder, beside those scores."""
    model = find_model(run)
    home = folder or model.parent
    predictor = Predictor(model, threads=1)
    data, scores = read_data(model.parent, predictor.card), read_scores(home)
    metrics = scores.metrics if scores else None
    path = home / REPORT
    write_page(
        path,
        "run.html",
        title=f"Run {model.parent.resolve().name}",
        sections=[one for one in SECTIONS if scores or one[0] not in MEASURED],
        warnings=[*_warnings(model, scores, data), *_audit(model.parent, predictor.card)],
        scores=scores,
        metrics=metrics,
        attention=look(model, predictor, Path(metrics.data or ""), read_images(home)) if metrics else None,
        curves=_draw(model.parent),
        steps=read_steps(data.places),
        card=describe_model(predictor.card, model, data.rows),
        limits=list(list_limits(predictor.card, metrics, data.rows)),
        preprocessing=show_preprocessing(predictor.card, data.rows, data.places),
        settings=_flatten(predictor.card.settings),
        environment=_flatten(_lift(read_json(model.parent / "environment.json"))),
    )
    return path


def read_data(run: Path, card: Card) -> Data:
    """Read the data a model was trained on, or why it is not there."""
    folder = card.training_folder
    try:
        config = Config.model_validate_json((run / "config.json").read_bytes())
        places = places_of(config)
    except (OSError, ValidationError):
        places = places_below(folder.parent)
    try:
        if hash_data(folder) != card.data:
            return Data([], [], f"{folder} has changed since this model was trained: it is not shown.")
        return Data(list_crops(folder), [place for place in places if place.finished])
    except (FerError, OSError):
        return Data([], [], f"The images this model was trained on are no longer in {folder}.")


def _warnings(model: Path, scores: ScoreTables | None, data: Data) -> list[str]:
    """Warnings about scores and data, the most serious first."""
    warnings = [data.warning] if data.warning else []
    sources = count_sources(row for row in data.rows if row.split != "test")
    warnings += [*warn_of_sources(sources), *warn_of_counts({label: one.total() for label, one in sources.items()})]
    if scores is None:
        return ["Not measured yet: `fer eval` does.", *warnings]
    other = scores.metrics.model not in {None, hash_file(model)}
    stale = ["These scores are of another model file: run `fer eval` again."] if other else []
    return [*stale, *scores.warnings, *warnings]


def _audit(run: Path, card: Card) -> list[str]:
    """The sentences of `fer audit`, if it raised the alarm on this folder."""
    figures = read_json(run.resolve().with_name(f"{run.resolve().name}-audit") / "audit.json")
    sentences = figures.get("sentences")
    if not figures.get("alarm") or figures.get("data") != card.settings.get("input") or not isinstance(sentences, list):
        return []
    return [f"fer audit: {sentence}" for sentence in sentences[:4]]


def _draw(run: Path) -> Sequence[Any]:
    history = read_curves(run)
    return draw_curves(history) if history else []


def _lift(environment: dict[str, Any]) -> dict[str, Any]:
    """Move the packages to the top level."""
    packages = environment.pop("packages", {})
    return environment | (packages if isinstance(packages, dict) else {})


def _flatten(values: Mapping[str, Any], before: str = "") -> list[tuple[str, str]]:
    """Nested settings as pairs of name and value, without those that are not set."""
    pairs: list[tuple[str, str]] = []
    for name, value in values.items():
        if isinstance(value, Mapping):
            pairs += _flatten(value, f"{before}{name}.")
        elif value is not None:
            pairs.append((f"{before}{name}", str(value)))
    return pairs
