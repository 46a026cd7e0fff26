"""The crop stage cuts what the filter found, and notes the mouth's geometry."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.pictures import draw_noise, draw_pair, draw_portrait, make_folder

from fer_pipeline.config.schema import CropConfig, CropSettings, Detector, FilterConfig, Preprocessing
from fer_pipeline.dataset.rows import Row, Status, read_rows
from fer_pipeline.stages.crop import CROP
from fer_pipeline.stages.filter import FILTER
from fer_pipeline.stages.runner import run_stage
from fer_pipeline.vision.crop import prepare
from fer_pipeline.vision.image_io import read_image

SIDES = (480,)
Crop = Callable[..., dict[str, Row]]


@pytest.fixture
def faces(tmp_path: Path) -> Path:
    """A filtered folder with a portrait and a photo of two people."""
    pictures = {"smile/one.jpg": draw_portrait(1, "smile")[0], "smile/pair.jpg": draw_pair(1)}
    source = make_folder(tmp_path / "photos", pictures)
    run_stage(FILTER, FilterConfig(input=source, output=tmp_path / "faces", sides=SIDES))
    return tmp_path / "faces"


@pytest.fixture
def crop(faces: Path) -> Crop:
    def run(**changes: Any) -> dict[str, Row]:
        config = CropConfig.model_validate({"input": faces, "output": faces.parent / "crops", **changes})
        run_stage(CROP, config)
        return {row.path: row for row in read_rows(config.output)}

    return run


def test_a_crop_is_bit_for_bit_what_predict_cuts_out(faces: Path, crop: Crop) -> None:
    crop(scale="eyes", align=True, size=48)
    preprocessing = Preprocessing(detector=Detector(sides=SIDES), cut=CropSettings(scale="eyes", align=True, size=48))
    (wanted,) = prepare(read_image(faces / "smile/one.jpg"), preprocessing)
    assert np.array_equal(read_image(faces.parent / "crops" / "smile/one.png"), wanted.image)


def test_a_row_holds_box_landmarks_square_tilt_and_mouth(crop: Crop) -> None:
    row = crop()["smile/one.png"]
    assert row.status is Status.KEPT
    assert row.label == "smile"
    assert row.landmarks is not None
    assert len(row.landmarks) == 68
    assert row.box is not None
    x, y, side, angle = row.attributes["square"]
    assert row.box.left < x < row.box.right
    assert row.box.top < y < row.box.bottom
    assert (side > 20, angle) == (True, 0)
    assert abs(row.attributes["tilt"]) < 20
    assert row.attributes["mouth"]["width"] > 0.3
    assert "embedding" not in row.attributes


def test_of_several_people_the_largest_is_taken(crop: Crop) -> None:
    rows = crop(size=32)
    assert sorted(rows) == ["smile/one.png", "smile/pair.png"]
    assert rows["smile/pair.png"].attributes["square"][0] < 240


def test_all_people_are_taken_when_asked_each_under_a_name_of_their_own(faces: Path, crop: Crop) -> None:
    rows = crop(faces="all", size=32)
    assert sorted(rows) == ["smile/one.png", "smile/pair-2.png", "smile/pair.png"]
    first, second = rows["smile/pair.png"], rows["smile/pair-2.png"]
    assert first.box != second.box
    assert first.landmarks != second.landmarks
    one, two = (read_image(faces.parent / "crops" / path) for path in ("smile/pair.png", "smile/pair-2.png"))
    assert not np.array_equal(one, two)


def test_photos_of_several_people_are_dropped_when_asked(crop: Crop) -> None:
    rows = crop(faces="single")
    assert rows["smile/one.png"].status is Status.KEPT
    assert (rows["smile/pair.jpg"].status, rows["smile/pair.jpg"].reason) == (Status.DROPPED, "several_faces")


def test_an_embedding_is_noted_when_asked(crop: Crop) -> None:
    assert len(crop(embedding=True)["smile/one.png"].attributes["embedding"]) == 128


def test_the_face_is_cut_out_larger_than_the_lips(faces: Path, crop: Crop) -> None:
    lips = crop()["smile/one.png"].attributes["square"][2]
    face = crop(region="face", output=faces.parent / "whole")["smile/one.png"].attributes["square"][2]
    assert face > 1.5 * lips


def test_whole_photos_are_only_resampled_and_need_no_landmarks(tmp_path: Path) -> None:
    source = make_folder(tmp_path / "in", {"a/1.jpg": draw_noise(1, 40, 40)})
    run_stage(FILTER, FilterConfig(input=source, output=tmp_path / "faces", detector="none"))
    config = CropConfig(input=tmp_path / "faces", output=tmp_path / "crops", region="whole", size=40,
                        landmarks=tmp_path / "none.dat")  # fmt: skip
    run_stage(CROP, config)
    (row,) = read_rows(config.output)
    assert row.landmarks is None
    assert np.array_equal(read_image(config.output / row.path), read_image(source / "a/1.jpg"))


def test_a_photo_that_was_not_filtered_costs_only_itself(tmp_path: Path) -> None:
    source = make_folder(tmp_path / "in", {"a/1.jpg": draw_noise(1)})
    run_stage(CROP, CropConfig(input=source, output=tmp_path / "crops"))
    assert [row.status for row in read_rows(tmp_path / "crops")] == [Status.FAILED]
