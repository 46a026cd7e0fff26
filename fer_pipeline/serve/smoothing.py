"""Track faces from frame to frame, with exponential smoothing of answers and boxes."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fer_pipeline.vision.boxes import Box
from fer_pipeline.vision.mouth_check import Missing

WINDOW = 0.5  # seconds after which an old frame counts for 1/e
BOX_WINDOW = 0.08  # seconds, of boxes: enough against jitter, too little to trail behind a head
KEPT = 0.7  # seconds until a face that the detector missed is forgotten


@dataclass
class Track:
    """One face: its smoothed box and answer (classes + 1,), where the detector saw it last, and when in seconds.

    The answer holds probabilities and the distance from training, both smoothed. A face that shows no mouth has the
    reason in its place; what was answered before it was hidden is forgotten.
    """

    number: int
    box: Box
    answer: NDArray[np.float64] | Missing
    last: Box
    seen: float


class Tracker:
    """Matches the faces of a frame to those of earlier frames, the largest overlap first."""

    def __init__(self, window: float = WINDOW) -> None:
        self.window = window
        self.tracks: list[Track] = []
        self._count = 0

    def update(self, now: float, faces: Sequence[tuple[Box, NDArray[np.floating] | Missing]]) -> list[Track]:
        """Update with the faces of a frame; returns their tracks, in order. `now` is in seconds."""
        self.tracks = [track for track in self.tracks if now - track.seen <= KEPT]
        free = list(self.tracks)
        found = []
        for box, answer in faces:
            known = max(free, key=lambda track: overlap(track.last, box), default=None)
            if known is None or overlap(known.last, box) < 0.2:
                self._count += 1
                known = Track(self._count, box, _start(answer), box, now)
                self.tracks.append(known)
            else:
                free.remove(known)
                self._blend(known, now, box, answer)
            found.append(known)
        return found

    def _blend(self, track: Track, now: float, box: Box, answer: NDArray[np.floating] | Missing) -> None:
        passed = now - track.seen
        fresh = _weight(passed, min(BOX_WINDOW, self.window))
        track.box = Box(*(old + fresh * (new - old) for old, new in zip(track.box, box, strict=True)))
        if isinstance(answer, str) or isinstance(track.answer, str):
            track.answer = _start(answer)
        else:
            share = _weight(passed, self.window)
            track.answer = track.answer + share * (np.asarray(answer) - track.answer)
        track.last, track.seen = box, now


def _start(answer: NDArray[np.floating] | Missing) -> NDArray[np.float64] | Missing:
    return answer if isinstance(answer, str) else np.asarray(answer, np.float64)


def _weight(passed: float, window: float) -> float:
    """Weight of a new value that comes `passed` seconds after the last."""
    return 1 - math.exp(-passed / window) if window > 0 else 1.0


def overlap(one: Box, other: Box) -> float:
    """Intersection over union."""
    width = min(one.right, other.right) - max(one.left, other.left)
    height = min(one.bottom, other.bottom) - max(one.top, other.top)
    both = max(width, 0.0) * max(height, 0.0)
    return both / (one.area + other.area - both) if both else 0.0
