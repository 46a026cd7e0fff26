"""Preprocess pictures in worker processes: one that crashes or blocks its process fails alone."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fer_pipeline import console
from fer_pipeline.config.schema import Preprocessing
from fer_pipeline.errors import SetupError
from fer_pipeline.vision.boxes import Box
from fer_pipeline.vision.crop import SeenFace, as_crop, measure_crops, prepare
from fer_pipeline.vision.image_io import BadImage, Image, read_photo
from fer_pipeline.workers.process import Job, Process, Raised, Worker

PREFETCH = 2  # pictures a worker holds: one in work and one ready, so that it does not idle between them
TIMEOUT = 10.0  # seconds for a picture


@dataclass(frozen=True)
class InputSpec:
    """The input of a model: preprocessing, side of a crop in pixels, and measures of the mouth by name."""

    preprocessing: Preprocessing
    size: int
    measures: tuple[str, ...] = ()


@dataclass(frozen=True)
class Prepared:
    """A photo's faces, with boxes in pixels of the upright photo.

    Crops (n, size, size, 3) and measures (n, names) are those of the n faces that show a mouth, None if none does.
    """

    outcome: Literal["ok", "no_face", "bad_image", "too_large"]
    width: int = 0
    height: int = 0
    faces: tuple[SeenFace, ...] = ()
    crops: NDArray[np.uint8] | None = None
    measures: NDArray[np.float32] | None = None


def prepare_bytes(data: bytes, spec: InputSpec, max_pixels: int) -> Prepared:
    """Decode a picture and prepare its crops, in a worker."""
    try:
        photo, factor = read_photo(data, max_pixels=max_pixels)
    except BadImage as error:
        return Prepared("too_large" if error.reason == "too_many_pixels" else "bad_image")
    found = prepare_photo(photo, spec)
    if factor == 1:
        return found
    width, height = round(found.width * factor), round(found.height * factor)
    return replace(
        found,
        width=width,
        height=height,
        faces=tuple(face._replace(box=face.box.scaled(factor)) for face in found.faces),
    )


def prepare_photo(photo: Image, spec: InputSpec) -> Prepared:
    """The crops and measures of an upright RGB photo."""
    height, width = photo.shape[:2]
    found = prepare(photo, spec.preprocessing)
    if not found:
        return Prepared("no_face", width, height)
    faces = tuple(SeenFace(crop.face.box, crop.face.turned, crop.missing) for crop in found)
    shown = [as_crop(crop.image, spec.size) for crop in found if crop.missing is None]
    if not shown:
        return Prepared("ok", width, height, faces)
    crops = np.stack(shown)
    measures = measure_crops(crops, spec.measures, spec.preprocessing.cut) if spec.measures else None
    return Prepared("ok", width, height, faces, crops, measures)


class Pool:
    """Worker processes; one that dies or times out is replaced, and only its picture fails."""

    def __init__(
        self, workers: int, timeout: float = TIMEOUT, on_failure: Callable[[str], None] = lambda _: None
    ) -> None:
        """Allow `timeout` seconds a picture; `on_failure` gets `raised`, `died` or `late` for each that fails."""
        self.workers, self.timeout, self._on_failure = workers, timeout, on_failure
        self._specs: Sequence[InputSpec] = ()
        self._loaded: list[Process] = []  # up, but not yet at work
        self._running: list[Worker] = []
        self._waiting: deque[Job] = deque()
        self._replacing: set[asyncio.Task[None]] = set()
        self._closed = False

    def start(self, specs: Sequence[InputSpec]) -> None:
        """Start the processes and load detectors and landmarks; raises SetupError if this machine lacks one."""
        self._specs = specs
        self._loaded = [Process((_load, specs)) for _ in range(self.workers)]
        try:
            for process in self._loaded:
                process.wait()
        except SetupError:
            self.close()
            raise

    async def warm(self, specs: Sequence[InputSpec]) -> None:
        """Make the processes workers of this event loop; start them unless `start` did."""
        if not self._loaded:
            await asyncio.to_thread(self.start, specs)
        while self._loaded:
            self._add_worker(self._loaded.pop())

    async def prepare(self, data: bytes, spec: InputSpec, max_pixels: int) -> Prepared:
        """Prepare a picture in a worker; one that crashes or times out is a `bad_image`."""
        answer: asyncio.Future[Prepared] = asyncio.get_running_loop().create_future()
        self._waiting.append(Job((prepare_bytes, data, spec, max_pixels), len(data), answer))
        self._dispatch()
        return await answer

    def close(self) -> None:
        """Stop the processes at once, without waiting for their pictures."""
        self._closed = True
        for task in self._replacing:
            task.cancel()
        for process in self._loaded:
            process.close()
        for worker in self._running:
            worker.close()
        for job in self._waiting:
            job.answer.cancel()
        self._loaded, self._running = [], []

    def _on_result(self, job: Job, result: Any) -> None:
        """Pass on the result of a job."""
        if not isinstance(result, Raised):
            _answer(job, result)
        elif result.setup and not job.answer.done():
            job.answer.set_exception(SetupError(result.what))
        else:
            self._fail(job, "raised", result.what)
        self._dispatch()

    def _on_worker_exit(self, worker: Worker, culprit: Job | None, late: bool) -> None:
        """Fail the job that ended a worker's process, requeue its other jobs, and start a replacement."""
        if self._closed:
            return
        self._running.remove(worker)
        if culprit is not None:
            worker.jobs.popleft()
            reason = f"it took longer than {self.timeout:g} s" if late else "its process died"
            self._fail(culprit, "late" if late else "died", reason)
        self._waiting.extendleft(reversed(worker.jobs))
        task = asyncio.create_task(self._replace())
        self._replacing.add(task)
        task.add_done_callback(self._replacing.discard)
        self._dispatch()

    def _add_worker(self, process: Process) -> None:
        self._running.append(Worker(process, self.timeout, self._on_result, self._on_worker_exit))
        self._dispatch()

    def _dispatch(self) -> None:
        """Give waiting jobs to the least busy workers; skip those whose client has left."""
        while self._waiting and (free := [worker for worker in self._running if len(worker.jobs) < PREFETCH]):
            job = self._waiting.popleft()
            if not job.answer.done():
                min(free, key=lambda worker: len(worker.jobs)).give(job)

    def _fail(self, job: Job, kind: str, reason: str) -> None:
        self._on_failure(kind)
        console.note(f"a picture of {job.size:,} bytes is a bad image: {reason}")
        _answer(job, Prepared("bad_image"))

    async def _replace(self) -> None:
        """Start a process, again after a failure: memory may be short for a moment only."""
        while True:
            try:
                process = await asyncio.to_thread(self._start_one)
            except (SetupError, OSError) as error:
                console.note(f"a worker process cannot be replaced, trying again: {error}")
                await asyncio.sleep(1)
                continue
            self._add_worker(process)
            return

    def _start_one(self) -> Process:
        process = Process((_load, self._specs))
        try:
            process.wait()
        except SetupError:
            process.close()
            raise
        if self._closed:
            process.close()
        return process


def _answer(job: Job, prepared: Prepared) -> None:
    if not job.answer.done():  # its client may have left
        job.answer.set_result(prepared)


def _load(specs: Sequence[InputSpec]) -> None:
    """Load detectors and landmarks in a worker, by preparing a blank picture."""
    from fer_pipeline.vision.landmarks import find_landmarks, load_detector
    from fer_pipeline.vision.mouth_check import SIDE, score_mouth

    for spec in specs:
        load_detector(spec.preprocessing.detector)
        blank = np.zeros((96, 96, 3), np.uint8)
        if spec.preprocessing.cut.region != "whole":
            find_landmarks(blank, Box(8, 8, 88, 88), spec.preprocessing.cut.landmarks)
            score_mouth(blank[:SIDE, :SIDE])
