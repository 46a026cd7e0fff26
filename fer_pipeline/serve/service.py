"""What stands behind the pages: opened models, the processes that prepare, the batches that classify."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from fer_pipeline import __version__
from fer_pipeline.errors import UsageError
from fer_pipeline.models.model_file import MODEL, find_model
from fer_pipeline.models.predictor import Predictor
from fer_pipeline.serve.batching import Batcher
from fer_pipeline.serve.limits import Gate, Limits
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
        self.need = InputSpec(
            self.predictor.preprocessing, card.size, tuple(card.measures) if "measures" in card.inputs else ()
        )
        self.quick = replace(self.need, preprocessing=self.predictor.quick)

    def describe(self) -> dict[str, Any]:
        """What people and programs want to know of it."""
        card = self.predictor.card
        return {
            "name": self.name,
            "labels": card.labels,
            "network": card.network,
            "size": card.size,
            "region": self.need.preprocessing.cut.region,
            "sha256": self.sha256,
            "precision": card.precision,
            "uncertain": self.predictor.uncertain,
            # Where weights lie on this machine is nobody's business.
            "preprocessing": self.need.preprocessing.model_dump(
                mode="json", exclude={"detector": {"weights": True}, "cut": {"landmarks": True}}
            ),
        }

    def inputs_of(self, prepared: Prepared) -> dict[str, Any]:
        """What the graph is given of a photo's faces."""
        found = {"crops": prepared.crops, "measures": prepared.measures}
        return {name: found[name] for name in self.predictor.card.inputs}


def _name(path: Path) -> str:
    """That of the run's folder; a file that is not just model.onnx adds its own."""
    words = path.name.removesuffix(".onnx").removeprefix("model").replace(".", "-").strip("-")
    return "-".join(filter(None, (path.parent.resolve().name, words)))


class Service:
    """All that answers; usable between `opened` and its end."""

    def __init__(self, runs: Sequence[Path], limits: Limits, workers: int, uncertain: float | None = None) -> None:
        self.limits, self.gate, self.telemetry = limits, Gate(limits), Telemetry()
        self.models: dict[str, Model] = {}
        for run in runs:
            model = Model(run, uncertain)
            if model.name in self.models:
                raise UsageError(f"{run}: a model named {model.name!r} is served already: name each run once ({MODEL})")
            self.models[model.name] = model
        self.default = next(iter(self.models))
        self.cameras = 0  # live connections that hold a place
        self.ready = False
        self.pool = Pool(workers, limits.patience, lambda fate: self.telemetry.failed.labels(fate).inc())

    def describe(self) -> dict[str, Any]:
        """Version, models and limits, as /version tells them."""
        limits = self.limits
        shown = {"max_bytes": limits.max_bytes, "max_files": limits.max_files, "max_pixels": limits.max_pixels}
        return {
            "version": __version__,
            "models": [model.describe() for model in self.models.values()],
            "limits": shown | {"frames": limits.frames, "cameras": limits.connections, "idle": limits.idle},
        }

    def start(self) -> None:
        """Start the processes; raises SetupError if they lack something, while nobody knows of this server yet."""
        self.pool.start([model.need for model in self.models.values()])

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        """Start the batches, and the processes if they are not up; on the way out both are let go."""
        threads = ThreadPoolExecutor(1)  # ONNX Runtime leaves the lock; the processes are the parallelism
        self.batchers = {
            name: Batcher(
                model.predictor.infer, threads, self.limits.batch, self.limits.wait, self.telemetry.batch.observe
            )
            for name, model in self.models.items()
        }
        running = [asyncio.create_task(batcher.run()) for batcher in self.batchers.values()]
        try:
            await self.pool.warm([model.need for model in self.models.values()])
            self.ready = True
            yield
        finally:
            self.ready = False
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
            self.pool.close()
            threads.shutdown()

    async def answer(self, data: bytes, name: str, *, quick: bool = False) -> dict[str, Any]:
        """What a model says of one picture; whatever the picture is, this is an outcome and no error.

        `quick` does not look for the small faces of a group: for a camera's frames.
        """
        model = self.models[name]
        need = model.quick if quick else model.need
        with self.batchers[name].announced():
            prepared = await self.pool.prepare(data, need, self.limits.max_pixels)
        faces = []
        if prepared.outcome == "ok":
            rows = await self.batchers[name].infer(model.inputs_of(prepared))
            faces = [model.predictor.answer(box, row) for box, row in zip(prepared.boxes, rows, strict=True)]
        unsure = faces and all(face.outcome == "uncertain" for face in faces)
        outcome = "uncertain" if unsure else prepared.outcome
        self.telemetry.pictures.labels(outcome).inc()
        return {
            "outcome": outcome,
            "width": prepared.width,
            "height": prepared.height,
            "faces": [face.as_dict() for face in faces],
        }
