"""Histograms of oriented gradients (Dalal & Triggs 2005) of crops, by OpenCV."""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from fer_pipeline.vision.image_io import Image, resize, to_grey

SIDE = 64  # pixels, to which every crop is resized
LENGTH = 1764  # 49 blocks of 2 x 2 cells of 8 px, nine orientations each


def hog_features(crops: Sequence[Image] | NDArray[np.uint8], *, mirror: bool = True) -> NDArray[np.float32]:
    """Compute the histograms (n, 1764) of crops in grey; `mirror` averages each with that of its mirror image."""
    window = cv2.HOGDescriptor((SIDE, SIDE), (16, 16), (8, 8), (8, 8), 9)
    rows = np.zeros((len(crops), LENGTH), np.float32)
    for row, crop in zip(rows, crops, strict=True):
        grey = resize(to_grey(np.asarray(crop)), SIDE, SIDE)
        row[:] = np.ravel(window.compute(grey))
        if mirror:
            row[:] = (row + np.ravel(window.compute(np.ascontiguousarray(grey[:, ::-1])))) / 2
    return rows
