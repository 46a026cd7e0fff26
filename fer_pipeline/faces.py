"""Find faces, their 68 landmarks and their embedding; each model is loaded once per process.

Detectors: `haar` Viola & Jones 2001 (OpenCV's frontal cascade), `hog` Dalal & Triggs 2005 and `cnn` King 2015 (dlib),
`yunet` Wu et al. 2023 (a model file the user names). Landmarks: Kazemi & Sullivan 2014, trained on iBUG 300-W.
"""

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fer_pipeline.boxes import Box
from fer_pipeline.config import Detector
from fer_pipeline.errors import SetupError
from fer_pipeline.images import Image, resize
from fer_pipeline.weights import CNN_DETECTOR, EMBEDDING, LANDMARKS, find_weights

Landmarks = NDArray[np.float32]  # (68, 2): x, y in pixels of the photo


class Face(NamedTuple):
    """A face's bounding box in pixels of the photo and the detector's score."""

    box: Box
    score: float


def detect_faces(image: Image, detector: Detector) -> list[Face]:
    """All faces of a photo, the largest first.

    Looks at a copy of each of `detector.sides` in turn until one shows a face: most photos are done at the small one.
    """
    if detector.detector == "none":
        height, width = image.shape[:2]
        return [Face(Box(0, 0, width, height), 1.0)]
    find = FINDERS[detector.detector]
    for factor in _factors(image, detector):
        copy = resize(image, round(image.shape[1] * factor), round(image.shape[0] * factor))
        faces = [Face(face.box.scaled(1 / factor), round(face.score, 3)) for face in find(copy, detector)]
        if faces:
            return sorted(faces, key=lambda face: (-face.box.area, face.box))
    return []


def _factors(image: Image, detector: Detector) -> list[float]:
    """How much each copy is shrunk (or enlarged); a size that was looked at already is not looked at again."""
    longest = max(image.shape[:2])
    factors = [side / longest if side else 1.0 for side in detector.sides]
    return list(dict.fromkeys(factors if detector.enlarge else [min(factor, 1.0) for factor in factors]))


def load_detector(detector: Detector) -> None:
    """Load the models a detector needs; raises SetupError if this machine lacks them."""
    if detector.detector != "none":
        find = FINDERS[detector.detector]
        find(np.zeros((64, 64, 3), np.uint8), detector)


def find_haar(image: Image, detector: Detector) -> list[Face]:
    """Viola-Jones; the score is the weight of the last stage."""
    import cv2

    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    boxes, _, scores = _load_haar().detectMultiScale3(
        grey,
        scaleFactor=detector.scale_factor,
        minNeighbors=detector.min_neighbors,
        minSize=(detector.min_size, detector.min_size),
        outputRejectLevels=True,
    )
    pairs = zip(boxes, np.ravel(scores), strict=True)
    return [Face(Box(*map(float, (x, y, x + w, y + h))), float(score)) for (x, y, w, h), score in pairs]


def find_hog(image: Image, detector: Detector) -> list[Face]:
    """dlib's HOG and linear SVM; finds faces of at least 80 pixels on the copy."""
    boxes, scores, _ = _load_hog().run(image, 0, detector.threshold)
    return [Face(_from_dlib(box), float(score)) for box, score in zip(boxes, scores, strict=True)]


def find_cnn(image: Image, detector: Detector) -> list[Face]:
    """dlib's max-margin CNN: the most thorough, and seconds a photo without a GPU."""
    path = find_weights(CNN_DETECTOR, detector.weights, "filter.weights")
    found = _load_dlib("cnn_face_detection_model_v1", path, "filter.weights")(image, 0)
    return [Face(_from_dlib(one.rect), float(one.confidence)) for one in found if one.confidence >= detector.threshold]


