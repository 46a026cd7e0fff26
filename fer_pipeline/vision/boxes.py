"""Bounding boxes and rotated squares in pixel coordinates, x to the right and y downwards, and their geometry."""

import math
from collections.abc import Iterable
from typing import NamedTuple

Point = tuple[float, float]


class Box(NamedTuple):
    """An axis-aligned bounding box in pixels; `right` and `bottom` are exclusive."""

    left: float
    top: float
    right: float
    bottom: float

    @property
    def width(self) -> float:
        return self.right - self.left

    @property
    def height(self) -> float:
        return self.bottom - self.top

    @property
    def area(self) -> float:
        return max(self.width, 0.0) * max(self.height, 0.0)

    @property
    def centre(self) -> Point:
        return (self.left + self.right) / 2, (self.top + self.bottom) / 2

    def holds(self, point: Point) -> bool:
        """Whether the box contains a point."""
        return self.left <= point[0] < self.right and self.top <= point[1] < self.bottom

    def scaled(self, factor: float) -> "Box":
        """Return the box on an image `factor` times as large."""
        return Box(*(round(value * factor, 1) for value in self))


class Square(NamedTuple):
    """A square of centre (x, y) in pixels, rotated by `angle` degrees (positive: its right side is lower)."""

    x: float
    y: float
    side: float
    angle: float

    def corners(self) -> list[Point]:
        """Return the upper left, upper right, lower right and lower left corner."""
        cos, sin = math.cos(math.radians(self.angle)), math.sin(math.radians(self.angle))
        half = self.side / 2
        offsets = ((-half, -half), (half, -half), (half, half), (-half, half))
        return [(self.x + dx * cos - dy * sin, self.y + dx * sin + dy * cos) for dx, dy in offsets]


def bounding_box(points: Iterable[Point]) -> Box:
    """Return the smallest box around some points."""
    xs, ys = zip(*points, strict=True)
    return Box(min(xs), min(ys), max(xs), max(ys))


def overlap(first: Box, second: Box) -> float:
    """Compute the intersection over union of two boxes, 0 to 1."""
    width = min(first.right, second.right) - max(first.left, second.left)
    height = min(first.bottom, second.bottom) - max(first.top, second.top)
    shared = max(width, 0.0) * max(height, 0.0)
    union = first.area + second.area - shared
    return shared / union if union else 0.0


def distance(first: Point, second: Point) -> float:
    """Compute the Euclidean distance in pixels."""
    return math.hypot(second[0] - first[0], second[1] - first[1])


def slope(first: Point, second: Point) -> float:
    """Compute the angle of the line from `first` to `second` in degrees; 0 is level, positive falls to the right."""
    return math.degrees(math.atan2(second[1] - first[1], second[0] - first[0]))
