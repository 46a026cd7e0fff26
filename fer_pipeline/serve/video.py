"""`fer live`: a camera or a video, frame by frame, into an annotated video or a table."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fer_pipeline import console
from fer_pipeline.errors import InputError, SetupError, UsageError
from fer_pipeline.models.predictor import Predictor
from fer_pipeline.serve.smoothing import Tracker
from fer_pipeline.serve.video_writer import VIDEOS, open_output
from fer_pipeline.vision.crop import as_crop, prepare
from fer_pipeline.vision.image_io import Image


@dataclass(frozen=True)
class Seen:
    """What came of a video: frames looked at, faces in them, frames a second of ours."""

    frames: int
    faces: int
    rate: float

    def more(self, faces: int, passed: float) -> "Seen":
        """One frame more, with so many faces, so many seconds after the first."""
        return Seen(self.frames + 1, self.faces + faces, (self.frames + 1) / passed)


def check_output(source: int | Path, output: Path, *, force: bool) -> None:
    """Nothing is overwritten unasked, and the film that is read never."""
    if output.suffix not in {".csv", *VIDEOS}:
        raise UsageError(f"{output}: write it as {', '.join(VIDEOS)} or .csv")
    if isinstance(source, Path) and output.exists() and source.exists() and output.samefile(source):
        raise UsageError(f"--output {output}: that is the video itself: name another file")
    if output.exists() and not force:
        raise UsageError(f"--output {output}: there already: name another file, or add --force")


def watch(source: int | Path, run: Path, output: Path, *, seconds: float | None, window: float, every: int) -> Seen:
    """Follow a camera (its number) or a video file to its end, for so many seconds, or until Ctrl-C."""
    predictor = Predictor(run)
    capture, rate = open_source(source)
    tracker, seen = Tracker(window), Seen(0, 0, 0.0)
    total = None if isinstance(source, int) else max(int(capture.get(7)), 0) or None  # CAP_PROP_FRAME_COUNT
    moments = _by_clock(capture) if isinstance(source, int) else _by_number(capture, rate)
    began = time.monotonic()
    with open_output(output, predictor, rate / every) as writer, console.progress("live", total) as advance:
        try:
            for number, moment, frame in moments:
                if seconds is not None and moment > seconds:
                    break
                if number % every == 0:
                    tracks = tracker.update(moment, find_faces(predictor, frame))
                    writer.write(number, moment, frame, tracks)
                    seen = seen.more(len(tracks), time.monotonic() - began)
                advance(1)
        except KeyboardInterrupt:
            console.note("live: stopped, what was seen is kept")
        finally:
            capture.release()
        if not seen.frames:  # said before the output is put in the place of an older one
            raise InputError(f"{source}: not a frame could be read: name another camera or video")
    return seen


def open_source(source: int | Path) -> tuple[Any, float]:
    """An opened camera or video and its frames a second."""
    import cv2

    if isinstance(source, Path) and not source.is_file():
        raise InputError(f"{source}: no such file: name a video, or a camera by --camera 0")
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # OpenCV tells every driver that it tried
    capture = cv2.VideoCapture(source if isinstance(source, int) else str(source))
    if not capture.isOpened():
        if isinstance(source, int):
            raise SetupError(f"camera {source} cannot be opened: plug it in, end what else uses it, or name a --video")
        raise InputError(f"{source}: not a video OpenCV can read: convert it to .mp4")
    rate = float(capture.get(cv2.CAP_PROP_FPS))
    return capture, rate if 1 <= rate <= 240 else 25.0


def _by_number(capture: Any, rate: float) -> Iterator[tuple[int, float, Image]]:
    """Number, second and pixels of a film's frames."""
    number = 0
    while True:
        there, frame = capture.read()
        if not there:
            return
        yield number, number / rate, np.ascontiguousarray(frame[:, :, ::-1])
        number += 1


def _by_clock(capture: Any) -> Iterator[tuple[int, float, Image]]:
    """Those of a camera: it brings a frame when it likes, the first at second 0."""
    started = None
    for number, _, frame in _by_number(capture, 1):
        now = time.monotonic()
        started = now if started is None else started
        yield number, now - started, frame


def find_faces(predictor: Predictor, frame: Image) -> list[tuple[Any, Any]]:
    """The box and the probabilities (classes,) of every face of a frame."""
    found = prepare(frame, predictor.quick)
    if not found:
        return []
    rows = predictor.classify(np.stack([as_crop(crop.image, predictor.card.size) for crop in found]))
    return [(crop.face.box, row) for crop, row in zip(found, rows, strict=True)]
