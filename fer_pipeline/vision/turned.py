"""Photos on their side or upside down: turn pixels, points and boxes by quarter turns, clockwise, in degrees."""

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from fer_pipeline.vision.boxes import Box
from fer_pipeline.vision.image_io import Image

TURNS = (90, 180, 270)
Number = TypeVar("Number", bound=np.floating)


def turn(image: Image, degrees: int) -> Image:
    """Turn an image (height, width, 3) clockwise."""
    return np.ascontiguousarray(np.rot90(image, -degrees // 90)) if degrees else image


def turn_points(points: NDArray[np.floating], degrees: int, width: float, height: float) -> NDArray[np.floating]:
    """Turn points (n, 2) with the image of that width and height that they lie on."""
    x, y = points[:, 0], points[:, 1]
    moved = {0: (x, y), 90: (height - y, x), 180: (width - x, height - y), 270: (y, width - x)}
    return np.stack(moved[degrees % 360], axis=1)


def turn_box(box: Box, degrees: int, width: float, height: float) -> Box:
    """Turn a box with the image of that width and height that it lies on."""
    corners = turn_points(np.array([box[:2], box[2:]]), degrees, width, height)
    return Box(*(round(float(value), 1) for value in (*corners.min(axis=0), *corners.max(axis=0))))
