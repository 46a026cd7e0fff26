"""Whether two photos are one picture, encoded, resized, framed or marked otherwise: by their pixels, where the face is.

A perceptual hash finds photos that look alike, and a sitter before a wall looks alike in every expression. Here the
faces (or the whole photos, where none is found) are laid over each other and compared window by window: the other
expression of one person differs in some window by far more than any way of encoding one picture does. The figures are
in docs/dedupe.md.
"""

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from fer_pipeline.config.schema import Detector
from fer_pipeline.vision.boxes import Square
from fer_pipeline.vision.cutting import cut_square
from fer_pipeline.vision.detectors import Face
from fer_pipeline.vision.image_io import Image, resize, to_grey
from fer_pipeline.vision.landmarks import detect_faces

Grey = NDArray[np.float32]  # (SIDE, SIDE)

SIDE = 96  # pixels to which what is compared is brought
WINDOW = 13  # side of the windows, in these pixels
BLUR = 1.6  # before comparing: what a strong compression leaves alone
TEXTURE = 6.0  # grey levels of deviation in a window from which on its correlation counts half
SAME = 0.025  # largest dissimilarity of one picture, at the 99th percentile of the windows
SAME_CROP = 0.015  # the same for the middles of two crops
MIDDLE = 0.6  # share of a crop's side that is its middle
FLAT = 2.0  # grey levels of deviation, and between levels, of blank pictures that are one
PLAIN = 24  # range of levels in a row or column that is a border: compression leaves some
LEFT = 0.3  # share of a side that must be left without its border
TRIED = (0.35, 0.02)  # dissimilarity above which photos are no candidates, below which no alignment is needed
COARSE_TO_FINE = ((cv2.MOTION_TRANSLATION, 31), (cv2.MOTION_EUCLIDEAN, 15), (cv2.MOTION_AFFINE, 5))  # and blurs
FINDER = Detector(detector="yunet", sides=(160, 320), second="none")
FACE = 0.75  # side of what is compared, in sides of the face's box: nothing of a frame, little of a watermark


class Look(NamedTuple):
    """What of a photo is compared: its face, if one is found, and all of it; grey and a little blurred."""

    face: Grey | None
    whole: Grey
    faces: int = 0


def look_at(image: Image) -> Look:
    """Find what is to be compared of an upright RGB photo (height, width, 3).

    A face too small to be seen on a plain ground is all that is not plain: that is looked at in place of the photo.
    """
    faces, content = _find_faces(image), trim_border(image)
    if not faces and content is image and (part := trim_border(image, least=0)) is not image:
        content = image = part
        faces = _find_faces(image)
    face = None
    if faces:
        box = faces[0].box
        face = _soften(cut_square(image, Square(*box.centre, FACE * max(box.width, box.height), 0.0), SIDE))
    return Look(face, _soften(resize(content, SIDE, SIDE)), len(faces))


def _find_faces(image: Image) -> list[Face]:
    """The faces that are upright: a photo on its side is compared as a whole."""
    return [face for face in detect_faces(image, FINDER) if not face.turned]


def mirrored(look: Look) -> Look:
    """What would be seen of the mirror image."""
    return Look(None if look.face is None else _turn(look.face), _turn(look.whole), look.faces)


def trim_border(image: Image, least: float = LEFT) -> Image:
    """Cut off plain borders, as screenshots and frames have them; an image without any is returned as it is.

    So is one of which less than a share of `least` of the height or width would be left.
    """
    height, width = image.shape[:2]
    spans = [_find_content(image, axis) for axis in (0, 1)]
    (top, bottom), (left, right) = spans
    if (bottom - top, right - left) == (height, width) or bottom - top < least * height or right - left < least * width:
        return image
    return image[top:bottom, left:right]


def _find_content(image: Image, axis: int) -> tuple[int, int]:
    """Where the rows (axis 0) or columns (axis 1) begin and end that are not of one colour."""
    lines = image if axis == 0 else image.swapaxes(0, 1)
    levels = lines.max(axis=1).astype(int) - lines.min(axis=1)
    places = np.flatnonzero(levels.max(axis=1) > PLAIN)
    return (int(places[0]), int(places[-1]) + 1) if len(places) else (0, len(lines))


