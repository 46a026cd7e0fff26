"""Promises of `fer_pipeline.evaluation.leakage`."""

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.drawn import tiny_training, write_png
from support.pictures import draw_noise

from fer_pipeline.__main__ import main
from fer_pipeline.dataset.rows import Row
from fer_pipeline.evaluation.leakage import find_leaks
from fer_pipeline.models.data import Crops
from fer_pipeline.training.train import train
from fer_pipeline.vision.image_io import Image, resize

torch.set_num_threads(1)


def texture(seed: int, side: int = 48) -> Image:
    """A soft pattern of its own, as unlike another as two photos."""
    return resize(np.random.default_rng(seed).integers(0, 256, (8, 8, 3), np.uint8), side, side)


def crops(pictures: list[Image], **attributes: Any) -> Crops:
    rows = [
        Row(path=f"a/{index}.png", attributes={name: values[index] for name, values in attributes.items()})
        for index in range(len(pictures))
    ]
    return Crops(np.stack(pictures), np.zeros(len(pictures), np.int64), rows, ["a"])


def brighter(picture: Image) -> Image:
    """The same picture, brighter, paler, noisy and through a smaller size."""
    small = resize(resize(picture, 30, 30), 48, 48).astype(float)
    noise = np.random.default_rng(0).normal(0, 4, small.shape)
    return np.clip(small * 0.7 + 60 + noise, 0, 255).astype(np.uint8)


def test_two_sessions_before_one_camera_are_alike_but_the_same_frame_is_a_copy() -> None:
    first, second = crops([texture(1)]), crops([brighter(texture(1)), texture(1)])
    assert len(find_leaks(second, first)) == 2
    for part, name in ((first, "webcam:1"), (second, "webcam:2")):
        part.rows[:] = [row.replace(source={"name": name, "engine": "webcam"}) for row in part.rows]
    assert [(leak.test, leak.kind) for leak in find_leaks(second, first)] == [(1, "exact")]


def test_exact_near_and_mirrored_copies_are_found_and_others_are_not() -> None:
    train_crops = crops([texture(seed) for seed in range(40)])
    copies = [texture(7), brighter(texture(12)), brighter(texture(30))[:, ::-1]]
    leaks = find_leaks(crops([*copies, *[texture(seed) for seed in range(100, 120)]]), train_crops)
    assert [(leak.test, leak.train, leak.kind) for leak in leaks] == [
        (0, 7, "exact"),
        (1, 12, "crop"),
        (2, 30, "mirrored"),
    ]
    assert leaks[0].distance == 0 < leaks[1].distance < 0.045


def test_training_crops_beyond_the_first_block_are_compared_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fer_pipeline.evaluation.leakage.AT_ONCE", 3)
    train_crops = crops([texture(seed) for seed in range(10)])
    leaks = find_leaks(crops([brighter(texture(8)), brighter(texture(1))]), train_crops)
    assert [(leak.test, leak.train) for leak in leaks] == [(0, 8), (1, 1)]


def test_blank_crops_are_no_copies_of_one_another_unless_they_are_the_same() -> None:
    blank = [np.full((48, 48, 3), value, np.uint8) for value in (0, 10)]
    assert find_leaks(crops(blank[:1]), crops(blank[1:])) == []
    assert [leak.kind for leak in find_leaks(crops(blank[:1]), crops(blank[:1]))] == ["exact"]


