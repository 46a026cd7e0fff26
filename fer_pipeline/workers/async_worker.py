"""A process at work for an event loop: what it has to do, and how long it may take for the first of it."""

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

from fer_pipeline.workers.process import Process, Task


@dataclass(eq=False)
class Job:
    """A picture on its way: what a process is to do with it, and where the answer is waited for."""

    task: Task
    size: int
    answer: "asyncio.Future[Any]"


Done = Callable[[Job, Any], None]
Lost = Callable[["Worker", Job | None, bool], None]


class Worker:
    """A process and its jobs: the first is in work, the others lie ready for it."""

    def __init__(self, process: Process, patience: float, done: Done, lost: Lost) -> None:
        """`done` gets a job and its result; `lost` this worker, the job its process died of, and if it was late."""
        self.process, self.patience = process, patience
        self._done, self._lost = done, lost
        self.jobs: deque[Job] = deque()
        self._clock: asyncio.TimerHandle | None = None
        self._late: Job | None = None
        loop = asyncio.get_running_loop()
        process.follow(partial(_post, loop, self._take), partial(_post, loop, self._end))

    def give(self, job: Job) -> None:
        """One job more."""
        self.jobs.append(job)
        self.process.put(job.task)
        if len(self.jobs) == 1:
            self._start_clock()

    def close(self) -> None:
        """Let the process go; nobody waits for its jobs any more."""
        self._stop_clock()
        self.process.close()
        for job in self.jobs:
            job.answer.cancel()

    def _start_clock(self) -> None:
        self._clock = asyncio.get_running_loop().call_later(self.patience, self._on_timeout)

    def _stop_clock(self) -> None:
        if self._clock is not None:
            self._clock.cancel()

    def _on_timeout(self) -> None:
        self._late = self.jobs[0]
        self.process.kill()

    def _take(self, result: Any) -> None:
        job = self.jobs.popleft()
        self._stop_clock()
        if self.jobs:
            self._start_clock()
        self._done(job, result)

    def _end(self) -> None:
        """The process is gone by the fault of the job it was on, unless that was late and came in time after all."""
        self._stop_clock()
        culprit = self.jobs[0] if self.jobs and self._late in {None, self.jobs[0]} else None
        self._lost(self, culprit, self._late is not None)


def _post(loop: asyncio.AbstractEventLoop, function: Callable[..., None], *arguments: Any) -> None:
    """Call in the loop from another thread; a loop that was closed has nobody who waits."""
    with suppress(RuntimeError):
        loop.call_soon_threadsafe(function, *arguments)
