"""Drawn people before a drawn camera: frames of one person with changing mouths, plain or under a colour cast."""

import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from fer_pipeline.config.schema import CropSettings
from fer_pipeline.sources.sample import draw_photo, random_face
from fer_pipeline.sources.sample.faces import random_mouth
from fer_pipeline.vision.crop import place_square
from fer_pipeline.vision.cutting import cut_square
from fer_pipeline.vision.image_io import Image
from support.pictures import facing

CAST = (0.45, 0.62, 1.35)  # what a bad lamp does to red, green and blue
CUT = CropSettings(region="lips", scale="eyes", align=True)


def draw_frame(
    person: int, label: str, number: int, *, cast: bool = False, size: tuple[int, int] = (480, 360)
) -> Image:
    """A frame of somebody: the same face in all, another mouth, tilt and place for every number."""
    return _draw(person, label, number, cast, size)[0]


def draw_crop(person: int, label: str, number: int, *, cast: bool = False, side: int = 48) -> Image:
    """The lips of such a frame, cut out by the true landmarks: no detector has to look."""
    frame, landmarks = _draw(person, label, number, cast, (240, 240))
    return cut_square(frame, place_square(landmarks, CUT), side)


def _draw(person: int, label: str, number: int, cast: bool, size: tuple[int, int]) -> tuple[Image, NDArray[np.float32]]:
    width, height = size
    rng = np.random.default_rng([person, number, len(label), ord(label[0])])
    own = random_face(np.random.default_rng(person), "neutral", width, height, (width / 2, height * 0.4), height * 0.45)
    centre = (width / 2 + float(rng.normal(0, 0.03)) * width, height * 0.4 + float(rng.normal(0, 0.02)) * height)
    face = replace(facing(own), label=label, mouth=random_mouth(rng, label))
    frame, landmarks = draw_photo([replace(face, centre=centre, tilt=float(rng.normal(0, 4)))], width, height, rng)
    if cast:
        frame = np.clip(frame * np.array(CAST), 0, 255).astype(np.uint8)
    return frame, landmarks[0]


def to_jpeg(image: Image, quality: int = 90) -> bytes:
    """As a browser sends a frame."""
    buffer = io.BytesIO()
    PIL.Image.fromarray(image).save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def write_video(path: Path, frames: Sequence[Image], repeat: int = 6) -> Path:
    """A .mjpeg that Chromium takes for a camera, at 30 frames a second; each frame stays for a while."""
    path.write_bytes(b"".join(to_jpeg(frame) * repeat for frame in frames))
    return path
