"""What hides the mouth of a drawn face or a photo: a mask, a scarf, a hand, a cup, of any colour and texture.

Photos are uint8 RGB (height, width, 3), landmarks (68, 2) in pixels of the photo.
"""

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from .painting import Photo, draw_background, ellipse, gradient, paint, random_colour

Pixels = NDArray[np.uint8]
Shape = NDArray[np.floating]


def hide_mouth(photo: Pixels, landmarks: Shape, rng: np.random.Generator, kind: str = "") -> Pixels:
    """Cover the mouth by one of COVERS, any if `kind` names none."""
    canvas = photo.astype(np.float32)
    cover = COVERS[kind or tuple(COVERS)[rng.integers(len(COVERS))]]
    cover(canvas, np.asarray(landmarks, np.float64), rng)
    return np.clip(canvas, 0, 255).astype(np.uint8)


def _hide_by_mask(photo: Photo, points: Shape, rng: np.random.Generator) -> None:
    """Cloth from the bridge of the nose to the jaw, with folds."""
    unit, first = _eye_distance(points), int(rng.integers(1, 4))
    nose = points[rng.integers(28, 31)] + (0, rng.uniform(0, 0.08) * unit)
    jaw = points[first : 17 - first] + rng.normal(0, 0.02 * unit, (17 - 2 * first, 2)) + (0, 0.04 * unit)
    shape = np.concatenate((jaw, (nose + (0.2 * unit, 0.02 * unit), nose, nose - (0.2 * unit, -0.02 * unit))))
    colour = _skin(photo, points) * rng.uniform(0.4, 1.4) if rng.random() < 0.4 else None
    _lay(photo, shape, _texture(photo, rng, colour), 0.02 * unit)
    for _ in range(rng.integers(0, 5)):
        fold = _mouth(points) + rng.normal(0, 0.3 * unit, (2, 2))
        paint(photo, fold, _skin(photo, points) * rng.uniform(0.2, 1.3), 0.5, 0.01 * unit, 0.02 * unit)


def _hide_by_scarf(photo: Photo, points: Shape, rng: np.random.Generator) -> None:
    """All from a line between nose and mouth down."""
    height, width = photo.shape[:2]
    unit, base = _eye_distance(points), float(points[30, 1])
    line = rng.uniform(base + 0.05 * unit, max(float(points[48:68, 1].min()) - 0.03 * unit, base + 0.06 * unit))
    rise = rng.normal(0, 0.15) * width / 2
    shape = np.array(((-9, line - rise), (width + 9, line + rise), (width + 9, height + 9), (-9, height + 9)))
    _lay(photo, shape, _texture(photo, rng), rng.uniform(0, 0.03) * unit)


def _hide_by_fist(photo: Photo, points: Shape, rng: np.random.Generator) -> None:
    """A blob, mostly of the skin's colour, lit in the middle."""
    unit, (across, down), (x, y) = _eye_distance(points), _size(points), _mouth(points)
    wide, tall = across * rng.uniform(0.65, 1.2), max(down, 0.25 * unit) * rng.uniform(0.75, 1.6)
    shape = ellipse(x, y, wide, tall) + rng.normal(0, 0.02 * unit, (33, 2))
    colour = _skin(photo, points) * rng.uniform(0.5, 1.3) if rng.random() < 0.6 else None
    rows, columns = np.mgrid[: photo.shape[0], : photo.shape[1]]
    fall = rng.uniform(0, 0.4) * (((columns - x) / wide) ** 2 + ((rows - y) / tall) ** 2)
    _lay(photo, shape, _texture(photo, rng, colour) * _light(fall), 0.02 * unit)


def _hide_by_fingers(photo: Photo, points: Shape, rng: np.random.Generator) -> None:
    """Two to five fingers in any direction."""
    unit, (across, down), middle = _eye_distance(points), _size(points), _mouth(points)
    angle = rng.uniform(0, np.pi) if rng.random() < 0.6 else rng.normal(0, 0.35)
    along = np.array((np.cos(angle), np.sin(angle)))
    aside, count = np.array((-along[1], along[0])), int(rng.integers(2, 6))
    half = 0.75 * max(across, down) / count
    skin = _skin(photo, points) * rng.uniform(0.6, 1.2) * rng.uniform(0.95, 1.05, 3)
    rows, columns = np.mgrid[: photo.shape[0], : photo.shape[1]]
    tip = np.linspace(-np.pi / 2, np.pi / 2, 7)[:, None]
    for number in range(count):
        centre = middle + aside * (2 * number + 1 - count) * half
        reach, root = rng.uniform(0.8, 1.6) * across, centre - along * rng.uniform(0.8, 3) * across
        end = centre + along * (reach + half * np.cos(tip)) + aside * half * np.sin(tip)
        shape = np.concatenate((root - aside * half, end.ravel(), root + aside * half)).reshape(-1, 2)
        off = ((columns - centre[0]) * aside[0] + (rows - centre[1]) * aside[1]) / half
        _lay(photo, shape, skin * _light(rng.uniform(0.1, 0.6) * off**2), 0.01 * unit)


