"""A process that does its tasks in order, and is known by the task it is on: the parent's side and the process's own.

The executors of the standard library do not tell which task a process died of, and cannot let go of one that hangs.
Imports nothing heavy, so that the process can set its thread counts before NumPy reads them.
"""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from queue import SimpleQueue
from typing import Any

from fer_pipeline.errors import FerError, SetupError
from fer_pipeline.workers.stage_workers import limit_threads

Task = tuple[Any, ...]  # a function and its arguments, all of which can be pickled


@dataclass(frozen=True)
class Raised:
    """What a task raised instead of a result, in one line; `setup` if the fault is this machine's, not the task's."""

    what: str
    setup: bool = False


class Process:
    """The parent's side: it is up once `wait` returns, and takes tasks by `put` once somebody follows it."""

    def __init__(self, load: Task) -> None:
        """`load` is what it does before anything else."""
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
        """Until it has loaded; raises SetupError if it cannot."""
        try:
            self._pipe.send(self._load)
            loaded = self._pipe.recv()
        except (EOFError, OSError):
            raise SetupError("worker processes die as they start: look for memory or for the error above") from None
        if isinstance(loaded, Raised):
            raise SetupError(loaded.what)

    def follow(self, tell: Callable[[Any], None], end: Callable[[], None]) -> None:
        """Have every result told, in the order of the tasks, and the end of the process; both by another thread."""
        sender = threading.Thread(target=self._send, daemon=True)
        self._threads = [threading.Thread(target=self._receive, args=(tell, end, sender), daemon=True)]
        for thread in (sender, *self._threads):
            thread.start()

    def put(self, task: Task) -> None:
        """One task more; it lies ready in the process while that is at another."""
        self._tasks.put(task)

    def kill(self) -> None:
        """End it, whatever it does; it has no files open that could be spoilt."""
        self._process.kill()

    def close(self) -> None:
        """Kill it and wait until it is gone."""
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
            except OSError:  # it has died, which the other thread tells
                return

    def _receive(self, tell: Callable[[Any], None], end: Callable[[], None], sender: threading.Thread) -> None:
        try:
            while True:
                tell(self._pipe.recv())
        except (EOFError, OSError):
            self._process.kill()
            self._tasks.put(None)
            sender.join()
            self._process.join()
            self._pipe.close()
            end()


def _work(pipe: "Connection[Any, Any]") -> None:
    """What runs in the process: one thread for native libraries, no Ctrl-C, and an end when the parent ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    limit_threads()
    tasks: SimpleQueue[Task] = SimpleQueue()
    threading.Thread(target=_take_in, args=(pipe, tasks), daemon=True).start()
    while True:
        function, *arguments = tasks.get()
        pipe.send(_try(function, arguments))


def _take_in(pipe: "Connection[Any, Any]", tasks: SimpleQueue[Task]) -> None:
    """Read ahead, so that no time is lost between two tasks; without a parent there is nobody to work for."""
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
    except Exception as error:  # noqa: BLE001  no library may end the process for one picture that it does not like
        return Raised(" ".join(f"{type(error).__name__}: {error}".split())[:200])
