"""Work on pictures in worker processes: one that crashes or blocks its process fails alone."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, TypeVar

from fer_pipeline import console
from fer_pipeline.errors import SetupError
from fer_pipeline.workers.process import Job, Process, Raised, Task, Worker

T = TypeVar("T")
PREFETCH = 2  # pictures a worker holds: one in work and one ready, so that it does not idle between them
TIMEOUT = 10.0  # seconds for a picture


class PictureFailed(Exception):
    """A picture that raised an error in its process, ended it or held it too long."""


class Pool:
    """Worker processes; one that dies or times out is replaced, and only its picture fails."""

    def __init__(
        self, workers: int, load: Task, timeout: float = TIMEOUT, on_failure: Callable[[str], None] = lambda _: None
    ) -> None:
        """Run the task `load` first in each process, then allow `timeout` seconds a picture.

        `on_failure` gets `raised`, `died` or `late` for each that fails.
        """
        self.workers, self.timeout, self._load, self._on_failure = workers, timeout, load, on_failure
        self._loaded: list[Process] = []  # up, but not yet at work
        self._running: list[Worker] = []
        self._waiting: deque[Job] = deque()
        self._replacing: set[asyncio.Task[None]] = set()
        self._closed = False

    def start(self) -> None:
        """Start the processes; raises SetupError if what they load cannot be loaded."""
        self._loaded = [Process(self._load) for _ in range(self.workers)]
        try:
            for process in self._loaded:
                process.wait()
        except SetupError:
            self.close()
            raise

    async def warm(self) -> None:
        """Make the processes workers of this event loop; start them unless `start` did."""
        if not self._loaded:
            await asyncio.to_thread(self.start)
        while self._loaded:
            self._add_worker(self._loaded.pop())

    async def run(self, function: Callable[..., T], data: bytes, *arguments: Any) -> T:
        """Call a function of the bytes of a picture in a worker; raises PictureFailed or SetupError."""
        answer: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        job = Job((function, data, *arguments), len(data), answer)
        self._waiting.append(job)
        self._dispatch()
        try:
            return await answer
        finally:
            if answer.cancelled():  # the bytes for a client that has left are held no longer
                job.task = ()
                if job in self._waiting:
                    self._waiting.remove(job)

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
        if isinstance(result, Raised) and not result.setup:
            self._fail(job, "raised", result.what)
        elif not job.answer.done():  # its client may have left
            if isinstance(result, Raised):
                job.answer.set_exception(SetupError(result.what))
            else:
                job.answer.set_result(result)
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
        if not job.answer.done():
            job.answer.set_exception(PictureFailed(reason))

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
        process = Process(self._load)
        try:
            process.wait()
        except SetupError:
            process.close()
            raise
        if self._closed:
            process.close()
        return process
