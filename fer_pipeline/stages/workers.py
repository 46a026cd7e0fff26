"""Where the work is done: in this process, in spawned ones that a crash of a native library costs one image, or on Ray.

Imports nothing heavy, so that a worker can set its thread counts before NumPy reads them.
"""

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Literal, TypeVar

from fer_pipeline.errors import SetupError

T = TypeVar("T")
R = TypeVar("R")
Workers = int | Literal["ray"]  # how many processes, or those of a Ray cluster
CHUNK = 8  # items a message: enough to hide the cost of sending, few enough to keep the journal close behind


class WorkerCrash(Exception):
    """The process that worked on an item died: a crash in a native library, or killed for memory."""


def work(
    task: Callable[[T], R], items: Iterable[T], workers: Workers, shared: Sequence[Path] = ()
) -> Iterator[tuple[T, R | WorkerCrash]]:
    """Apply a picklable task to every item; yields (item, result) in order, reading ahead only a little.

    `shared` are files that every node of a cluster must see as they are here, as long as it works.
    """
    if workers == "ray":
        from fer_pipeline.stages.shards import work_on_cluster

        yield from work_on_cluster(task, items, shared)
        return
    if workers <= 1:
        for item in items:
            yield item, task(item)
        return
    chunks = _chunks(items)
    waiting: deque[tuple[list[T], Future[list[R]]]] = deque()
    for chunk in islice(chunks, workers * 3):
        waiting.append((chunk, _submit(task, chunk, workers)))
    while waiting:
        chunk, future = waiting.popleft()
        try:
            yield from zip(chunk, future.result(), strict=True)
        except BrokenProcessPool:
            yield from _one_by_one(task, chunk)
        for chunk in islice(chunks, 1):
            waiting.append((chunk, _submit(task, chunk, workers)))


def _chunks(items: Iterable[T]) -> Iterator[list[T]]:
    source = iter(items)
    while chunk := list(islice(source, CHUNK)):
        yield chunk


def _submit(task: Callable[[T], R], chunk: Sequence[T], workers: int) -> Future[list[R]]:
    try:
        return _pool(workers).submit(_apply, task, chunk)
    except BrokenProcessPool:  # a pool does not outlive the crash of one of its processes
        _pool.cache_clear()
        return _pool(workers).submit(_apply, task, chunk)


def _one_by_one(task: Callable[[T], R], chunk: Sequence[T]) -> Iterator[tuple[T, R | WorkerCrash]]:
    """Find out which item of a chunk kills its process, each in a process of its own."""
    for item in chunk:
        with new_pool(1) as pool:
            _check_start(pool)
            try:
                yield item, pool.submit(_apply, task, [item]).result()[0]
            except BrokenProcessPool:
                yield item, WorkerCrash()


def _check_start(pool: ProcessPoolExecutor) -> None:
    """A process that dies before it sees an image is no fault of the image."""
    try:
        pool.submit(os.getpid).result()
    except BrokenProcessPool:
        raise SetupError(
            "worker processes die as they start: look for memory or for the error above, or use --workers 1"
        ) from None


def _apply(task: Callable[[T], R], chunk: Sequence[T]) -> list[R]:
    return [task(item) for item in chunk]


@lru_cache(maxsize=1)
def _pool(workers: int) -> ProcessPoolExecutor:
    """One pool for all stages of a command: starting a process costs more than a hundred images."""
    return new_pool(workers)


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

    cv2.setNumThreads(1)


def _die_with_parent() -> None:
    """A worker whose parent was killed would wait for work for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
