"""The 68 landmarks of a drawn face (iBUG 300-W order), and where they fall in a photo.

Local frame: the origin lies midway between the eyes, one unit is the width of the face, x grows to the right of the
picture and y downwards. The proportions are those of the mean iBUG 300-W shape.
"""

import numpy as np
from numpy.typing import NDArray

from .faces import Face

Points = NDArray[np.float32]

JAW = np.array([(0.5, 0), (0.495, 0.135), (0.48, 0.27), (0.45, 0.4), (0.4, 0.525), (0.325, 0.635), (0.23, 0.725),
                (0.12, 0.79), (0, 0.815)])  # fmt: skip
BROW = np.array([(0.395, -0.092), (0.34, -0.143), (0.265, -0.163), (0.18, -0.151), (0.1, -0.118)])
EYE = np.array([(0.98, 0.2), (0.42, -0.9), (-0.4, -0.8), (-0.95, 0.35), (-0.35, 1.1), (0.42, 1.15)])


def local_landmarks(face: Face) -> Points:
    """The 68 landmarks, (68, 2) in face widths, in iBUG order."""
    build, mouth = face.build, face.mouth
    right = JAW * (1, build.length)
    right[:, 0] += build.jaw * np.sin(np.pi * right[:, 1] / right[-1, 1])
    right[:, 1] += 0.35 * mouth.gap * (right[:, 1] / right[-1, 1]) ** 2
    brow = BROW - (0, build.brow_lift)
    bridge = np.column_stack((np.linspace(0.2, 1, 4) * build.yaw, np.linspace(0, build.nose_length, 4)))
    base = np.linspace(-build.nose_width, build.nose_width, 5)
    sill = build.nose_length + np.array((0.062, 0.08, 0.09, 0.08, 0.062))
    nose = np.column_stack((base + 0.9 * build.yaw, sill))
    eye = EYE * (build.eye_half, build.eye_open) + (build.eye_spread, 0)
    mirror = np.array((-1, 1))
    left_eye, right_eye = eye * mirror, eye[[3, 2, 1, 0, 5, 4]]
    parts = [right[:-1] * mirror, right[::-1], brow * mirror, brow[::-1], bridge, nose, left_eye, right_eye]
    points = np.concatenate((*parts, _lips(face)))
    points[17:27, 0] += 0.5 * build.yaw
    points[36:48, 0] += 0.5 * build.yaw
    return points.astype(np.float32)


def place(face: Face, points: NDArray[np.floating]) -> Points:
    """Local points (n, 2) in face widths to photo pixels (n, 2)."""
    turn = np.deg2rad(face.tilt)
    matrix = face.width * np.array(((np.cos(turn), np.sin(turn)), (-np.sin(turn), np.cos(turn))))
    return np.asarray(points @ matrix + np.array(face.centre), np.float32)


def _lips(face: Face) -> NDArray[np.float64]:
    """Landmarks 48 to 67, (20, 2) in face widths: outer lips clockwise from the left corner, then inner lips."""
    mouth, build = face.mouth, face.build
    across = np.array((-1, -0.64, -0.26, 0, 0.26, 0.64, 1, 0.62, 0.28, 0, -0.28, -0.62))
    thick = np.array((0, 0.62, 1, 0.82, 1, 0.62, 0, 0.66, 0.97, 1, 0.97, 0.66))
    side = np.array([0, -1, -1, -1, -1, -1, 0, 1, 1, 1, 1, 1])
    inner = np.array((-0.84, -0.3, 0, 0.3, 0.84, 0.3, 0, -0.3))
    inner_side = np.array([0, -1, -1, -1, 0, 1, 1, 1])
    t = np.concatenate((across, inner))
    sides = np.concatenate((side, inner_side))
    lip = np.where(sides < 0, mouth.upper, mouth.lower) * np.concatenate((thick, np.zeros(8)))
    opening = np.where(sides < 0, 0.2, 0.8) * mouth.gap * np.sqrt(1 - t**2)
    middle = 0.48 * build.length + (build.nose_length - 0.26) + mouth.lift * (0.35 - t**2) + mouth.slant * t
    y = middle + sides * (lip + opening) + 0.1 * mouth.gap * (sides == 0)
    return np.column_stack((t * mouth.half + 0.7 * build.yaw, y))
