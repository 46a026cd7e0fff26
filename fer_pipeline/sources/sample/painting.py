"""Brushes: soft polygons, strokes and smooth curves on a float32 RGB photo, and backgrounds made of them."""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from .faces import Colour
from .landmarks import Points

Tint = Sequence[float] | NDArray[np.floating]  # red, green, blue, 0..255
Photo = NDArray[np.float32]  # (height, width, 3) RGB, 0..255


def paint(
    photo: Photo,
    shape: NDArray[np.floating],
    colour: Tint,
    opacity: float = 1.0,
    blur: float = 0.0,
    line: float = 0.0,
) -> None:
    """Blend a polygon (n, 2), or an open line of `line` px through it, into the photo; lengths in px, in place."""
    pad = 3 * blur + line + 2
    height, width = photo.shape[:2]
    left, top = np.clip(np.floor(shape.min(axis=0) - pad), 0, (width, height)).astype(int)
    right, bottom = np.clip(np.ceil(shape.max(axis=0) + pad), 0, (width, height)).astype(int)
    if right <= left or bottom <= top:
        return
    mask = _mask(shape - (left, top), (right - left, bottom - top), blur, line)
    region = photo[top:bottom, left:right]
    coat = cv2.subtract(np.array((*colour, 0), np.float64), region)
    cv2.multiply(coat, cv2.merge((mask, mask, mask)), coat, opacity / 255)
    cv2.add(region, coat, region)


def _mask(shape: NDArray[np.floating], size: tuple[int, int], blur: float, line: float) -> NDArray[np.float32]:
    """Coverage 0..255 of `size` (width, height) px; a wide blur is made small and enlarged, which costs little."""
    shrink = max(1.0, blur / 2)
    small = (max(1, round(size[0] / shrink)), max(1, round(size[1] / shrink)))
    mask: NDArray[np.uint8] = np.zeros((small[1], small[0]), np.uint8)
    ratio = np.array((small[0] / size[0], small[1] / size[1]))
    points = np.round(np.clip((shape * ratio - 0.5 * (1 - ratio)) * 16, -3e5, 3e5)).astype(np.int32)
    if line:
        cv2.polylines(mask, [points], False, 255, max(1, round(line / shrink)), cv2.LINE_AA, 4)
    else:
        cv2.fillPoly(mask, [points], 255, cv2.LINE_AA, 4)
    if blur:
        mask = np.asarray(cv2.GaussianBlur(mask, (0, 0), blur / shrink), np.uint8)
    if small != size:
        mask = np.asarray(cv2.resize(mask, size, interpolation=cv2.INTER_LINEAR), np.uint8)
    return mask.astype(np.float32)


def curve(points: NDArray[np.floating], closed: bool = False, steps: int = 8) -> Points:
    """A smooth (Catmull-Rom) curve through points (n, 2), with `steps` points per span."""
    ends = (points[-1:], points[:2]) if closed else (points[:1], points[-1:])
    padded = np.concatenate((ends[0], points, ends[1]))
    t = np.linspace(0, 1, steps, endpoint=False)[None, :, None]
    before, start, end, after = (padded[i : len(padded) - 3 + i, None, :] for i in range(4))
    bend = 2 * before - 5 * start + 4 * end - after
    swing = 3 * (start - end) + after - before
    spans = start + 0.5 * t * ((end - before) + t * (bend + t * swing))
    smooth = spans.reshape(-1, 2)
    return np.asarray(smooth if closed else np.concatenate((smooth, points[-1:])), np.float32)


def ellipse(x: float, y: float, across: float, down: float, start: float = 0, end: float = 360) -> Points:
    """Points of an ellipse (or of its arc between two angles in degrees, clockwise from the right), (33, 2)."""
    angle = np.deg2rad(np.linspace(start, end, 33))
    return np.column_stack((x + across * np.cos(angle), y + down * np.sin(angle))).astype(np.float32)


def rectangle(left: float, top: float, right: float, bottom: float) -> Points:
    """Corners of a rectangle, (4, 2)."""
    return np.array(((left, top), (right, top), (right, bottom), (left, bottom)), np.float32)


def gradient(start: Tint, end: Tint, width: int, height: int, angle: float) -> Photo:
    """A photo that fades from one colour to the other along `angle` (radians)."""
    x, y = np.meshgrid(np.linspace(-1, 1, 16), np.linspace(-1, 1, 16))
    fade = (np.clip(0.5 + 0.36 * (x * np.cos(angle) + y * np.sin(angle)), 0, 1))[:, :, None]
    small = np.asarray(start) * (1 - fade) + np.asarray(end) * fade
    return np.asarray(cv2.resize(small.astype(np.float32), (width, height)), np.float32)


def draw_background(rng: np.random.Generator, width: int, height: int) -> Photo:
    """An out-of-focus place: a gradient, then bars, discs and panes of any colour."""
    photo = gradient(random_colour(rng), random_colour(rng), width, height, rng.uniform(0, 2 * np.pi))
    for _ in range(rng.integers(3, 9)):
        x, y = rng.uniform(0, width), rng.uniform(0, height)
        across, down = rng.uniform(0.08, 0.5, 2) * (width, height)
        pane = rectangle(x - across, y - down, x + across, y + down)
        bar = rectangle(x - 0.25 * across, -height, x + 0.25 * across, 2 * height)
        shape = (pane, bar, ellipse(x, y, across, across))[rng.integers(3)]
        blur = rng.uniform(0.004, 0.05) * max(width, height)
        paint(photo, turned(shape, rng.normal(0, 0.25)), random_colour(rng), rng.uniform(0.4, 1), blur)
    return photo


def turned(shape: NDArray[np.floating], angle: float) -> Points:
    """The shape (n, 2) turned about its middle by `angle` radians."""
    matrix = np.array(((np.cos(angle), np.sin(angle)), (-np.sin(angle), np.cos(angle))))
    middle = shape.mean(axis=0)
    return np.asarray((shape - middle) @ matrix + middle, np.float32)


def random_colour(rng: np.random.Generator) -> Colour:
    """Any colour, now dull, now bright."""
    level, swing = rng.uniform(25, 230), rng.uniform(5, 60)
    red, green, blue = np.clip(level + rng.uniform(-swing, swing, 3), 0, 255)
    return float(red), float(green), float(blue)
