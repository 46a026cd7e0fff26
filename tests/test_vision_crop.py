"""The one way from a photo to what a network sees."""

import cv2
import numpy as np
import pytest
from support.pictures import Points, draw_noise, draw_pair, draw_portrait, draw_view

from fer_pipeline.config.schema import CropSettings, Detector, Preprocessing
from fer_pipeline.vision.boxes import Box, Square
from fer_pipeline.vision.crop import as_crop, cut_crops, place_square, prepare, region_box
from fer_pipeline.vision.cutting import cut_square
from fer_pipeline.vision.detectors import Face
from fer_pipeline.vision.image_io import Image
from fer_pipeline.vision.landmarks import find_landmarks
from fer_pipeline.vision.mouth import eye_distance

LEVEL_LIPS = CropSettings(region="lips", scale="eyes", align=True, size=64)


def spread_points() -> Points:
    """68 points of which only the lips lie apart: 48 and 67 are the outermost of them."""
    points = np.full((68, 2), 500, np.float32)
    points[48:68] = 100
    points[48] = (60, 90)
    points[67] = (140, 130)
    points[36], points[45] = (80, 40), (180, 40)
    return points


def near(first: Image, second: Image) -> float:
    return float(np.abs(first.astype(int) - second.astype(int)).mean())


def test_the_lips_are_points_48_to_67_inclusive() -> None:
    assert region_box(spread_points(), "lips") == Box(60, 90, 140, 130)


def test_the_face_is_the_box_of_all_points() -> None:
    assert region_box(spread_points(), "face") == Box(60, 40, 500, 500)


def test_the_square_is_centred_on_the_lips_and_measured_by_the_mouth() -> None:
    assert place_square(spread_points(), CropSettings(margin=2)) == Square(100, 110, 160, 0)
    assert place_square(spread_points(), CropSettings()).side == pytest.approx(120)


def test_measured_by_the_eyes_the_square_does_not_grow_with_the_smile() -> None:
    points, wide = spread_points(), spread_points()
    wide[48, 0], wide[67, 0] = 40, 160
    cut = CropSettings(scale="eyes", margin=1.5)
    assert place_square(points, cut).side == place_square(wide, cut).side == pytest.approx(150)
    assert place_square(wide, CropSettings()).side > place_square(points, CropSettings()).side


def test_a_square_has_a_side_even_if_all_points_are_one() -> None:
    assert place_square(np.zeros((68, 2), np.float32), CropSettings()).side >= 4


def test_a_whole_number_square_is_cut_out_bit_for_bit() -> None:
    photo = draw_noise(0, 60, 50)
    assert np.array_equal(cut_square(photo, Square(30, 26, 20, 0), 20), photo[16:36, 20:40])


def test_a_square_turned_by_a_right_angle_is_cut_out_bit_for_bit() -> None:
    photo = draw_noise(0, 60, 50)
    assert np.array_equal(cut_square(photo, Square(30, 26, 20, 90), 20), np.rot90(photo[16:36, 20:40]))


def test_beyond_the_border_the_edge_goes_on_and_nothing_is_mirrored_or_squashed() -> None:
    photo = draw_noise(0, 60, 50)
    crop = cut_square(photo, Square(0, 25, 40, 0), 40)
    assert np.array_equal(crop[:, 20:], photo[5:45, :20])
    assert np.array_equal(crop[:, :20], photo[5:45, :1].repeat(20, axis=1))


@pytest.mark.parametrize("square", [Square(-10, -10, 30, 0), Square(59, 49, 200, 30), Square(500, 500, 20, 0)])
def test_a_square_far_outside_has_the_edge_alone(square: Square) -> None:
    crop = cut_square(draw_noise(0, 60, 50), square, 32)
    assert crop.shape == (32, 32, 3)
    assert crop.std() > 5


def test_the_neighbourhood_a_crop_is_cut_from_does_not_show_in_it() -> None:
    photo = cv2.GaussianBlur(draw_noise(0, 300, 300), (0, 0), 3).astype(np.uint8)
    padded = np.zeros((700, 700, 3), np.uint8)
    padded[200:500, 200:500] = photo
    small, large = (cut_square(image, Square(150 + move, 150 + move, 90, 20), 45)
                    for image, move in ((photo, 0), (padded, 200)))  # fmt: skip
    assert near(small, large) < 1


def test_a_large_photo_is_shrunk_by_area_and_does_not_alias() -> None:
    stripes = np.zeros((800, 800, 3), np.uint8)
    stripes[:, ::2] = 255
    for angle in (0.0, 10.0):
        crop = cut_square(stripes, Square(400, 400, 640, angle), 64)
        assert abs(crop.mean() - 127.5) < 3
        assert crop[4:-4, 4:-4].std() < 12


