"""Pictures that are made to hurt, and a worker's task that fails as libraries do; light, since processes import it."""

import io
import os
import signal

from PIL import Image

from fer_pipeline.errors import SetupError
from fer_pipeline.models.prediction import Prediction


def slow_jpeg(scans: int = 80) -> bytes:
    """A blank progressive JPEG whose last scan comes again: each runs over all of its pixels."""
    blank = io.BytesIO()
    Image.new("L", (7000, 7000)).save(blank, "JPEG", progressive=True)
    data = blank.getvalue()
    last = data.rindex(b"\xff\xda")
    return data[:last] + data[last:-2] * scans + data[-2:]


def predict_or_fail(data: bytes, *_: object) -> Prediction:
    """In place of `predict_picture`: what it does is the picture's one word."""
    if data == b"die":
        os.kill(os.getpid(), signal.SIGKILL)
    while data == b"hold":
        signal.pause()
    if data == b"memory":
        raise MemoryError
    if data == b"assert":
        raise AssertionError("!ssize.empty()\nin resize")
    if data == b"setup":
        raise SetupError("the landmarks went away: install them")
    return Prediction(outcome="no_face", width=1, height=1)
