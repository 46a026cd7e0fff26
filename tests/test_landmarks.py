"""Faces and landmarks of drawn photos, whose truth is known, and the packaged models that find them."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from support.pictures import draw_pair, draw_portrait, draw_view

from fer_pipeline.config.schema import Detector
from fer_pipeline.errors import SetupError
from fer_pipeline.vision.boxes import Box, bounding_box, overlap
from fer_pipeline.vision.landmarks import detect_faces, embed_face, find_landmarks, load_detector, load_landmarks
from fer_pipeline.vision.mouth import MOUTH, eye_distance
from fer_pipeline.vision.weights import CNN_DETECTOR, EMBEDDING, LANDMARKS, find_weights

HAAR = Detector(detector="haar", sides=(320,))
HOG = Detector(detector="hog", sides=(240, 480))
YUNET = Detector(detector="yunet", second="none")


@pytest.mark.parametrize("detector", [HAAR, HOG, YUNET], ids=lambda detector: detector.detector)
def test_the_face_of_a_drawn_portrait_is_found_where_it_is(detector: Detector) -> None:
    found = 0
    for seed in range(6):
        photo, landmarks = draw_portrait(seed)
        faces = detect_faces(photo, detector)
        truth = bounding_box((float(x), float(y)) for x, y in landmarks)
        found += bool(faces) and overlap(faces[0].box, truth) > 0.4
    assert found >= 5


@pytest.mark.parametrize("detector", [HAAR, HOG, YUNET], ids=lambda detector: detector.detector)
def test_a_picture_without_a_face_shows_none(detector: Detector) -> None:
    assert [detect_faces(draw_view(seed), detector) for seed in range(4)] == [[]] * 4


@pytest.mark.parametrize("detector", [HAAR, HOG, YUNET], ids=lambda detector: detector.detector)
@pytest.mark.parametrize("shape", [(1, 5000), (5000, 1), (401, 1), (1, 1)], ids=str)
def test_a_picture_thinner_than_a_face_shows_none(detector: Detector, shape: tuple[int, int]) -> None:
    assert detect_faces(np.full((*shape, 3), 128, np.uint8), detector) == []


def test_the_largest_face_comes_first() -> None:
    faces = detect_faces(draw_pair(1), Detector(detector="hog", sides=(480,)))
    assert len(faces) == 2
    assert faces[0].box.area > faces[1].box.area
    assert faces[0].box.centre[0] < faces[1].box.centre[0]


def test_boxes_are_in_pixels_of_the_photo_whatever_copy_was_looked_at() -> None:
    photo = draw_portrait(1)[0]
    small = detect_faces(photo, Detector(detector="hog", sides=(240,)))
    full = detect_faces(photo, Detector(detector="hog", sides=(0,)))
    assert overlap(small[0].box, full[0].box) > 0.6


def test_a_small_face_is_found_on_the_second_larger_copy() -> None:
    photo = np.full((700, 700, 3), 128, np.uint8)
    photo[200:440, 200:440] = draw_portrait(1, side=240)[0]
    assert detect_faces(photo, Detector(detector="hog", sides=(240,))) == []
    assert len(detect_faces(photo, Detector(detector="hog", sides=(240, 700)))) == 1


def test_a_small_photo_is_enlarged_only_when_asked() -> None:
    photo = draw_portrait(1, side=90)[0]
    assert detect_faces(photo, Detector(detector="hog", sides=(320,))) == []
    faces = detect_faces(photo, Detector(detector="hog", sides=(320,), enlarge=True))
    assert len(faces) == 1
    assert faces[0].box.right <= 100


def test_a_second_detector_looks_where_the_first_sees_no_face() -> None:
    photo, _ = draw_portrait(3)
    blind = Detector(detector="haar", sides=(16,), second="yunet")
    (face,) = detect_faces(photo, blind)
    assert face.second
    assert not detect_faces(photo, blind.model_copy(update={"second": "none"}))
    (face,) = detect_faces(photo, Detector())
    assert not face.second


def test_looking_on_finds_the_smaller_faces_of_a_photo() -> None:
    photo = np.full((480, 1400, 3), 160, np.uint8)
    photo[:320, :320] = draw_portrait(4)[0]
    photo[100:200, 1100:1200] = draw_portrait(5, side=100)[0]
    assert len(detect_faces(photo, Detector())) == 1
    assert len(detect_faces(photo, Detector(), every=True)) == 2


def test_without_a_detector_the_whole_photo_is_the_face() -> None:
    (face,) = detect_faces(np.zeros((30, 50, 3), np.uint8), Detector(detector="none"))
    assert face.box == Box(0, 0, 50, 30)


def test_the_same_photo_gives_the_same_faces() -> None:
    photo = draw_portrait(2)[0]
    assert detect_faces(photo, HOG) == detect_faces(photo, HOG)


def test_landmarks_lie_near_the_drawn_truth() -> None:
    errors = []
    for seed in range(6):
        photo, truth = draw_portrait(seed, tilt=3.0)
        low, high = truth.min(axis=0), truth.max(axis=0)
        landmarks = find_landmarks(photo, Box(*map(float, (*low, *high))))
        assert landmarks.shape == (68, 2)
        errors.append(np.linalg.norm((landmarks - truth)[MOUTH], axis=1).mean() / eye_distance(truth))
    assert np.median(errors) < 0.06


def test_landmarks_hardly_depend_on_where_the_detector_put_its_box() -> None:
    photo, truth = draw_portrait(1, tilt=0.0)
    left, top, right, bottom = bounding_box((float(x), float(y)) for x, y in truth)
    move = 0.08 * (right - left)
    first = find_landmarks(photo, Box(left, top, right, bottom))
    moved = find_landmarks(photo, Box(left + move, top - move, right + move, bottom))
    assert np.linalg.norm((first - moved)[MOUTH], axis=1).mean() / eye_distance(truth) < 0.05


def test_an_embedding_is_closer_to_the_same_photo_than_to_another_person() -> None:
    vectors: list[NDArray[np.float64]] = []
    for seed, shift in ((1, 0), (1, 2), (5, 0)):
        photo, landmarks = draw_portrait(seed, tilt=0.0)
        moved = landmarks + np.array((shift, 0), np.float32)
        vectors.append(np.array(embed_face(np.roll(photo, shift, axis=1), moved)))
    assert vectors[0].shape == (128,)
    assert np.linalg.norm(vectors[0] - vectors[1]) < np.linalg.norm(vectors[0] - vectors[2])


def test_missing_weights_are_a_lack_of_the_machine_that_names_the_setting(tmp_path: Path) -> None:
    missing = tmp_path / "none.dat"
    with pytest.raises(SetupError, match=r"none.dat: no such model file: fix the setting crop.landmarks"):
        load_landmarks(missing)
    with pytest.raises(SetupError, match=r"fix the setting filter.weights"):
        load_detector(Detector(detector="cnn", weights=missing))
    with pytest.raises(SetupError, match=r"fix the setting filter.weights"):
        load_detector(Detector(detector="yunet", weights=missing))


def test_a_file_that_is_no_model_is_a_lack_of_the_machine_too(tmp_path: Path) -> None:
    rubbish = tmp_path / "model.dat"
    rubbish.write_bytes(b"not a model" * 100)
    with pytest.raises(SetupError, match=r"model.dat: .*crop.landmarks"):
        load_landmarks(rubbish)
    with pytest.raises(SetupError, match=r"model.dat: .*filter.weights"):
        load_detector(Detector(detector="cnn", weights=rubbish))
    with pytest.raises(SetupError, match=r"model.dat: .*filter.weights"):
        load_detector(Detector(detector="yunet", weights=rubbish))


@pytest.mark.parametrize("name", ["none", "haar", "hog", "yunet"])
def test_the_packaged_detectors_load(name: str) -> None:
    load_detector(Detector.model_validate({"detector": name}))


@pytest.mark.parametrize("name", [LANDMARKS, EMBEDDING, CNN_DETECTOR])
def test_the_packaged_models_are_there(name: str) -> None:
    assert find_weights(name).stat().st_size > 100_000
    assert "face_recognition_models" not in sys.modules


def test_a_model_of_the_users_own_comes_first(tmp_path: Path) -> None:
    path = tmp_path / "mine.dat"
    path.write_bytes(b"x")
    assert find_weights(LANDMARKS, path, "crop.landmarks") == path


def test_without_the_package_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(SetupError, match="pip install face_recognition_models"):
        find_weights(LANDMARKS)
