"""Promises of `fer_pipeline.training.quantise`."""

import json
from pathlib import Path

import pytest
import torch

from fer_pipeline.__main__ import main
from fer_pipeline.errors import InputError
from fer_pipeline.models.predictor import Predictor
from fer_pipeline.training.quantise import quantise

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def run(trained_copy: Path) -> Path:
    """A run with its quantised model."""
    assert main(["-q", "quantise", str(trained_copy / "run")]) == 0
    return trained_copy / "run"


def test_the_small_model_keeps_the_card_and_says_what_it_is(run: Path) -> None:
    plain, small = Predictor(run).card, Predictor(run / "model.int8.onnx").card
    assert small.precision == "int8"
    assert small.model_copy(update={"precision": "float32"}) == plain


def test_it_answers_nearly_as_the_float_model_from_a_smaller_file(run: Path) -> None:
    figures = json.loads((run / "quantised.json").read_text())
    assert figures["count"] == 16
    assert figures["largest_difference"] < 0.15
    assert figures["paired"]["images"] == 16
    assert figures["bytes"]["int8"] < figures["bytes"]["float32"] / 2
    assert figures["speed_ratio"] > 0
    assert {"accuracy", "accuracy_ci95", "macro_f1", "macro_f1_ci95"} <= figures["int8"].keys()


def test_predict_takes_the_small_model(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture = next((run.parent / "split" / "test" / "open").glob("*.png"))
    assert main(["predict", str(run / "model.int8.onnx"), str(picture), "--crops"]) == 0
    assert str(picture) in capsys.readouterr().out


@pytest.mark.slow
def test_its_evaluation_does_not_overwrite_the_float_one(run: Path) -> None:
    assert main(["-q", "eval", str(run / "model.int8.onnx"), "--allow-leakage"]) == 0
    assert (run / "eval-model.int8" / "metrics.json").is_file()


def test_a_quantised_model_is_not_quantised_again(run: Path) -> None:
    with pytest.raises(InputError, match="is quantised already"):
        quantise(run / "model.int8.onnx")


def test_nothing_is_left_lying_about(run: Path) -> None:
    assert [path.name for path in run.iterdir() if path.name.endswith((".part", ".folded"))] == []
