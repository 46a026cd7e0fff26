"""Whether there is a mouth where the landmarks lie: not beyond the border, nor under a mask, hand, cup or scarf.

YuNet looks (Wu et al. 2023), which was trained on real faces: the score is linear in the features it computes of the
square around the mouth. These weights were learned from drawn faces alone, whole, covered, cut and turned, by
benchmarks/mouth_check.py; the threshold is one that 99 % of real mouths pass (docs/detectors.md).
"""

from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fer_pipeline.vision.boxes import Square
from fer_pipeline.vision.image_io import Image
from fer_pipeline.vision.landmarks import Landmarks
from fer_pipeline.vision.mouth import MOUTH, eye_distance, tilt
from fer_pipeline.vision.weights import YUNET, find_weights

Missing = Literal["mouth_outside", "mouth_hidden"]
MISSING: tuple[Missing, ...] = ("mouth_outside", "mouth_hidden")

WEIGHTS = Path(__file__).with_name("mouth_check.npz")
LAYERS = ("onnx_node!Relu_24", "onnx_node!Relu_31")  # 64 features for every 8 x 8 and every 16 x 16 pixels
SIDE = 64  # pixels of the square that YuNet sees
MARGIN = 1.3  # its side over the distance of the outer eye corners
LEAST = -1.7  # score of a mouth
BEYOND = 0.02  # how far the mouth may reach beyond the border, over the distance of the outer eye corners
LOST = 0.3  # share of the 68 landmarks that may lie beyond the border of a face


def is_outside(landmarks: Landmarks, region: str, width: int, height: int) -> bool:
    """Tell whether the mouth (`lips`) or much of the face (`face`) lies beyond the border of a photo."""
    beyond = np.maximum(-landmarks, landmarks - (width - 1, height - 1)).max(axis=1)  # of each landmark, in pixels
    if region == "face":
        return float((beyond > 0).mean()) > LOST
    return float(beyond[MOUTH].max()) > BEYOND * eye_distance(landmarks)


def place_check(landmarks: Landmarks) -> Square:
    """Place the square that is to be scored: around the mouth, level with the eyes."""
    x, y = (float(value) for value in landmarks[MOUTH].mean(axis=0))
    return Square(x, y, MARGIN * eye_distance(landmarks), tilt(landmarks))


def score_mouth(image: Image) -> float:
    """Score what a square (SIDE, SIDE, 3) shows: above LEAST a mouth."""
    weights, bias = load_weights()
    return float(compute_features(image) @ weights + bias)


def compute_features(image: Image) -> NDArray[np.float32]:
    """Compute YuNet's features (5120,) of a square (SIDE, SIDE, 3)."""
    import cv2

    model = _load_features()
    model.setInput(cv2.dnn.blobFromImage(image, swapRB=True))
    return np.concatenate([np.asarray(layer, np.float32).ravel() for layer in model.forward(LAYERS)])


@lru_cache(maxsize=1)
def _load_features() -> Any:
    import cv2

    return cv2.dnn.readNet(str(find_weights(YUNET)))


@lru_cache(maxsize=1)
def load_weights() -> tuple[NDArray[np.float32], float]:
    """The weights (5120,) and the bias of the score."""
    with np.load(WEIGHTS, allow_pickle=False) as stored:
        return stored["weights"].astype(np.float32), float(stored["bias"])
