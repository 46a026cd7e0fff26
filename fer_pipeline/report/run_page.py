"""The page of a run, `runs/NAME/report.html`: what its figures are worth, and pictures of where they come from."""

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
from fer_pipeline.report.predictions_table import read_answers
from fer_pipeline.report.preprocessing_picture import show_preprocessing
from fer_pipeline.report.saliency import Attention, look
from fer_pipeline.report.scores import Scores, read_scores
from fer_pipeline.report.status import read_curves, read_json
from fer_pipeline.report.warnings import caution_counts, caution_sources

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
    """The images a model was trained on, if they are still what they were."""

    rows: list[Row]
    places: list[Place]
    caution: str = ""


def write_run_page(run: Path, folder: Path | None = None) -> Path:
    """Write the page of a run, or of the figures that `fer eval` wrote into another folder, beside those figures."""
    model = find_model(run)
    home = folder or model.parent
    predictor, metrics = Predictor(model, threads=1), read_json(home / "metrics.json")
    data, scores = read_data(model.parent, predictor.card), read_scores(home, metrics)
    path = home / REPORT
    write_page(
        path,
        "run.html",
        title=f"Run {model.parent.resolve().name}",
        sections=[one for one in SECTIONS if scores or one[0] not in MEASURED],
        warnings=[*_cautions(model, scores, data), *_audit(model.parent, predictor.card)],
        scores=scores,
        metrics=metrics if scores else {},
        attention=_look(model, predictor, metrics, home),
        curves=_draw(model.parent),
        steps=read_steps(data.places),
        card=describe_model(predictor.card, model, data.rows),
        limits=list(list_limits(predictor.card, metrics if scores else {}, data.rows)),
        preprocessing=show_preprocessing(predictor.card, data.rows, data.places),
        settings=_flatten(predictor.card.settings),
        environment=_flatten(_lift(read_json(model.parent / "environment.json"))),
    )
    return path


def read_data(run: Path, card: Card) -> Data:
    """What is left of the data a model was trained on."""
    folder = card.training_folder
    try:
        config = Config.model_validate_json((run / "config.json").read_bytes())
        places = places_of(config)
    except (OSError, ValidationError):
        places = places_below(folder.parent)
    try:
        if hash_data(folder) != card.data:
            return Data([], [], f"{folder} has changed since this model was trained: it tells nothing of it any more.")
        return Data(list_crops(folder), [place for place in places if place.finished])
    except (FerError, OSError):
        return Data([], [], f"The images this model was trained on are no longer in {folder}.")


def _cautions(model: Path, scores: Scores | None, data: Data) -> list[str]:
    """What to know before believing a figure, the gravest first."""
    said = [data.caution] if data.caution else []
    sources = count_sources(row for row in data.rows if row.split != "test")
    said += [*caution_sources(sources), *caution_counts({label: one.total() for label, one in sources.items()})]
    if scores is None:
        return ["Not measured yet: `fer eval` does.", *said]
    other = scores.metrics.get("model") not in {None, hash_file(model)}
    stale = ["These figures are those of another model file: run `fer eval` again."] if other else []
    return [*stale, *scores.cautions, *said]


def _audit(run: Path, card: Card) -> list[str]:
    """What `fer audit` said against the data, if it raised the alarm on this very folder."""
    figures = read_json(run.resolve().with_name(f"{run.resolve().name}-audit") / "audit.json")
    sentences = figures.get("sentences")
    if not figures.get("alarm") or figures.get("data") != card.settings.get("input") or not isinstance(sentences, list):
        return []
    return [f"fer audit: {sentence}" for sentence in sentences[:4]]


def _look(model: Path, predictor: Predictor, metrics: Mapping[str, Any], home: Path) -> Attention:
    return look(model, predictor, Path(str(metrics.get("data", ""))), read_answers(home))


def _draw(run: Path) -> Sequence[Any]:
    history = read_curves(run)
    return draw_curves(history) if history else []


def _lift(environment: dict[str, Any]) -> dict[str, Any]:
    """The packages among the rest, under their own names."""
    packages = environment.pop("packages", {})
    return environment | (packages if isinstance(packages, dict) else {})


def _flatten(values: Mapping[str, Any], before: str = "") -> list[tuple[str, str]]:
    """Nested settings as pairs of name and value; what is not set is left out."""
    pairs: list[tuple[str, str]] = []
    for name, value in values.items():
        if isinstance(value, Mapping):
            pairs += _flatten(value, f"{before}{name}.")
        elif value is not None:
            pairs.append((f"{before}{name}", str(value)))
    return pairs
