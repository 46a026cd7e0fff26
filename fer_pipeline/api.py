"""The functions of `import fer_pipeline as fer`; paths are `str` or `Path`.

Heavy libraries are imported when a function needs them: torch for training only.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

if TYPE_CHECKING:
    from fer_pipeline.config.schema import Config
    from fer_pipeline.dataset.rows import Row
    from fer_pipeline.evaluation.evaluate import Evaluation
    from fer_pipeline.models.prediction import Prediction
    from fer_pipeline.models.predictor import AnyPhoto, Photo, Predictor
    from fer_pipeline.pipeline import Event, StepResult
    from fer_pipeline.training.train import Outcome

__all__ = ["evaluate", "load", "load_config", "predict", "read_rows", "run", "train"]


def load(run: str | Path, *, threads: int = 0, uncertain: float | None = None, unknown: float = 1) -> "Predictor":
    """Load the model of a run folder, or a model file.

    The predictor has `predict(photo)` and `labels`. `threads` are those of ONNX Runtime, 0 for one per core;
    `uncertain` replaces the confidence below which the model labels a face `uncertain`; `unknown` multiplies the
    distance above which it labels one `unknown`, 0 for never. Raises InputError if there is no model.
    """
    from fer_pipeline.models.predictor import Predictor

    return Predictor(run, threads, uncertain, unknown)


@overload
def predict(run: str | Path, photos: "list[AnyPhoto] | tuple[AnyPhoto, ...]") -> "list[Prediction]": ...


@overload
def predict(run: str | Path, photos: "Photo") -> "Prediction": ...


def predict(run: str | Path, photos: Any) -> "Prediction | list[Prediction]":
    """Predict the expression of every face in one photo, or in each of a list of photos.

    A photo is a path, the bytes of a file, or upright RGB pixels (height, width, 3) as uint8. `load` the model once to
    predict again and again. A photo that cannot be decoded is a prediction whose `outcome` says so; raises InputError
    for a path that does not exist.
    """
    prediction: Prediction | list[Prediction] = load(run).predict(photos)
    return prediction


def load_config(path: str | Path, overrides: Mapping[str, Any] | Sequence[str] = ()) -> "Config":
    """Read a configuration; `overrides` are `{"crop.margin": 1.4}` or `["crop.margin=1.4"]`.

    Raises UsageError with every problem of the file.
    """
    from fer_pipeline.config.loader import load_config as read

    if isinstance(overrides, Mapping):
        overrides = [f"{key}={_as_yaml(value)}" for key, value in overrides.items()]
    return read(Path(path), list(overrides))


def _as_yaml(value: Any) -> str:
    """A value as JSON, which is YAML too; a path as its text."""
    return json.dumps(str(value) if isinstance(value, Path) else value)


def run(
    config: "Config | str | Path | None" = None,
    *,
    until: str = "eval",
    force: bool = False,
    workers: "int | Literal['ray'] | None" = None,
    progress: "Callable[[Event], None] | None" = None,
) -> "list[StepResult]":
    """Run every step of an experiment that is not up to date, from crawl to eval or as far as `until`.

    `config` is a Config, a YAML file or a recipe's name; None: fer.yaml of the working folder. `force` makes every
    folder again. `progress` gets an event for each line that `fer run` would print.
    """
    from fer_pipeline.pipeline import run as run_steps

    return run_steps(config, until=until, force=force, workers=workers, progress=progress)


def train(config: "Config | str | Path | None" = None, *, force: bool = False) -> "Outcome":
    """Train a classifier on the split of an experiment; a finished run is left alone, an interrupted one resumed.

    Returns the path of the model file, whether it was trained now, and the seconds it took. Needs the extra `train`.
    """
    from fer_pipeline.pipeline import resolve_config, train_model

    return train_model(resolve_config(config), force=force)


def evaluate(run: str | Path, data: str | Path | None = None, out: str | Path | None = None) -> "Evaluation":
    """Measure a run on the test part of its data, or on the folder `data`; returns and writes `metrics`.

    Writes into `out`, by default the run's folder, or `eval-NAME` in it for other data. `metrics.leakage.passed` says
    whether no more than 1 % of the test images are copies of training images. Needs the extra `train`.
    """
    from fer_pipeline.evaluation.evaluate import evaluate as measure

    return measure(Path(run), None if data is None else Path(data), None if out is None else Path(out))


def read_rows(folder: str | Path) -> "list[Row]":
    """Read the manifest of a stage: a row for every image, kept or dropped, with the reason."""
    from fer_pipeline.dataset.rows import read_rows as read

    return read(Path(folder))
