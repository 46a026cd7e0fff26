"""Crops placed by YuNet's five points agree with those placed by the landmarks, and need no more than YuNet."""

from pathlib import Path

import numpy as np
import pytest
from support.pictures import draw_portrait, make_folder

from fer_pipeline.config.loader import load_config
from fer_pipeline.config.schema import CropSettings, Detector, Preprocessing
from fer_pipeline.dataset.rows import read_rows
from fer_pipeline.errors import UsageError
from fer_pipeline.pipeline import run
from fer_pipeline.sources.sample import LABELS
from fer_pipeline.stages.crop import find_models
from fer_pipeline.vision import landmarks
from fer_pipeline.vision.boxes import Box
from fer_pipeline.vision.crop import cut_crops, place_square, prepare
from fer_pipeline.vision.detectors import Face
from fer_pipeline.vision.turned import TURNS, turn

FIVE = CropSettings(scale="eyes", align=True, align_by="five")
BY_FIVE = Preprocessing(detector=Detector(second="none"), cut=FIVE)


@pytest.mark.parametrize("region", ["lips", "face"])
@pytest.mark.parametrize("scale", ["eyes", "mouth"])
def test_the_square_lies_where_the_landmarks_put_it(region: str, scale: str) -> None:
    cut = FIVE.model_copy(update={"region": region, "scale": scale})
    off, sides = [], []
    for seed in range(12):
        photo, points = draw_portrait(seed, LABELS[seed % len(LABELS)])
        (crop,) = prepare(photo, BY_FIVE.model_copy(update={"cut": cut}))
        true = place_square(points, cut)
        off.append(np.hypot(crop.square.x - true.x, crop.square.y - true.y) / true.side)
        sides.append(crop.square.side / true.side)
        assert abs(crop.square.angle - true.angle) < 10
    assert np.mean(off) < 0.12
    assert 0.8 < np.mean(sides) < 1.35


def test_the_points_hardly_depend_on_the_box_they_are_sought_in() -> None:
    photo, points = draw_portrait(3)
    (low, high), found = (points.min(axis=0), points.max(axis=0)), []
    for grow in (0.0, 0.12):
        box = Box(*map(float, (*(low - grow * (high - low)), *(high + grow * (high - low)))))
        found.append(cut_crops(photo, [Face(box, 1.0)], FIVE)[0].square)
    assert np.abs(np.subtract(found[0], found[1])).max() < 0.03 * found[0].side


@pytest.mark.parametrize("degrees", TURNS)
def test_a_photo_on_its_side_gives_the_same_crop(degrees: int) -> None:
    photo, _ = draw_portrait(5, "smile", tilt=0.0)
    (upright,), (turned,) = prepare(photo, BY_FIVE), prepare(turn(photo, 360 - degrees), BY_FIVE)
    assert turned.face.turned == degrees
    assert np.abs(upright.image.astype(int) - turned.image).mean() < 8


def test_a_mouth_beyond_the_border_is_outside_and_no_face_is_no_mouth() -> None:
    for seed in range(6):
        photo, points = draw_portrait(seed)
        low, high = points.min(axis=0), points.max(axis=0)
        face = Face(Box(*map(float, (*low, *high))), 1.0)
        assert cut_crops(photo, [face], FIVE)[0].missing is None
        assert cut_crops(photo[: int(points[62, 1])], [face], FIVE)[0].missing is not None
    assert cut_crops(np.zeros((90, 90, 3), np.uint8), [Face(Box(8, 8, 80, 80), 1.0)], FIVE)[0].missing == "mouth_hidden"


def test_an_experiment_by_five_points_asks_no_other_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(landmarks, "load_landmarks", None)  # nobody may ask for the 68 points
    photos = {f"{label}/{seed}.jpg": draw_portrait(seed, label)[0] for label in LABELS[:2] for seed in range(2)}
    make_folder(tmp_path / "data" / "me" / "raw", photos)
    (tmp_path / "fer.yaml").write_text("name: me\nworkers: 1\ncrop: {align_by: five, scale: eyes, align: true}\n")
    config = load_config("fer.yaml")
    assert config.filter.second == "none"
    run(config, until="crop")
    rows = read_rows(config.crop.output)
    assert len(rows) == 4
    assert all(row.landmarks is None and row.attributes["square"] for row in rows)


def test_the_embedding_is_refused_since_it_needs_landmarks(tmp_path: Path) -> None:
    (tmp_path / "fer.yaml").write_text("name: me\ncrop: {align_by: five, embedding: true}\n")
    with pytest.raises(UsageError, match=r"crop\.embedding: it takes 68 landmarks: set crop\.align_by=landmarks"):
        find_models(load_config(tmp_path / "fer.yaml").crop)
