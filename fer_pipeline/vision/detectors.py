"""Four face detectors with one signature: an image (grey for haar and hog, else RGB) in, boxes and scores out.

`haar` Viola & Jones 2001 (OpenCV's frontal cascade), `hog` Dalal & Triggs 2005 and `cnn` King 2015 (dlib), `yunet`
Wu et al. 2023. Each model is loaded once per process.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fer_pipeline.config.schema import Detector
from fer_pipeline.errors import SetupError
from fer_pipeline.vision.boxes import Box
from fer_pipeline.vision.image_io import Image
from fer_pipeline.vision.weights import CNN_DETECTOR, YUNET, find_weights


class Face(NamedTuple):
    """A face's bounding box in pixels of the photo, the detector's score, and whether a second detector found it.

    `turned` is by how many degrees the photo must be turned clockwise to see the face upright: 0, 90, 180 or 270.
    """

    box: Box
    score: float
    second: bool = False
    turned: int = 0


def to_list(face: Face) -> list[float]:
    """List box, score and, unless the face is upright, its turn: what a row holds of a face."""
    return [*face.box, face.score, *([face.turned] if face.turned else [])]


def from_list(values: Sequence[float]) -> Face:
    """Make a face of what a row holds of it."""
    return Face(Box(*values[:4]), values[4], turned=int(values[5]) if len(values) > 5 else 0)


def find_haar(image: Image, detector: Detector) -> list[Face]:
    """Detect faces with OpenCV's Haar cascade; the score is the weight of the last stage."""
    boxes, _, scores = _load_haar().detectMultiScale3(
        image,
        scaleFactor=detector.scale_factor,
        minNeighbors=detector.min_neighbors,
        minSize=(detector.min_size, detector.min_size),
        outputRejectLevels=True,
    )
    pairs = zip(boxes, np.ravel(scores), strict=True)
    return [Face(Box(*map(float, (x, y, x + w, y + h))), float(score)) for (x, y, w, h), score in pairs]


def find_hog(image: Image, detector: Detector) -> list[Face]:
    """Detect faces with dlib's HOG and linear SVM; they must be 80 pixels wide on `image`."""
    boxes, scores, _ = _load_hog().run(image, 0, detector.least_score)
    return [Face(_from_dlib(box), float(score)) for box, score in zip(boxes, scores, strict=True)]


def find_cnn(image: Image, detector: Detector) -> list[Face]:
    """Detect faces with dlib's max-margin CNN: it finds the most, and takes seconds a photo without a GPU."""
    found = _load_cnn(find_weights(CNN_DETECTOR, detector.weights, "filter.weights"))(image, 0)
    return [
        Face(_from_dlib(one.rect), float(one.confidence)) for one in found if one.confidence >= detector.least_score
    ]


def find_yunet(image: Image, detector: Detector) -> list[Face]:
    """Detect faces with OpenCV's YuNet: the fastest, and right on tilted heads too."""
    rows = look_with_yunet(image, max(detector.least_score, LEAST_YUNET), detector.weights)
    return [Face(Box(x, y, x + width, y + height), rest[-1]) for x, y, width, height, *rest in rows.tolist()]


def look_with_yunet(
    image: Image, threshold: float, weights: Path | None = None, *, overlapping: bool = False
) -> NDArray[np.float64]:
    """What YuNet sees (n, 15): left, top, width and height, five points, score.

    The points are x and y of the eye on the left of the image, the other eye, the nose and the corners of the mouth.
    `overlapping` keeps all boxes of a face, else the surest alone.
    """
    import cv2

    if min(image.shape[:2]) < THIN:  # there it answers with boxes of random numbers
        return np.zeros((0, 15))
    model = _load_yunet(find_weights(YUNET, weights, "filter.weights"))
    model.setInputSize((image.shape[1], image.shape[0]))
    model.setScoreThreshold(threshold)
    model.setNMSThreshold(1.0 if overlapping else OVERLAP)
    _, found = model.detect(cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    rows = np.zeros((0, 15)) if found is None else np.asarray(found, np.float64)
    sides = rows[:, 2:4].min(axis=1)
    sound = np.isfinite(rows).all(axis=1) & (sides > 0) & (sides <= 2 * max(image.shape[:2]))
    return np.asarray(rows[sound])


OVERLAP = 0.3  # of two boxes of one face
THIN, LEAST_YUNET = 33, 0.3  # pixels of the shorter side; score below which YuNet is not asked
GREY = {"haar", "hog"}  # Haar sees no colour; on grey images HOG finds as many faces, faster, with fewer false ones

FINDERS: dict[str, Callable[[Image, Detector], list[Face]]] = {
    "haar": find_haar,
    "hog": find_hog,
    "cnn": find_cnn,
    "yunet": find_yunet,
}


@lru_cache(maxsize=1)
def _load_haar() -> Any:
    import cv2

    folder = getattr(getattr(cv2, "data", None), "haarcascades", "")
    path = Path(folder) / "haarcascade_frontalface_default.xml"
    if not hasattr(cv2, "CascadeClassifier") or not path.is_file():
        raise SetupError("this OpenCV has no Haar cascades: `pip install 'opencv-python-headless>=4.12,<5'`")
    return cv2.CascadeClassifier(str(path))


@lru_cache(maxsize=1)
def _load_hog() -> Any:
    import dlib

    return dlib.get_frontal_face_detector()


@lru_cache(maxsize=1)
def _load_cnn(path: Path) -> Any:
    import dlib

    try:
        return dlib.cnn_face_detection_model_v1(str(path))
    except RuntimeError:
        raise SetupError(f"{path}: not a dlib CNN detector: fix the setting filter.weights") from None


@lru_cache(maxsize=2)
def _load_yunet(path: Path) -> Any:
    import cv2

    try:
        return cv2.FaceDetectorYN.create(str(path), "", (64, 64))
    except cv2.error:
        raise SetupError(f"{path}: OpenCV cannot read this model: fix the setting filter.weights") from None


def _from_dlib(rect: Any) -> Box:
    return Box(float(rect.left()), float(rect.top()), float(rect.right() + 1), float(rect.bottom() + 1))
