"""`fer live`: a camera or a video, frame by frame, into an annotated video or a table."""

import csv
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import PIL.Image
import PIL.ImageDraw
import PIL.ImageFont

from fer_pipeline import console
from fer_pipeline.crops import as_crop, prepare
from fer_pipeline.errors import InputError, SetupError, UsageError
from fer_pipeline.images import Image
from fer_pipeline.model.predictor import Predictor
from fer_pipeline.serve.smoothing import Track, Tracker

VIDEOS = {".mp4": "mp4v", ".avi": "MJPG", ".mkv": "mp4v"}
INK, PAPER = (255, 255, 255), (11, 99, 206)


@dataclass(frozen=True)
class Seen:
    """What came of a video: frames looked at, faces in them, frames a second of ours."""

    frames: int
    faces: int
    rate: float


class Writer(Protocol):
    """Takes frames with the faces found in them."""

    def write(self, number: int, moment: float, frame: Image, tracks: Sequence[Track]) -> None: ...


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
    frames = faces = 0
    started, tracker = time.monotonic(), Tracker(window)
    total = None if isinstance(source, int) else max(int(capture.get(7)), 0) or None  # CAP_PROP_FRAME_COUNT
    with open_output(output, predictor.card.labels, rate / every) as writer, console.progress("live", total) as advance:
        try:
            for number, frame in _frames(capture):
                live = isinstance(source, int)
                moment = time.monotonic() - started if live else number / rate
                if seconds is not None and moment > seconds:
                    break
                if number % every == 0:
                    tracks = tracker.update(moment, find_faces(predictor, frame))
                    writer.write(number, moment, frame, tracks)
                    frames, faces = frames + 1, faces + len(tracks)
                advance(1)
        except KeyboardInterrupt:
            console.note("live: stopped, what was seen is kept")
    capture.release()
    if not frames:
        raise InputError(f"{source}: not a frame could be read: name another camera or video")
    return Seen(frames, faces, frames / (time.monotonic() - started))


def open_source(source: int | Path) -> tuple[Any, float]:
    """An opened camera or video and its frames a second."""
    import cv2

    if isinstance(source, Path) and not source.is_file():
        raise InputError(f"{source}: no such file: name a video, or a camera by --camera 0")
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # OpenCV tells every driver that it tried
    capture = cv2.VideoCapture(source if isinstance(source, int) else str(source))
    if not capture.isOpened():
        if isinstance(source, int):
            raise SetupError(f"camera {source} cannot be opened: is it plugged in, and used by no other program?")
        raise InputError(f"{source}: not a video OpenCV can read: convert it to .mp4")
    rate = float(capture.get(cv2.CAP_PROP_FPS))
    return capture, rate if 1 <= rate <= 240 else 25.0


def _frames(capture: Any) -> Iterator[tuple[int, Image]]:
    number = 0
    while True:
        there, frame = capture.read()
        if not there:
            return
        yield number, np.ascontiguousarray(frame[:, :, ::-1])
        number += 1


def find_faces(predictor: Predictor, frame: Image) -> list[tuple[Any, Any]]:
    """The box and the probabilities (classes,) of every face of a frame."""
    found = prepare(frame, predictor.quick)
    if not found:
        return []
    rows = predictor.classify(np.stack([as_crop(crop.image, predictor.card.size) for crop in found]))
    return [(crop.face.box, row) for crop, row in zip(found, rows, strict=True)]


@contextmanager
def open_output(path: Path, labels: list[str], rate: float) -> Iterator[Writer]:
    """A table (.csv) or an annotated video, written aside and renamed at the end."""
    aside = path.with_name(f".part-{path.name}")  # the suffix tells OpenCV the container
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".csv":
        with aside.open("w", encoding="utf-8", newline="") as file:
            yield _Table(csv.writer(file), labels)
    else:
        video = _Video(aside, labels, rate)
        try:
            yield video
        finally:
            video.close()
    if aside.exists():
        aside.replace(path)


class _Table:
    """A row per face and frame."""

    def __init__(self, writer: Any, labels: list[str]) -> None:
        self.writer, self.labels = writer, labels
        writer.writerow(["frame", "seconds", "face", "left", "top", "right", "bottom", "label", *labels])

    def write(self, number: int, moment: float, frame: Image, tracks: Sequence[Track]) -> None:  # noqa: ARG002
        for track in tracks:
            label = self.labels[int(track.probabilities.argmax())]
            box = [round(value, 1) for value in track.box]
            shares = [round(float(value), 4) for value in track.probabilities]
            self.writer.writerow([number, round(moment, 3), track.number, *box, label, *shares])


class _Video:
    """The frames with a box, a label and its probability at every face."""

    def __init__(self, path: Path, labels: list[str], rate: float) -> None:
        self.path, self.labels, self.rate = path, labels, rate
        self.video: Any = None

    def write(self, number: int, moment: float, frame: Image, tracks: Sequence[Track]) -> None:  # noqa: ARG002
        import cv2

        height, width = frame.shape[:2]
        if self.video is None:
            code = cv2.VideoWriter.fourcc(*VIDEOS[self.path.suffix])
            self.video = cv2.VideoWriter(str(self.path), code, self.rate, (width, height))
            if not self.video.isOpened():
                raise SetupError(f"{self.path}: OpenCV cannot write this kind of video here: write .avi or .csv")
        self.video.write(np.ascontiguousarray(annotate(frame, tracks, self.labels)[:, :, ::-1]))

    def close(self) -> None:
        if self.video is not None:
            self.video.release()


def annotate(frame: Image, tracks: Sequence[Track], labels: list[str]) -> Image:
    """A copy of a frame with its faces boxed and named."""
    picture = PIL.Image.fromarray(frame)
    pen = PIL.ImageDraw.Draw(picture)
    size = max(12, frame.shape[0] // 28)
    font = PIL.ImageFont.load_default(size)
    for track in tracks:
        best = int(track.probabilities.argmax())
        text = f"{labels[best]} {track.probabilities[best]:.0%}"
        left, top = track.box.left, max(track.box.top - size * 1.3, 0)
        pen.rectangle(tuple(track.box), outline=PAPER, width=max(2, size // 8))
        pen.rectangle((left, top, left + pen.textlength(text, font) + size * 0.6, top + size * 1.3), fill=PAPER)
        pen.text((left + size * 0.3, top + size * 0.05), text, INK, font)
    return np.asarray(picture)