def _hide_by_cup(photo: Photo, points: Shape, rng: np.random.Generator) -> None:
    """A cup, phone or microphone: a box with a round rim at the upper lip or above."""
    unit, (across, down), middle = _eye_distance(points), _size(points), _mouth(points)
    lean = float(rng.normal(0, 0.25 if rng.random() < 0.4 else 0.05))
    half, top = across * rng.uniform(0.55, 1.0), max(0.6 * down, 0.12 * unit) * rng.uniform(0.9, 1.6)
    low, narrow = rng.uniform(0.25, 1.1) * unit, rng.uniform(0.7, 1) * half
    box = np.array(((-half, -top), (half, -top), (narrow, low), (-narrow, low)))
    turn = np.array(((np.cos(lean), np.sin(lean)), (-np.sin(lean), np.cos(lean))))
    colour = np.asarray(random_colour(rng)) if rng.random() < 0.4 else None
    texture = _texture(photo, rng, colour, plain=colour is not None)
    columns = np.arange(photo.shape[1])[None, :]
    fall = rng.uniform(0, 0.6) * ((columns - middle[0]) / half - rng.uniform(-0.5, 0.5)) ** 2
    _lay(photo, box @ turn + middle, texture * _light(np.broadcast_to(fall, photo.shape[:2])), 0.5)
    if rng.random() < 0.75:
        rim = ellipse(0, -top, half, rng.uniform(0.09, 0.2) * half) @ turn + middle
        paint(photo, rim, np.clip(texture.mean(axis=(0, 1)) * rng.uniform(0.3, 1.4), 0, 255), 1, 0.5)


COVERS: dict[str, Callable[[Photo, Shape, np.random.Generator], None]] = {
    "mask": _hide_by_mask,
    "scarf": _hide_by_scarf,
    "fist": _hide_by_fist,
    "fingers": _hide_by_fingers,
    "cup": _hide_by_cup,
}


def _lay(photo: Photo, shape: Shape, texture: Shape, blur: float) -> None:
    """Blend a texture (height, width, 3) into the photo where a polygon (n, 2) lies, in place."""
    mask = np.zeros(photo.shape[:2], np.uint8)
    cv2.fillPoly(mask, [np.round(np.clip(shape, -1e4, 1e4)).astype(np.int32)], 255)
    share = cv2.GaussianBlur(mask, (0, 0), max(0.3, blur)).astype(np.float32)[:, :, None] / 255
    photo += (np.clip(texture, 0, 255).astype(np.float32) - photo) * share


def _texture(photo: Photo, rng: np.random.Generator, colour: Shape | None = None, *, plain: bool = False) -> Shape:
    """Plain cloth, shapes out of focus, stripes, spots or a fade, as large as the photo."""
    height, width = photo.shape[:2]
    base = np.ones((height, width, 3)) * (rng.uniform(15, 240, 3) if colour is None else colour)
    kind = 0 if plain else rng.integers(5)
    if kind == 1:
        return draw_background(rng, width, height)
    if kind == 2:
        angle, rows, columns = rng.uniform(0, np.pi), *np.mgrid[:height, :width]
        wave = np.sin((columns * np.cos(angle) + rows * np.sin(angle)) * 2 * np.pi / rng.uniform(3, 25))
        return np.asarray(base + np.sign(wave)[:, :, None] * rng.uniform(5, 60))
    if kind == 3:
        step = rng.uniform(2, 20)
        spots = rng.normal(0, 1, (int(height / step) + 2, int(width / step) + 2)).astype(np.float32)
        large = cv2.resize(spots, (width, height), interpolation=cv2.INTER_CUBIC)
        return np.asarray(base + large[:, :, None] * rng.uniform(5, 60))
    if kind == 4:
        return np.asarray(
            base + gradient((-60,) * 3, (60,) * 3, width, height, rng.uniform(0, 2 * np.pi)) * rng.uniform(0.2, 1.5)
        )
    return np.asarray(base)


def _light(fall: Shape) -> Shape:
    """How bright a round thing is, from how far its surface falls back."""
    return np.asarray(np.clip(1.1 - fall, 0.2, 1.2)[:, :, None])


def _skin(photo: Photo, points: Shape) -> Shape:
    """The colour on the nose."""
    row, column = (int(np.clip(points[29, axis], 0, photo.shape[1 - axis] - 1)) for axis in (1, 0))
    return np.asarray(photo[row, column], np.float64)


def _eye_distance(points: Shape) -> float:
    return float(np.linalg.norm(points[36] - points[45]))


def _mouth(points: Shape) -> Shape:
    return np.asarray(points[48:68].mean(axis=0))


def _size(points: Shape) -> tuple[float, float]:
    """The mouth's width, half the distance of the eyes at least, and its height."""
    return max(float(np.linalg.norm(points[48] - points[54])), 0.45 * _eye_distance(points)), float(
        np.ptp(points[48:68, 1])
    )
