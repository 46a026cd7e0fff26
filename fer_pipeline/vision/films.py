"""Read the frames of a video file, each at the time the file gives it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from fer_pipeline.errors import InputError
from fer_pipeline.vision.image_io import Image

FILMS = {".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv", ".3gp"}


def open_film(path: Path) -> tuple[Any, float]:
    """Open a video file; returns it with its frames per second. Raises InputError for what is none."""
    if not path.is_file():
        raise InputError(f"{path}: no such file: name a video")
    capture = open_quietly(str(path))
    if not capture.isOpened():
        raise InputError(f"{path}: not a video OpenCV can read: convert it to .mp4")
    return capture, rate_of(capture)


def open_quietly(source: str | int) -> Any:
    """Open a file or camera without OpenCV's log of every driver that it tried."""
    import cv2

    level = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        return cv2.VideoCapture(source)
    finally:
        cv2.utils.logging.setLogLevel(level)


def rate_of(capture: Any) -> float:
    """Frames per second; 25 where the file tells nothing sensible."""
    rate = float(capture.get(5))  # CAP_PROP_FPS
    return rate if 1 <= rate <= 240 else 25.0


def read_frames(capture: Any) -> Iterator[tuple[int, float, Image]]:
    """Yield number, time in seconds and RGB pixels (height, width, 3) of each frame.

    The time is the file's own, since phones film at a rate that varies; where it gives none, it is told by the rate.
    """
    rate, number, before = rate_of(capture), 0, -1.0
    while True:
        there, frame = capture.read()
        if not there:
            return
        moment = float(capture.get(0)) / 1000  # CAP_PROP_POS_MSEC
        if moment <= before:
            moment = before + 1 / rate if number else 0.0
        yield number, moment, np.ascontiguousarray(frame[:, :, ::-1])
        number, before = number + 1, moment
