"""From a photo to aligned crops: the preprocessing that the crop stage, predict and the server share."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fer_pipeline.config.schema import CropSettings, Preprocessing
from fer_pipeline.vision.boxes import Box, Square, bounding_box
from fer_pipeline.vision.cutting import cut_square, rotate
from fer_pipeline.vision.detectors import Face
from fer_pipeline.vision.five import find_five, measure_five, share_beyond
from fer_pipeline.vision.image_io import Image, resize
from fer_pipeline.vision.landmarks import (
    Landmarks,
    detect_faces,
    find_landmarks,
    find_landmarks_in_crop,
    load_detector,
    load_landmarks,
)
from fer_pipeline.vision.mouth import MOUTH, eye_distance, measure_mouth, measure_outline, tilt
from fer_pipeline.vision.mouth_check import LEAST, MARGIN, Missing, is_outside, place_check, score_mouth
from fer_pipeline.vision.mouth_check import SIDE as CHECK_SIDE
from fer_pipeline.vision.turned import turn, turn_box, turn_points

# Side of the square as a multiple of the mouth's or face's size, or of the eye distance, by region and scale.
MARGINS = {("lips", "mouth"): 1.5, ("lips", "eyes"): 1.05, ("face", "mouth"): 1.2, ("face", "eyes"): 2.2}
BEYOND_FIVE = {"lips": 0.1, "face": 0.3}  # share of it that may lie beyond the border


class Crop(NamedTuple):
    """A square cut out of a photo: pixels (size, size, 3), the face's box and score, its 68 landmarks, the square.

    `missing` says why it shows no mouth (or hardly a face): nothing must be learned from it nor said of it. All
    coordinates are pixels of the photo, also where a face was turned upright to be cut.
    """

    image: Image
    face: Face
    landmarks: Landmarks | None
    square: Square
    missing: Missing | None = None


def prepare(photo: Image, preprocessing: Preprocessing) -> list[Crop]:
    """Detect the faces of an upright RGB photo (height, width, 3) and crop them, the largest face first."""
    faces = detect_faces(photo, preprocessing.detector, every=preprocessing.cut.faces == "all")
    return cut_crops(photo, faces, preprocessing.cut)


def load_models(preprocessing: Preprocessing) -> None:
    """Load what `prepare` needs before the first photo; raises SetupError if this machine lacks it."""
    load_detector(preprocessing.detector)
    if preprocessing.cut.needs_landmarks:
        load_landmarks(preprocessing.cut.landmarks)
    if preprocessing.cut.region == "lips" and preprocessing.cut.mouth_check:
        score_mouth(np.zeros((CHECK_SIDE, CHECK_SIDE, 3), np.uint8))


def cut_crops(photo: Image, faces: list[Face], cut: CropSettings) -> list[Crop]:
    """Crop the faces found in a photo: the first, or with `faces: all` every one."""
    wanted = faces if cut.faces == "all" else faces[:1]
    return [_cut_one(photo, face, cut) for face in wanted]


def _cut_one(photo: Image, face: Face, cut: CropSettings) -> Crop:
    if cut.region == "whole":
        box = face.box
        square = Square(*box.centre, max(box.width, box.height), 0.0)
        return Crop(cut_square(photo, square, cut.size), face, None, square)
    height, width = photo.shape[:2]
    upright, box = turn(photo, face.turned), turn_box(face.box, face.turned, width, height)
    landmarks, square, missing = (_place_by_five if cut.align_by == "five" else _place_by_landmarks)(upright, box, cut)
    image = cut_square(upright, square, cut.size)
    if face.turned:
        sides = upright.shape[1] - 1, upright.shape[0] - 1
        if landmarks is not None:
            landmarks = turn_points(landmarks, 360 - face.turned, *sides).astype(np.float32)
        ((x, y),) = turn_points(np.array([square[:2]]), 360 - face.turned, *sides)
        square = Square(float(x), float(y), square.side, square.angle - face.turned)
    return Crop(image, face, landmarks, square, missing if cut.mouth_check else None)


Placed = tuple[Landmarks | None, Square, Missing | None]


def _place_by_landmarks(photo: Image, box: Box, cut: CropSettings) -> Placed:
    landmarks = find_landmarks(photo, box, cut.landmarks)
    missing: Missing | None = None  # one of the whole face needs no mouth: people wear masks
    if is_outside(landmarks, cut.region, photo.shape[1], photo.shape[0]):
        missing = "mouth_outside"
    elif cut.mouth_check and cut.region == "lips":
        missing = _find_hidden(photo, place_check(landmarks))
    return landmarks, place_square(landmarks, cut), missing


def _place_by_five(photo: Image, box: Box, cut: CropSettings) -> Placed:
    points = find_five(photo, box)
    if points is None:
        return None, Square(*box.centre, max(box.width, box.height), 0.0), "mouth_hidden"
    x, y, length, angle = measure_five(points, cut.region, cut.scale)
    square = Square(x, y, max(length * margin_of(cut), 4.0), angle if cut.align else 0.0)
    missing: Missing | None = None
    if share_beyond(points, cut.region, photo.shape[1], photo.shape[0]) > BEYOND_FIVE[cut.region]:
        missing = "mouth_outside"
    elif cut.mouth_check and cut.region == "lips":
        x, y, length, angle = measure_five(points, "lips", "eyes")
        missing = _find_hidden(photo, Square(x, y, MARGIN * length, angle))
    return None, square, missing


def _find_hidden(photo: Image, square: Square) -> Missing | None:
    return "mouth_hidden" if score_mouth(cut_square(photo, square, CHECK_SIDE)) < LEAST else None


def as_crop(image: Image, size: int) -> Image:
    """Resample an image that is a crop already to (size, size, 3); the edges of one that is not square go on."""
    height, width = image.shape[:2]
    if height == width:
        return resize(image, size, size)
    return cut_square(image, Square(width / 2, height / 2, max(height, width), 0.0), size)


def measure_crops(crops: NDArray[np.uint8], names: Sequence[str], cut: CropSettings) -> NDArray[np.float32]:
    """Measure the mouth on crops (n, size, size, 3): (n, len(names)), NaN for a blank crop.

    Landmarks are found in the crop even where there is a photo, so that crops of any origin are measured alike.
    """
    region = "face" if cut.region == "face" else "lips"
    measures = np.full((len(crops), len(names)), np.nan, np.float32)
    for index, crop in enumerate(crops):
        if crop.min() < crop.max():
            landmarks = find_landmarks_in_crop(crop, region, cut.landmarks)
            found = measure_outline(landmarks) | measure_mouth(landmarks)
            measures[index] = [found[name] for name in names]
    return measures


def place_square(landmarks: Landmarks, cut: CropSettings) -> Square:
    """Place the square over the lips or the face: centred on the bounding box of its landmarks, sized by mouth or eyes.

    With `align` the box is that of the landmarks rotated level: a tilted mouth has another box.
    """
    angle = tilt(landmarks) if cut.align else 0.0
    box = region_box(rotate(landmarks, -angle), cut.region)
    length = eye_distance(landmarks) if cut.scale == "eyes" else max(box.width, box.height)
    x, y = (float(value) for value in rotate(np.array([box.centre]), angle)[0])
    return Square(x, y, max(length * margin_of(cut), 4.0), angle)


def margin_of(cut: CropSettings) -> float:
    """The side of the square, over what it is scaled by."""
    return cut.margin if cut.margin is not None else MARGINS[cut.region, cut.scale]


def region_box(landmarks: NDArray[np.floating], region: str = "lips") -> Box:
    """Return the bounding box of the landmarks of the lips (48 to 67, inclusive) or of the whole face."""
    points = landmarks[MOUTH] if region == "lips" else landmarks
    return bounding_box((float(x), float(y)) for x, y in points)
