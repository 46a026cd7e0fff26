"""Cut a rotated square out of a photo."""

import cv2
import numpy as np
from numpy.typing import NDArray

from fer_pipeline.vision.boxes import Square, bounding_box
from fer_pipeline.vision.image_io import Image, resize

EDGE = 4  # pixels around a square that resampling needs


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


def rotate(points: NDArray[np.floating], degrees: float) -> NDArray[np.float64]:
    """Rotate points (..., 2) about the origin; positive: what lies to the right goes down."""
    cos, sin = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    return np.asarray(points @ np.array([[cos, sin], [-sin, cos]]))
