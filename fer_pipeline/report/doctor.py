"""What this machine has and lacks: versions, weights, devices, extras."""

import platform
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from fer_pipeline.errors import SetupError
from fer_pipeline.report.environment import installed_version
from fer_pipeline.vision.weights import CNN_DETECTOR, EMBEDDING, LANDMARKS, LICENCE_NOTE, find_weights

EXTRAS = {
    "train": ("torch", "torchvision", "lightning", "sklearn", "matplotlib", "onnx"),
    "serve": ("fastapi", "uvicorn", "jinja2"),
    "scale": ("ray",),
}
LITTLE_ROOM = 2_000_000_000  # bytes


@dataclass(frozen=True)
class Finding:
    """The result of one check; without a `needed` one nothing works."""

    name: str
    good: bool
    found: str
    remedy: str = ""
    needed: bool = True


def examine() -> Iterator[Finding]:
    """Check everything that the commands need."""
    yield Finding("python", True, platform.python_version())
    yield _cascades()
    yield _weights("68-point landmarks", LANDMARKS, note=f"{LICENCE_NOTE}; docs/detectors.md says where a free one is")
    yield _weights("face embedding", EMBEDDING)
    yield _weights("cnn detector", CNN_DETECTOR)
    for extra, modules in EXTRAS.items():
        missing = [name for name in modules if find_spec(name) is None]
        found = "installed" if not missing else f"not installed: {', '.join(missing)}"
        yield Finding(f"extra {extra}", not missing, found, f"pip install 'fer-pipeline[{extra}]'", needed=False)
    if find_spec("torch") is not None:
        yield _device()
    free = shutil.disk_usage(Path.cwd()).free
    yield Finding("disk", free > LITTLE_ROOM, f"{free / 1e9:.1f} GB free here", "make room, or set `data` elsewhere")


def _cascades() -> Finding:
    import cv2

    folder = Path(getattr(getattr(cv2, "data", None), "haarcascades", ""))
    good = hasattr(cv2, "CascadeClassifier") and (folder / "haarcascade_frontalface_default.xml").is_file()
    found = f"{cv2.__version__}, {'with' if good else 'without'} Haar cascades"
    return Finding("opencv", good, found, "pip install 'opencv-python-headless>=4.12,<5'")


def _weights(name: str, file: str, note: str = "") -> Finding:
    try:
        find_weights(file)
    except SetupError as error:
        return Finding(name, False, "missing", str(error).partition(": ")[2])
    version = installed_version("face_recognition_models")
    return Finding(name, True, f"face_recognition_models {version}" + (f" ({note})" if note else ""))


def _device() -> Finding:
    import torch

    if torch.cuda.is_available():
        return Finding("device", True, f"torch {torch.__version__} on {torch.cuda.get_device_name()}")
    if torch.backends.mps.is_available():
        return Finding("device", True, f"torch {torch.__version__} on Apple mps")
    return Finding("device", True, f"torch {torch.__version__} on the CPU, {torch.get_num_threads()} threads")
