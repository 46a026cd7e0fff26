"""Photos of drawn faces, painted from the back to the front out of each face's own landmarks."""

from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from .faces import LABELS, Face, random_face
from .features import paint_age, paint_beard, paint_eyes, paint_folds, paint_glasses, paint_mouth, paint_nose, shade
from .landmarks import Points, local_landmarks, place, stand
from .painting import Photo, curve, draw_background, ellipse, gradient, paint

__all__ = ["LABELS", "Face", "draw_photo", "random_face"]

SHARP = 180  # px: the largest width at which a face is painted


def draw_photo(
    faces: Sequence[Face], width: int, height: int, rng: np.random.Generator
) -> tuple[NDArray[np.uint8], list[Points]]:
    """Paint the faces on a background: RGB (height, width, 3) and, per face, landmarks (68, 2) in px.

    What is larger than `SHARP` px is painted smaller and enlarged: a phone's picture is no sharper.
    """
    scale = float(np.mean([face.width for face in faces])) if faces else width / 3
    shrunk = min(1.0, SHARP / scale)
    small = [_shrink(face, shrunk) for face in faces]
    photo = draw_background(rng, max(1, round(width * shrunk)), max(1, round(height * shrunk)))
    for face in small:
        _paint_person(photo, face, rng)
    if shrunk < 1:
        photo = np.asarray(cv2.resize(photo, (width, height)), np.float32)
    return develop(photo, scale, rng), [place(face, local_landmarks(face)) for face in faces]


def _shrink(face: Face, factor: float) -> Face:
    """The face in a smaller picture."""
    return replace(face, width=face.width * factor, centre=(face.centre[0] * factor, face.centre[1] * factor))


