"""Promises of `fer_pipeline.models.model_file`."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from support.drawn import draw_mouth

from fer_pipeline.config.schema import CropSettings, Detector, Preprocessing
from fer_pipeline.errors import InputError
from fer_pipeline.models.classifier import Classifier
from fer_pipeline.models.model_file import KEY, Card, find_model, open_session, read_card, write_bundle
from fer_pipeline.models.networks import build_network, default_normalisation

torch.set_num_threads(1)


def classifier(network: str = "simpleconv3", size: int = 32, *, grey: bool = False, flip: bool = True) -> Classifier:
    torch.manual_seed(3)
    mean, deviation = default_normalisation(network)
    return Classifier(build_network(network, 2, size), mean, deviation, grey=grey, flip=flip)


def card(size: int = 32) -> Card:
    preprocessing = Preprocessing(
        detector=Detector(detector="haar", sides=(480,)), cut=CropSettings(scale="eyes", align=True, margin=1.1)
    )
    return Card(
        labels=["froh", "中性"],
        size=size,
        network="simpleconv3",
        preprocessing=preprocessing,
        data="ab",
        settings={"seed": 0},
    )


@pytest.mark.parametrize(
    ("network", "size", "grey", "flip"),
    [("simpleconv3", 32, False, True), ("compact_resnet", 64, True, True), ("compact_resnet", 50, False, False)],
)
def test_onnx_runtime_says_what_torch_says(tmp_path: Path, network: str, size: int, grey: bool, flip: bool) -> None:
    model = classifier(network, size, grey=grey, flip=flip)
    # Statistics as training leaves them, not the zeros and ones of a new network.
    model.train().logits(torch.rand(8, 3, size, size))
    write_bundle(tmp_path / "model.onnx", model, card(size))
    crops = np.stack([draw_mouth(label, number, size) for label in ("open", "closed") for number in range(3)])
    with torch.inference_mode():
        expected = model.eval()(torch.from_numpy(crops)).numpy()
    got = open_session(tmp_path / "model.onnx", 1).run(None, {"crops": crops})[0]
    assert got.shape == (6, 2)
    np.testing.assert_allclose(got, expected, atol=1e-4)
    np.testing.assert_allclose(got.sum(axis=1), 1, atol=1e-5)
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]


def test_the_temperature_is_part_of_the_file(tmp_path: Path) -> None:
    model, crops = classifier(), np.stack([draw_mouth("open", 1, 32)])
    answers = []
    for temperature in (1.0, 5.0):
        model.temperature = temperature
        write_bundle(tmp_path / "model.onnx", model, card())
        answers.append(open_session(tmp_path / "model.onnx", 1).run(None, {"crops": crops})[0])
    assert answers[1].max() < answers[0].max()


def test_the_card_comes_back_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    write_bundle(path, classifier(), card())
    assert read_card(open_session(path, 1), path) == card()


def test_a_file_that_is_no_model_is_told_in_one_line(tmp_path: Path) -> None:
    for content in (b"", b"no model at all", b"\x08\x07"):
        (tmp_path / "model.onnx").write_bytes(content)
        with pytest.raises(InputError, match=r"not a model ONNX Runtime can open .*fer train") as caught:
            open_session(tmp_path / "model.onnx", 1)
        assert "\n" not in str(caught.value)


def strip(path: Path, value: str | None) -> None:
    """Write the file again with another card, or none."""
    model = onnx.load(str(path))
    del model.metadata_props[:]
    if value is not None:
        onnx.helper.set_model_props(model, {KEY: value})
    onnx.save(model, str(path))


def test_a_model_that_is_not_ours_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    write_bundle(path, classifier(), card())
    strip(path, None)
    with pytest.raises(InputError, match="an ONNX file, but not one of `fer train`"):
        read_card(open_session(path, 1), path)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"labels": 3}', '"card"', "null", "\x00"])
def test_a_damaged_card_is_told_in_one_line(tmp_path: Path, text: str) -> None:
    path = tmp_path / "model.onnx"
    write_bundle(path, classifier(), card())
    strip(path, text)
    with pytest.raises(InputError, match=r"metadata is damaged: train again with `fer train`"):
        read_card(open_session(path, 1), path)


def test_a_run_folder_or_its_file_names_a_model(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"holds no finished model \(model\.onnx\): run `fer train` first"):
        find_model(tmp_path)
    with pytest.raises(InputError, match="run `fer train` first"):
        find_model(tmp_path / "nowhere")
    (tmp_path / "model.onnx").touch()
    assert find_model(tmp_path) == find_model(tmp_path / "model.onnx") == tmp_path / "model.onnx"


@pytest.mark.parametrize(
    ("network", "tta_crops"),
    [
        ("vgg_small", 1),
        ("vgg_small", 5),
        *(pytest.param(one, 5, marks=pytest.mark.slow) for one in ("medium_resnet", "fer_cnn", "prelu_cnn")),
    ],
)
def test_windows_grey_and_standardised_crops_are_the_same_in_the_file(
    tmp_path: Path, network: str, tta_crops: int
) -> None:
    torch.manual_seed(3)
    options = {"grey": True, "flip": True, "standardise": True, "center_crop": 20, "tta_crops": tta_crops}
    model = Classifier(build_network(network, 3, 20), *default_normalisation(network), **options)  # type: ignore[arg-type]
    model.train().logits(torch.rand(8, 3, 20, 20))
    write_bundle(tmp_path / "model.onnx", model, card(24))
    drawn = [draw_mouth(label, number, 24) for label in ("open", "closed") for number in range(3)]
    crops = np.stack([*drawn, np.full((24, 24, 3), 90, np.uint8)])
    with torch.inference_mode():
        expected = model.eval()(torch.from_numpy(crops)).numpy()
    got = open_session(tmp_path / "model.onnx", 1).run(None, {"crops": crops})[0]
    assert np.ptp(got, axis=0).max() > 1e-4, "all crops look the same to it: the comparison shows nothing"
    np.testing.assert_allclose(got, expected, atol=1e-4)


def test_metadata_that_is_no_text_or_nested_without_end_is_told_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    write_bundle(path, classifier(), card())
    strip(path, "[" * 100_000)
    with pytest.raises(InputError, match="metadata is damaged"):
        read_card(open_session(path, 1), path)
    strip(path, "@@@@")
    path.write_bytes(path.read_bytes().replace(b"@@@@", b"@\xff\xfe@"))
    with pytest.raises(InputError, match="metadata is damaged"):
        read_card(open_session(path, 1), path)


def test_opening_a_model_leaves_no_telemetry_behind(tmp_path: Path) -> None:
    write_bundle(tmp_path / "model.onnx", classifier(), card())
    home = tmp_path / "home"
    home.mkdir()
    told = {"HOME": str(home), "XDG_CACHE_HOME": str(home / "cache"), "PATH": os.environ["PATH"]}
    code = f"from fer_pipeline.models.model_file import *; open_session(Path({str(tmp_path / 'model.onnx')!r}))"
    subprocess.run([sys.executable, "-c", code], env=told, check=True)
    assert not list(home.rglob("*"))
