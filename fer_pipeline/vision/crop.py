"""From a photo to aligned crops: the preprocessing that the crop stage, predict and the server share."""

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from fer_pipeline.config.schema import CropSettings, Preprocessing
from fer_pipeline.vision.boxes import Box, Square, bounding_box
from fer_pipeline.vision.detectors import Face
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
from fer_pipeline.vision.mouth_check import LEAST, Missing, is_outside, place_check, score_mouth
from fer_pipeline.vision.mouth_check import SIDE as CHECK_SIDE
from fer_pipeline.vision.turned import turn, turn_box, turn_points

# Side of the square as a multiple of the mouth's or face's size, or of the eye distance, by region and scale.
MARGINS = {("lips", "mouth"): 1.5, ("lips", "eyes"): 1.05, ("face", "mouth"): 1.2, ("face", "eyes"): 2.2}
EDGE = 4  # pixels around a square that resampling needs


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
    if preprocessing.cut.region != "whole":
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
    landmarks = find_landmarks(upright, box, cut.landmarks)
    square = place_square(landmarks, cut)
    missing = _find_missing(upright, landmarks, cut) if cut.mouth_check else None
    image = cut_square(upright, square, cut.size)
    if face.turned:
        sides = upright.shape[1] - 1, upright.shape[0] - 1
        landmarks = turn_points(landmarks, 360 - face.turned, *sides).astype(np.float32)
        ((x, y),) = turn_points(np.array([square[:2]]), 360 - face.turned, *sides)
        square = Square(float(x), float(y), square.side, square.angle - face.turned)
    return Crop(image, face, landmarks, square, missing)


def _find_missing(photo: Image, landmarks: Landmarks, cut: CropSettings) -> Missing | None:
    """Why a crop would show no mouth, if so. One of the whole face needs none: people wear masks."""
    if is_outside(landmarks, cut.region, photo.shape[1], photo.shape[0]):
        return "mouth_outside"
    if cut.region == "lips" and score_mouth(cut_square(photo, place_check(landmarks), CHECK_SIDE)) < LEAST:
        return "mouth_hidden"
    return None


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
    box = region_box(_rotate(landmarks, -angle), cut.region)
    length = eye_distance(landmarks) if cut.scale == "eyes" else max(box.width, box.height)
    margin = cut.margin if cut.margin is not None else MARGINS[cut.region, cut.scale]
    x, y = (float(value) for value in _rotate(np.array([box.centre]), angle)[0])
    return Square(x, y, max(length * margin, 4.0), angle)


def _rotate(points: NDArray[np.floating], degrees: float) -> NDArray[np.floating]:
    """Rotate points (n, 2) about the origin; positive: what lies to the right goes down."""
    cos, sin = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    return np.asarray(points @ np.array([[cos, sin], [-sin, cos]]))


def region_box(landmarks: NDArray[np.floating], region: str = "lips") -> Box:
    """Return the bounding box of the landmarks of the lips (48 to 67, inclusive) or of the whole face."""
    points = landmarks[MOUTH] if region == "lips" else landmarks
    return bounding_box((float(x), float(y)) for x, y in points)


def cut_square(photo: Image, square: Square, size: int) -> Image:
    """Cut a square to (size, size, 3), rotated level.

    Beyond the border the edge goes on: a mirror image would show a nose or a mouth that is not there.
    """
    part, moved = _needed_part(photo, square)
    shrunk = 1 / max(1.0, square.side / size)
    if shrunk < 1:  # by area first: a warp alone would pick single pixels out of a large photo
        height, width = (max(1, round(length * shrunk)) for length in part.shape[:2])
        scale_x, scale_y = width / part.shape[1], height / part.shape[0]
        part = resize(part, width, height)
    else:
        scale_x = scale_y = 1.0
    corners = np.array(moved.corners()[:3], np.float32)
    # Pixel centres lie at half coordinates: without the half, every resize would move the mouth by half a pixel.
    source = np.array([(x * scale_x - 0.5, y * scale_y - 0.5) for x, y in corners], np.float32)
    target = np.array([(-0.5, -0.5), (size - 0.5, -0.5), (size - 0.5, size - 0.5)], np.float32)
    matrix = cv2.getAffineTransform(source, target)
    out = cv2.warpAffine(part, matrix, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(out, dtype=np.uint8)


def _needed_part(photo: Image, square: Square) -> tuple[Image, Square]:
    """Return the part of the photo a square needs, and the square relative to it."""
    height, width = photo.shape[:2]
    box = bounding_box(square.corners())
    left, top = (int(max(0, np.floor(low - EDGE))) for low in (box.left, box.top))
    right, bottom = int(min(width, np.ceil(box.right + EDGE))), int(min(height, np.ceil(box.bottom + EDGE)))
    left, top = min(left, width - 1), min(top, height - 1)
    part = photo[top : max(bottom, top + 1), left : max(right, left + 1)]
    return part, square._replace(x=square.x - left, y=square.y - top)