def _turn(grey: Grey) -> Grey:
    return np.ascontiguousarray(grey[:, ::-1])


def are_one_picture(first: Look, second: Look) -> bool:
    """Tell whether two photos are one picture; `first` and `second` may change places."""
    if first.face is not None and second.face is not None:
        alone = first.faces == second.faces == 1
        return _agree(first.face, second.face) and (alone or _agree(first.whole, second.whole))
    return first.face is second.face is None and _agree(first.whole, second.whole)


def are_one_crop(first: Image, second: Image) -> bool:
    """Tell the same of two square crops (side, side, 3) by their middle: at the edges a photo may end.

    Crops of one photo agree to .01 once they are aligned; strangers' mouths differ by .45 and more, drawn ones by .02.
    """
    middles = [_soften(resize(middle_of(one), SIDE, SIDE)) for one in (first, second)]
    return _agree(middles[0], middles[1], SAME_CROP)


def middle_of(crop: Image) -> Image:
    """The middle of a crop (side, side, 3)."""
    edge = round(crop.shape[0] * (1 - MIDDLE) / 2)
    return np.ascontiguousarray(crop[edge : crop.shape[0] - edge, edge : crop.shape[1] - edge])


def _soften(image: Image) -> Grey:
    return np.asarray(cv2.GaussianBlur(to_grey(image).astype(np.float32), (0, 0), BLUR), np.float32)


def _agree(first: Grey, second: Grey, same: float = SAME) -> bool:
    if min(first.std(), second.std()) < FLAT:  # nothing to correlate: blank pictures are alike if their level is
        return bool(max(first.std(), second.std()) < FLAT and abs(first.mean() - second.mean()) < FLAT)
    if (raw := dissimilarity(first, second)) <= min(same, TRIED[1]):
        return True
    if np.corrcoef(first.ravel(), second.ravel())[0, 1] < 1 - TRIED[0] and raw > 1:
        return False
    return min(_aligned(first, second), _aligned(second, first)) <= same


def _aligned(first: Grey, second: Grey) -> float:
    """The dissimilarity once `second` is moved onto `first` by an affine map (Evangelidis & Psarakis 2008)."""
    found = np.eye(2, 3, dtype=np.float32)
    stop = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 40, 1e-4)
    try:
        for motion, blur in COARSE_TO_FINE:
            _, found = cv2.findTransformECC(first, second, found, motion, stop, None, blur)  # type: ignore[call-overload]
    except cv2.error:  # they have nothing in common
        return 2.0
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    moved = cv2.warpAffine(second, found, (SIDE, SIDE), flags=flags)
    seen = cv2.warpAffine(np.ones_like(second), found, (SIDE, SIDE), flags=flags)
    if seen.mean() < 0.6:
        return 2.0
    return dissimilarity(first, np.asarray(moved, np.float32), np.asarray(cv2.erode(seen, np.ones((5, 5))) > 0.99))


def dissimilarity(first: Grey, second: Grey, seen: NDArray[np.bool_] | None = None) -> float:
    """One less the normalised correlation of windows that have texture, at the 99th percentile: 0 for equal ones.

    `seen` (SIDE, SIDE) tells which pixels `second` shows; windows with others are left out.
    """

    def mean(values: Grey) -> Grey:
        return np.asarray(cv2.boxFilter(values, -1, (WINDOW, WINDOW)), np.float32)

    means = mean(first), mean(second)
    spreads = [np.maximum(mean(one * one) - middle**2, 0) for one, middle in zip((first, second), means, strict=True)]
    together = mean(first * second) - means[0] * means[1]
    correlation = together / np.sqrt(np.maximum(spreads[0] * spreads[1], 1e-3))
    texture = np.maximum(*spreads)
    found = (1 - correlation) * texture / (texture + TEXTURE**2)
    edge = WINDOW // 2
    inner = found[edge:-edge, edge:-edge]
    if seen is not None:
        whole = cv2.erode(seen.astype(np.uint8), np.ones((WINDOW, WINDOW), np.uint8))[edge:-edge, edge:-edge] > 0
        inner = inner[whole]
        if inner.size < 0.3 * whole.size:
            return 2.0
    return float(np.quantile(inner, 0.99))