def develop(photo: Photo, scale: float, rng: np.random.Generator) -> NDArray[np.uint8]:
    """What a camera adds: uneven light, a colour cast, blur (following `scale`, in px) and sensor noise."""
    height, width = photo.shape[:2]
    small = (width // 12 + 2, height // 12 + 2)
    light = gradient((rng.uniform(0.75, 1.05),) * 3, (rng.uniform(0.9, 1.2),) * 3, *small, rng.uniform(0, 6.28))
    mottle = rng.normal(1, rng.uniform(0, 0.06), small[::-1])[:, :, None]
    light = light * (mottle * rng.normal(1, 0.03, 3)).astype(np.float32)
    light = np.asarray(cv2.resize(light, (width, height)), np.float32)
    exposed = cv2.multiply(photo, light, dtype=cv2.CV_8U)
    blur = rng.uniform(0.2, 0.011 * scale) if scale > 40 else 0.2
    exposed = cv2.GaussianBlur(exposed, (0, 0), min(blur, 2.5))
    tile = rng.standard_normal((256, 256), np.float32) * np.float32(min(0.5 + rng.exponential(1.5), 6))
    grain = np.tile(np.round(tile).astype(np.int16), (height // 256 + 1, width // 256 + 1))[:height, :width]
    return np.asarray(cv2.add(exposed, cv2.merge((grain, grain, grain)), dtype=cv2.CV_8U), np.uint8)


def _paint_person(photo: Photo, face: Face, rng: np.random.Generator) -> None:
    """One person from the shoulders behind to the glasses in front."""
    points = local_landmarks(face)
    _paint_hair_behind(photo, face)
    _paint_body(photo, face)
    _paint_head(photo, face, points)
    paint_age(photo, face, points)
    paint_folds(photo, face, points)
    paint_beard(photo, face, points, rng)
    paint_nose(photo, face, points)
    paint_eyes(photo, face, points)
    paint_mouth(photo, face, points)
    _paint_hair_in_front(photo, face, rng)
    if face.glasses:
        paint_glasses(photo, face, points)


def _paint_body(photo: Photo, face: Face) -> None:
    """Shoulders in a shirt, and the neck with the shadow of the chin."""
    unit = face.width
    half = np.array(((0.2, 0.9), (0.24, 1.0), (0.4, 1.06), (0.85, 1.2), (1.08, 1.45), (1.2, 2.2), (1.3, 4.5)))
    body = np.concatenate((half, half[::-1] * (-1, 1)))
    paint(photo, stand(face, curve(body)), face.shirt, blur=0.008 * unit)
    shaded = np.array(((0.2 * face.light[0], 1.3), (0.9, 1.35), (1.2, 2.2), (0.4, 4.5), (-0.3, 4.5)))
    paint(photo, stand(face, shaded), shade(face.shirt, 0.7), 0.5, 0.12 * unit)
    low = stand(face, curve(np.array(((0.26, 0.92), (0.4, 1.08), (0, 1.26), (-0.4, 1.08), (-0.26, 0.92)))))
    high = place(face, np.array(((-0.3, 0.5), (0.3, 0.5))), -0.35)
    paint(photo, np.concatenate((high, low)), shade(face.skin, 0.85 - 0.35 * face.shadow), blur=0.01 * unit)
    under = place(face, ellipse(0, 0.8, 0.3, 0.16), -0.2)
    paint(photo, under, shade(face.skin, 0.4), 0.4 + 0.5 * face.shadow, 0.05 * unit)


def _paint_hair_behind(photo: Photo, face: Face) -> None:
    """The mass of hair behind the head: none, a cap, a bob or long."""
    if face.hair_style == "bald":
        return
    low = {"bob": 0.62, "long": 1.15}.get(face.hair_style, 0.05)
    wide = 0.66 if low > 0.1 else 0.56
    cap = ellipse(0, -0.12, wide, 0.74, 180, 360)
    ends = np.array(((wide + 0.02, 0.5 * low), (wide - 0.06, low), (0.3, low + 0.05)))
    shape = np.concatenate((cap, ends, ends[::-1] * (-1, 1)))
    paint(photo, place(face, shape, -0.35), shade(face.hair, 0.8), blur=0.015 * face.width)


def _paint_head(photo: Photo, face: Face, points: Points) -> None:
    """Ears and the shaded oval: a dark rim, then lighter and smaller patches shifted towards the light."""
    unit, shift = face.width, 0.1 * np.array(face.light)
    for side in (-1, 1):
        ear, hollow = ellipse(side * 0.51, 0.1, 0.06, 0.14), ellipse(side * 0.525, 0.1, 0.025, 0.08)
        paint(photo, place(face, ear, -0.4), shade(face.skin, 0.85), blur=0.006 * unit)
        paint(photo, place(face, hollow, -0.4), shade(face.skin, 0.6), 0.6, 0.012 * unit)
    outline = np.concatenate((curve(points[:17]), ellipse(0, 0, 0.5, 0.62, 0, -180)[1:-1]))
    middle = np.array((0, 0.12))
    # What is seen of a turned head ends where its surface turns away: the hull of outlines further and further in.
    rings = np.concatenate([place(face, (outline - middle) * size + middle) for size in (1, 0.92, 0.82, 0.7)])
    paint(photo, np.asarray(cv2.convexHull(rings)[:, 0], np.float32), shade(face.skin, 0.72), blur=0.006 * unit)
    for size, gain in ((0.9, 0.9), (0.74, 1.03), (0.5, 1.08)):
        patch = (outline - middle) * size + middle + shift * (1.4 - size)
        paint(photo, place(face, patch), shade(face.skin, gain), 0.8, 0.07 * unit)
    dark = (outline - middle) * (0.36, 0.85) + middle - (0.3 * np.sign(face.light[0]), 0)
    paint(photo, place(face, dark), shade(face.skin, 0.5), 0.7 * face.shadow * abs(face.light[0]), 0.07 * unit)
    blush = (face.skin[0], face.skin[1] * 0.82, face.skin[2] * 0.8)
    for side in (-1, 1):
        paint(photo, place(face, ellipse(side * 0.28, 0.26, 0.11, 0.08)), blush, 0.35, 0.05 * unit)
    paint(photo, place(face, ellipse(0, points[8, 1] - 0.08, 0.07, 0.04)), shade(face.skin, 1.15), 0.4, 0.04 * unit)


def _paint_hair_in_front(photo: Photo, face: Face, rng: np.random.Generator) -> None:
    """The hair above the forehead, down to the hairline, and its strands."""
    if face.hair_style == "bald":
        return
    unit, line = face.width, -face.hairline
    if face.hair_style == "fringe":
        line = -0.25
    top = ellipse(0, -0.12, 0.56, 0.7, 180, 360)
    drop = 0.12 if face.hair_style in ("short", "fringe") else 0.4
    # On the side that a turned head hides, hair beside the cheek would lie on the face.
    low = [drop - (drop + 0.1) * min(1.0, max(0.0, side * face.yaw) / 10) for side in (1, -1)]
    right, left = (np.array(((0.55, y), (0.49, y - 0.02), (0.46, -0.15), (0.36, line + 0.08))) for y in low)
    front = np.array(((face.parting, line - 0.03),))
    border = np.concatenate((right, front, left[::-1] * (-1, 1)))
    paint(photo, place(face, np.concatenate((top, curve(border)))), face.hair, blur=0.008 * unit)
    for _ in range(24):
        size, lean = rng.uniform(0.7, 0.98), rng.uniform(190, 330)
        strand = ellipse(0, -0.12, 0.55 * size, 0.69 * size, lean, lean + rng.uniform(10, 35))
        keep = strand[strand[:, 1] < line - 0.05 + 0.25 * np.abs(strand[:, 0])]
        if len(keep) > 2:
            paint(photo, place(face, keep), shade(face.hair, rng.uniform(0.6, 1.5)), 0.3, 0, max(1.0, 0.012 * unit))
