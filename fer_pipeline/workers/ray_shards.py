"""The work of a stage on a Ray cluster, in shards: a lost node costs time, an image that kills its process itself.

A shard may be done twice: whoever does it writes the same files under the same names, each aside and then renamed.
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
SHARD = 32  # items a message: at some milliseconds an item, Ray's own millisecond does not show
AHEAD = 4  # shards a core on their way at once: enough that none waits for the next, and a bound for memory
LOSSES = 5  # nodes that may die over the same shard before that is taken for no chance
PATIENCE = 30.0  # seconds between two looks whether there is still a node to wait for


class NodeLost(Exception):
    """The node that worked on a shard died or cannot be reached, or took the results with it."""


@dataclass(frozen=True)
class Job(Generic[T, R]):
    """What is done with each item, and what `look` saw where the command runs: a node must see the same."""

    task: Callable[[T], R]
    seen: dict[str, str]


def work_on_cluster(
    task: Callable[[T], R], items: Iterable[T], shared: Iterable[Path] = ()
) -> Iterator[tuple[T, R | WorkerCrash]]:
    """Like `work`: (item, result) in order, with a bounded number of shards on their way."""
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
            # Taken out first: Ray aborts this process if a task is cancelled whose result has just come.
            shard, sent = waiting.popleft()
            results = _collect(job, shard, sent)
            yield from zip(shard, results, strict=True)
    finally:
        for _, sent in waiting:
            ray.cancel(sent)


@lru_cache(maxsize=1)
def _count_cores(_: int) -> int:
    """The cores of the cluster, counted again every few seconds: nodes come and go."""
    return max(1, int(load_ray().cluster_resources().get("CPU", 0)))


def _submit(job: Job[T, R], shard: list[T]) -> Any:
    return _remote_apply().remote(job, shard)


@lru_cache(maxsize=1)
def _remote_apply() -> Any:
    """Made once, since Ray sends the code of each such function to all nodes; retries are ours, see `_collect`."""
    return load_ray().remote(num_cpus=1, max_retries=0)(_apply)


def _apply(job: Job[T, R], shard: list[T]) -> list[R]:
    """Runs on a node."""
    _check(job.seen)
    results = [job.task(item) for item in shard]
    _check(job.seen)  # what went to a folder that is no longer shared is not there
    return results


def _check(seen: dict[str, str]) -> None:
    """Whether this node is like the others still: it may have joined after they were asked, or lost a folder."""
    address, versions = _start_worker()
    compare(address, versions | {name: fingerprint(name) for name in seen if Path(name).is_absolute()}, seen)


@lru_cache(maxsize=1)
def _start_worker() -> tuple[str, dict[str, str]]:
    """Once a process: one thread, and a mark for the files it writes; where it is, and its versions."""
    limit_threads()
    os.environ[WRITER] = f".{uuid.uuid4().hex[:8]}"
    return own_address(), look()


def _collect(job: Job[T, R], shard: list[T], sent: Any) -> list[R | WorkerCrash]:
    """The results of a shard: done again if its node was lost, searched for the culprit if its process died."""
    for _ in range(LOSSES):
        try:
            results: list[R | WorkerCrash] = _fetch(sent)
            return results
        except NodeLost:
            sent = _submit(job, shard)
        except WorkerCrash:
            return _search(job, shard)
    raise _too_many_losses()


def _fetch(sent: Any) -> Any:
    """Wait for a result; raises WorkerCrash, NodeLost, or the error of this package that the task raised."""
    ray = load_ray()
    try:
        while not ray.wait([sent], timeout=PATIENCE)[0]:
            _choose_node()
        return ray.get(sent)
    except (ray.exceptions.WorkerCrashedError, ray.exceptions.OutOfMemoryError):
        raise WorkerCrash from None
    except (ray.exceptions.NodeDiedError, ray.exceptions.ObjectLostError, ray.exceptions.TaskUnschedulableError):
        raise NodeLost from None
    except ray.exceptions.RayError as error:
        cause = getattr(error, "cause", None)  # of what the task itself raised
        raise (cause if isinstance(cause, FerError) else cannot_work("a node", error)) from None
    except (KeyboardInterrupt, SystemExit):
        ray.cancel(sent)
        raise


def _search(job: Job[T, R], shard: list[T]) -> list[R | WorkerCrash]:
    """Halve a shard whose process died until the item that kills it stands alone."""
    if len(shard) == 1:
        return [_try_alone(job, shard[0])]
    middle = len(shard) // 2
    halves = [(half, _submit(job, half)) for half in (shard[:middle], shard[middle:])]
    return [result for half, sent in halves for result in _collect(job, half, sent)]


def _try_alone(job: Job[T, R], item: T) -> R | WorkerCrash:
    """One item in a process that nothing follows; it is culprit if the process dies and the node does not."""
    for _ in range(LOSSES):
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
        raise SetupError("no node of the cluster is left: start one, and the same command goes on where it stopped")
    return random.choice(nodes)[0]


def _is_alive(node: str) -> bool:
    """Whether a process starts on a node; one that dies before it sees an image is no fault of the image."""
    try:
        _fetch(on_node(own_address, node)())
    except NodeLost:
        return False
    except WorkerCrash:
        raise SetupError(f"worker processes die as they start on node {node}: look at its memory and logs") from None
    return True


def _too_many_losses() -> SetupError:
    return SetupError(
        f"{LOSSES} nodes died over the same images: look at their memory; the same command goes on where it stopped"
    )
