"""Do the work of a stage on a Ray cluster, in shards: a lost node costs time, an image that kills its process itself.

A shard may be done twice: either time it writes the same files under the same names, each aside and then renamed.
"""

import os
import random
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any, Generic, TypeVar

from fer_pipeline.errors import FerError, SetupError
from fer_pipeline.files import WRITER
from fer_pipeline.workers.ray_cluster import cannot_work, list_nodes, load_ray, on_node, own_address
from fer_pipeline.workers.ray_nodes import compare, fingerprint, look
from fer_pipeline.workers.stage_workers import WorkerCrash, limit_threads

T = TypeVar("T")
R = TypeVar("R")
SHARD = 32  # items in a task: at some milliseconds an item, Ray's millisecond for a task does not matter
AHEAD = 4  # shards submitted per core: enough that no core waits, and a bound for memory
MAX_LOSSES = 5  # nodes that may die over the same shard
CHECK_INTERVAL = 30.0  # seconds between two checks that a node is left


class NodeLost(Exception):
    """The node that worked on a shard died or cannot be reached, or its results are gone."""


@dataclass(frozen=True)
class Job(Generic[T, R]):
    """A task for each item, and the versions and files `look` saw where the command runs: a node must see the same."""

    task: Callable[[T], R]
    seen: dict[str, str]


def work_on_cluster(
    task: Callable[[T], R], items: Iterable[T], shared: Iterable[Path] = ()
) -> Iterator[tuple[T, R | WorkerCrash]]:
    """Do as `stage_workers.work`: yield (item, result) in order, with a bounded number of shards submitted."""
    ray = load_ray()
    job = Job(task, look(*(str(path.absolute()) for path in shared)))
    source = iter(items)
    waiting: deque[tuple[list[T], Any]] = deque()
    try:
        while True:
            room = AHEAD * _count_cores(int(time.monotonic()) // 5) - len(waiting)
            for _ in range(room):
                if shard := list(islice(source, SHARD)):
                    waiting.append((shard, _submit(job, shard)))
            if not waiting:
                return
            # Taken out first: cancelling a task whose result has just come makes Ray abort this process.
            shard, sent = waiting.popleft()
            results = _collect(job, shard, sent)
            yield from zip(shard, results, strict=True)
    finally:
        for _, sent in waiting:
            ray.cancel(sent)


@lru_cache(maxsize=1)
def _count_cores(_: int) -> int:
    """Count the cores of the cluster; the argument changes every few seconds, since nodes come and go."""
    return max(1, int(load_ray().cluster_resources().get("CPU", 0)))


def _submit(job: Job[T, R], shard: list[T]) -> Any:
    return _remote_apply().remote(job, shard)


@lru_cache(maxsize=1)
def _remote_apply() -> Any:
    """Make the remote function once, since Ray sends each to all nodes; `_collect` retries, not Ray."""
    return load_ray().remote(num_cpus=1, max_retries=0)(_apply)


def _apply(job: Job[T, R], shard: list[T]) -> list[R]:
    """Do a shard; runs on a node."""
    _check(job.seen)
    results = [job.task(item) for item in shard]
    _check(job.seen)  # what was written to a folder that is no longer shared is lost
    return results


def _check(seen: dict[str, str]) -> None:
    """Raise SetupError if this node differs: it may have joined after the check at the start, or lost a folder."""
    address, versions = _start_worker()
    compare(address, versions | {name: fingerprint(name) for name in seen if Path(name).is_absolute()}, seen)


@lru_cache(maxsize=1)
def _start_worker() -> tuple[str, dict[str, str]]:
    """Set up this process, once: one thread, a mark for files being written; returns its node and versions."""
    limit_threads()
    os.environ[WRITER] = f".{uuid.uuid4().hex[:8]}"
    return own_address(), look()


def _collect(job: Job[T, R], shard: list[T], sent: Any) -> list[R | WorkerCrash]:
    """Return the results of a shard: done again if its node was lost, searched for the culprit if its process died."""
    for _ in range(MAX_LOSSES):
        try:
            results: list[R | WorkerCrash] = _fetch(sent)
            return results
        except NodeLost:
            sent = _submit(job, shard)
        except WorkerCrash:
            return _search(job, shard)
    raise _too_many_losses()


def _fetch(sent: Any) -> Any:
    """Wait for a result; raises WorkerCrash, NodeLost, or the FerError that the task raised."""
    ray = load_ray()
    try:
        while not ray.wait([sent], timeout=CHECK_INTERVAL)[0]:
            _choose_node()
        return ray.get(sent)
    except (ray.exceptions.WorkerCrashedError, ray.exceptions.OutOfMemoryError):
        raise WorkerCrash from None
    except (ray.exceptions.NodeDiedError, ray.exceptions.ObjectLostError, ray.exceptions.TaskUnschedulableError):
        raise NodeLost from None
    except ray.exceptions.RayError as error:
        cause = getattr(error, "cause", None)  # the exception of the task itself
        raise (cause if isinstance(cause, FerError) else cannot_work("a node", error)) from None
    except (KeyboardInterrupt, SystemExit):
        ray.cancel(sent)
        raise


def _search(job: Job[T, R], shard: list[T]) -> list[R | WorkerCrash]:
    """Halve a shard whose process died until the item that kills it is alone."""
    if len(shard) == 1:
        return [_try_alone(job, shard[0])]
    middle = len(shard) // 2
    halves = [(half, _submit(job, half)) for half in (shard[:middle], shard[middle:])]
    return [result for half, sent in halves for result in _collect(job, half, sent)]


def _try_alone(job: Job[T, R], item: T) -> R | WorkerCrash:
    """Do one item in a process of its own; WorkerCrash if the process dies and the node does not."""
    for _ in range(MAX_LOSSES):
        node = _choose_node()
        try:
            result: list[R] = _fetch(on_node(_apply, node, max_calls=1)(job, [item]))
            return result[0]
        except WorkerCrash:
            if _is_alive(node):
                return WorkerCrash()
        except NodeLost:
            continue
    raise _too_many_losses()


def _choose_node() -> str:
    nodes = list_nodes()
    if not nodes:
        raise SetupError("no node of the cluster is left: start one, then run the same command to continue")
    return random.choice(nodes)[0]


def _is_alive(node: str) -> bool:
    """Whether a process starts on a node; SetupError if it dies before it gets an image."""
    try:
        _fetch(on_node(own_address, node)())
    except NodeLost:
        return False
    except WorkerCrash:
        raise SetupError(f"node {node}: worker processes die as they start: look at its memory and logs") from None
    return True


def _too_many_losses() -> SetupError:
    return SetupError(
        f"{MAX_LOSSES} nodes died over the same images: look at their memory, then run the same command to continue"
    )
