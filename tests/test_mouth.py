"""The mouth in numbers does not depend on the camera."""

import numpy as np
import pytest
from support.pictures import Points, draw_portrait

from fer_pipeline.config.schema import CropSettings
from fer_pipeline.vision.crop import measure_crops, place_square
from fer_pipeline.vision.cutting import cut_square
from fer_pipeline.vision.mouth import MOUTH, OUTLINE, PAIRS, eye_distance, level, measure_mouth, measure_outline, tilt


@pytest.fixture(scope="module")
def landmarks() -> Points:
    return draw_portrait(1, "smile", tilt=0.0)[1]


def turn(points: Points, degrees: float, scale: float = 1.0) -> Points:
    """Turned so that its right side sinks, enlarged and moved."""
    angle = np.deg2rad(degrees)
    matrix = scale * np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    return np.asarray(points @ matrix + (70, -30), np.float32)


def test_the_mouth_is_the_last_twenty_points() -> None:
    assert list(range(68))[MOUTH] == list(range(48, 68))


def test_tilt_is_how_far_the_eyes_sink_to_the_right(landmarks: Points) -> None:
    level_tilt = tilt(landmarks)
    assert tilt(turn(landmarks, 15)) == pytest.approx(level_tilt + 15, abs=0.01)
    assert tilt(turn(landmarks, -40)) == pytest.approx(level_tilt - 40, abs=0.01)


def test_eye_distance_scales_with_the_photo_and_is_never_zero(landmarks: Points) -> None:
    assert eye_distance(turn(landmarks, 20, 3)) == pytest.approx(3 * eye_distance(landmarks), rel=1e-4)
    assert eye_distance(np.zeros((68, 2), np.float32)) == 1


@pytest.mark.parametrize(("degrees", "scale"), [(20, 1.0), (-35, 0.5), (180, 4.0)])
def test_the_numbers_stay_when_the_photo_is_turned_or_enlarged(landmarks: Points, degrees: float, scale: float) -> None:
    assert measure_mouth(turn(landmarks, degrees, scale)) == pytest.approx(measure_mouth(landmarks), abs=2e-3)


def test_levelled_points_have_level_eyes_and_the_mouth_at_the_origin(landmarks: Points) -> None:
    points = level(turn(landmarks, 33, 2))
    assert tilt(points) == pytest.approx(0, abs=1e-3)
    assert points[MOUTH].mean(axis=0) == pytest.approx((0, 0), abs=1e-4)
    assert eye_distance(points) == pytest.approx(1, abs=1e-4)


def test_points_all_in_one_place_have_numbers_too() -> None:
    values = measure_mouth(np.full((68, 2), 7, np.float32)).values()
    assert np.isfinite(list(values)).all()


def mean_measure(label: str, name: str) -> float:
    return float(np.mean([measure_mouth(draw_portrait(seed, label)[1])[name] for seed in range(8)]))


@pytest.mark.parametrize(
    ("more", "less", "name"),
    [
        ("smile", "pout", "width"),
        ("smile", "neutral", "corner_lift_over_width"),
        ("open", "neutral", "inner_height_over_width"),
        ("pout", "smile", "upper_lip_over_width"),
    ],
)
def test_each_expression_shows_in_its_number(more: str, less: str, name: str) -> None:
    assert mean_measure(more, name) > mean_measure(less, name)


@pytest.mark.parametrize(("degrees", "scale"), [(20, 1.0), (-35, 0.5), (180, 4.0)])
def test_the_outline_stays_when_the_photo_is_turned_or_enlarged(
    landmarks: Points, degrees: float, scale: float
) -> None:
    outline = measure_outline(landmarks)
    assert tuple(outline) == OUTLINE
    assert measure_outline(turn(landmarks, degrees, scale)) == pytest.approx(outline, abs=2e-3)


def test_the_outline_is_of_the_lips_alone(landmarks: Points) -> None:
    moved = landmarks.copy()
    moved[:48] += 9
    assert measure_outline(moved) == measure_outline(landmarks)


def test_the_outline_is_the_same_in_the_mirror(landmarks: Points) -> None:
    mirrored = landmarks * (-1, 1)
    order = np.arange(68)
    order[[48, 54]] = order[[54, 48]]
    for first, second in PAIRS:
        order[[first, second]] = order[[second, first]]
    assert measure_outline(mirrored[order].astype(np.float32)) == pytest.approx(measure_outline(landmarks), abs=1e-5)


@pytest.mark.parametrize(
    "cut",
    [CropSettings(scale="eyes", align=True), CropSettings(scale="mouth"), CropSettings(region="face", scale="eyes")],
)
def test_a_crop_shows_the_outline_that_the_photo_shows(cut: CropSettings) -> None:
    """Found on the crop alone, without the face around it: an open mouth is taller than a closed one there too."""
    found: dict[str, list[float]] = {"open": [], "neutral": []}
    true: dict[str, list[float]] = {"open": [], "neutral": []}
    for label, values in found.items():
        for seed in range(4):
            photo, points = draw_portrait(seed, label)
            crop = cut_square(photo, place_square(points, cut), 96)
            values.append(float(measure_crops(crop[None], ["down_57"], cut)[0, 0]))
            true[label].append(measure_outline(points)["down_57"])
    assert np.mean(found["open"]) > np.mean(found["neutral"]) + 0.1
    assert np.mean(np.abs(np.subtract(found["open"], true["open"]))) < 0.35
