"""Promises of `unknown`: pictures of something else are told from those that a model was trained on."""

import json
from pathlib import Path

import numpy as np
import PIL.Image
import PIL.ImageDraw
import pytest
import torch
from support.drawn import draw_mouth, tiny_training, write_png, write_split

import fer_pipeline as fer
from fer_pipeline.__main__ import main
from fer_pipeline.errors import InputError
from fer_pipeline.evaluation.evaluate import evaluate
from fer_pipeline.models.model_file import DISTANCE
from fer_pipeline.models.predictor import Predictor
from fer_pipeline.training.ensemble import make_ensemble
from fer_pipeline.training.quantise import quantise
from fer_pipeline.training.train import train
from fer_pipeline.vision.image_io import Image

torch.set_num_threads(1)
Capture = pytest.CaptureFixture[str]


def draw_bars(number: int, side: int = 48) -> Image:
    """Neither an open mouth nor a closed one: upright bars."""
    rng = np.random.default_rng([77, number])
    picture = PIL.Image.new("RGB", (side, side), tuple(int(value) for value in rng.integers(150, 220, 3)))
    pen = PIL.ImageDraw.Draw(picture)
    for left in range(int(rng.integers(2, 6)), side, 10):
        pen.rectangle((left, 0, left + 4, side), fill=(60, 10, 20))
    return np.asarray(picture)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A split, a run trained on it, and a folder of pictures of something else."""
    home = tmp_path_factory.mktemp("unknown")
    split = write_split(home / "split", train=80, test=20)
    train(tiny_training(split, home / "run", network="simpleconv3", epochs=4, validation_share=0.3))
    for number in range(12):
        write_png(home / "bars" / f"{number}.png", draw_bars(number))
    return home


def test_a_picture_of_something_else_is_unknown_and_keeps_its_guess(home: Path) -> None:
    predictor = fer.load(home / "run", threads=1)
    bars = [predictor.predict(draw_bars(number), is_crop=True) for number in range(12)]
    assert [one.outcome for one in bars].count("unknown") >= 11
    face = next(one.faces[0] for one in bars if one.outcome == "unknown")
    assert (face.outcome, face.label) == ("unknown", "unknown")
    assert face.guess in {"open", "closed"}
    assert face.confidence == max(face.probabilities.values())
    assert face.distance is not None
    assert face.distance > 1
    mouths = [predictor.predict(draw_mouth("open", 900 + number), is_crop=True).outcome for number in range(20)]
    assert mouths.count("ok") >= 15


def test_the_limit_is_replaced_where_the_model_is_used(home: Path, capsys: Capture) -> None:
    picture = str(home / "bars" / "0.png")
    assert main(["predict", str(home / "run"), picture, "--crops"]) == 0
    assert ": unknown (" in capsys.readouterr().out
    assert main(["predict", str(home / "run"), picture, "--crops", "--json", "--unknown", "0"]) == 0
    face = json.loads(capsys.readouterr().out)["faces"][0]
    assert (face["outcome"], face["label"]) == ("answered", face["guess"])
    assert face["distance"] > 1


def test_eval_tells_what_stays_known_and_how_well_others_are_told_apart(home: Path, capsys: Capture) -> None:
    unknown = evaluate(home / "run", out=home / "scores", allow_leakage=True, others=home / "bars").metrics.unknown
    assert unknown is not None
    assert unknown.known >= 0.8, "of 40 images 95 % are to stay known"
    assert unknown.answered == unknown.known, "this model is never uncertain"
    assert unknown.others is not None
    assert (unknown.others.count, unknown.others.left_out) == (12, 0)
    assert unknown.others.auroc > 0.95
    assert unknown.others.unknown >= 0.9
    assert main(["-q", "eval", str(home / "run"), "--others", str(home / "bars"), "--allow-leakage"]) == 0
    assert f"{home / 'bars'}: " in capsys.readouterr().out


def test_about_as_many_validation_images_stay_known_as_asked(home: Path, tmp_path: Path) -> None:
    settings = {"network": "simpleconv3", "epochs": 1, "validation_share": 0.3}
    halved = train(tiny_training(home / "split", tmp_path / "run", unknown=0.5, **settings)).model
    known = evaluate(tmp_path / "run", allow_leakage=True).metrics.unknown
    assert Predictor(halved).card.known == 0.5
    assert known is not None
    assert 0.2 < known.known < 0.8


def test_a_model_without_a_distance_is_read_and_knows_no_unknown(home: Path, tmp_path: Path) -> None:
    settings = {"network": "simpleconv3", "epochs": 1, "unknown": 0}
    train(tiny_training(home / "split", tmp_path / "run", **settings))
    predictor = Predictor(tmp_path / "run", threads=1)
    assert [output.name for output in predictor.session.get_outputs()] == ["probabilities"]
    face = predictor.predict(draw_bars(0), is_crop=True).faces[0]
    assert (face.outcome, face.distance) == ("answered", None)
    assert evaluate(tmp_path / "run", allow_leakage=True).metrics.unknown is None
    with pytest.raises(InputError, match=r"measures no distance: train it again, with train\.unknown"):
        evaluate(tmp_path / "run", others=home / "bars")


def test_too_few_validation_images_set_no_limit_and_it_is_said(tmp_path: Path, capsys: Capture) -> None:
    split = write_split(tmp_path / "split", train=12, test=1)
    train(tiny_training(split, tmp_path / "run", network="simpleconv3", epochs=1))
    assert "too few to tell what is unknown, it takes 19" in capsys.readouterr().err
    assert not Predictor(tmp_path / "run").measures_distance


def test_an_ensemble_measures_the_mean_distance_and_a_quantised_model_none(home: Path, tmp_path: Path) -> None:
    settings = {"network": "simpleconv3", "epochs": 1, "validation_share": 0.3, "seed": 1}
    train(tiny_training(home / "split", tmp_path / "second", **settings))
    both = Predictor(make_ensemble([home / "run", tmp_path / "second"], tmp_path / "both").model, threads=1)
    crops = np.stack([draw_mouth("open", number, both.card.size) for number in range(3)])
    members = [Predictor(run, threads=1).answer_crops(crops)[:, -1] for run in (home / "run", tmp_path / "second")]
    np.testing.assert_allclose(both.answer_crops(crops)[:, -1], np.mean(members, axis=0), rtol=1e-3)
    quantise(tmp_path / "second")
    small = Predictor(tmp_path / "second" / "model.int8.onnx", threads=1)
    assert not small.measures_distance
    assert DISTANCE in {output.name for output in Predictor(tmp_path / "second").session.get_outputs()}


def test_geometry_keeps_the_distance_of_the_network_beside_it_and_has_none_alone(
    home: Path, tmp_path: Path, capsys: Capture
) -> None:
    settings = {"network": "simpleconv3", "epochs": 1, "validation_share": 0.3}
    train(tiny_training(home / "split", tmp_path / "pixels", **settings))
    train(tiny_training(home / "split", tmp_path / "both", geometry=True, **settings))
    pixels, both = (Predictor(tmp_path / name, threads=1) for name in ("pixels", "both"))
    crops = np.stack([draw_mouth("open", 1, both.card.size), draw_bars(1, both.card.size)])
    np.testing.assert_allclose(both.answer_crops(crops)[:, -1], pixels.answer_crops(crops)[:, -1], rtol=1e-3)
    train(tiny_training(home / "split", tmp_path / "alone", network="geometry", validation_share=0.3))
    assert "nothing will be unknown" in capsys.readouterr().err
    assert not Predictor(tmp_path / "alone").measures_distance
