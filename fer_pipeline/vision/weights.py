"""Find the packaged dlib model files, without importing the package that brings them.

`face_recognition_models` imports `pkg_resources`, which newer setuptools no longer have; its files are all we need.
"""

import importlib.util
from pathlib import Path

from fer_pipeline.errors import SetupError

LANDMARKS = "shape_predictor_68_face_landmarks.dat"
EMBEDDING = "dlib_face_recognition_resnet_model_v1.dat"
CNN_DETECTOR = "mmod_human_face_detector.dat"
LICENCE_NOTE = (
    "the 68-point landmark model was trained on iBUG 300-W, whose licence excludes commercial use: "
    "for a product set crop.landmarks to a model of your own"
)


def find_weights(name: str, given: Path | None = None, key: str = "") -> Path:
    """Return the path of a packaged model, or `given`, which the user set as `key`; raises SetupError if missing."""
    if given is not None:
        if not given.is_file():
            raise SetupError(f"{given}: no such model file: fix the setting {key}")
        return given
    spec = importlib.util.find_spec("face_recognition_models")
    folders = list(spec.submodule_search_locations or []) if spec else []
    for folder in folders:
        path = Path(folder) / "models" / name
        if path.is_file():
            return path
    raise SetupError(f"{name} is missing: install it with `pip install face_recognition_models`")
