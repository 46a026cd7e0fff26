"""Place the crop by five points alone, those that YuNet finds of a face: eyes, nose and corners of the mouth.

They are less exact than the 68 landmarks and tell nothing of the lips' height, but their model has 0.2 MB, so that a
web page can cut the same crop. docs/export.md says what that costs.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fer_pipeline.vision.boxes import Box, Square, slope
from fer_pipeline.vision.cutting import cut_square, rotate
from fer_pipeline.vision.detectors import look_with_yunet
from fer_pipeline.vision.image_io import Image

Points = NDArray[np.float64]  # (5, 2): left and right eye, nose, left and right corner of the mouth, as in the image

SIDE = 96  # pixels of the square that YuNet looks at
AROUND_BOX = 1.3  # its side over that of the face's box at the first look
AROUND_POINTS = 5.2  # and over the points' RMS distance from their mean at the second
LEAST = 0.3  # score of a face there
NEAR = 0.15  # how far its middle may lie from that of the square, in sides
# Medians of 400 portraits, by which lengths that the settings know follow from the points.
EYES = 1.36  # distance of the outer eye corners, over that of the eyes' points
LIPS_WIDTH = 1.05  # longer side of the lips' bounding box, over the distance of the mouth's points
LIPS_DOWN = 0.1  # from the middle of the mouth's points to that of the lips, over the distance of the eyes' points
LIPS_HALF = 0.17  # half the height of the lips, over the same
FACE_SIDE = 3.68  # longer side of the bounding box of all landmarks, over the points' RMS distance from their mean
FACE_DOWN = 0.16  # from the points' mean to the middle of that box, over the distance of the eyes' points


def find_five(photo: Image, box: Box) -> Points | None:
    """Find the five points (5, 2) of the upright face in a box, in pixels of the photo; None if YuNet sees no face.

    It looks at the box, then at a square level with the points found, and at its mirror image: so the points depend
    neither on the detector nor on the copy of the photo on which it saw the face.
    """
    points = _look(photo, Square(*box.centre, AROUND_BOX * max(box.width, box.height), 0.0))
    if points is None:
        return None
    x, y = points.mean(axis=0)
    square = Square(float(x), float(y), AROUND_POINTS * _spread(points), _angle(points))
    found = [_look(photo, square, mirror=mirror) for mirror in (False, True)]
    return np.asarray(np.mean([points if one is None else one for one in found], axis=0))


def _look(photo: Image, square: Square, *, mirror: bool = False) -> Points | None:
    """The points of the face in the middle of a square, in pixels of the photo."""
    cut = cut_square(photo, square, SIDE)
    rows = look_with_yunet(np.ascontiguousarray(cut[:, ::-1]) if mirror else cut, LEAST, overlapping=True)
    apart = np.abs(rows[:, :2] + rows[:, 2:4] / 2 - SIDE / 2).max(axis=1)
    near = rows[apart < NEAR * SIDE]
    if not len(near):
        return None
    # All its boxes have their say: the surest one may be another on another machine.
    points = np.average(near[:, 4:14], axis=0, weights=near[:, 14] - LEAST + 1e-6).reshape(5, 2)
    if mirror:
        points = np.array([SIDE, 0]) + points[[1, 0, 2, 4, 3]] * [-1, 1]
    return rotate((points / SIDE - 0.5) * square.side, square.angle) + square[:2]


class Measured(NamedTuple):
    """Where a region's middle lies, how long what its square is scaled by is, and the tilt of the eyes in degrees."""

    x: float
    y: float
    length: float
    angle: float


def measure_five(points: Points, region: str, scale: str) -> Measured:
    """Estimate from five points what the 68 landmarks tell: of `lips` or `face`, scaled by `eyes` or else its size."""
    eyes, angle = _distance(points[0], points[1]), _angle(points)
    if region == "lips":
        centre, longer, down = points[3:].mean(axis=0), LIPS_WIDTH * _distance(points[3], points[4]), LIPS_DOWN
    else:
        centre, longer, down = points.mean(axis=0), FACE_SIDE * _spread(points), FACE_DOWN
    x, y = centre + rotate(np.array([0.0, down * eyes]), angle)
    return Measured(float(x), float(y), EYES * eyes if scale == "eyes" else longer, angle)


def share_beyond(points: Points, region: str, width: int, height: int) -> float:
    """Estimate the share of the lips' or the face's bounding box that lies beyond the border of a photo."""
    x, y, longer, _ = measure_five(points, region, "mouth")
    half = longer / 2, (LIPS_HALF * _distance(points[0], points[1]) if region == "lips" else longer / 2)
    sides = [
        max(0.0, min(middle + reach, end) - max(middle - reach, 0.0)) / (2 * reach)
        for middle, reach, end in zip((x, y), half, (width, height), strict=True)
    ]
    return 1 - sides[0] * sides[1]


def _distance(first: Points, second: Points) -> float:
    return max(float(np.hypot(*(second - first))), 1.0)


def _spread(points: Points) -> float:
    """The points' RMS distance from their mean."""
    return max(float(np.sqrt(((points - points.mean(axis=0)) ** 2).sum(axis=1).mean())), 1.0)


def _angle(points: Points) -> float:
    return slope((points[0, 0], points[0, 1]), (points[1, 0], points[1, 1]))
