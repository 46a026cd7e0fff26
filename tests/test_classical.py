"""Models that are no networks: in the same file as networks, and used alike."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from support.drawn import draw_mouth, tiny_training, write_png

from fer_pipeline.config.schema import CropSettings, Preprocessing
from fer_pipeline.errors import InputError, UsageError
from fer_pipeline.evaluation.evaluate import evaluate
from fer_pipeline.models.classical import Estimator, fit_hog_svm, fit_trees, wanted_measures
from fer_pipeline.models.data import Crops
from fer_pipeline.models.model_file import Card, write_bundle
from fer_pipeline.models.predictor import Predictor
from fer_pipeline.training.cross_validation import cross_validate
from fer_pipeline.training.quantise import quantise
from fer_pipeline.training.train import train
from fer_pipeline.training.tune import tune
from fer_pipeline.vision.crop import measure_crops
from fer_pipeline.vision.hog import hog_features
from fer_pipeline.vision.mouth import OUTLINE

torch.set_num_threads(1)
KINDS: dict[str, dict[str, Any]] = {
    "pixels": {"network": "simpleconv3"},
    "hog_svm": {"network": "hog_svm"},
    "geometry": {"network": "geometry"},
    "both": {"network": "simpleconv3", "geometry": True},
}


@pytest.fixture(scope="module")
def data(trained: Path) -> Path:
    return trained / "split"


@pytest.fixture(scope="module")
def runs(data: Path, trained: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A run of every kind."""
    folder = tmp_path_factory.mktemp("runs")
    for name in ("hog_svm", "geometry", "both"):
        train(tiny_training(data, folder / name, epochs=4, batch=4, **KINDS[name]))
    return {name: folder / name if name != "pixels" else trained / "run" for name in KINDS}


@pytest.mark.parametrize("kind", ["hog_svm", "geometry", "both"])
def test_it_learns_the_drawn_mouths(runs: dict[str, Path], data: Path, kind: str) -> None:
    metrics = evaluate(runs[kind]).metrics
    assert metrics.accuracy >= 14 / 16, "14 of 16 by chance: one in 500"


@pytest.mark.parametrize("kind", ["hog_svm", "geometry"])
def test_without_epochs_there_is_no_history(runs: dict[str, Path], kind: str) -> None:
    assert not (runs[kind] / "history.csv").exists()
    assert not (runs[kind] / "checkpoints").exists()


def test_the_card_tells_what_the_graph_wants(runs: dict[str, Path]) -> None:
    wanted = {name: Predictor(run).card for name, run in runs.items()}
    assert {name: card.inputs for name, card in wanted.items()} == {
        "pixels": ["crops"],
        "hog_svm": ["hog"],
        "geometry": ["measures"],
        "both": ["crops", "measures"],
    }
    assert wanted["pixels"].measures == []
    assert wanted["geometry"].measures == wanted["both"].measures == list(OUTLINE)


@pytest.mark.parametrize("kind", ["hog_svm", "geometry", pytest.param("both", marks=pytest.mark.slow)])
def test_the_same_data_gives_the_same_file(data: Path, tmp_path: Path, runs: dict[str, Path], kind: str) -> None:
    again = train(tiny_training(data, tmp_path / "again", epochs=4, batch=4, **KINDS[kind])).model
    crops = np.stack([draw_mouth("open", number, 32) for number in range(4)])
    np.testing.assert_array_equal(Predictor(runs[kind]).classify(crops), Predictor(again).classify(crops))


@pytest.mark.slow
def test_cross_validation_takes_them_too(data: Path, tmp_path: Path) -> None:
    result = cross_validate(tiny_training(data, tmp_path / "run", network="geometry"), 2)
    assert result.probabilities.sum(axis=1) == pytest.approx(1, abs=1e-5)
    assert result.scores.pooled.accuracy > 0.8


