"""Record how a run was made: `config.json`, the resolved settings, and `environment.json`, machine and versions."""

import json
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from fer_pipeline import __version__
from fer_pipeline.config.schema import Config
from fer_pipeline.files import write_aside

PACKAGES = ("torch", "torchvision", "lightning", "numpy", "opencv-python-headless", "dlib-bin", "onnxruntime", "pillow")


def write_environment(run: Path, config: Config) -> None:
    """Write both files beside the model."""
    settings = config.model_dump(mode="json", exclude_none=True)
    write_aside(run / "config.json", [json.dumps(settings, indent=2, ensure_ascii=False).encode()])
    environment = {
        "fer-pipeline": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: installed_version(name) for name in PACKAGES},
    }
    write_aside(run / "environment.json", [json.dumps(environment, indent=2).encode()])


def installed_version(name: str) -> str | None:
    """The version of an installed distribution; None where it is not installed."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None
