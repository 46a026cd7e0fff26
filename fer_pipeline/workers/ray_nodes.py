"""Check that the nodes of a Ray cluster have the same versions and see the same folders.

The same versions, since rows and bytes equal those of one process only where the decoders are the same.
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
from fer_pipeline.workers.ray_cluster import connect, load_ray, run_on_nodes

C = TypeVar("C", bound=StageConfig)
PACKAGES = ("ray", "numpy", "pillow", "opencv-python-headless", "dlib-bin", "imagehash", "pydantic")
PROBE = ".probe"


def join_cluster(config: StageConfig) -> None:
    """Connect to the cluster; SetupError if one of its nodes cannot do the work of a stage."""
    connect()
    load_ray().cloudpickle.register_pickle_by_value(sys.modules[__name__])  # a node may lack fer-pipeline
    check_nodes(config.input / MANIFEST)


def share(config: C) -> C:
    """Return the settings with absolute paths, for nodes that run in another folder; SetupError for an unshared output.

    The lock file of the output gets a token, by which a node can tell at any time that it sees the same folder.
    """
    check_output(config.output)
    (config.output / LOCK).write_text(uuid.uuid4().hex, encoding="utf-8")
    return config.model_copy(update={name: path.absolute() for name, path in config if isinstance(path, Path)})


def look(*files: str) -> dict[str, str]:
    """Return versions by package and fingerprints by file; runs on a node."""
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
    """Return the size of a file and a short hash of its beginning, or why it cannot be read."""
    try:
        with Path(file).open("rb") as opened:
            begins = hashlib.sha256(opened.read(4096)).hexdigest()[:8]
            return f"{os.fstat(opened.fileno()).st_size} bytes (begins {begins})"
    except OSError as error:
        return str(error.strerror)


def format_package(folder: Path) -> str:
    """Return the version of the package and a short hash of its code, which may differ under the same version."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        digest.update(path.relative_to(folder).as_posix().encode() + path.read_bytes())
    stated = (folder / "__init__.py").read_text(encoding="utf-8").partition('__version__ = "')[2].partition('"')[0]
    return f"{stated} (code {digest.hexdigest()[:8]})"


def check_nodes(manifest: Path, ask: Callable[[str], dict[str, str]] = look) -> None:
    """Raise SetupError if a node has other versions, or does not see the input."""
    path = str(manifest.absolute())
    here = look(path)
    for node, there in run_on_nodes(ask, path):
        compare(node, there, here)


def compare(node: str, there: dict[str, str], here: dict[str, str]) -> None:
    """Raise SetupError if a node has other versions, or sees another file, than where the command runs."""
    for name in (name for name in here if there.get(name) != here[name]):
        path = Path(name)
        if path.is_absolute():
            raise SetupError(_unseen(node, path.parent, f"{path.name} has {there.get(name)}"))
        difference = f"has {name} {there.get(name)}, and {here[name]} is where the command runs"
        raise SetupError(f"node {node} {difference}: install the same on every node")


def probe(folder: str, token: str) -> tuple[str, str]:
    """Read the probe that the driver wrote into a folder and write one more; runs on a node.

    Returns the name of the new file, and what went wrong. `token` is in all names, so that no other file is touched.
    """
    answer = f"{PROBE}-{token}-{uuid.uuid4().hex}"
    try:
        if (Path(folder) / f"{PROBE}-{token}").read_text(encoding="utf-8") != token:
            return "", "it is another folder there"
        (Path(folder) / answer).write_text(token, encoding="utf-8")
    except OSError as error:
        return "", str(error.strerror)
    return answer, ""


def check_output(folder: Path, ask: Callable[[str, str], tuple[str, str]] = probe) -> None:
    """Raise SetupError if a node does not see a folder, or what it writes there is not seen here."""
    token = uuid.uuid4().hex
    try:
        (folder / f"{PROBE}-{token}").write_text(token, encoding="utf-8")
        for node, (answer, problem) in run_on_nodes(ask, str(folder.absolute()), token):
            if problem:
                raise SetupError(_unseen(node, folder, problem))
            if not (folder / answer).is_file():  # not by listing: a network drive may list what was there seconds ago
                raise SetupError(_unseen(node, folder, "what it writes is not seen here"))
    finally:
        for path in folder.glob(f"{PROBE}-{token}*"):
            path.unlink(missing_ok=True)


def _unseen(node: str, folder: Path, problem: str) -> str:
    return f"node {node} does not share {folder} ({problem}): mount it on every node under the same path"
