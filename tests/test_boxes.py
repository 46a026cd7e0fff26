"""Geometry that knows no file."""

import math

import pytest

from fer_pipeline.vision.boxes import Box, Square, bounding_box, distance, overlap, slope


def test_a_box_knows_its_size_and_centre() -> None:
    box = Box(10, 20, 40, 60)
    assert (box.width, box.height, box.area, box.centre) == (30, 40, 1200, (25, 40))


def test_a_box_turned_inside_out_has_no_area() -> None:
    assert Box(10, 10, 5, 20).area == 0
    assert Box(10, 10, 5, 5).area == 0


def test_a_box_scales_with_its_image() -> None:
    assert Box(10, 20, 30, 40).scaled(0.5) == Box(5, 10, 15, 20)


def test_a_level_square_has_level_corners_clockwise_from_the_upper_left() -> None:
    assert Square(10, 20, 4, 0).corners() == [(8, 18), (12, 18), (12, 22), (8, 22)]


@pytest.mark.parametrize("angle", [-170.0, -30.0, 12.5, 90.0])
def test_a_turned_square_keeps_its_side_and_sinks_to_the_right_by_its_angle(angle: float) -> None:
    upper_left, upper_right, lower_right, lower_left = Square(3, -7, 50, angle).corners()
    sides = [(upper_left, upper_right), (upper_right, lower_right), (lower_right, lower_left), (lower_left, upper_left)]
    assert [distance(*side) for side in sides] == pytest.approx([50] * 4)
    assert slope(upper_left, upper_right) == pytest.approx(angle)


def test_a_bounding_box_touches_the_outermost_points() -> None:
    assert bounding_box([(3, 9), (-1, 4), (5, 5)]) == Box(-1, 4, 5, 9)


@pytest.mark.parametrize(
    ("other", "share"),
    [
        (Box(0, 0, 10, 10), 1),
        (Box(5, 0, 15, 10), 1 / 3),
        (Box(10, 0, 20, 10), 0),
        (Box(50, 50, 60, 60), 0),
        (Box(2, 2, 4, 4), 0.04),
    ],
)
def test_overlap_is_shared_area_over_joint_area_both_ways(other: Box, share: float) -> None:
    box = Box(0, 0, 10, 10)
    assert overlap(box, other) == pytest.approx(share)
    assert overlap(other, box) == pytest.approx(share)


def test_boxes_without_area_do_not_overlap() -> None:
    assert overlap(Box(1, 1, 1, 1), Box(1, 1, 1, 1)) == 0


def test_distance_and_slope_look_down_the_picture() -> None:
    assert distance((1, 1), (4, 5)) == 5
    assert slope((0, 0), (1, 1)) == pytest.approx(45)
    assert slope((0, 0), (1, -1)) == pytest.approx(-45)
    assert math.isclose(slope((0, 0), (-1, 0)), 180)
