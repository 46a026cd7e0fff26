"""Connect to a Ray cluster, list its nodes, and run a function on one of them.

The only module that imports Ray, and only when it is used: it is an extra, and takes a second to load.
"""

import os
import socket
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import Any, TypeVar

from fer_pipeline.errors import SetupError

T = TypeVar("T")
NODE_TIMEOUT = 180.0  # seconds until a node that does not answer counts as broken; a process there starts in seconds
INSTALL = "pip install 'fer-pipeline[scale]'"
QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",  # nothing is sent anywhere
    "RAY_DEDUP_LOGS_SKIP_REGEX": "^",  # Ray prints how workers died; fer reports that itself
    "RAY_IGNORE_UNHANDLED_ERRORS": "1",  # of shards that were cancelled
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}


def load_ray() -> Any:
    """Import Ray, configured to print nothing; typed as Any because its decorators hide its types."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    import ray

    return ray


def connect() -> None:
    """Join the cluster on this machine or at `RAY_ADDRESS`, unless this process has joined it; SetupError if not."""
    if find_spec("ray") is None:
        raise SetupError(f"--workers ray: Ray is not installed: `{INSTALL}`")
    ray = load_ray()
    if ray.is_initialized():
        return
    check_address()
    try:
        ray.init(address="auto", logging_level="ERROR", log_to_driver=False)
    except (ConnectionError, ray.exceptions.AuthenticationError):
        remedy = "set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN as on its head, or look at `ray status` there"
        raise SetupError(f"--workers ray: the Ray cluster refuses this command: {remedy}") from None
    except RuntimeError as error:  # Ray compares its own version and Python's
        raise SetupError(f"--workers ray: {' '.join(str(error).split())}: install the same on every node") from None


def check_address() -> None:
    """Raise SetupError if nothing listens where `ray.init(address="auto")` connects: Ray itself tries for minutes."""
    given = os.environ.get("RAY_ADDRESS", "")
    if "://" in given:
        raise SetupError(f"RAY_ADDRESS={given}: Ray Client is too slow for this: use `ray job submit`")
    try:
        host, _, port = load_ray()._private.services.canonicalize_bootstrap_address("auto").rpartition(":")
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()
    except (OSError, ValueError):
        if given:
            raise SetupError(f"RAY_ADDRESS={given}: no Ray cluster answers there: name its head, or unset it") from None
        remedy = "`ray start --head` makes one here, `ray start --address HEAD:6379` on another machine joins it"
        raise SetupError(f"--workers ray: no Ray cluster runs on this machine: {remedy}") from None


def run_on_nodes(function: Callable[..., T], *arguments: Any) -> Iterator[tuple[str, T]]:
    """Run a function on every living node with cores; yields its address and result. A node that dies is left out."""
    ray = load_ray()
    tasks = {on_node(function, node)(*arguments): address for node, address in list_nodes()}
    if not tasks:
        raise SetupError("--workers ray: no node of the cluster has a core to work with: `ray status` shows them")
    _, late = ray.wait(list(tasks), num_returns=len(tasks), timeout=NODE_TIMEOUT)
    for task in late:
        raise SetupError(f"node {tasks[task]} does not answer: `ray status` shows the nodes")
    for task, address in tasks.items():
        try:
            yield address, ray.get(task)
        except (ray.exceptions.NodeDiedError, ray.exceptions.TaskUnschedulableError):
            continue
        except ray.exceptions.RayError as error:
            raise cannot_work(f"node {address}", error) from None


def cannot_work(node: str, error: Exception) -> SetupError:
    """Describe why a node cannot run a task, by the last line of Ray's message, which has the cause."""
    problem = str(error).strip().rpartition("\n")[2]
    return SetupError(f"{node} cannot work ({problem}): install the same on every node, or look at its Ray logs")


def list_nodes() -> list[tuple[str, str]]:
    """List id and address of the living nodes that have cores."""
    return [
        (node["NodeID"], node["NodeManagerAddress"])
        for node in load_ray().nodes()
        if node["Alive"] and node["Resources"].get("CPU", 0) > 0
    ]


def on_node(function: Callable[..., T], node: str, **options: Any) -> Callable[..., Any]:
    """Make a function that runs on one node at once, beside the shards that keep its cores busy."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    ray = load_ray()
    there = NodeAffinitySchedulingStrategy(node, soft=False)
    task = ray.remote(num_cpus=0, max_retries=0, scheduling_strategy=there, **options)(function)
    send: Callable[..., Any] = task.remote
    return send


def own_address() -> str:
    """Return the address of the node this runs on."""
    return str(load_ray().util.get_node_ip_address())
