"""The service behind the pages and the API: models, preprocessing workers, batched inference."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from fer_pipeline import __version__
from fer_pipeline.errors import UsageError
from fer_pipeline.models.model_file import MODEL, find_model
from fer_pipeline.models.prediction import Prediction, summarize_outcome
from fer_pipeline.models.predictor import Predictor
from fer_pipeline.serve.batching import Batcher
from fer_pipeline.serve.limits import Gate, Limits
from fer_pipeline.serve.schema import ModelInfo, ServerInfo
from fer_pipeline.serve.telemetry import Telemetry
from fer_pipeline.workers.picture_pool import InputSpec, Pool, Prepared


class Model:
    """A model file that is being served, under the name of its run."""

    def __init__(self, run: Path, uncertain: float | None = None) -> None:
        path = find_model(run)
        self.name = _name(path)
        self.predictor = Predictor(run, threads=1, uncertain=uncertain)
        self.sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        card = self.predictor.card
        self.spec = InputSpec(
            self.predictor.preprocessing, card.size, tuple(card.measures) if "measures" in card.inputs else ()
        )
        self.quick = replace(self.spec, preprocessing=self.predictor.quick)

    def describe(self) -> ModelInfo:
        """Name, labels, input and hash, for `/version`."""
        card = self.predictor.card
        return ModelInfo(
            name=self.name,
            labels=card.labels,
            network=card.network,
            size=card.size,
            region=self.spec.preprocessing.cut.region,
            sha256=self.sha256,
            precision=card.precision,
            uncertain=self.predictor.uncertain,
            # Without the paths of weights on this machine, which clients must not see.
            preprocessing=self.spec.preprocessing.model_dump(
                mode="json", exclude={"detector": {"weights": True}, "cut": {"landmarks": True}}
            ),
        )

    def inputs_of(self, prepared: Prepared) -> dict[str, Any]:
        """Inputs of the graph for the faces of a photo."""
        found = {"crops": prepared.crops, "measures": prepared.measures}
        return {name: found[name] for name in self.predictor.card.inputs}


def _name(path: Path) -> str:
    """Name of the run's folder, with the file's own name unless that is model.onnx."""
    words = path.name.removesuffix(".onnx").removeprefix("model").replace(".", "-").strip("-")
    return "-".join(filter(None, (path.parent.resolve().name, words)))


class Service:
    """Predicts with one or several models; usable inside `opened`."""

    def __init__(self, runs: Sequence[Path], limits: Limits, workers: int, uncertain: float | None = None) -> None:
        self.limits, self.gate, self.telemetry = limits, Gate(limits), Telemetry()
        self.models: dict[str, Model] = {}
        for run in runs:
            model = Model(run, uncertain)
            if model.name in self.models:
                raise UsageError(f"{run}: a model named {model.name!r} is served already: name each run once ({MODEL})")
            self.models[model.name] = model
        self.default = next(iter(self.models))
        self.cameras = 0  # live connections
        self.ready = False
        self.pool = Pool(workers, limits.picture_timeout, lambda reason: self.telemetry.failed.labels(reason).inc())

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
        self.pool.start([model.spec for model in self.models.values()])

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        """Start batching, and the workers if `start` was not called; stop both on the way out."""
        threads = ThreadPoolExecutor(1)  # ONNX Runtime releases the GIL; the workers are the parallelism
        self.batchers = {
            name: Batcher(
                model.predictor.infer, threads, self.limits.batch, self.limits.wait, self.telemetry.batch.observe
            )
            for name, model in self.models.items()
        }
        running = [asyncio.create_task(batcher.run()) for batcher in self.batchers.values()]
        try:
            await self.pool.warm([model.spec for model in self.models.values()])
            self.ready = True
            yield
        finally:
            self.ready = False
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
            self.pool.close()
            threads.shutdown()

    async def predict(self, data: bytes, name: str, *, path: str = "", quick: bool = False) -> Prediction:
        """Predict the bytes of one picture by the model `name`; a bad picture is an outcome, not an error.

        `quick` does not search for the small faces of a group: for the frames of a camera.
        """
        model = self.models[name]
        spec = model.quick if quick else model.spec
        with self.batchers[name].announced():
            prepared = await self.pool.prepare(data, spec, self.limits.max_pixels)
        rows = np.zeros((0, 0), np.float32)
        if prepared.crops is not None:
            rows = await self.batchers[name].infer(model.inputs_of(prepared))
        faces = model.predictor.label_faces(prepared.faces, rows)
        outcome = summarize_outcome(faces) if faces else prepared.outcome
        self.telemetry.pictures.labels(outcome).inc()
        return Prediction(path=path, outcome=outcome, width=prepared.width, height=prepared.height, faces=faces)