def test_where_photos_were_hashed_hashes_and_crops_are_both_asked() -> None:
    alike = [texture(1), texture(1) // 2]
    leaks = find_leaks(crops(alike[:1], hash=["00000000000000ff"]), crops(alike[1:], hash=["00000000000000f0"]), 4)
    assert [(leak.kind, leak.distance) for leak in leaks] == [("photo", 4)]
    far = crops(alike[1:], hash=["0000000000000000"])
    assert [leak.kind for leak in find_leaks(crops(alike[:1], hash=["00000000000000ff"]), far, 4)] == ["crop"]
    turned = crops([np.ascontiguousarray(texture(1)[:, ::-1])], hash=["0000000000000000"])
    assert [leak.kind for leak in find_leaks(crops(alike[:1], hash=["00000000000000ff"]), turned, 4)] == ["mirrored"]
    by_turn = crops([texture(3)], hash=["0f0f0f0f0f0f0f0f"], hashes=[["00000000000000f0"]])
    known = crops(alike[1:], hash=["00000000000000f1"])
    assert [leak.kind for leak in find_leaks(by_turn, known, 4)] == ["photo"], "the photo was turned"
    strangers = crops([texture(2)], hash=["0000000000000000"])
    assert find_leaks(crops(alike[:1], hash=["00000000000000ff"]), strangers, 4) == []
    assert [leak.kind for leak in find_leaks(crops(alike[:1]), crops(alike[1:]), 4)] == ["crop"], "no hash to go by"


def test_two_crops_of_one_file_are_a_leak() -> None:
    one, other = crops([texture(1)]), crops([texture(2)])
    rows = [[row.replace(sha256="ab") for row in part.rows] for part in (one, other)]
    leaks = find_leaks(
        Crops(one.images, one.targets, rows[0], ["a"]), Crops(other.images, other.targets, rows[1], ["a"])
    )
    assert [leak.kind for leak in leaks] == ["exact"]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A plain folder of patterns whose two classes differ in brightness, 2 of 20 test images copied, and a run."""
    home = tmp_path_factory.mktemp("leaky")
    for place, label in enumerate(("dark", "light")):
        for number in range(30):
            part = "train" if number < 20 else "test"
            seed = 0 if number == 25 else number
            picture = draw_noise(100 * place + seed, 32, 32) // 2 + 120 * place
            write_png(home / "data" / part / label / f"{number:02}.png", picture.astype(np.uint8))
    train(tiny_training(home / "data", home / "run", network="simpleconv3"))
    return home


def test_eval_fails_above_the_limit_with_the_figures_written(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["-q", "eval", str(home / "run")]) == 1
    told = capsys.readouterr()
    assert told.err.count("\n") == 1
    assert "2 of 20 test images (10.0%) are copies of training images, more than 1.0%" in told.err
    assert "--allow-leakage" in told.err
    assert "without them accuracy" in told.out
    metrics = json.loads((home / "run" / "metrics.json").read_text())
    assert metrics["leakage"]["kinds"] == {"exact": 2}
    assert metrics["leakage"]["without"]["count"] == 18
    assert not metrics["leakage"]["passed"]
    with (home / "run" / "leaks.csv").open(newline="") as file:
        assert [(line["test"], line["train"]) for line in csv.DictReader(file)] == [
            (f"test/{label}/25.png", f"train/{label}/00.png") for label in ("dark", "light")
        ]
    assert (home / "run" / "reliability.png").is_file()


@pytest.mark.parametrize(
    "options", [["--allow-leakage"], pytest.param(["--max-leakage", "0.1"], marks=pytest.mark.slow)]
)
def test_eval_passes_where_leakage_is_allowed(home: Path, options: list[str]) -> None:
    assert main(["-q", "eval", str(home / "run"), *options]) == 0


@pytest.mark.slow
def test_another_folder_is_held_against_the_training_images(home: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(home / "data" / "train" / "dark", other / "dark")
    assert main(["-q", "eval", str(home / "run"), "--data", str(other)]) == 1
    metrics = json.loads((home / "run" / "eval-other" / "metrics.json").read_text())
    assert metrics["leakage"]["share"] == 1
    assert "without" not in metrics["leakage"]


@pytest.mark.slow
def test_without_the_training_images_it_says_that_nothing_was_checked(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = Path(shutil.copytree(home, tmp_path / "copy"))
    run = tmp_path / "run"
    train(tiny_training(copy / "data", run, epochs=1, network="simpleconv3"))
    other = Path(shutil.copytree(copy / "data" / "test", tmp_path / "other"))
    write_png(copy / "data" / "train" / "dark" / "99.png", texture(99))
    assert main(["-q", "eval", str(run), "--data", str(other)]) == 0
    assert "has changed since the training" in capsys.readouterr().out
    shutil.rmtree(copy)
    assert main(["-q", "eval", str(run), "--data", str(other)]) == 0
    assert "the training images are no longer in" in capsys.readouterr().out
