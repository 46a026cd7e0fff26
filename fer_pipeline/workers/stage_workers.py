"""Where the work is done: in this process, in spawned ones that a crash of a native library costs one image, or on Ray.

Imports nothing heavy, so that a worker can set its thread counts before NumPy reads them.
"""

import multiprocessing
import os
import signal
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from itertools import islice
from typing import Generic, Literal, TypeVar

from fer_pipeline.errors import SetupError

T = TypeVar("T")
R = TypeVar("R")
Workers = int | Literal["ray"]  # how many processes, or those of a Ray cluster
CHUNK = 8  # items a message: enough to hide the cost of sending, few enough to keep the journal close behind


class WorkerCrash(Exception):
    """The process that worked on an item died: a crash in a native library, or killed for memory."""


def work(
    task: Callable[[T], R],
    items: Iterable[T],
    workers: int,
    expected: int | None = None,
) -> Iterator[tuple[T, R | WorkerCrash]]:
    """Apply a picklable task to every item; yields (item, result) in order, reading ahead only a little.

    Where few items are `expected`, no more processes are started than have something to do. `ray_shards` does the same
    on a cluster.
    """
    if workers <= 1:
        return ((item, task(item)) for item in items)
    wanted = workers if expected is None else max(1, min(workers, -(-expected // CHUNK)))
    return _work_in_processes(task, items, wanted)


def _work_in_processes(task: Callable[[T], R], items: Iterable[T], workers: int) -> Iterator[tuple[T, R | WorkerCrash]]:
    lanes = _lanes(workers)
    chunks = _chunks(items)
    waiting: deque[_Sent[T, R]] = deque()
    for chunk in islice(chunks, workers * 3):
        waiting.append(_send(task, chunk, lanes, waiting))
    while waiting:
        first = waiting.popleft()
        try:
            yield from zip(first.chunk, first.results.result(), strict=True)
        except BrokenProcessPool:
            yield from _one_by_one(task, first.chunk, first.lane)
            for sent in (sent for sent in waiting if sent.lane is first.lane):  # they were broken off too
                sent.results = sent.lane.submit(task, sent.chunk)
        for chunk in islice(chunks, 1):
            waiting.append(_send(task, chunk, lanes, waiting))


class _Lane:
    """One process, started again when it has died: so it is known what killed it, and the others go on."""

    def __init__(self) -> None:
        self._pool = new_pool(1)

    def stop(self) -> None:
        """End the process."""
        self._pool.shutdown(cancel_futures=True)

    def submit(self, task: Callable[[T], R], chunk: Sequence[T]) -> Future[list[R]]:
        try:
            return self._pool.submit(_apply, task, chunk)
        except BrokenProcessPool:
            self.start()
            return self._pool.submit(_apply, task, chunk)

    def start(self) -> None:
        """Another process; one that dies before it sees an image is no fault of the image."""
        self._pool.shutdown(wait=False)
        self._pool = new_pool(1)
        try:
            self._pool.submit(os.getpid).result()
        except BrokenProcessPool:
            raise SetupError(
                "worker processes die as they start: look for memory or for the error above, or use --workers 1"
            ) from None


@dataclass
class _Sent(Generic[T, R]):
    """A chunk, the lane it was given to and what comes of it."""

    chunk: list[T]
    lane: _Lane
    results: Future[list[R]]


def _send(
    task: Callable[[T], R], chunk: list[T], lanes: Sequence[_Lane], waiting: Iterable[_Sent[T, R]]
) -> _Sent[T, R]:
    """Give a chunk to the lane that has the least to do."""
    busy = Counter(id(sent.lane) for sent in waiting if not sent.results.done())
    lane = min(lanes, key=lambda one: busy[id(one)])
    return _Sent(chunk, lane, lane.submit(task, chunk))


def _chunks(items: Iterable[T]) -> Iterator[list[T]]:
    source = iter(items)
    while chunk := list(islice(source, CHUNK)):
        yield chunk


def _one_by_one(task: Callable[[T], R], chunk: Sequence[T], lane: _Lane) -> Iterator[tuple[T, R | WorkerCrash]]:
    """Find out which item of a chunk kills its process."""
    lane.start()
    for item in chunk:
        try:
            yield item, lane.submit(task, [item]).result()[0]
        except BrokenProcessPool:
            lane.start()
            yield item, WorkerCrash()


def _apply(task: Callable[[T], R], chunk: Sequence[T]) -> list[R]:
    return [task(item) for item in chunk]


_started: list[_Lane] = []


def _lanes(workers: int) -> list[_Lane]:
    """The same for all stages of a command: starting a process costs more than a hundred images."""
    while len(_started) < workers:
        _started.append(_Lane())
    return _started[:workers]


def stop_workers() -> None:
    """End the processes that were started; the next stage starts others."""
    while _started:
        _started.pop().stop()


def new_pool(workers: int) -> ProcessPoolExecutor:
    """Spawned processes of one thread each, which die with this one."""
    # Spawned, not forked: OpenCV, dlib and ONNX Runtime do not survive a fork once their threads run.
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(workers, mp_context=context, initializer=_start_worker)


def _start_worker() -> None:
    """One thread a process; leave Ctrl-C to the parent, and die with it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_die_with_parent, daemon=True).start()
    limit_threads()


def limit_threads() -> None:
    """One thread for all native libraries of this process: there are as many processes as cores."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"
    import cv2

    from fer_pipeline.vision.limits import bound_decoders

    cv2.setNumThreads(1)
    bound_decoders(time=True)


def _die_with_parent() -> None:
    """A worker whose parent was killed would wait for work for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
