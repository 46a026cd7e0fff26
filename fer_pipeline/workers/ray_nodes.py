"""The nodes of a Ray cluster, asked whether they have the same versions and see the same folders.

Same versions, because rows and bytes are those of one process only where the decoders are the same too.
"""

import hashlib
import os
import platform
import sys
import uuid
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import TypeVar

from fer_pipeline.config.schema import StageConfig
from fer_pipeline.dataset.journal import LOCK
from fer_pipeline.dataset.rows import MANIFEST
from fer_pipeline.errors import SetupError
from fer_pipeline.workers.ray_cluster import ask_nodes, connect, load_ray

C = TypeVar("C", bound=StageConfig)
PACKAGES = ("ray", "numpy", "pillow", "opencv-python-headless", "dlib-bin", "imagehash", "pydantic")
PROBE = ".probe"


def join_cluster(config: StageConfig) -> None:
    """Connect, and refuse nodes that could not do the work of a stage."""
    connect()
    load_ray().cloudpickle.register_pickle_by_value(sys.modules[__name__])  # a node may lack fer-pipeline
    check_nodes(config.input / MANIFEST)


def share(config: C) -> C:
    """The settings as the nodes need them, which stand in another folder; refuses an output they do not share.

    Its lock file holds a token from now on: who sees it, whenever that is, sees this very folder.
    """
    check_output(config.output)
    (config.output / LOCK).write_text(uuid.uuid4().hex, encoding="utf-8")
    return config.model_copy(update={name: path.absolute() for name, path in config if isinstance(path, Path)})


def look(*files: str) -> dict[str, str]:
    """Runs on a node: its versions, and what it sees of some files."""
    found = {"Python": platform.python_version(), "fer-pipeline": "nothing"}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "nothing"
    spec = find_spec("fer_pipeline")
    if spec is not None and spec.origin is not None:
        found["fer-pipeline"] = format_package(Path(spec.origin).parent)
    return found | {file: fingerprint(file) for file in files}


def fingerprint(file: str) -> str:
    """The size of a file and a short hash of how it begins; or why it cannot be read."""
    try:
        with Path(file).open("rb") as opened:
            begins = hashlib.sha256(opened.read(4096)).hexdigest()[:8]
            return f"{os.fstat(opened.fileno()).st_size} bytes (begins {begins})"
    except OSError as error:
        return str(error.strerror)


def format_package(folder: Path) -> str:
    """The version and, since a copy may be changed without a new version, a short hash of the code."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        digest.update(path.relative_to(folder).as_posix().encode() + path.read_bytes())
    stated = (folder / "__init__.py").read_text(encoding="utf-8").partition('__version__ = "')[2].partition('"')[0]
    return f"{stated} (code {digest.hexdigest()[:8]})"


def check_nodes(manifest: Path, ask: Callable[[str], dict[str, str]] = look) -> None:
    """Refuse a cluster in which a node has other versions, or does not see the input."""
    path = str(manifest.absolute())
    here = look(path)
    for node, there in ask_nodes(ask, path):
        compare(node, there, here)


def compare(node: str, there: dict[str, str], here: dict[str, str]) -> None:
    """Refuse a node that has other versions, or sees another file, than where the command runs."""
    for name in (name for name in here if there.get(name) != here[name]):
        path = Path(name)
        if path.is_absolute():
            raise SetupError(_unseen(node, path.parent, f"{path.name} has {there.get(name)}"))
        difference = f"has {name} {there.get(name)}, and {here[name]} is where the command runs"
        raise SetupError(f"node {node} {difference}: install the same on every node")


def see(folder: str, token: str) -> tuple[str, str]:
    """Runs on a node: read what the driver wrote into a folder and write an answer; its name, and what went wrong."""
    answer = f"{PROBE}-{uuid.uuid4().hex}"
    try:
        if (Path(folder) / PROBE).read_text(encoding="utf-8") != token:
            return "", "it is another folder there"
        (Path(folder) / answer).write_text(token, encoding="utf-8")
    except OSError as error:
        return "", str(error.strerror)
    return answer, ""


def check_output(folder: Path, ask: Callable[[str, str], tuple[str, str]] = see) -> None:
    """Refuse a folder that a node does not see, or whose writing there is not seen here."""
    token = uuid.uuid4().hex
    try:
        (folder / PROBE).write_text(token, encoding="utf-8")
        for node, (answer, problem) in ask_nodes(ask, str(folder.absolute()), token):
            if problem:
                raise SetupError(_unseen(node, folder, problem))
            if not (folder / answer).is_file():  # by its name: what a network drive lists may be some seconds old
                raise SetupError(_unseen(node, folder, "what it writes is not seen here"))
    finally:
        for path in folder.glob(f"{PROBE}*"):
            path.unlink(missing_ok=True)


def sweep(folder: Path) -> None:
    """Remove files that were never finished: what a node wrote when it died bears a name that nobody else writes."""
    for parent, _, names in os.walk(folder):
        for name in names:
            if name.startswith(".") and name.endswith(".part"):
                (Path(parent) / name).unlink(missing_ok=True)


def _unseen(node: str, folder: Path, problem: str) -> str:
    return f"node {node} does not share {folder} ({problem}): mount it on every node under the same path"
