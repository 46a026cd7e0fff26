"""Promises of `fer_pipeline.models.predictor`."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
from support.drawn import draw_mouth, write_classes, write_png
from torch import nn

from fer_pipeline.config.schema import CropConfig, CropSettings, Detector, FilterConfig, Preprocessing
from fer_pipeline.dataset.class_folders import list_pictures
from fer_pipeline.dataset.rows import Row, Status, kept_rows, read_rows, write_rows
from fer_pipeline.errors import InputError
from fer_pipeline.models.classifier import Classifier
from fer_pipeline.models.model_file import Card, write_bundle
from fer_pipeline.models.prediction import Prediction
from fer_pipeline.models.predictor import Predictor, predict_file
from fer_pipeline.sources.sample import draw_photo, random_face
from fer_pipeline.stages.crop import CROP
from fer_pipeline.stages.filter import FILTER
from fer_pipeline.stages.runner import run_stage
from fer_pipeline.vision.image_io import read_image, resize

torch.set_num_threads(1)
HALF = (0.5, 0.5, 0.5)
HAAR = Detector(detector="haar", sides=(480,))


def write_model(folder: Path, preprocessing: Preprocessing, size: int = 32) -> Path:
    """A run folder with a model of that preprocessing, which has learned nothing."""
    torch.manual_seed(2)
    folder.mkdir(parents=True)
    # Random weights on every pixel: unlike an untrained deep network it tells crops apart that differ by a pixel.
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * size * size, 2))
    nn.init.normal_(network.get_parameter("1.weight"), std=0.05)
    classifier = Classifier(network, HALF, HALF, grey=False, flip=False)
    card = Card(labels=["closed", "open"], size=size, network="simpleconv3", preprocessing=preprocessing)
    write_bundle(folder / "model.onnx", classifier, card)
    return folder


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as unify leaves it, of drawn photos with a face each, and one without."""
    folder = tmp_path_factory.mktemp("unified")
    rows = []
    for number in range(4):
        rng = np.random.default_rng(number)
        photo = draw_photo([random_face(rng, "smile", 320, 320)], 320, 320, rng)[0]
        write_png(folder / "smile" / f"{number}.png", photo)
        rows.append(Row(path=f"smile/{number}.png", label="smile"))
    write_png(folder / "smile" / "blank.png", np.full((200, 260, 3), 128, np.uint8))
    write_rows(folder, [*rows, Row(path="smile/blank.png", label="smile")])
    return folder


@pytest.mark.parametrize(
    "cut",
    [
        CropSettings(scale="eyes", align=True),
        CropSettings(scale="mouth", size=64),
        CropSettings(region="face", size=48),
    ],
    ids=["eyes", "mouth", "face"],
)
def test_a_photo_and_the_crop_cut_from_it_get_the_same_answer(photos: Path, tmp_path: Path, cut: CropSettings) -> None:
    """What the stages write and training sees is what prediction cuts out of the photo."""
    run_stage(FILTER, FilterConfig(input=photos, output=tmp_path / "faces", **HAAR.model_dump()))
    run_stage(CROP, CropConfig(input=tmp_path / "faces", output=tmp_path / "crops", **cut.model_dump()))
    predictor = Predictor(write_model(tmp_path / "run", Preprocessing(detector=HAAR, cut=cut)), threads=1)
    rows = list(kept_rows(tmp_path / "crops"))
    assert len(rows) >= 3, "Haar no longer finds the drawn faces"
    for row in rows:
        from_photo = predictor.predict(photos / row.path).faces[0]
        from_crop = predictor.predict(tmp_path / "crops" / row.path, is_crop=True).faces[0]
        assert from_photo.probabilities == pytest.approx(from_crop.probabilities, abs=1e-4)
        assert from_photo.box == pytest.approx(row.box, abs=0.01)
    apart = []
    for row in rows:
        shifted = read_image(tmp_path / "crops" / row.path)[2:, 2:]
        moved, exact = (
            predictor.predict(one, is_crop=True).faces[0] for one in (shifted, tmp_path / "crops" / row.path)
        )
        apart.append(abs(moved.probabilities["open"] - exact.probabilities["open"]))
    assert max(apart) > 1e-3, "the model is too dull to notice a crop moved by two pixels"


