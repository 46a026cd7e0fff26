"""Which frames of a session are worth keeping: sharp ones, and such as differ from the last that was kept."""

from collections import defaultdict, deque
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from fer_pipeline.vision.image_io import Image, measure_sharpness, resize, to_grey

Refusal = Literal["no_face", "mouth_outside", "mouth_hidden", "bad_image", "blurred", "same", "full"]
SIDE = 32  # px: small enough that a camera's noise is averaged away
# Mean difference, in deviations of the grey, below which two crops are one: noise alone makes .05 to .09, a pixel's
# shift .1, another picture of a drawn face with the same expression .15 to .3.
SAME = 0.15
FLATTEST = 4.0  # grey levels of deviation, below which there is nothing but noise
BLURRED = 0.5  # of the median sharpness of the class in this session
ENOUGH = 5  # crops whose median says what is sharp
RECENT = 60


class FrameSelector:
    """Decides about the crops of one session, uint8 (size, size, 3), class by class: teeth are sharper than lips."""

    def __init__(self) -> None:
        self._last: dict[str, NDArray[np.float32]] = {}
        self._sharp: dict[str, deque[float]] = defaultdict(lambda: deque(maxlen=RECENT))

    def refuse(self, label: str, crop: Image) -> Refusal | None:
        """Why a crop is not kept; None if it is, which the next one is compared with."""
        sharpness, seen = measure_sharpness(crop), self._sharp[label]
        blurred = len(seen) >= ENOUGH and sharpness < BLURRED * float(np.median(seen))
        seen.append(sharpness)
        if blurred:
            return "blurred"
        small = _shrink(crop)
        if label in self._last and float(np.abs(small - self._last[label]).mean()) < SAME:
            return "same"
        self._last[label] = small
        return None

    def forget(self, label: str) -> None:
        """The last kept crop of a class was taken back: the next one is compared with none."""
        self._last.pop(label, None)


def _shrink(crop: Image) -> NDArray[np.float32]:
    """Grey, small, of mean 0 and deviation 1: a cloud before the sun makes no new picture, a dim lamp no other rule."""
    small = to_grey(resize(crop, SIDE, SIDE)).astype(np.float32)
    return np.asarray((small - small.mean()) / max(float(small.std()), FLATTEST), np.float32)
