"""Geometric measures of the mouth from the 68 landmarks, which transfer between cameras better than pixels do."""

import numpy as np

from fer_pipeline.vision.boxes import Point, distance, slope
from fer_pipeline.vision.landmarks import Landmarks

# Landmarks of iBUG 300-W, counted from 0; left and right as seen in the image.
EYE_LEFT, EYE_RIGHT = 36, 45  # outer corners
NOSE_LEFT, NOSE_RIGHT, NOSE_BASE = 31, 35, 33
MOUTH_LEFT, MOUTH_RIGHT = 48, 54
UPPER_OUTER, UPPER_INNER, LOWER_INNER, LOWER_OUTER = 51, 62, 66, 57
INNER_LEFT, INNER_RIGHT = 60, 64
CHIN = 8
MOUTH = slice(48, 68)  # to 67 inclusive
# Landmarks of the lips and their mirror images, and those in the middle.
PAIRS = ((49, 53), (50, 52), (59, 55), (58, 56), (60, 64), (61, 63), (67, 65))
MIDDLE = (51, 57, 62, 66)
# The names of what `measure_outline` returns.
OUTLINE = (*(f"{way}_{first}" for first, _ in PAIRS for way in ("out", "down")), *(f"down_{point}" for point in MIDDLE))


def eye_distance(landmarks: Landmarks) -> float:
    """Compute the distance of the outer eye corners in pixels, 1 at least."""
    return max(distance(_at(landmarks, EYE_LEFT), _at(landmarks, EYE_RIGHT)), 1.0)


def tilt(landmarks: Landmarks) -> float:
    """Compute the angle of the line through the eyes in degrees; positive falls to the right."""
    return slope(_at(landmarks, EYE_LEFT), _at(landmarks, EYE_RIGHT))


def measure_mouth(landmarks: Landmarks) -> dict[str, float]:
    """Compute eleven ratios of lengths, over the eye distance or over each other, rotated level by the eyes."""
    points = level(landmarks)

    def span(first: int, second: int) -> float:
        return distance(_at(points, first), _at(points, second))

    width, height = max(span(MOUTH_LEFT, MOUTH_RIGHT), 1e-6), span(UPPER_OUTER, LOWER_OUTER)
    inner_width, inner_height = max(span(INNER_LEFT, INNER_RIGHT), 1e-6), span(UPPER_INNER, LOWER_INNER)
    corners = float(points[[MOUTH_LEFT, MOUTH_RIGHT], 1].mean())
    middle = float(points[[UPPER_OUTER, LOWER_OUTER], 1].mean())
    measures = {
        "width": width,
        "height": height,
        "width_over_nose": width / max(span(NOSE_LEFT, NOSE_RIGHT), 1e-6),
        "height_over_width": height / width,
        "inner_height_over_width": inner_height / inner_width,
        "inner_over_outer_width": inner_width / width,
        "corner_lift_over_width": (middle - corners) / width,
        "upper_lip_over_width": span(UPPER_OUTER, UPPER_INNER) / width,
        "lower_lip_over_width": span(LOWER_INNER, LOWER_OUTER) / width,
        "nose_to_lip_over_width": span(NOSE_BASE, UPPER_OUTER) / width,
        "lip_to_chin_over_width": span(LOWER_OUTER, CHIN) / width,
    }
    return {name: round(value, 4) for name, value in measures.items()}


def measure_outline(landmarks: Landmarks) -> dict[str, float]:
    """Describe the outline of the lips by eighteen ratios: landmarks `out` from the middle, `down` from the corners.

    Each is the mean of both sides, over the mouth's width and rotated level by its corners: it needs no landmark beyond
    the lips, and does not depend on how the photo was framed.
    """
    points = np.asarray(landmarks, dtype=np.float64)
    left, right = points[MOUTH_LEFT], points[MOUTH_RIGHT]
    width = max(float(np.hypot(*(right - left))), 1e-6)
    cos, sin = (right - left) / width
    out, down = ((points - (left + right) / 2) @ np.array([[cos, -sin], [sin, cos]]) / width).T
    measures: dict[str, float] = {}
    for first, second in PAIRS:
        measures[f"out_{first}"] = float(out[second] - out[first]) / 2
        measures[f"down_{first}"] = float(down[second] + down[first]) / 2
    return measures | {f"down_{point}": float(down[point]) for point in MIDDLE}


def level(landmarks: Landmarks) -> Landmarks:
    """Rotate landmarks (68, 2) level by the eyes, in units of the eye distance, the mouth's middle at the origin."""
    angle = np.deg2rad(-tilt(landmarks))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    centred = landmarks - landmarks[MOUTH].mean(axis=0)
    return np.asarray(centred @ turn.T / eye_distance(landmarks), dtype=np.float32)


def _at(landmarks: Landmarks, index: int) -> Point:
    return float(landmarks[index, 0]), float(landmarks[index, 1])
