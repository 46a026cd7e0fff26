"""The service behind the pages and the API: models, and the worker processes that predict."""

import hashlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fer_pipeline import __version__
from fer_pipeline.errors import UsageError
from fer_pipeline.models.model_file import MODEL, find_model
from fer_pipeline.models.prediction import Prediction
from fer_pipeline.models.predictor import Predictor
from fer_pipeline.serve.limits import Gate, Limits
from fer_pipeline.serve.schema import ModelInfo, ServerInfo
from fer_pipeline.serve.telemetry import Telemetry
from fer_pipeline.vision.crop import load_models
from fer_pipeline.workers.picture_pool import PictureFailed, Pool


@dataclass(frozen=True)
class ModelFile:
    """A model as a worker process opens it: bytes, since the file may be replaced while it is served."""

    path: Path
    data: bytes
    uncertain: float | None
    unknown: float


class Model:
    """A model file that is being served, under the name of its run."""

    def __init__(self, run: Path, uncertain: float | None = None, unknown: float = 1) -> None:
        path = find_model(run)
        self.name, self.file = _name(path), ModelFile(path, path.read_bytes(), uncertain, unknown)
        predictor = _open(self.file)
        self.card, self.preprocessing = predictor.card, predictor.preprocessing
        self.uncertain, self.unknown = predictor.uncertain, predictor.unknown

    def describe(self) -> ModelInfo:
        """Name, labels, input and hash, for `/version`."""
        return ModelInfo(
            name=self.name,
            labels=self.card.labels,
            network=self.card.network,
            size=self.card.size,
            region=self.preprocessing.cut.region,
            sha256=hashlib.sha256(self.file.data).hexdigest(),
            precision=self.card.precision,
            uncertain=self.uncertain,
            unknown=self.unknown,
            # Without the paths of weights on this machine, which clients must not see.
            preprocessing=self.preprocessing.model_dump(
                mode="json", exclude={"detector": {"weights": True}, "cut": {"landmarks": True}}
            ),
        )


def _open(file: ModelFile) -> Predictor:
    return Predictor(file.path, 1, file.uncertain, file.unknown, data=file.data)


_predictors: dict[str, Predictor] = {}  # of a worker process


def load_predictors(files: dict[str, ModelFile]) -> None:
    """Open the models in a worker process, and try each on a blank crop: raises InputError for one that fails."""
    for name, file in files.items():
        predictor = _predictors[name] = _open(file)
        load_models(predictor.preprocessing)
        predictor.classify(np.zeros((1, predictor.card.size, predictor.card.size, 3), np.uint8))


def predict_picture(data: bytes, model: str, quick: bool, max_pixels: int) -> Prediction:
    """Predict the bytes of a picture, in a worker process."""
    return _predictors[model].predict_photo(data, quick=quick, max_pixels=max_pixels)


def _name(path: Path) -> str:
    """Name of the run's folder, with the file's own name unless that is model.onnx."""
    words = path.name.removesuffix(".onnx").removeprefix("model").replace(".", "-").strip("-")
    return "-".join(filter(None, (path.parent.resolve().name, words)))


class Service:
    """Predicts with one or several models; usable inside `opened`."""

    def __init__(
        self,
        runs: Sequence[Path],
        limits: Limits,
        workers: int,
        uncertain: float | None = None,
        unknown: float = 1,
    ) -> None:
        self.limits, self.gate, self.telemetry = limits, Gate(limits), Telemetry()
        self.models: dict[str, Model] = {}
        for run in runs:
            model = Model(run, uncertain, unknown)
            if model.name in self.models:
                raise UsageError(f"{run}: a model named {model.name!r} is served already: name each run once ({MODEL})")
            self.models[model.name] = model
        self.default = next(iter(self.models))
        self.cameras = 0  # live connections
        self.ready = False
        load = (load_predictors, {name: model.file for name, model in self.models.items()})
        on_failure = lambda reason: self.telemetry.failed.labels(reason).inc()  # noqa: E731
        self.pool = Pool(workers, load, limits.picture_timeout, on_failure)

    def describe(self) -> ServerInfo:
        """Version, models and limits, for `/version`."""
        limits = self.limits
        shown = {"max_bytes": limits.max_bytes, "max_files": limits.max_files, "max_pixels": limits.max_pixels}
        return ServerInfo(
            version=__version__,
            models=[model.describe() for model in self.models.values()],
            limits=shown | {"frames": limits.frames, "cameras": limits.connections, "idle": limits.idle},
        )

    def start(self) -> None:
        """Start the workers; raises SetupError if they lack something, before the server announces itself."""
        self.pool.start()

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        """Start the workers if `start` was not called; stop them on the way out."""
        try:
            await self.pool.warm()
            self.ready = True
            yield
        finally:
            self.ready = False
            self.pool.close()

    async def predict(self, data: bytes, name: str, *, path: str = "", quick: bool = False) -> Prediction:
        """Predict the bytes of one picture by the model `name`; a bad picture is an outcome, not an error.

        `quick` does not search for the small faces of a group: for the frames of a camera. Raises SetupError if the
        model itself fails.
        """
        try:
            prediction = await self.pool.run(predict_picture, data, name, quick, self.limits.max_pixels)
        except PictureFailed:
            prediction = Prediction(outcome="bad_image")
        self.telemetry.pictures.labels(prediction.outcome).inc()
        return prediction.model_copy(update={"path": path})
