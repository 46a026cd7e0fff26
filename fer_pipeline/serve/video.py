"""`fer live`: predict a camera or video frame by frame, into an annotated video or a table."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fer_pipeline import console
from fer_pipeline.errors import InputError, SetupError, UsageError
from fer_pipeline.models.predictor import Predictor
from fer_pipeline.serve.smoothing import Tracker
from fer_pipeline.serve.video_writer import VIDEOS, open_output
from fer_pipeline.vision.boxes import Box
from fer_pipeline.vision.crop import as_crop, prepare
from fer_pipeline.vision.films import open_film, open_quietly, rate_of, read_frames
from fer_pipeline.vision.image_io import Image
from fer_pipeline.vision.mouth_check import Missing


@dataclass(frozen=True)
class Summary:
    """Frames predicted, faces in them, and frames per second."""

    frames: int
    faces: int
    rate: float

    def add(self, faces: int, seconds: float) -> "Summary":
        """Count one more frame, predicted `seconds` after the start."""
        return Summary(self.frames + 1, self.faces + faces, (self.frames + 1) / seconds)


def check_output(source: int | Path, output: Path, *, force: bool) -> None:
    """Raise UsageError for an output that exists (unless `force`), that is the source, or of an unknown suffix."""
    if output.suffix not in {".csv", *VIDEOS}:
        raise UsageError(f"{output}: write it as {', '.join(VIDEOS)} or .csv")
    if isinstance(source, Path) and output.exists() and source.exists() and output.samefile(source):
        raise UsageError(f"--output {output}: that is the video itself: name another file")
    if output.exists() and not force:
        raise UsageError(f"--output {output}: there already: name another file, or add --force")


def watch(source: int | Path, run: Path, output: Path, *, seconds: float | None, window: float, every: int) -> Summary:
    """Predict a camera (its number) or a video file to its end, for `seconds`, or until Ctrl-C.

    `window` is the smoothing in seconds; `every` skips frames. Raises InputError if no frame could be read.
    """
    predictor = Predictor(run)
    capture, rate = open_source(source)
    tracker, summary = Tracker(window), Summary(0, 0, 0.0)
    total = None if isinstance(source, int) else max(int(capture.get(7)), 0) or None  # CAP_PROP_FRAME_COUNT
    moments = _by_clock(capture) if isinstance(source, int) else read_frames(capture)
    began = time.monotonic()
    with open_output(output, predictor, rate / every) as writer, console.progress("live", total) as advance:
        try:
            for number, moment, frame in moments:
                if seconds is not None and moment > seconds:
                    break
                if number % every == 0:
                    tracks = tracker.update(moment, find_faces(predictor, frame))
                    writer.write(number, moment, frame, tracks)
                    summary = summary.add(len(tracks), time.monotonic() - began)
                advance(1)
        except KeyboardInterrupt:
            console.note("live: stopped, what was seen is kept")
        finally:
            capture.release()
        if not summary.frames:  # raised before the output replaces an older one
            raise InputError(f"{source}: no frame could be read: name another camera or video")
    return summary


def open_source(source: int | Path) -> tuple[Any, float]:
    """Open a camera or video; returns it with its frames per second."""
    if isinstance(source, Path):
        return open_film(source)
    capture = open_quietly(source)
    if not capture.isOpened():
        raise SetupError(
            f"camera {source} cannot be opened: plug it in, close other programs that use it, or name a --video"
        )
    return capture, rate_of(capture)


def _by_clock(capture: Any) -> Iterator[tuple[int, float, Image]]:
    """Number, time in seconds and pixels of what a camera sees, timed by the clock; the first frame is at 0 s."""
    started = None
    for number, _, frame in read_frames(capture):
        now = time.monotonic()
        started = now if started is None else started
        yield number, now - started, frame


def find_faces(predictor: Predictor, frame: Image) -> list[tuple[Box, NDArray[np.floating] | Missing]]:
    """The box of every face of a frame, and the answer (classes + 1,) to it or why it shows no mouth."""
    found = prepare(frame, predictor.quick)
    shown = [as_crop(crop.image, predictor.card.size) for crop in found if crop.missing is None]
    rows = iter(predictor.answer_crops(np.stack(shown)) if shown else ())
    return [(crop.face.box, next(rows) if crop.missing is None else crop.missing) for crop in found]
