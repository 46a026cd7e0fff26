"""From the bytes of a picture to crops, in processes of their own: one that kills or holds one costs itself only."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fer_pipeline import console
from fer_pipeline.config.schema import Preprocessing
from fer_pipeline.errors import SetupError
from fer_pipeline.vision.boxes import Box
from fer_pipeline.vision.crop import as_crop, measure_crops, prepare
from fer_pipeline.vision.image_io import BadImage, Image, read_image
from fer_pipeline.workers.process import Job, Process, Raised, Worker

AHEAD = 2  # pictures a process has: one in work, one that lies ready, so that no time is lost between the two
PATIENCE = 10.0  # seconds for a picture


@dataclass(frozen=True)
class InputSpec:
    """What a model wants of a photo: how it is cut, the side of a crop in pixels, and measures of the mouth by name."""

    preprocessing: Preprocessing
    size: int
    measures: tuple[str, ...] = ()


@dataclass(frozen=True)
class Prepared:
    """A photo's faces: boxes in pixels of the upright photo, crops (n, size, size, 3), measures (n, names)."""

    outcome: Literal["ok", "no_face", "bad_image", "too_large"]
    width: int = 0
    height: int = 0
    boxes: tuple[Box, ...] = ()
    crops: NDArray[np.uint8] | None = None
    measures: NDArray[np.float32] | None = None


def prepare_bytes(data: bytes, need: InputSpec, max_pixels: int) -> Prepared:
    """What a worker does with a picture: as `fer predict`, from its bytes."""
    try:
        photo = read_image(data, max_pixels=max_pixels)
    except BadImage as error:
        return Prepared("too_large" if error.reason == "too_many_pixels" else "bad_image")
    return prepare_photo(photo, need)


def prepare_photo(photo: Image, need: InputSpec) -> Prepared:
    """The crops of an upright RGB photo as a model wants them."""
    height, width = photo.shape[:2]
    found = prepare(photo, need.preprocessing)
    if not found:
        return Prepared("no_face", width, height)
    crops = np.stack([as_crop(crop.image, need.size) for crop in found])
    measures = measure_crops(crops, need.measures, need.preprocessing.cut) if need.measures else None
    return Prepared("ok", width, height, tuple(crop.face.box for crop in found), crops, measures)


class Pool:
    """Worker processes; one that dies or is late with a picture is replaced, at the cost of that picture only."""

    def __init__(
        self, workers: int, patience: float = PATIENCE, failed: Callable[[str], None] = lambda _: None
    ) -> None:
        """`patience`: how long a picture may take; `failed` hears of each that `raised`, `died` or was `late`."""
        self.workers, self.patience, self._failed = workers, patience, failed
        self._needs: Sequence[InputSpec] = ()
        self._loaded: list[Process] = []  # up, but not yet at work
        self._running: list[Worker] = []
        self._waiting: deque[Job] = deque()
        self._replacing: set[asyncio.Task[None]] = set()
        self._closed = False

    def start(self, needs: Sequence[InputSpec]) -> None:
        """Start the processes and load their models; raises SetupError if this machine lacks one."""
        self._needs = needs
        self._loaded = [Process((_load, needs)) for _ in range(self.workers)]
        try:
            for process in self._loaded:
                process.wait()
        except SetupError:
            self.close()
            raise

    async def warm(self, needs: Sequence[InputSpec]) -> None:
        """Put the processes to work; those that were not started before are now."""
        if not self._loaded:
            await asyncio.to_thread(self.start, needs)
        while self._loaded:
            self._employ(self._loaded.pop())

    async def prepare(self, data: bytes, need: InputSpec, max_pixels: int) -> Prepared:
        """The faces of a picture; one that its process cannot bear is a bad image."""
        answer: asyncio.Future[Prepared] = asyncio.get_running_loop().create_future()
        self._waiting.append(Job((prepare_bytes, data, need, max_pixels), len(data), answer))
        self._hand_out()
        return await answer

    def close(self) -> None:
        """Let the processes go at once: whoever closes a server has given its requests their time."""
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

    def _settle(self, job: Job, result: Any) -> None:
        """A worker has done a job."""
        if not isinstance(result, Raised):
            _answer(job, result)
        elif result.setup and not job.answer.done():
            job.answer.set_exception(SetupError(result.what))
        else:
            self._refuse(job, "raised", result.what)
        self._hand_out()

    def _on_worker_exit(self, worker: Worker, culprit: Job | None, late: bool) -> None:
        """A worker's process is gone: what lay ready there goes to others, and another process takes its place."""
        if self._closed:
            return
        self._running.remove(worker)
        if culprit is not None:
            worker.jobs.popleft()
            reason = f"it took longer than {self.patience:g} s" if late else "its process died"
            self._refuse(culprit, "late" if late else "died", reason)
        self._waiting.extendleft(reversed(worker.jobs))
        task = asyncio.create_task(self._replace())
        self._replacing.add(task)
        task.add_done_callback(self._replacing.discard)
        self._hand_out()

    def _employ(self, process: Process) -> None:
        self._running.append(Worker(process, self.patience, self._settle, self._on_worker_exit))
        self._hand_out()

    def _hand_out(self) -> None:
        """To whom has least to do; what nobody waits for any more is passed over."""
        while self._waiting and (free := [worker for worker in self._running if len(worker.jobs) < AHEAD]):
            job = self._waiting.popleft()
            if not job.answer.done():
                min(free, key=lambda worker: len(worker.jobs)).give(job)

    def _refuse(self, job: Job, fate: str, reason: str) -> None:
        self._failed(fate)
        console.note(f"a picture of {job.size:,} bytes is a bad image: {reason}")
        _answer(job, Prepared("bad_image"))

    async def _replace(self) -> None:
        """Start one process, however often it takes: a machine short of memory may have some in a moment."""
        while True:
            try:
                process = await asyncio.to_thread(self._start_one)
            except (SetupError, OSError) as error:
                console.note(f"no process in place of the one that died, trying again: {error}")
                await asyncio.sleep(1)
                continue
            self._employ(process)
            return

    def _start_one(self) -> Process:
        process = Process((_load, self._needs))
        try:
            process.wait()
        except SetupError:
            process.close()
            raise
        if self._closed:
            process.close()
        return process


def _answer(job: Job, prepared: Prepared) -> None:
    if not job.answer.done():  # its client may have given up
        job.answer.set_result(prepared)


def _load(needs: Sequence[InputSpec]) -> None:
    """Load the detectors and the landmarks in a process, by the way a photo takes."""
    from fer_pipeline.vision.landmarks import find_landmarks, load_detector

    for need in needs:
        load_detector(need.preprocessing.detector)
        blank = np.zeros((96, 96, 3), np.uint8)
        if need.preprocessing.cut.region != "whole":
            find_landmarks(blank, Box(8, 8, 88, 88), need.preprocessing.cut.landmarks)
