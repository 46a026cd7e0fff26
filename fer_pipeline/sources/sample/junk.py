"""What a crawl brings besides plain photos: scenes without a face, copies, odd encodings and broken files.

Photos are uint8 RGB arrays (height, width, 3).
"""

import io

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .drawing import develop
from .painting import Photo, draw_background, ellipse, gradient, paint, random_colour, rectangle, turned

Pixels = NDArray[np.uint8]

ENCODINGS = {
    "png": "png",
    "webp": "webp",
    "gif": "gif",
    "bmp": "bmp",
    "tiff": "tif",
    "cmyk": "jpg",
    "rotated": "jpg",
    "grey": "jpg",
    "grey16": "png",
    "alpha": "png",
}  # what `encode` can write, and the ending of such a file
ORIENTATION = 0x0112  # the EXIF tag
TURN_RIGHT = 6  # its value for "turn by 90 degrees clockwise to see it upright"
HTML = b"<!DOCTYPE html>\n<html><head><title>404 Not Found</title></head><body><h1>Not Found</h1></body></html>\n"
LETTERS = "abcdefghijklmnopqrstuvwxyz     .,"


def draw_scene(rng: np.random.Generator, width: int, height: int) -> Pixels:
    """A picture without any face: a landscape, blobs, a page of text or a texture."""
    draw = (_draw_landscape, draw_background, _draw_page, _draw_texture)[rng.integers(4)]
    return develop(draw(rng, width, height), width / 3, rng)


def _draw_landscape(rng: np.random.Generator, width: int, height: int) -> Photo:
    """Sky and sun above two ranges of hills and a few trees."""
    photo = gradient((90, 140, rng.uniform(180, 240)), (230, 220, 210), width, height, np.pi / 2)
    sun = 0.05 * width
    paint(photo, ellipse(rng.uniform(0, width), 0.2 * height, sun, sun), (255, 240, 190), 0.9, 0.1 * sun)
    for level in (0.5, 0.7):
        x = np.linspace(-0.05, 1.05, 14) * width
        y = (level + rng.uniform(-0.12, 0.12, 14)) * height
        hill = np.concatenate((np.column_stack((x, y)), ((1.05 * width, height + 9), (-0.05 * width, height + 9))))
        paint(photo, hill, rng.uniform((30, 60, 30), (120, 150, 110), 3), 1, 1)
    for left in rng.uniform(0, width, rng.integers(2, 9)).tolist():
        root, size = rng.uniform(0.7, 0.9) * height, rng.uniform(0.04, 0.12) * height
        paint(photo, rectangle(left - 0.1 * size, root, left + 0.1 * size, root + 1.5 * size), (70, 48, 30))
        paint(photo, ellipse(left, root, 0.7 * size, size), rng.uniform((20, 60, 20), (70, 120, 60), 3), 0.95, 1)
    return photo


def _draw_page(rng: np.random.Generator, width: int, height: int) -> Photo:
    """Lines of letters on paper."""
    paper, ink = rng.uniform(190, 250, 3), rng.uniform(10, 110, 3)
    page = gradient(paper, 0.9 * paper, width, height, rng.uniform(0, 2 * np.pi))
    size = rng.uniform(0.4, 1.2)
    for line in np.arange(40 * size, height, 34 * size):
        text = "".join(rng.choice(list(LETTERS), rng.integers(10, 60)))
        cv2.putText(page, text, (12, int(line)), cv2.FONT_HERSHEY_COMPLEX, size, ink.tolist(), 1, cv2.LINE_AA)
    return page


def _draw_texture(rng: np.random.Generator, width: int, height: int) -> Photo:
    """Stripes, tiles or clouds."""
    kind, step = rng.integers(3), int(rng.uniform(0.05, 0.15) * width) + 4
    first, second = random_colour(rng), random_colour(rng)
    if kind == 2:
        clouds = rng.uniform(0, 255, (max(2, height // step), max(2, width // step), 3)).astype(np.float32)
        return np.asarray(cv2.resize(clouds, (width, height), interpolation=cv2.INTER_CUBIC), np.float32)
    photo = gradient(first, first, width, height, 0)
    for row, y in enumerate(range(-step, height + step, step)):
        left = -width if kind == 0 else 0
        spots = [left] if kind == 0 else range((row % 2) * step, width, 2 * step)
        for x in spots:
            shape = rectangle(x, y, x + (3 * width if kind == 0 else step), y + 0.5 * step * (1 + kind))
            paint(photo, turned(shape, 0.4) if kind == 0 else shape, second, 0.9, 0.5)
    return photo


def to_jpeg(photo: Pixels, quality: int) -> bytes:
    """The photo as JPEG bytes."""
    return _save(Image.fromarray(photo), "JPEG", quality=quality)


def copy_photo(photo: Pixels, rng: np.random.Generator) -> tuple[bytes, float]:
    """A near copy as JPEG bytes (re-encoded, perhaps resized or watermarked) and its size over the original's."""
    height, width = photo.shape[:2]
    scale = 1.0 if rng.random() < 0.4 else float(rng.uniform(0.65, 1.3))
    size = (round(scale * width), round(scale * height))
    copy = cv2.resize(photo, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    if rng.random() < 0.4:
        mark, letters = copy.copy(), max(0.3, size[0] / 900)
        spot = (int(0.04 * size[0]), int(0.96 * size[1]))
        font, white = cv2.FONT_HERSHEY_SIMPLEX, (255, 255, 255)
        cv2.putText(mark, "photo-bank.example", spot, font, letters, white, 1, cv2.LINE_AA)
        copy = cv2.addWeighted(copy, 0.4, mark, 0.6, 0)
    return to_jpeg(np.asarray(copy, np.uint8), int(rng.integers(40, 80))), size[0] / width


def encode(photo: Pixels, encoding: str) -> bytes:
    """The photo in one of `ENCODINGS`; read back upright it shows the same picture."""
    image = Image.fromarray(photo)
    if encoding == "cmyk":
        return _save(image.convert("CMYK"), "JPEG", quality=88)
    if encoding == "grey":
        return _save(image.convert("L"), "JPEG", quality=88)
    if encoding == "rotated":
        return _save_turned(image)
    if encoding == "grey16":
        deep = np.asarray(image.convert("L")).astype(np.uint16) * 257
        return bytes(cv2.imencode(".png", deep)[1])
    if encoding == "alpha":
        return _save(_with_alpha(image), "PNG")
    return _save(image, encoding.upper())


def _save_turned(image: Image.Image) -> bytes:
    """A JPEG whose pixels lie on their side and whose EXIF orientation says so."""
    exif = Image.Exif()
    exif[ORIENTATION] = TURN_RIGHT
    return _save(image.transpose(Image.Transpose.ROTATE_90), "JPEG", quality=88, exif=exif.tobytes())


def _with_alpha(image: Image.Image) -> Image.Image:
    """The image with rims that fade to transparent."""
    x, y = np.meshgrid(np.linspace(-1, 1, image.width), np.linspace(-1, 1, image.height))
    fade = np.clip((1 - np.maximum(np.abs(x), np.abs(y))) * 25, 0, 1)
    image = image.copy()
    image.putalpha(Image.fromarray((255 * fade).astype(np.uint8)))
    return image


def _save(image: Image.Image, form: str, **options: int | bytes) -> bytes:
    """The image's bytes in Pillow's format `form`."""
    target = io.BytesIO()
    image.save(target, form, **options)
    return target.getvalue()