def test_photos_are_answered_by_their_outcome(photos: Path, tmp_path: Path) -> None:
    run = write_model(tmp_path / "run", Preprocessing(detector=HAAR, cut=CropSettings()))
    (tmp_path / "bad.jpg").write_bytes(b"\xff\xd8 no photo")
    good = predict_file(run, False, photos / "smile" / "0.png")
    assert good.outcome == "ok"
    assert good.faces[0].label in {"closed", "open"}
    assert good.faces[0].confidence == max(good.faces[0].probabilities.values())
    assert sum(good.faces[0].probabilities.values()) == pytest.approx(1, abs=1e-5)
    blank = predict_file(run, False, photos / "smile" / "blank.png")
    assert (blank.outcome, blank.faces) == ("no_face", [])
    for path in (tmp_path / "bad.jpg", tmp_path / "gone.jpg"):
        assert predict_file(run, False, path).outcome == "bad_image"
    assert Prediction.model_validate_json(good.model_dump_json()) == good


def test_a_folder_of_many_crops_is_answered_as_one_by_one(tmp_path: Path) -> None:
    predictor = Predictor(write_model(tmp_path / "run", Preprocessing()), threads=1)
    crops = np.stack([draw_mouth("open", number, 32) for number in range(300)])
    together = predictor.classify(crops)
    assert together.shape == (300, 2)
    alone = np.concatenate([predictor.classify(crop[None]) for crop in crops[250:260]])
    np.testing.assert_allclose(together[250:260], alone, atol=1e-5)
    assert predictor.classify(crops[:0]).shape == (0, 2)


def test_a_crop_of_another_size_or_shape_is_taken_as_it_is(tmp_path: Path) -> None:
    predictor = Predictor(write_model(tmp_path / "run", Preprocessing()), threads=1)
    answer = predictor.predict(draw_mouth("open", 1, 90)[:60], is_crop=True).faces[0]
    assert tuple(answer.box) == (0, 0, 90, 60)


def test_folders_and_files_are_listed_by_path_and_what_is_missing_is_named(tmp_path: Path) -> None:
    folder = write_classes(tmp_path / "mine", count=1)
    (folder / ".hidden").touch()
    single = write_png(tmp_path / "one.png", draw_mouth("open", 1))
    assert list_pictures([single, folder]) == [single, folder / "closed/0.png", folder / "open/0.png"]
    with pytest.raises(InputError, match=r"gone\.png: no such file or folder"):
        list_pictures([tmp_path / "gone.png"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no image"):
        list_pictures([tmp_path / "empty"])


PREDICT = """
import sys
from pathlib import Path
from fer_pipeline.models.prediction import Prediction
from fer_pipeline.models.predictor import predict_file
prediction = predict_file(Path(sys.argv[1]), False, Path(sys.argv[2]))
heavy = {"torch", "torchvision", "lightning", "sklearn", "matplotlib", "onnx"} & sys.modules.keys()
print(prediction.outcome, sorted(heavy))
"""


def test_prediction_needs_no_torch(photos: Path, tmp_path: Path) -> None:
    run = write_model(tmp_path / "run", Preprocessing(detector=HAAR, cut=CropSettings()))
    command = [sys.executable, "-c", PREDICT, str(run), str(photos / "smile" / "0.png")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.strip() == "ok []"


def test_the_stages_noted_the_photo_without_a_face(photos: Path, tmp_path: Path) -> None:
    """Prediction and filter agree on what a face is."""
    run_stage(FILTER, FilterConfig(input=photos, output=tmp_path / "faces", **HAAR.model_dump()))
    run = write_model(tmp_path / "run", Preprocessing(detector=HAAR, cut=CropSettings()))
    for row in read_rows(tmp_path / "faces"):
        outcome = predict_file(run, False, photos / row.path).outcome
        assert outcome == ("ok" if row.status is Status.KEPT else row.reason)


@pytest.mark.slow  # encoding so large a photo takes seconds
def test_boxes_of_a_photo_too_large_to_decode_whole_are_in_its_own_pixels(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    photo = draw_photo([random_face(rng, "smile", 400, 400)], 400, 400, rng)[0]
    predictor = Predictor(write_model(tmp_path / "run", Preprocessing(detector=Detector(), cut=CropSettings())))
    PIL.Image.fromarray(resize(photo, 9600, 9600)).save(tmp_path / "large.jpg", quality=50)
    (small,), (large,) = (predictor.predict(what).faces for what in (photo, tmp_path / "large.jpg"))
    assert predictor.predict(tmp_path / "large.jpg").width == 9600
    assert np.allclose(np.array(large.box) / 24, small.box, atol=6)
