"""The outputs of `fer live`: a table, or an annotated video."""

import csv
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import PIL.Image
import PIL.ImageDraw
import PIL.ImageFont

from fer_pipeline.errors import SetupError
from fer_pipeline.files import to_cell
from fer_pipeline.models.predictor import Predictor
from fer_pipeline.serve.smoothing import Track
from fer_pipeline.vision.image_io import Image

VIDEOS = {".mp4": "mp4v", ".avi": "MJPG", ".mkv": "mp4v"}
INK, PAPER = (255, 255, 255), (11, 99, 206)


class Writer(Protocol):
    """Writes frames with the faces found in them."""

    def write(self, number: int, moment: float, frame: Image, tracks: Sequence[Track]) -> None: ...


@contextmanager
def open_output(path: Path, predictor: Predictor, rate: float) -> Iterator[Writer]:
    """Open a table (.csv) or an annotated video; it replaces `path` only if nothing was raised."""
    aside = path.with_name(f".part-{path.name}")  # the suffix tells OpenCV the container
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        if path.suffix == ".csv":
            with aside.open("w", encoding="utf-8", newline="") as file:
                yield _Table(csv.writer(file), predictor)
        else:
            video = _Video(aside, predictor, rate)
            try:
                yield video
            finally:
                video.close()
        if aside.exists():
            aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


class _Table:
    """CSV with a row per face and frame."""

    def __init__(self, writer: Any, predictor: Predictor) -> None:
        self.writer, self.predictor = writer, predictor
        box = ["left", "top", "right", "bottom"]
        labels = map(to_cell, predictor.card.labels)
        writer.writerow(["frame", "seconds", "face", *box, "label", "outcome", *labels])

    def write(self, number: int, moment: float, frame: Image, tracks: Sequence[Track]) -> None:  # noqa: ARG002
        for track in tracks:
            face = self.predictor.label_face(track.box, track.answer)
            box = [round(value, 1) for value in track.box]
            shares = [round(face.probabilities[name], 4) if face.guess else "" for name in self.predictor.labels]
            label = to_cell(face.guess or "")
            self.writer.writerow([number, round(moment, 3), track.number, *box, label, face.outcome, *shares])


class _Video:
    """Video with a box, a label and its probability at every face."""

    def __init__(self, path: Path, predictor: Predictor, rate: float) -> None:
        self.path, self.predictor, self.rate = path, predictor, rate
        self.written = 0
        self.video: Any = None

    def write(self, number: int, moment: float, frame: Image, tracks: Sequence[Track]) -> None:  # noqa: ARG002
        """Repeat the frame up to its time, so that a slow camera does not give a fast video."""
        import cv2

        height, width = frame.shape[:2]
        if self.video is None:
            code = cv2.VideoWriter.fourcc(*VIDEOS[self.path.suffix])
            self.video = cv2.VideoWriter(str(self.path), code, self.rate, (width, height))
            if not self.video.isOpened():
                raise SetupError(f"{self.path}: OpenCV cannot write this kind of video here: write .avi or .csv")
        due = round(moment * self.rate) + 1 - self.written
        if due > 0:
            picture = np.ascontiguousarray(annotate(frame, tracks, self.predictor)[:, :, ::-1])
            for _ in range(due):
                self.video.write(picture)
            self.written += due

    def close(self) -> None:
        if self.video is not None:
            self.video.release()


def annotate(frame: Image, tracks: Sequence[Track], predictor: Predictor) -> Image:
    """Copy a frame and draw its faces with their labels; a question mark means uncertain, words mean no class."""
    picture = PIL.Image.fromarray(frame)
    pen = PIL.ImageDraw.Draw(picture)
    size = max(12, frame.shape[0] // 28)
    font = PIL.ImageFont.load_default(size)
    for track in tracks:
        face = predictor.label_face(track.box, track.answer)
        text = face.outcome.replace("_", " ")
        if face.confidence is not None and face.outcome != "unknown":
            text = f"{face.guess}{'?' if face.outcome == 'uncertain' else ''} {face.confidence:.0%}"
        left, top = track.box.left, max(track.box.top - size * 1.3, 0)
        pen.rectangle(tuple(track.box), outline=PAPER, width=max(2, size // 8))
        pen.rectangle((left, top, left + pen.textlength(text, font) + size * 0.6, top + size * 1.3), fill=PAPER)
        pen.text((left + size * 0.3, top + size * 0.05), text, INK, font)
    return np.asarray(picture)
