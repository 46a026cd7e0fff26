"""Find faces, their 68 landmarks and their embedding; each model is loaded once per process.

Landmarks: Kazemi & Sullivan 2014, trained on iBUG 300-W. Embedding: King 2017.
"""

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fer_pipeline.config.schema import Detector
from fer_pipeline.errors import SetupError
from fer_pipeline.vision.boxes import Box
from fer_pipeline.vision.detectors import FINDERS, GREY, Face
from fer_pipeline.vision.image_io import Image, resize, to_grey
from fer_pipeline.vision.weights import EMBEDDING, LANDMARKS, find_weights

Landmarks = NDArray[np.float32]  # (68, 2): x, y in pixels of the photo

# Side of the face's box over that of a crop, and how far its middle lies above the crop's: medians of 197 portraits,
# crops of the lips scaled by the eyes 1.6, by the mouth 1.77, of the face .76 and .84; and a little more and less.
SHOWN = 80  # pixels of the smallest face on a copy that HOG finds
DIFFERENCE = 1.5  # largest face over the smallest that is looked for
FINE = 192  # side in pixels to which smaller crops are enlarged
FACES_ABOUT = {
    "lips": ((1.43, 0.36), (1.68, 0.42), (1.98, 0.5)),
    "face": ((0.72, 0.045), (0.8, 0.045), (0.88, 0.045)),
}


def detect_faces(image: Image, detector: Detector, *, every: bool = False) -> list[Face]:
    """The faces of a photo, the largest first.

    Looks at a copy of each of `detector.sides` in turn until one shows a face: most photos are done at the small one.
    `every` looks on, since a large copy shows the smaller faces of a group that a small one does not, until a copy has
    shown all that are down to two thirds of the largest: on 112 press and group photos looking on found no more.
    """
    if detector.detector == "none":
        height, width = image.shape[:2]
        return [Face(Box(0, 0, width, height), 1.0)]
    find = FINDERS[detector.detector]
    seen = to_grey(image) if detector.detector in GREY else image
    faces: list[Face] = []
    for factor in _factors(image, detector):
        copy = resize(seen, *(max(1, round(side * factor)) for side in (image.shape[1], image.shape[0])))
        found = [Face(face.box.scaled(1 / factor), round(face.score, 3)) for face in find(copy, detector)]
        faces += [face for face in found if not any(_is_same(face.box, known.box) for known in faces)]
        largest = max((face.box.width for face in faces), default=0.0) * factor
        if faces and (not every or largest >= DIFFERENCE * SHOWN):
            break
    return sorted(faces, key=lambda face: (-face.box.area, face.box))


def _is_same(box: Box, known: Box) -> bool:
    """Whether a box is of a face that a smaller copy showed already: its centre lies in that one, or the other way."""
    return known.holds(box.centre) or box.holds(known.centre)


def _factors(image: Image, detector: Detector) -> list[float]:
    """How much each copy is shrunk (or enlarged); a size that was looked at already is not looked at again."""
    longest = max(image.shape[:2])
    factors = [side / longest if side else 1.0 for side in detector.sides]
    return list(dict.fromkeys(factors if detector.enlarge else [min(factor, 1.0) for factor in factors]))


def load_detector(detector: Detector) -> None:
    """Load the models a detector needs; raises SetupError if this machine lacks them."""
    if detector.detector != "none":
        find = FINDERS[detector.detector]
        find(np.zeros((64, 64) if detector.detector in GREY else (64, 64, 3), np.uint8), detector)


def find_landmarks(image: Image, box: Box, weights: Path | None = None) -> Landmarks:
    """The 68 points of iBUG 300-W of the face in a box, shape (68, 2), in pixels of the photo.

    The points are fitted three times: in the detector's box, then twice in the box that the points so far imply; the
    answer is the mean of the last two. The fit depends on where the box sits, and each detector puts it elsewhere: on
    100 press photos the overlap of the mouth's box with the true one rose from .82 to .86 (HOG at 240 px).
    """
    second = _fit(image, _usual_box(_fit(image, box, weights)), weights)
    third = _fit(image, _usual_box(second), weights)
    return np.asarray((second + third) / 2, dtype=np.float32)


def guess_landmarks(crop: Image, region: str, weights: Path | None = None) -> Landmarks:
    """The 68 points in a crop of the lips or face, shape (68, 2), in pixels of the crop; those it shows are good.

    The crop is mirrored outwards to the size of a face, and the points are fitted in three boxes where faces usually
    are about such crops; the answer is their mean. On 197 portraits the mouth's points in lips crops were off by .047
    (scaled by the eyes) to .055 of the mouth's width. Grey or nothing around the crop was worse, and so were smaller
    copies: dlib tells whole pixels.
    """
    given = max(crop.shape[:2])
    crop = resize(crop, FINE, FINE) if given < FINE else crop
    side = max(crop.shape[:2])
    border = round(1.1 * side)
    canvas = np.pad(crop, ((border, border), (border, border), (0, 0)), mode="symmetric")
    x, y = border + crop.shape[1] / 2, border + crop.shape[0] / 2
    fits = []
    for size, lift in FACES_ABOUT[region]:
        half, middle = size * side / 2, y - lift * side
        fits.append(_fit(canvas, Box(x - half, middle - half, x + half, middle + half), weights))
    return np.asarray((np.mean(fits, axis=0) - border) * given / side, dtype=np.float32)


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
    return [round(float(value), 4) for value in _load_embedding().compute_face_descriptor(image, shape)]


@lru_cache(maxsize=2)
def load_landmarks(weights: Path | None = None) -> Any:
    """dlib's shape predictor, once per process."""
    import dlib

    path = find_weights(LANDMARKS, weights, "crop.landmarks")
    try:
        return dlib.shape_predictor(str(path))
    except RuntimeError:
        raise SetupError(f"{path}: not a dlib landmark model: fix the setting crop.landmarks") from None


@lru_cache(maxsize=1)
def _load_embedding() -> Any:
    import dlib

    return dlib.face_recognition_model_v1(str(find_weights(EMBEDDING)))