def test_measures_are_taken_once_for_the_same_crops(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny_training(data, tmp_path / "run", network="geometry")
    train(config)
    monkeypatch.setattr("fer_pipeline.models.data.measure_crops", lambda *_: pytest.fail("measured again"))
    (tmp_path / "run" / "model.onnx").unlink()
    train(config)


def answer(model: Estimator, values: NDArray[np.float32], path: Path) -> NDArray[np.float32]:
    """What the model file says of some inputs."""
    known = {
        "labels": list("abc")[: len(model.fitted.classes_)],
        "size": 32,
        "network": "hog_svm",
        "preprocessing": Preprocessing(),
    }
    card = Card(**known, measures=[str(one) for one in range(values.shape[1])])
    write_bundle(path, model, card)
    return Predictor(path, threads=1).infer({model.inputs[0]: values})


def test_the_file_of_a_support_vector_machine_says_what_scikit_learn_says(tmp_path: Path) -> None:
    targets = np.repeat([0, 1, 2], 20)
    images = np.stack([draw_mouth(["closed", "open"][target % 2], number, 64) for number, target in enumerate(targets)])
    images[targets == 2] = images[targets == 2].transpose(0, 2, 1, 3)
    for classes in (2, 3):
        chosen = targets < classes
        model = fit_hog_svm(Crops(images[chosen], targets[chosen], [], list("abc")[:classes]), seed=0)
        features = hog_features(images)
        expected = model.fitted.predict_proba(features)
        np.testing.assert_allclose(answer(model, features, tmp_path / "model.onnx"), expected, atol=1e-4)
        assert (expected[chosen].argmax(axis=1) == targets[chosen]).mean() > 0.9


def test_the_file_tells_of_the_temperature(tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(size=(60, 4)).astype(np.float32)
    model = fit_trees(Crops(np.zeros((60, 0, 0, 3), np.uint8), (values[:, 0] > 0).astype(np.int64), [], [], values), 0)
    model.temperature = 2.0
    odds = np.log(np.divide(*model.fitted.predict_proba(values).T))
    got = answer(model, values, tmp_path / "model.onnx")
    np.testing.assert_allclose(got[:, 0], 1 / (1 + np.exp(-odds / 2)), atol=1e-4)


def test_a_class_of_one_crop_is_too_few_for_a_support_vector_machine() -> None:
    crops = Crops(np.zeros((3, 64, 64, 3), np.uint8), np.array([0, 0, 1]), [], ["open", "pout"])
    with pytest.raises(InputError, match="class 'pout' has one crop to train on: add more"):
        fit_hog_svm(crops, seed=0)


@pytest.mark.parametrize("classes", [2, 3])
def test_the_trees_say_what_scikit_learn_says_also_of_missing_measures(classes: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(classes)
    # Few distinct values: many measures fall exactly on a threshold's neighbours.
    values = (rng.integers(0, 12, (200, 4)) / np.float32(7)).astype(np.float32)
    targets = (values[:, 0] * 7 // (12 / classes)).astype(np.int64)
    for missing in (False, True):
        if missing:
            values[rng.random(values.shape) < 0.2] = np.nan
        trees = fit_trees(Crops(np.zeros((200, 0, 0, 3), np.uint8), targets, [], [], values), seed=0)
        for asked in (values, np.full((1, 4), np.nan, np.float32)):
            expected = trees.fitted.predict_proba(asked)
            np.testing.assert_allclose(answer(trees, asked, tmp_path / "model.onnx"), expected, atol=1e-5)


def test_hog_sees_which_way_an_edge_runs_and_not_how_bright_it_is() -> None:
    upright = np.zeros((64, 64, 3), np.uint8)
    upright[:, 20:] = 200
    across, down, dim, mirrored = hog_features([upright, upright.transpose(1, 0, 2), upright // 4, upright[:, ::-1]])
    assert float((across * down).sum()) < 0.2 * float((across * across).sum())
    np.testing.assert_allclose(dim, across, atol=0.02)
    np.testing.assert_allclose(mirrored, across, atol=1e-6)


def test_a_blank_crop_has_no_measures_and_an_answer_all_the_same(runs: dict[str, Path]) -> None:
    blank = np.full((1, 32, 32, 3), 90, np.uint8)
    assert np.isnan(measure_crops(blank, OUTLINE, CropSettings(region="whole"))).all()
    for run in runs.values():
        row = Predictor(run).classify(blank)
        assert np.isfinite(row).all()
        assert row.sum() == pytest.approx(1, abs=1e-5)


ALONE = """
import json, sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"torch", "lightning", "sklearn", "skl2onnx", "scipy", "onnx", "matplotlib"}:
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Block())
from fer_pipeline.__main__ import main
sys.argv = ["fer", "predict", sys.argv[1], *sys.argv[2:]]
main()
"""


@pytest.mark.slow
def test_prediction_needs_neither_torch_nor_scikit_learn(runs: dict[str, Path], tmp_path: Path) -> None:
    crop = write_png(tmp_path / "crop.png", draw_mouth("open", 5, 32))
    for run in runs.values():
        command = [sys.executable, "-c", ALONE, str(run), str(crop), "--crops", "--json"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode == 0, done.stderr
        told = json.loads(done.stdout)["faces"][0]["probabilities"]
        expected = Predictor(run).classify(draw_mouth("open", 5, 32)[None])[0]
        assert list(told.values()) == pytest.approx(expected.tolist(), abs=1e-5)


@pytest.mark.slow
def test_a_fixed_share_weighs_pixels_and_geometry(data: Path, tmp_path: Path) -> None:
    changes = {"network": "hog_svm", "geometry": True, "calibrate": False}
    crops = np.stack([draw_mouth("open", number, 32) for number in range(4)])
    said = {}
    for share in (0.01, 0.99):
        run = train(tiny_training(data, tmp_path / str(share), geometry_share=share, **changes)).model
        said[share] = Predictor(run).classify(crops)
    assert np.abs(said[0.01] - said[0.99]).max() > 0.01


def test_only_geometry_asks_for_measures(data: Path, tmp_path: Path) -> None:
    asked = {name: wanted_measures(tiny_training(data, tmp_path, **changes)) for name, changes in KINDS.items()}
    assert asked == {"pixels": (), "hog_svm": (), "geometry": OUTLINE, "both": OUTLINE}


@pytest.mark.parametrize("kind", ["hog_svm", "geometry", "both"])
def test_what_is_no_network_of_pixels_is_not_quantised(runs: dict[str, Path], kind: str) -> None:
    with pytest.raises(InputError, match="only a network that sees pixels alone"):
        quantise(runs[kind])


def test_there_is_nothing_to_tune_without_a_learning_rate(data: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="hog_svm has no learning rate"):
        tune(tiny_training(data, tmp_path / "run", network="hog_svm"), 2)
