"""Before and after Pillow decodes a picture: what its file claims beside its size, and the way to upright RGB."""

import io

import numpy as np
import PIL.Image
from numpy.typing import NDArray
from PIL import ImageOps
from PIL.BmpImagePlugin import DibImageFile
from PIL.IcoImagePlugin import IcoFile
from PIL.PngImagePlugin import PngImageFile

STRIP = 256  # rows of a transparent picture laid over white at a time


def icon_pixels(data: bytes) -> int:
    """Pixels of the picture in an ICO, which is decoded as the file is opened; 0 for any other file.

    The directory can tell of 256 x 256 at most, and need not tell the truth. Raises what Pillow does on damaged files.
    """
    if not data.startswith(b"\0\0\1\0"):
        return 0
    file = io.BytesIO(data)
    offset = IcoFile(file).entry[0].offset
    file.seek(offset)
    inner = PngImageFile if data[offset : offset + 4] == b"\x89PNG" else DibImageFile
    width, height = inner(file).size  # no more than the header is read
    return width * height


def upright(image: PIL.Image.Image) -> PIL.Image.Image:
    """Turned as its EXIF orientation says, in place; without one, or with a mangled one, as it is."""
    try:
        ImageOps.exif_transpose(image, in_place=True)
        return image
    except Exception:  # noqa: BLE001  EXIF is a small file system of its own: no damage in it spoils the pixels
        return image


def to_rgb(image: PIL.Image.Image) -> NDArray[np.uint8]:
    """Any mode to RGB of shape (height, width, 3): 16 bits scaled to 8, transparency over white."""
    if image.mode.startswith(("I", "F")):
        return np.asarray(_deep_to_rgb(image))
    if image.mode in {"RGBA", "LA", "PA", "La", "RGBa"} or "transparency" in image.info:
        return _over_white(image)
    return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))


def _over_white(image: PIL.Image.Image) -> NDArray[np.uint8]:
    """Some rows at a time: whole, each step on the way would be another copy of four bytes a pixel."""
    width, height = image.size
    flat = np.empty((height, width, 3), np.uint8)
    for top in range(0, height, STRIP):
        clear = image.crop((0, top, width, min(top + STRIP, height))).convert("RGBA")
        white = PIL.Image.new("RGBA", clear.size, "white")
        flat[top : top + STRIP] = np.asarray(PIL.Image.alpha_composite(white, clear).convert("RGB"))
    return flat


def _deep_to_rgb(image: PIL.Image.Image) -> PIL.Image.Image:
    """Grey of 16 or 32 bits; a scale is guessed from the largest value, since files seldom state it."""
    # 32 bits tell all of 16, and one copy worked on in place is enough: a small PNG may claim 100 million pixels.
    values = np.nan_to_num(np.array(image, dtype=np.float32), copy=False, posinf=0.0, neginf=0.0)
    top = float(values.max(initial=0.0))
    full = 1.0 if image.mode == "F" and top <= 1.0 else 255.0 if top <= 255.0 else 65535.0 if top <= 65535.0 else top
    values *= 255 / full
    return PIL.Image.fromarray(values.round(out=values).clip(0, 255, out=values).astype(np.uint8)).convert("RGB")
