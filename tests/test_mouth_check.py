"""Crops that show no mouth go no further: cut off, covered, upside down."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import requests
from support.pictures import Points, draw_pair, draw_portrait, draw_view, make_folder
from support.served import ask_json, predict, serving, write_run

from fer_pipeline.__main__ import main
from fer_pipeline.config.schema import CropConfig, CropSettings, Detector, FilterConfig, Preprocessing
from fer_pipeline.dataset.rows import Row, Status, read_rows
from fer_pipeline.models.prediction import Prediction
from fer_pipeline.models.predictor import Predictor
from fer_pipeline.serve.smoothing import Tracker
from fer_pipeline.serve.video import find_faces
from fer_pipeline.serve.video_writer import annotate, open_output
from fer_pipeline.sources.camera.session import find_face
from fer_pipeline.sources.sample import LABELS
from fer_pipeline.sources.sample.covers import COVERS, hide_mouth
from fer_pipeline.sources.sample.junk import to_jpeg
from fer_pipeline.stages.crop import CROP
from fer_pipeline.stages.filter import FILTER
from fer_pipeline.stages.runner import run_stage
from fer_pipeline.vision.boxes import Box
from fer_pipeline.vision.crop import Crop, cut_crops, prepare
from fer_pipeline.vision.cutting import cut_square
from fer_pipeline.vision.detectors import Face, from_list, to_list
from fer_pipeline.vision.image_io import Image
from fer_pipeline.vision.landmarks import detect_faces
from fer_pipeline.vision.mouth_check import is_outside
from fer_pipeline.vision.turned import TURNS, turn, turn_box, turn_points

LIPS = CropSettings(scale="eyes", align=True)
BY_YUNET = Preprocessing(detector=Detector(), cut=LIPS)


def cut(photo: Image, points: Points, settings: CropSettings = LIPS) -> Crop:
    """The crop of the face around some landmarks."""
    low, high = points.min(axis=0), points.max(axis=0)
    (crop,) = cut_crops(photo, [Face(Box(*map(float, (*low, *high))), 1.0)], settings)
    return crop


@pytest.mark.parametrize("label", LABELS)
def test_drawn_mouths_are_seen(label: str) -> None:
    assert [cut(*draw_portrait(seed, label)).missing for seed in range(8)] == [None] * 8


def test_a_photo_cut_under_the_nose_or_through_the_lips_has_no_mouth() -> None:
    missing = []
    for seed in range(8):
        photo, points = draw_portrait(seed, "smile")
        lines = (points[33, 1] + 4, points[62, 1])
        missing += [cut(photo[: int(line)], points).missing for line in lines]
    assert missing.count(None) <= 1


@pytest.mark.parametrize("kind", sorted({*COVERS} - {"fist"}))  # a pale blob may look like lips (docs/detectors.md)
def test_a_covered_mouth_is_hidden(kind: str) -> None:
    missing = []
    for seed in range(10):
        photo, points = draw_portrait(seed, LABELS[seed % len(LABELS)])
        missing.append(cut(hide_mouth(photo, points, np.random.default_rng(seed), kind), points).missing)
    assert missing.count(None) <= (3 if kind == "cup" else 1)  # a cup's rim may look like lips


def test_a_face_may_wear_a_mask_but_must_lie_in_the_photo() -> None:
    photo, points = draw_portrait(2)
    face = CropSettings(region="face")
    assert cut(hide_mouth(photo, points, np.random.default_rng(1), "mask"), points, face).missing is None
    assert not is_outside(points, "face", photo.shape[1], photo.shape[0])
    assert is_outside(points, "face", photo.shape[1], int(points[33, 1]))


def test_without_the_check_and_for_whole_pictures_nothing_is_missing() -> None:
    photo, points = draw_portrait(2)
    covered = hide_mouth(photo, points, np.random.default_rng(1), "mask")
    assert cut(covered, points, LIPS.model_copy(update={"mouth_check": False})).missing is None
    assert cut(covered, points, CropSettings(region="whole")).missing is None


def test_padding_never_mirrors_a_face_into_the_crop() -> None:
    photo, points = draw_portrait(3)
    photo = photo[: int(points[33, 1]) + 4]
    crop = cut(photo, points)
    beyond = cut_square(photo, crop.square._replace(angle=0.0), 64)
    below = round((photo.shape[0] - crop.square.y) * 64 / crop.square.side + 32) + 2
    assert below < 60
    assert np.ptp(beyond[below:].astype(int), axis=0).max() <= 2


@pytest.mark.parametrize("degrees", TURNS)
def test_a_photo_on_its_side_or_upside_down_is_cut_upright(degrees: int) -> None:
    for seed in (4, 5, 6):
        photo, _ = draw_portrait(seed, "smile", tilt=0.0)
        (upright,) = prepare(photo, BY_YUNET)
        (crop,) = prepare(turn(photo, 360 - degrees), BY_YUNET)
        assert crop.face.turned == degrees
        assert crop.missing is None
        assert np.abs(crop.image.astype(int) - upright.image).mean() < 12
        assert crop.landmarks is not None
        assert upright.landmarks is not None
        back = turn_points(crop.landmarks, degrees, photo.shape[1] - 1, photo.shape[0] - 1)
        if degrees != 180:
            back = turn_points(crop.landmarks, degrees, photo.shape[0] - 1, photo.shape[1] - 1)
        assert np.abs(back - upright.landmarks).max() < 8


@pytest.mark.parametrize("degrees", [0, *TURNS])
def test_what_is_turned_and_turned_back_is_where_it_was(degrees: int) -> None:
    image, box = np.arange(5 * 7 * 3, dtype=np.uint8).reshape(5, 7, 3), Box(1, 2, 3, 5)
    turned = turn(image, degrees)
    moved = turn_box(box, degrees, 7, 5)
    assert np.array_equal(turn(turned, -degrees % 360), image)
    assert turn_box(moved, 360 - degrees, turned.shape[1], turned.shape[0]) == box
    left, top, right, bottom = map(int, moved)
    assert sorted(turned[top:bottom, left:right].ravel()) == sorted(image[2:5, 1:3].ravel())
    face = Face(box, 0.5, turned=degrees)
    assert from_list(to_list(face)) == face


def test_no_face_is_found_in_turned_views() -> None:
    assert [detect_faces(draw_view(seed), Detector()) for seed in range(6)] == [[]] * 6


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., dict[str, Row]]:
    """Filter and crop some photos; the rows of the crop stage by their paths."""

    def run(pictures: dict[str, Image], **settings: object) -> dict[str, Row]:
        source = make_folder(tmp_path / "in", pictures)
        run_stage(FILTER, FilterConfig(input=source, output=tmp_path / "faces", every=True))
        config = CropConfig.model_validate({"input": tmp_path / "faces", "output": tmp_path / "crops", **settings})
        run_stage(CROP, config)
        return {row.path: row for row in read_rows(config.output)}

    return run


def to_png(image: Image) -> bytes:
    return cv2.imencode(".png", image[:, :, ::-1])[1].tobytes()


def draw_masked(seed: int = 1) -> Image:
    photo, points = draw_portrait(seed, "smile")
    return hide_mouth(photo, points, np.random.default_rng(2), "mask")


def test_a_face_without_a_mouth_gets_no_label_from_python_the_command_and_the_server(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = write_run(tmp_path / "run", preprocessing=BY_YUNET)
    (tmp_path / "masked.png").write_bytes(to_png(draw_masked()))
    prediction = Predictor(run, threads=1).predict(tmp_path / "masked.png")
    (face,) = prediction.faces
    assert (prediction.outcome, face.outcome) == ("mouth_hidden", "mouth_hidden")
    assert (face.label, face.guess, face.confidence, face.probabilities) == (None, None, None, {})
    assert Prediction.model_validate_json(prediction.model_dump_json()) == prediction
    assert main(["predict", str(run), str(tmp_path / "masked.png")]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'masked.png'}: mouth_hidden\n"
    with serving(run) as url:
        (result,) = ask_json(predict(url, to_png(draw_masked())))["results"]
        assert (result["outcome"], result["faces"][0]["label"]) == ("mouth_hidden", None)
        upload = requests.post(f"{url}/upload", files={"file": ("x.png", to_png(draw_masked()))}, timeout=60)
    assert upload.status_code == 422
    assert upload.json()["detail"].startswith("mouth_hidden: ")


def test_the_camera_is_told_that_a_face_shows_no_mouth() -> None:
    found = find_face(to_jpeg(draw_masked(), 92), BY_YUNET)
    assert (found.outcome, found.crop) == ("mouth_hidden", None)
    assert found.box is not None


def test_of_two_faces_the_one_with_a_mouth_is_answered(tmp_path: Path) -> None:
    predictor = Predictor(write_run(tmp_path / "run", preprocessing=BY_YUNET), threads=1)
    pair = draw_pair(1)
    points = prepare(pair, BY_YUNET)[0].landmarks
    assert points is not None
    prediction = predictor.predict(hide_mouth(pair, points, np.random.default_rng(3), "mask"))
    assert (prediction.outcome, [face.outcome for face in prediction.faces]) == ("ok", ["mouth_hidden", "answered"])
    turned = predictor.predict(turn(pair, 180))
    assert [face.turned for face in turned.faces] == [180, 180]


def test_a_face_that_is_followed_forgets_what_it_showed_when_its_mouth_is_hidden() -> None:
    tracker, box = Tracker(window=0.5), Box(0, 0, 100, 100)
    tracker.update(0.0, [(box, np.array([1.0, 0.0]))])
    (hidden,) = tracker.update(0.1, [(box, "mouth_hidden")])
    assert (hidden.number, hidden.answer) == (1, "mouth_hidden")
    (shown,) = tracker.update(0.2, [(box, np.array([0.0, 1.0]))])
    assert np.array_equal(shown.answer, [0.0, 1.0])


def test_a_film_names_what_it_does_not_see(tmp_path: Path) -> None:
    predictor = Predictor(write_run(tmp_path / "run", preprocessing=BY_YUNET), threads=1)
    frame = draw_masked()
    tracks = Tracker().update(0.0, find_faces(predictor, frame))
    with open_output(tmp_path / "seen.csv", predictor, 10) as writer:
        writer.write(0, 0.0, frame, tracks)
    assert ",,mouth_hidden,,,," in (tmp_path / "seen.csv").read_text()
    assert not np.array_equal(annotate(frame, tracks, predictor), frame)


def test_the_crop_stage_drops_a_photo_without_a_mouth(run: Callable[..., dict[str, Row]]) -> None:
    photo, _ = draw_portrait(1, "smile")
    rows = run({"a/masked.jpg": draw_masked(), "a/seen.jpg": photo, "a/turned.jpg": turn(photo, 180)}, align=True)
    assert rows["a/seen.png"].status is Status.KEPT
    assert (rows["a/masked.jpg"].status, rows["a/masked.jpg"].reason) == (Status.DROPPED, "mouth_hidden")
    assert rows["a/turned.png"].attributes["turned"] == 180
    assert abs(rows["a/turned.png"].attributes["tilt"] - rows["a/seen.png"].attributes["tilt"]) < 3


def test_of_two_faces_the_covered_one_alone_is_lost(run: Callable[..., dict[str, Row]]) -> None:
    pair = draw_pair(1)
    seen = prepare(pair, Preprocessing(detector=Detector(), cut=CropSettings(faces="all")))
    photos = {}
    for number, crop in enumerate(seen):
        assert crop.landmarks is not None
        photos[f"a/{number}.jpg"] = hide_mouth(pair, crop.landmarks, np.random.default_rng(3), "mask")
    rows = {path: row.reason for path, row in run(photos, faces="all").items()}
    assert rows == {"a/0.jpg": "mouth_hidden", "a/0-2.png": "", "a/1.png": "", "a/1-2.jpg": "mouth_hidden"}
