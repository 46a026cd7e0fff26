"""Detect faces, their 68 landmarks and their embedding; each model is loaded once per process.

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
from fer_pipeline.vision.mesh import fit_mesh, is_mesh, load_mesh
from fer_pipeline.vision.turned import TURNS, turn, turn_box
from fer_pipeline.vision.weights import EMBEDDING, LANDMARKS, find_weights

Landmarks = NDArray[np.float32]  # (68, 2): x, y in pixels of the photo

# Width in pixels of the smallest face that a detector surely finds on a copy.
MIN_FACE = {"haar": 80, "hog": 80, "cnn": 80, "yunet": 24}
# Which landmark of a face is which of its mirror image.
MIRRORED = [
    *range(16, -1, -1), *range(26, 16, -1), *range(27, 31), *range(35, 30, -1), 45, 44, 43, 42, 47, 46, 39, 38, 37, 36,
    41, 40, *range(54, 47, -1), *range(59, 54, -1), *range(64, 59, -1), *range(67, 64, -1),
]  # fmt: skip
GROUP_SIDE = 960  # longest side in pixels at which the faces of a group are seen
SURE = 0.9  # score of YuNet below which a face may be one seen upside down
TURN_MARGIN, TURN_SIDE = 1.8, 96  # of the square around a face in which YuNet looks how it is turned
SIZE_RATIO = 1.5  # of the largest face to the smallest that is looked for
MIN_CROP = 192  # side in pixels to which smaller crops are enlarged
# For landmarks in a crop: side of the face's box over that of the crop, and how far its middle lies above the crop's.
# Medians of 197 portraits (crops of the lips scaled by the eyes 1.6, by the mouth 1.77, of the face .76 and .84), and a
# little more and less.
FACE_BOXES = {
    "lips": ((1.43, 0.36), (1.68, 0.42), (1.98, 0.5)),
    "face": ((0.72, 0.045), (0.8, 0.045), (0.88, 0.045)),
}


def detect_faces(image: Image, detector: Detector, *, every: bool = False) -> list[Face]:
    """Detect the faces of a photo, the largest first.

    Tries copies with the longest sides `detector.sides` in turn until one shows a face: most photos are done at the
    first, small one. With `every` it goes on to larger copies, which show smaller faces, until one has shown all down
    to two thirds of the largest. YuNet's score is a probability: a face that only a larger copy shows must be surer.
    Where it sees none the second detector looks, if there is one, and where that sees none either, YuNet looks at the
    photo turned by 90, 180 and 270 degrees. `Face.turned` says so; boxes are always in pixels of the photo as given.
    """
    if detector.detector == "none":
        height, width = image.shape[:2]
        return [Face(Box(0, 0, width, height), 1.0)]
    faces = _find_upright(image, detector, every=every)
    second = detector.asked_next
    if not faces and second is not None:
        faces = [face._replace(second=True) for face in _find_upright(image, second, every=every)]
    yunet = next((one for one in (detector, second) if one is not None and one.detector == "yunet"), None)
    if not faces and yunet is not None:
        faces = _find_turned(image, yunet)
    return sorted(faces, key=lambda face: (-face.box.area, face.box))


def _find_upright(image: Image, detector: Detector, *, every: bool) -> list[Face]:
    """The faces one detector sees on the copies of a photo."""
    faces: list[Face] = []
    for number, factor in enumerate(_scale_factors(image, detector)):
        found = _find_on_copy(image, detector, factor)
        if detector.detector == "yunet" and number and not faces:
            found = [face for face in found if face.score >= (1 + detector.least_score) / 2]
        faces += [face for face in found if not any(_is_same(face.box, known.box) for known in faces)]
        largest = max((face.box.width for face in faces), default=0.0) * factor
        if faces and (not every or largest >= SIZE_RATIO * MIN_FACE[detector.detector]):
            break
    return [_find_turn(image, face, detector) for face in faces] if detector.detector == "yunet" else faces


def _find_turned(image: Image, detector: Detector) -> list[Face]:
    """The faces YuNet is sure of on the smallest copy turned by a quarter, a half or three quarters, if any."""
    factor = _scale_factors(image, detector)[0]
    height, width = image.shape[:2]
    copy = resize(image, max(1, round(width * factor)), max(1, round(height * factor)))
    best: list[Face] = []
    for degrees in TURNS:
        seen = turn(copy, degrees)
        found = [face for face in FINDERS["yunet"](seen, detector) if face.score >= (1 + detector.least_score) / 2]
        if _best_score(found) > _best_score(best):
            size = seen.shape[1], seen.shape[0]
            boxes = [turn_box(face.box, 360 - degrees, *size).scaled(1 / factor) for face in found]
            best = [Face(box, round(face.score, 3), turned=degrees) for box, face in zip(boxes, found, strict=True)]
    return best


def _find_turn(image: Image, face: Face, detector: Detector) -> Face:
    """Tell how a face that YuNet is not sure of is turned: upside-down ones are seen too, but less surely."""
    if face.score >= SURE:
        return face
    lenient = detector.model_copy(update={"threshold": 0.0})
    seen = _cut_around(image, face.box)
    scores = {degrees: _best_score(FINDERS["yunet"](turn(seen, degrees), lenient)) for degrees in (0, *TURNS)}
    best = max(scores, key=lambda degrees: scores[degrees])
    return face._replace(turned=best) if scores[best] > max(scores[0] + 0.05, detector.least_score) else face


def _best_score(faces: list[Face]) -> float:
    return max((face.score for face in faces), default=0.0)


def _cut_around(image: Image, box: Box) -> Image:
    """The square around a box, TURN_MARGIN times as large and TURN_SIDE px wide; beyond the border the edge goes on."""
    half = TURN_MARGIN * max(box.width, box.height) / 2
    x, y = box.centre
    rows = np.clip(np.arange(int(y - half), max(int(y + half), int(y - half) + 1)), 0, image.shape[0] - 1)
    columns = np.clip(np.arange(int(x - half), max(int(x + half), int(x - half) + 1)), 0, image.shape[1] - 1)
    return resize(image[rows[:, None], columns], TURN_SIDE, TURN_SIDE)


def _find_on_copy(image: Image, detector: Detector, factor: float) -> list[Face]:
    """The faces a detector sees on a smaller or larger copy, in pixels of the photo."""
    seen = to_grey(image) if detector.detector in GREY else image
    copy = resize(seen, *(max(1, round(side * factor)) for side in (image.shape[1], image.shape[0])))
    found = FINDERS[detector.detector](copy, detector)
    return [Face(face.box.scaled(1 / factor), round(face.score, 3)) for face in found]


def _is_same(box: Box, known: Box) -> bool:
    """Whether two boxes are of one face: the centre of either lies in the other."""
    return known.holds(box.centre) or box.holds(known.centre)


def _scale_factors(image: Image, detector: Detector) -> list[float]:
    """List how much to shrink (or enlarge) each copy, without repetition."""
    longest = max(image.shape[:2])
    factors = [side / longest if side else 1.0 for side in detector.looked_at]
    return list(dict.fromkeys(factors if detector.enlarge else [min(factor, 1.0) for factor in factors]))


def load_detector(detector: Detector) -> None:
    """Load the models a detector needs; raises SetupError if this machine lacks them."""
    for one in (detector, detector.asked_next):
        if one is not None and one.detector != "none":
            FINDERS[one.detector](np.zeros((64, 64) if one.detector in GREY else (64, 64, 3), np.uint8), one)


def for_groups(detector: Detector) -> Detector:
    """The detector with a larger copy to look at: the faces of a group photo are small."""
    if detector.detector in {"none", "yunet"} or 0 in detector.looked_at:  # 0 is full size: everything is seen already
        return detector
    return detector.model_copy(update={"sides": tuple(dict.fromkeys((*detector.looked_at, GROUP_SIDE)))})


def find_landmarks(image: Image, box: Box, weights: Path | None = None) -> Landmarks:
    """Find the 68 landmarks (iBUG 300-W) of the face in a box, shape (68, 2), in pixels of the photo.

    They are fitted in the detector's box, then in the box that these landmarks imply, since the fit depends on where
    the box lies, and detectors differ in that. This second fit is done on the photo and on its mirror image, and the
    result is the mean of both (docs/detectors.md has the figures). A face mesh is fitted twice, whatever the box.
    """
    if is_mesh(weights):
        return _fit_landmarks(image, box, weights)
    better = _expected_box(_fit_landmarks(image, box, weights))
    left, right = (max(0, int(side)) for side in (better.left - better.width, better.right + better.width))
    part = image[:, left : max(right, left + 1)]
    width = part.shape[1]
    moved = Box(better.left - left, better.top, better.right - left, better.bottom)
    turned = Box(width - moved.right, moved.top, width - moved.left, moved.bottom)
    plain = _fit_landmarks(part, moved, weights)
    mirrored = _fit_landmarks(np.ascontiguousarray(part[:, ::-1]), turned, weights)[MIRRORED]
    mirrored[:, 0] = width - 1 - mirrored[:, 0]
    return np.asarray((plain + mirrored) / 2 + (left, 0), dtype=np.float32)


def find_landmarks_in_crop(crop: Image, region: str, weights: Path | None = None) -> Landmarks:
    """Find the 68 landmarks in a crop of the lips or face, shape (68, 2), in pixels of the crop.

    Those outside the crop are guesses. The crop is padded by mirroring to the size of a face, and the landmarks are
    fitted in three boxes where faces usually lie around such crops; the result is their mean. On 197 portraits the
    landmarks of the mouth in lips crops were off by .047 (scaled by the eyes) to .055 of the mouth's width. Grey
    padding or none was worse, and so were smaller copies: dlib rounds to whole pixels.
    Raises SetupError for a face mesh in a crop of the lips: it needs more of the face.
    """
    if region == "lips" and is_mesh(weights):
        raise SetupError(
            f"crop.landmarks: {weights} finds no mouth in a crop of the lips, which measures need: "
            "train a network without measures, or set crop.region=face"
        )
    given = max(crop.shape[:2])
    crop = resize(crop, MIN_CROP, MIN_CROP) if given < MIN_CROP else crop
    side = max(crop.shape[:2])
    border = round(1.1 * side)
    canvas = np.pad(crop, ((border, border), (border, border), (0, 0)), mode="symmetric")
    x, y = border + crop.shape[1] / 2, border + crop.shape[0] / 2
    fits = []
    for size, lift in FACE_BOXES[region]:
        half, middle = size * side / 2, y - lift * side
        fits.append(_fit_landmarks(canvas, Box(x - half, middle - half, x + half, middle + half), weights))
    return np.asarray((np.mean(fits, axis=0) - border) * given / side, dtype=np.float32)


def _fit_landmarks(image: Image, box: Box, weights: Path | None) -> Landmarks:
    if is_mesh(weights):
        return fit_mesh(image, box, find_weights(LANDMARKS, weights, "crop.landmarks"))
    import dlib

    rect = dlib.rectangle(*(round(value) for value in (box.left, box.top, box.right - 1, box.bottom - 1)))
    shape = load_landmarks(weights)(image, rect)
    return np.array([(point.x, point.y) for point in shape.parts()], dtype=np.float32)


def _expected_box(landmarks: Landmarks) -> Box:
    """Estimate the box that dlib's HOG detector, with which the landmark model was trained, gives a face.

    Side and shift are medians over 150 portraits, in units of the landmarks' RMS distance from their centre.
    """
    x, y = landmarks.mean(axis=0)
    spread = float(np.sqrt(((landmarks - (x, y)) ** 2).sum(axis=1).mean()))
    x, y, half = float(x) + 0.025 * spread, float(y) - 0.086 * spread, 1.35 * spread
    return Box(x - half, y - half, x + half, y + half)


def embed_face(image: Image, landmarks: Landmarks) -> list[float]:
    """Compute dlib's face embedding (128 values): two faces closer than 0.6 are usually one person (King 2017)."""
    import dlib

    points = dlib.points([dlib.point(round(float(x)), round(float(y))) for x, y in landmarks])
    low, high = landmarks.min(axis=0), landmarks.max(axis=0)
    rect = dlib.rectangle(*(round(float(value)) for value in (*low, *high)))
    shape = dlib.full_object_detection(rect, points)
    return [round(float(value), 4) for value in _load_embedding().compute_face_descriptor(image, shape)]


@lru_cache(maxsize=2)
def load_landmarks(weights: Path | None = None) -> Any:
    """Load dlib's landmark model, or a face mesh; raises SetupError for a file that is neither."""
    import dlib

    path = find_weights(LANDMARKS, weights, "crop.landmarks")
    if is_mesh(path):
        return load_mesh(path)
    try:
        return dlib.shape_predictor(str(path))
    except RuntimeError:
        raise SetupError(f"{path}: not a dlib landmark model: fix the setting crop.landmarks") from None


@lru_cache(maxsize=1)
def _load_embedding() -> Any:
    import dlib

    return dlib.face_recognition_model_v1(str(find_weights(EMBEDDING)))
