"""Worker processes of a server: each does its tasks in order, and a task that kills or holds it is known.

The executors of the standard library do not tell which task a process died of, and cannot end one that hangs.
`Process` is the parent's side of a process, `Worker` gives it jobs from an event loop. Imports nothing heavy, so that
the process can set its thread counts before NumPy reads them.
"""

import asyncio
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from queue import SimpleQueue
from typing import Any

from fer_pipeline.errors import FerError, SetupError
from fer_pipeline.workers.stage_workers import limit_threads

Task = tuple[Any, ...]  # a function and its arguments, all picklable


@dataclass(frozen=True)
class Raised:
    """The error of a task, in one line; `setup` if it is this machine's, not the task's."""

    what: str
    setup: bool = False


class Process:
    """The parent's side of a process: ready once `wait` returns, and sent tasks by `put` once `follow` was called."""

    def __init__(self, load: Task) -> None:
        """Start a process that runs the task `load` first."""
        # Spawned, not forked: OpenCV, dlib and ONNX Runtime do not survive a fork once their threads run.
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_work, args=(theirs,), daemon=True)
        self._process.start()
        theirs.close()
        self._tasks: SimpleQueue[Task | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._load = load

    def wait(self) -> None:
        """Wait until `load` has run; raises SetupError if it failed."""
        try:
            self._pipe.send(self._load)
            loaded = self._pipe.recv()
        except (EOFError, OSError):
            raise SetupError("worker processes die as they start: free memory, or see the error above") from None
        if isinstance(loaded, Raised):
            raise SetupError(loaded.what)

    def follow(self, on_result: Callable[[Any], None], on_end: Callable[[], None]) -> None:
        """Call `on_result` with each result, in the order of the tasks, and `on_end` at the end, in another thread."""
        sender = threading.Thread(target=self._send, daemon=True)
        self._threads = [threading.Thread(target=self._receive, args=(on_result, on_end, sender), daemon=True)]
        for thread in (sender, *self._threads):
            thread.start()

    def put(self, task: Task) -> None:
        """Send a task; it waits in the process while that does another."""
        self._tasks.put(task)

    def kill(self) -> None:
        """Kill the process, whatever it does; it has no open files that could be damaged."""
        self._process.kill()

    def close(self) -> None:
        """Kill the process and wait until it has ended."""
        self.kill()
        for thread in self._threads:
            thread.join()
        if not self._threads:
            self._process.join()
            self._pipe.close()

    def _send(self) -> None:
        while (task := self._tasks.get()) is not None:
            try:
                self._pipe.send(task)
            except OSError:  # it has died, which the other thread reports
                return

    def _receive(self, on_result: Callable[[Any], None], on_end: Callable[[], None], sender: threading.Thread) -> None:
        try:
            while True:
                on_result(self._pipe.recv())
        except (EOFError, OSError):
            self._process.kill()
            self._tasks.put(None)
            sender.join()
            self._process.join()
            self._pipe.close()
            on_end()


@dataclass(eq=False)
class Job:
    """A task for a worker, the bytes of its input, and the future that gets its result."""

    task: Task
    size: int
    answer: "asyncio.Future[Any]"


OnDone = Callable[[Job, Any], None]  # a job and its result
OnExit = Callable[["Worker", Job | None, bool], None]  # a worker, the job that ended its process, whether it was late


class Worker:
    """A process and its jobs in an event loop: the process does the first and holds the others ready."""

    def __init__(self, process: Process, timeout: float, on_done: OnDone, on_exit: OnExit) -> None:
        """Follow a process; a job that takes longer than `timeout` seconds is killed with it."""
        self.process, self.timeout = process, timeout
        self._on_done, self._on_exit = on_done, on_exit
        self.jobs: deque[Job] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._late: Job | None = None
        loop = asyncio.get_running_loop()
        process.follow(partial(_post, loop, self._finish_job), partial(_post, loop, self._end))

    def give(self, job: Job) -> None:
        """Add a job."""
        self.jobs.append(job)
        self.process.put(job.task)
        if len(self.jobs) == 1:
            self._start_timer()

    def close(self) -> None:
        """Kill the process and cancel its jobs."""
        self._stop_timer()
        self.process.close()
        for job in self.jobs:
            job.answer.cancel()

    def _start_timer(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self.timeout, self._on_timeout)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _on_timeout(self) -> None:
        self._late = self.jobs[0]
        self.process.kill()

    def _finish_job(self, result: Any) -> None:
        job = self.jobs.popleft()
        self._stop_timer()
        if self.jobs:
            self._start_timer()
        self._on_done(job, result)

    def _end(self) -> None:
        """Report the end of the process; its first job is the culprit, unless another one was late."""
        self._stop_timer()
        culprit = self.jobs[0] if self.jobs and self._late in {None, self.jobs[0]} else None
        self._on_exit(self, culprit, self._late is not None)


def _post(loop: asyncio.AbstractEventLoop, function: Callable[..., None], *arguments: Any) -> None:
    """Call in the loop from another thread; does nothing once the loop is closed."""
    with suppress(RuntimeError):
        loop.call_soon_threadsafe(function, *arguments)


def _work(pipe: "Connection[Any, Any]") -> None:
    """Run in the process: one thread for native libraries, no Ctrl-C, and an exit when the parent exits."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    limit_threads()
    tasks: SimpleQueue[Task] = SimpleQueue()
    threading.Thread(target=_take_in, args=(pipe, tasks), daemon=True).start()
    while True:
        function, *arguments = tasks.get()
        pipe.send(_try(function, arguments))


def _take_in(pipe: "Connection[Any, Any]", tasks: SimpleQueue[Task]) -> None:
    """Receive tasks ahead, so that no time is lost between two; exit when the parent has exited."""
    try:
        while True:
            tasks.put(pipe.recv())
    finally:
        os._exit(1)


def _try(function: Callable[..., Any], arguments: list[Any]) -> Any:
    try:
        return function(*arguments)
    except FerError as error:
        return Raised(str(error), setup=True)
    except Exception as error:  # noqa: BLE001  a picture that breaks a library must not end the process
        return Raised(" ".join(f"{type(error).__name__}: {error}".split())[:200])
