"""The 68 landmarks of a drawn face (iBUG 300-W order) on a head with depth, and where they fall in a photo.

Local frame: the origin lies midway between the eyes, one unit is the width of the face, x grows to the right of the
picture, y downwards and z towards the camera. The proportions are those of the mean iBUG 300-W shape.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from .faces import Face

Points = NDArray[np.float32]

JAW = np.array([(0.5, 0), (0.495, 0.135), (0.48, 0.27), (0.45, 0.4), (0.4, 0.525), (0.325, 0.635), (0.23, 0.725),
                (0.12, 0.79), (0, 0.815)])  # fmt: skip
BROW = np.array([(0.395, -0.092), (0.34, -0.143), (0.265, -0.163), (0.18, -0.151), (0.1, -0.118)])
EYE = np.array([(0.98, 0.2), (0.42, -0.9), (-0.4, -0.8), (-0.95, 0.35), (-0.35, 1.1), (0.42, 1.15)])
NEAR = 6.0  # face widths between camera and face


def local_landmarks(face: Face) -> Points:
    """The 68 landmarks, (68, 2) in face widths, in iBUG order, of the face turned to the camera."""
    build = face.build
    lips = _lips(face)
    right = JAW * (1, (lips[9, 1] + face.mouth.to_chin * eye_distance(face)) / JAW[-1, 1])
    right[:, 0] += build.jaw * np.sin(np.pi * right[:, 1] / right[-1, 1])
    brow = BROW - (0, build.brow_lift)
    bridge = np.column_stack((np.zeros(4), np.linspace(0, build.nose_length, 4)))
    base = np.linspace(-build.nose_width, build.nose_width, 5)
    sill = build.nose_length + np.array((0.062, 0.08, 0.09, 0.08, 0.062))
    eye = EYE * (build.eye_half, build.eye_open) + (build.eye_spread, 0)
    mirror = np.array((-1, 1))
    left_eye, right_eye = eye * mirror, eye[[3, 2, 1, 0, 5, 4]]
    sides = [right[:-1] * mirror, right[::-1], brow * mirror, brow[::-1]]
    return np.concatenate((*sides, bridge, np.column_stack((base, sill)), left_eye, right_eye, lips), dtype=np.float32)


def eye_distance(face: Face) -> float:
    """The distance of the outer eye corners in face widths."""
    return 2 * (face.build.eye_spread + float(EYE[0, 0]) * face.build.eye_half)


def place(face: Face, points: NDArray[np.floating], depth: float | None = None) -> Points:
    """Local points (n, 2) in face widths to photo pixels (n, 2): on the head's surface, or at one `depth`."""
    z = _surface(face, points) if depth is None else np.full(len(points), depth)
    turned = np.column_stack((points, z)) @ _rotation(face.yaw, face.pitch, face.tilt)
    near = NEAR / (NEAR - turned[:, 2:])
    return np.asarray(face.width * turned[:, :2] * near + np.array(face.centre), np.float32)


def stand(face: Face, points: NDArray[np.floating]) -> Points:
    """Local points (n, 2) of the body, which leans a little with the head, to photo pixels (n, 2)."""
    turn = np.deg2rad(0.4 * face.tilt)
    matrix = np.array(((np.cos(turn), np.sin(turn)), (-np.sin(turn), np.cos(turn))))
    return np.asarray(face.width * (points @ matrix) + np.array(face.centre), np.float32)


@lru_cache(maxsize=64)
def _rotation(yaw: float, pitch: float, tilt: float) -> NDArray[np.float64]:
    """The matrix (3, 3) that turns points (n, 3) from the right: by `yaw`, then `pitch`, then `tilt`, in degrees."""
    (a, b, c), (u, v, w) = (wave(np.deg2rad((yaw, pitch, tilt))) for wave in (np.cos, np.sin))
    turn = np.array(((a, 0, -u), (0, 1, 0), (u, 0, a)))
    nod = np.array(((1, 0, 0), (0, b, -v), (0, v, b)))
    return np.asarray(turn @ nod @ np.array(((c, w, 0), (-w, c, 0), (0, 0, 1))))


def _surface(face: Face, points: NDArray[np.floating]) -> NDArray[np.float64]:
    """How far the points (n, 2) of the face stand out, (n,): a rounded head with nose, sockets, lips and chin."""
    x, y = np.asarray(points, np.float64).T
    wide = np.minimum(np.abs(x) * (1 + 0.35 * np.clip(y, 0, 0.8)) / 0.53, 1)
    z = -0.48 * (1 - np.sqrt(1 - wide * wide)) - 0.6 * np.clip(-0.2 - y, 0, 1) ** 2
    left, top, across, down, height = _bumps(face)
    return np.asarray(z + np.exp(-(((x[:, None] - left) / across) ** 2) - ((y[:, None] - top) / down) ** 2) @ height)


@lru_cache(maxsize=64)
def _bumps(face: Face) -> NDArray[np.float64]:
    """What stands out of the head or lies in it, (5, n): place, width and height across the face, and how far."""
    tip, lips = face.build.nose_length, face.build.nose_length + 0.09 + 0.3 * eye_distance(face)
    ridge = (0, 0.5 * tip, 0.07, 0.15, 0.4 * face.build.nose_depth)
    ball = (0, tip, 0.09, 0.09, 0.7 * face.build.nose_depth)
    sockets = ((-0.2, 0, 0.1, 0.06, -0.03), (0.2, 0, 0.1, 0.06, -0.03))
    mouth = (0, lips, 0.2, 0.13, 0.04 + face.mouth.forward)
    return np.array((ridge, ball, *sockets, mouth, (0, 0.74, 0.1, 0.08, 0.03))).T


def _lips(face: Face) -> NDArray[np.float64]:
    """Landmarks 48 to 67, (20, 2) in face widths: outer lips clockwise from the left corner, then inner lips.

    The middle is as `Mouth` says; how the other points follow is the mean of the portraits its figures come from.
    """
    mouth, unit = face.mouth, eye_distance(face)
    top, inner_top = 0.0, mouth.upper
    inner_bottom = inner_top + mouth.gap
    bottom = inner_bottom + mouth.lower
    corner = (top + bottom) / 2 - mouth.lift
    bow = 0.015 * mouth.width
    upper = (corner, 0.5 * (corner + top) - 0.48 * mouth.upper, top - 0.4 * mouth.upper, top)
    lower = (0.4 * corner + 0.6 * bottom + 0.1 * mouth.lower, bottom - 0.08 * mouth.lower, bottom)
    inside = (corner, inner_top - bow * max(0.0, 1 - mouth.gap / 0.2), inner_top), (inner_bottom - bow, inner_bottom)
    half = np.array((-1, -0.64, -0.275, 0, 0.275, 0.64, 1, 0.652, 0.295, 0, -0.295, -0.652,
                     -0.84, -0.278, 0, 0.278, 0.84, 0.275, 0, -0.275)) / 2  # fmt: skip
    y = np.array((*upper, *upper[2::-1], *lower, *lower[1::-1],
                  *inside[0], *inside[0][1::-1], *inside[1], inside[1][0]))  # fmt: skip
    y += 2 * mouth.slant * half
    base = face.build.nose_length + 0.09 + mouth.to_nose * unit
    return np.column_stack((half * mouth.width * unit + mouth.shift, y * unit + base))