def find_yunet(image: Image, detector: Detector) -> list[Face]:
    """OpenCV's YuNet from a model file the user names."""
    if detector.weights is None:
        raise SetupError("detector `yunet` needs its model file: set filter.weights to a face_detection_yunet .onnx")
    import cv2

    model = _load_yunet(find_weights("", detector.weights, "filter.weights"))
    model.setInputSize((image.shape[1], image.shape[0]))
    model.setScoreThreshold(max(detector.threshold, 0.3))
    _, found = model.detect(cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    return [
        Face(Box(x, y, x + w, y + h), float(rest[-1])) for x, y, w, h, *rest in (found if found is not None else [])
    ]


FINDERS: dict[str, Callable[[Image, Detector], list[Face]]] = {
    "haar": find_haar,
    "hog": find_hog,
    "cnn": find_cnn,
    "yunet": find_yunet,
}


def find_landmarks(image: Image, box: Box, weights: Path | None = None) -> Landmarks:
    """The 68 points of iBUG 300-W of the face in a box, shape (68, 2), in pixels of the photo.

    The points are fitted twice: once in the detector's box, then in the box that the first points imply. The fit
    depends on where the box sits, and each detector puts it elsewhere: on 100 press photos the second fit raised the
    overlap of the mouth's box with the true one from .82 to .86 (HOG at 240 px) and from .84 to .87 (Haar).
    """
    return _fit(image, _usual_box(_fit(image, box, weights)), weights)


def _fit(image: Image, box: Box, weights: Path | None) -> Landmarks:
    import dlib

    rect = dlib.rectangle(*(round(value) for value in (box.left, box.top, box.right - 1, box.bottom - 1)))
    shape = load_landmarks(weights)(image, rect)
    return np.array([(point.x, point.y) for point in shape.parts()], dtype=np.float32)


def _usual_box(landmarks: Landmarks) -> Box:
    """Where dlib's HOG detector, on which the points were trained, usually sees a face with these points.

    Side and shift are medians over 150 portraits, in units of the points' root mean square distance from their centre.
    """
    x, y = landmarks.mean(axis=0)
    spread = float(np.sqrt(((landmarks - (x, y)) ** 2).sum(axis=1).mean()))
    x, y, half = float(x) + 0.025 * spread, float(y) - 0.086 * spread, 1.35 * spread
    return Box(x - half, y - half, x + half, y + half)


def embed_face(image: Image, landmarks: Landmarks) -> list[float]:
    """dlib's 128-d face embedding: under a distance of 0.6 two faces are usually one person (King 2017)."""
    import dlib

    points = dlib.points([dlib.point(round(float(x)), round(float(y))) for x, y in landmarks])
    low, high = landmarks.min(axis=0), landmarks.max(axis=0)
    rect = dlib.rectangle(*(round(float(value)) for value in (*low, *high)))
    shape = dlib.full_object_detection(rect, points)
    model = _load_dlib("face_recognition_model_v1", find_weights(EMBEDDING), "crop.embedding")
    return [round(float(value), 4) for value in model.compute_face_descriptor(image, shape)]


@lru_cache(maxsize=2)
def load_landmarks(weights: Path | None = None) -> Any:
    """dlib's shape predictor, once per process."""
    return _load_dlib("shape_predictor", find_weights(LANDMARKS, weights, "crop.landmarks"), "crop.landmarks")


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


@lru_cache(maxsize=4)
def _load_dlib(kind: str, path: Path, key: str) -> Any:
    import dlib

    try:
        return getattr(dlib, kind)(str(path))
    except RuntimeError:
        raise SetupError(f"{path}: not a dlib {kind}: mend the setting {key}") from None


@lru_cache(maxsize=1)
def _load_yunet(path: Path) -> Any:
    import cv2

    try:
        return cv2.FaceDetectorYN.create(str(path), "", (64, 64))
    except cv2.error:
        raise SetupError(f"{path}: OpenCV cannot read this model: mend the setting filter.weights") from None


def _from_dlib(rect: Any) -> Box:
    return Box(float(rect.left()), float(rect.top()), float(rect.right() + 1), float(rect.bottom() + 1))