def test_the_same_place_of_a_photo_and_of_its_enlargement_gives_the_same_crop() -> None:
    photo = cv2.GaussianBlur(draw_noise(0, 200, 200), (0, 0), 4).astype(np.uint8)
    double = cv2.resize(photo, (400, 400), interpolation=cv2.INTER_LINEAR).astype(np.uint8)
    assert near(cut_square(photo, Square(90, 110, 80, 0), 40), cut_square(double, Square(180, 220, 160, 0), 40)) < 1.5


def test_a_turned_photo_gives_nearly_the_same_levelled_crop() -> None:
    photo, truth = draw_portrait(1, "smile", tilt=0.0)
    matrix = cv2.getRotationMatrix2D((160, 160), -15, 1)
    turned = cv2.warpAffine(photo, matrix, (320, 320), borderMode=cv2.BORDER_REFLECT).astype(np.uint8)
    moved = truth @ matrix[:, :2].T.astype(np.float32) + matrix[:, 2].astype(np.float32)
    crops = [
        cut_square(image, place_square(points, LEVEL_LIPS), 64) for image, points in ((photo, truth), (turned, moved))
    ]
    assert near(*crops) < 3
    plain = LEVEL_LIPS.model_copy(update={"align": False})
    assert near(crops[0], cut_square(turned, place_square(moved, plain), 64)) > 6


def test_found_landmarks_level_a_turned_photo_as_well() -> None:
    tilts = []
    for tilt in (-10.0, 10.0):
        photo, truth = draw_portrait(1, tilt=tilt)
        low, high = truth.min(axis=0), truth.max(axis=0)
        landmarks = find_landmarks(photo, Box(*map(float, (*low, *high))))
        tilts.append(place_square(landmarks, LEVEL_LIPS).angle)
        assert place_square(truth, LEVEL_LIPS).angle == pytest.approx(tilts[-1], abs=5)
    assert abs(tilts[1] - tilts[0]) == pytest.approx(20, abs=6)


def test_the_crop_of_a_drawn_face_holds_the_drawn_mouth() -> None:
    photo, truth = draw_portrait(1, "open", tilt=5.0)
    (crop,) = prepare(photo, Preprocessing(detector=Detector(sides=(320,)), cut=LEVEL_LIPS))
    assert crop.image.shape == (64, 64, 3)
    mouth = region_box(truth)
    assert abs(crop.square.x - mouth.centre[0]) < 0.15 * eye_distance(truth)
    assert abs(crop.square.y - mouth.centre[1]) < 0.15 * eye_distance(truth)
    assert crop.square.side > mouth.width


def test_a_photo_without_a_face_gives_no_crop() -> None:
    assert prepare(draw_view(1), Preprocessing(detector=Detector(), cut=CropSettings())) == []


def test_all_faces_are_cut_out_only_when_asked() -> None:
    detector = Detector(sides=(480,))
    everyone = prepare(draw_pair(1), Preprocessing(detector=detector, cut=CropSettings(faces="all")))
    assert len(everyone) == 2
    (largest,) = prepare(draw_pair(1), Preprocessing(detector=detector, cut=CropSettings()))
    assert np.array_equal(largest.image, everyone[0].image)


def test_a_whole_photo_is_completed_to_a_square_without_looking_for_landmarks() -> None:
    photo = draw_noise(0, 60, 40)
    (crop,) = prepare(photo, Preprocessing(cut=CropSettings(region="whole", size=60)))
    assert crop.landmarks is None
    assert np.array_equal(crop.image[10:50], photo)
    assert np.array_equal(crop.image, as_crop(photo, 60))


def test_a_square_crop_stays_as_it_is_and_another_size_is_resampled() -> None:
    photo = draw_noise(0, 48, 48)
    assert np.array_equal(as_crop(photo, 48), photo)
    assert as_crop(photo, 96).shape == (96, 96, 3)


@pytest.mark.parametrize(("width", "height"), [(60, 40), (40, 60), (1, 9)])
def test_the_edges_of_a_crop_that_is_not_square_go_on_and_it_is_not_squashed(width: int, height: int) -> None:
    photo = draw_noise(0, width, height)
    side = max(width, height)
    crop = as_crop(photo, side)
    top, left = (side - height) // 2, (side - width) // 2
    assert np.array_equal(crop[top : top + height, left : left + width], photo)
    assert crop.std() > 0


def test_no_faces_give_no_crops() -> None:
    assert cut_crops(draw_noise(0), [], CropSettings()) == []
    assert (
        len(cut_crops(draw_noise(0), [Face(Box(0, 0, 40, 40), 1.0)] * 3, CropSettings(region="whole", faces="all")))
        == 3
    )
