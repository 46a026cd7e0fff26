"""Promises of `fer_pipeline.training.train`."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from support.drawn import tiny_training, write_split

from fer_pipeline.config.schema import TrainConfig
from fer_pipeline.dataset.rows import read_rows
from fer_pipeline.errors import InputError, UsageError
from fer_pipeline.files import hash_file
from fer_pipeline.models.data import list_crops, load_crops
from fer_pipeline.models.predictor import Predictor
from fer_pipeline.training.fit import choose_length
from fer_pipeline.training.history import Checkpoints, read_history
from fer_pipeline.training.train import train

torch.set_num_threads(1)
SIMPLE: dict[str, Any] = {"network": "simpleconv3"}


@pytest.fixture(scope="module")
def data(trained: Path) -> Path:
    return trained / "split"


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """A copy of the run that all tests share."""
    return Path(shutil.copytree(trained / "run", tmp_path / "run"))


def probabilities(run: Path, data: Path) -> NDArray[np.float32]:
    """What a run says of the test part."""
    predictor = Predictor(run, threads=1)
    rows = list_crops(data, "test")
    return predictor.classify(load_crops(data, rows, predictor.card.labels, predictor.card.size, run / "cache").images)


def state_of(path: Path) -> dict[str, Any]:
    checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    return dict(checkpoint["state_dict"])


def test_a_run_learns_the_drawn_mouths_and_leaves_all_it_promises(data: Path, tmp_path: Path) -> None:
    outcome = train(tiny_training(data, tmp_path / "run", batch=4, epochs=4))
    assert outcome.fresh
    assert outcome.model == tmp_path / "run" / "model.onnx"
    assert (tmp_path / "run" / "checkpoints" / "last.ckpt").is_file()
    assert (tmp_path / "run" / "checkpoints" / "best.ckpt").is_file()
    history = read_history(tmp_path / "run")
    assert [row["epoch"] for row in history] == [1, 2, 3, 4]
    assert history[-1]["train_loss"] < history[0]["train_loss"]
    targets = np.array([row.label == "open" for row in list_crops(data, "test")])
    hits = (probabilities(tmp_path / "run", data).argmax(axis=1) == targets).sum()
    assert hits >= 14, "14 of 16 by chance: one in 500"
    left = [path.name for path in (tmp_path / "run").rglob("*") if path.name.endswith(".part")]
    assert left == []


def test_the_card_tells_labels_size_data_and_settings(data: Path, run: Path) -> None:
    card = Predictor(run).card
    assert (card.labels, card.size, card.network) == (["closed", "open"], 32, "simpleconv3")
    assert card.data == hash_file(data / "manifest.jsonl")
    assert card.settings["epochs"] == 3
    assert card.settings["input"] == str(data)


def test_the_same_settings_end_with_the_same_probabilities(data: Path, tmp_path: Path) -> None:
    changes = {"epochs": 2, "augment": "light", **SIMPLE}
    for name in ("one", "two"):
        train(tiny_training(data, tmp_path / name, **changes))
    train(tiny_training(data, tmp_path / "other", seed=1, **changes))
    first = probabilities(tmp_path / "one", data)
    np.testing.assert_array_equal(first, probabilities(tmp_path / "two", data))
    assert not np.array_equal(first, probabilities(tmp_path / "other", data))


def test_a_finished_run_is_left_alone(data: Path, run: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*") if path.name != ".lock"}
    assert not train(tiny_training(data, run, **SIMPLE)).fresh
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*") if path.name != ".lock"} == before


def test_other_settings_make_another_run_and_the_old_one_is_kept(data: Path, run: Path, tmp_path: Path) -> None:
    changed = tiny_training(data, tmp_path / "run", epochs=1, seed=7, **SIMPLE)
    assert train(changed).fresh
    assert Predictor(run).card.settings["seed"] == 7
    assert Predictor(tmp_path / "run.1").card.settings["seed"] == 0
    assert not train(changed).fresh
    assert train(changed, force=True).fresh
    assert (tmp_path / "run.2/model.onnx").is_file()


def test_other_data_make_another_run(tmp_path: Path) -> None:
    data = write_split(tmp_path / "split", train=6, test=1)
    config = tiny_training(data, tmp_path / "run", epochs=1, **SIMPLE)
    train(config)
    write_split(data, train=7, test=1)
    assert train(config).fresh
    assert (tmp_path / "run.1/model.onnx").is_file()


def test_a_folder_that_fer_did_not_make_is_not_touched(data: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.txt").write_text("mine")
    for force in (False, True):
        with pytest.raises(InputError, match="not made by fer"):
            train(tiny_training(data, tmp_path / "run", **SIMPLE), force=force)
    assert (tmp_path / "run" / "thesis.txt").read_text() == "mine"


def test_without_a_split_the_remedy_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="run `fer split` first"):
        train(tiny_training(tmp_path / "nowhere", tmp_path / "run"))


def test_one_class_alone_is_refused(tmp_path: Path) -> None:
    data = write_split(tmp_path / "split", labels=("open",), train=4, test=1)
    with pytest.raises(InputError, match="only the class 'open'"):
        train(tiny_training(data, tmp_path / "run", **SIMPLE))


def test_too_few_images_are_refused(tmp_path: Path) -> None:
    data = write_split(tmp_path / "split", train=1, test=1)
    with pytest.raises(InputError, match="has one image only"):
        train(tiny_training(data, tmp_path / "run", **SIMPLE))


def test_a_class_that_is_one_group_is_refused(tmp_path: Path) -> None:
    """Near-copies of one picture cannot be parted, so that nothing is left to validate on."""
    from fer_pipeline.dataset.rows import read_rows, write_rows

    data = write_split(tmp_path / "split", train=4, test=1)
    write_rows(data, [row.replace(group=row.label) for row in read_rows(data)])
    with pytest.raises(InputError, match="too few images to hold back a validation part"):
        train(tiny_training(data, tmp_path / "run", **SIMPLE))


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"network": "resnet5000"}, r"train\.network: unknown network 'resnet5000'"),
        ({"network": "simpleconv3", "size": 16, "weights": "nosuch"}, "'nosuch': neither a file nor torchvision"),
    ],
)
def test_an_unknown_network_or_weights_is_a_usage_error(data: Path, tmp_path: Path, changes: Any, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        train(tiny_training(data, tmp_path / "run", **changes))


@pytest.mark.slow
def test_keep_says_which_epoch_becomes_the_model(data: Path, tmp_path: Path) -> None:
    # With a rate this high the epochs differ, so that last and best are not the same.
    changes = {"epochs": 4, "learning_rate": 0.02, "schedule": "constant", **SIMPLE}
    for keep in ("best", "last"):
        train(tiny_training(data, tmp_path / keep, keep=keep, **changes))
    history = read_history(tmp_path / "best")
    losses = [row["val_loss"] for row in history]
    best, last = (state_of(tmp_path / "best" / "checkpoints" / f"{name}.ckpt") for name in ("best", "last"))
    differ = any(not torch.equal(best[name], last[name]) for name in best)
    assert differ == (losses.index(min(losses)) != len(losses) - 1)
    assert differ, "the drawing no longer makes the last epoch a worse one: choose another rate"
    assert not np.array_equal(probabilities(tmp_path / "best", data), probabilities(tmp_path / "last", data))


@pytest.mark.slow
def test_early_stopping_ends_a_run_that_gains_nothing(data: Path, tmp_path: Path) -> None:
    changes = {"epochs": 60, "patience": 2, "learning_rate": 0.5, "schedule": "constant", **SIMPLE}
    train(tiny_training(data, tmp_path / "run", **changes))
    losses = [row["val_loss"] for row in read_history(tmp_path / "run")]
    assert len(losses) < 60
    assert min(losses[-2:]) >= min(losses[:-2])
    assert (tmp_path / "run" / "model.onnx").is_file()


@pytest.mark.slow
def test_the_averaged_weights_differ_from_the_trained_and_become_the_model(data: Path, tmp_path: Path) -> None:
    for name, ema in (("plain", 0.0), ("averaged", 0.9)):
        train(tiny_training(data, tmp_path / name, ema=ema, epochs=3, keep="last", **SIMPLE))
    plain, averaged = (state_of(tmp_path / name / "checkpoints" / "last.ckpt") for name in ("plain", "averaged"))
    assert plain.keys() == averaged.keys()
    assert any(not torch.equal(plain[name], averaged[name]) for name in plain)
    assert not np.array_equal(probabilities(tmp_path / "plain", data), probabilities(tmp_path / "averaged", data))
    training = torch.load(tmp_path / "averaged" / "checkpoints" / "last.ckpt", weights_only=True)
    trained = training["current_model_state"]
    assert all(torch.equal(trained[name], plain[name]) for name in plain), "averaging disturbed the training"


@pytest.mark.parametrize(
    "schedule", ["step", "constant", *(pytest.param(name, marks=pytest.mark.slow) for name in ("onecycle", "cosine"))]
)
def test_every_schedule_and_optimizer_trains(data: Path, tmp_path: Path, schedule: str) -> None:
    optimizer = "adam" if schedule in {"step", "cosine"} else "adamw"
    changes = {"schedule": schedule, "optimizer": optimizer, "step_epochs": 1, "class_weights": "balanced", **SIMPLE}
    train(tiny_training(data, tmp_path / "run", epochs=2, grey=True, flip=False, augment="strong", **changes))
    rates = [row["learning_rate"] for row in read_history(tmp_path / "run")]
    assert (rates[1] == rates[0]) == (schedule == "constant")


@pytest.mark.parametrize("batch", [2, 40, *(pytest.param(count, marks=pytest.mark.slow) for count in (4, 8, 20))])
def test_a_run_of_few_steps_ends_too(data: Path, tmp_path: Path, batch: int) -> None:
    assert train(tiny_training(data, tmp_path / "run", epochs=1, batch=batch, **SIMPLE)).fresh


def test_length_and_batch_follow_the_data_where_they_are_left_open() -> None:
    open_config = TrainConfig(input=Path("in"), output=Path("out"))
    assert choose_length(open_config, 150) == (200, 32)
    assert choose_length(open_config, 5_000) == (20, 64)
    assert choose_length(open_config, 50_000) == (20, 128)
    assert choose_length(open_config.model_copy(update={"epochs": 3, "batch": 7}), 150) == (3, 7)


TRAIN = """
import json, sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from fer_pipeline.config.schema import TrainConfig
from fer_pipeline.training.train import train
train(TrainConfig.model_validate_json(sys.argv[1]))
"""


def kill_when(config: TrainConfig, is_time: Callable[[], bool]) -> None:
    """Train in another process and kill it as soon as it has come so far."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", TRAIN, json.dumps(config.model_dump(mode="json"))]
    with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) as process:
        end = time.monotonic() + 60
        while not is_time() and process.poll() is None and time.monotonic() < end:
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        assert process.wait(timeout=30) == -signal.SIGKILL, "the training ended before it could be killed"


@pytest.mark.slow
@pytest.mark.parametrize("own", [{**SIMPLE, "ema": 0.0}, {"network": "compact_resnet", "ema": 0.9}])
def test_a_killed_run_ends_with_the_weights_of_one_that_was_not(
    data: Path, tmp_path: Path, own: dict[str, Any]
) -> None:
    changes = {"epochs": 12, "batch": 4, "augment": "light", "patience": 11, "keep": "last", "dropout": 0.3, **own}
    configs = {name: tiny_training(data, tmp_path / name, **changes) for name in ("whole", "killed")}
    train(configs["whole"])
    folder = tmp_path / "killed"
    kill_when(configs["killed"], lambda: len(read_history(folder)) >= 3)
    assert not (folder / "model.onnx").exists()
    done = len(read_history(folder))
    assert 3 <= done < 12
    (folder / "checkpoints" / ".last.part").write_bytes(b"half a checkpoint, as a kill while writing leaves it")
    assert train(configs["killed"]).fresh
    whole, killed = (state_of(configs[name].output / "checkpoints" / "last.ckpt") for name in configs)
    assert all(torch.equal(whole[name], killed[name]) for name in whole)
    np.testing.assert_array_equal(probabilities(tmp_path / "whole", data), probabilities(folder, data))
    told = [(config.output / "history.csv").read_text().splitlines() for config in configs.values()]
    timeless = [[line.rpartition(",")[0] for line in lines] for lines in told]
    assert timeless[0] == timeless[1]


def test_a_run_killed_before_its_export_only_exports(data: Path, tmp_path: Path) -> None:
    config = tiny_training(data, tmp_path / "run", ema=0.9, **SIMPLE)
    train(config)
    before, history = probabilities(tmp_path / "run", data), read_history(tmp_path / "run")
    (tmp_path / "run" / "model.onnx").unlink()
    assert train(config).fresh
    np.testing.assert_array_equal(probabilities(tmp_path / "run", data), before)
    assert read_history(tmp_path / "run") == history


def test_a_resumed_run_knows_the_best_epoch_so_far(run: Path) -> None:
    checkpoint = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    resumed = Checkpoints(run / "checkpoints")
    resumed.load_state_dict(checkpoint["callbacks"][resumed.state_key])
    best = min(row["val_loss"] for row in read_history(run))
    assert resumed.best == pytest.approx(best, abs=1e-6)


def test_a_run_is_written_by_one_command_at_a_time(data: Path, tmp_path: Path) -> None:
    from fer_pipeline.dataset.journal import Journal

    with Journal(tmp_path / "run"), pytest.raises(InputError, match="another fer command is writing here"):
        train(tiny_training(data, tmp_path / "run", **SIMPLE))


@pytest.mark.slow
def test_threshold_and_temperature_are_told_by_the_card(data: Path, tmp_path: Path) -> None:
    card = Predictor(train(tiny_training(data, tmp_path / "run", epochs=1, uncertain=0.4, **SIMPLE)).model).card
    assert card.uncertain == 0.4
    assert card.calibration is not None
    assert (card.calibration.temperature, card.calibration.images) == (1, 10), "too few images to fit one"
    plain = Predictor(train(tiny_training(data, tmp_path / "plain", epochs=1, calibrate=False, **SIMPLE)).model)
    assert plain.card.calibration is None


@pytest.mark.slow
def test_few_images_of_a_class_are_told_with_what_a_score_of_them_is_worth(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    few, many = (write_split(tmp_path / str(count), train=count, test=2) for count in (10, 20))
    train(tiny_training(few, tmp_path / "runs/few", epochs=1, network="simpleconv3"))
    told = [line for line in capsys.readouterr().err.splitlines() if "mostly chance" in line]
    assert told == [
        "train: class 'closed' has 10 images only, scores are mostly chance: "
        "of 4 images held back, 80 % right may as well be 30% or 95%"
    ]
    train(tiny_training(many, tmp_path / "runs/many", epochs=1, network="simpleconv3"))
    assert "mostly chance" not in capsys.readouterr().err


def test_what_a_run_learned_from_is_noted(data: Path, run: Path) -> None:
    with (run / "seen.csv").open(newline="") as file:
        seen = {row["path"]: row["part"] for row in csv.DictReader(file)}
    expected = {f"train/{row.path}" for row in read_rows(data) if row.split == "train"}
    assert seen.keys() == expected
    assert set(seen.values()) == {"training", "validation"}


def test_a_session_is_learned_from_and_other_images_choose_the_epoch(tmp_path: Path) -> None:
    """One group of many: held back by chance, the camera would be no part of what is learned."""
    from fer_pipeline.dataset.rows import write_rows

    data = write_split(tmp_path / "split", train=24, test=1)
    camera = {"source": {"name": "webcam:1", "engine": "webcam"}, "group": "webcam:1"}
    write_rows(data, [row.replace(**camera) if row.path[-5] in "05" else row for row in read_rows(data)])
    run = train(tiny_training(data, tmp_path / "run", epochs=1, **SIMPLE)).model.parent
    with (run / "seen.csv").open(newline="") as file:
        parts = {(row["path"][-5] in "05", row["part"]) for row in csv.DictReader(file)}
    assert parts == {(True, "training"), (False, "training"), (False, "validation")}
    write_rows(data, [row.replace(**camera) for row in read_rows(data)])
    with pytest.raises(InputError, match="add another session"):
        train(tiny_training(data, tmp_path / "other", epochs=1, **SIMPLE))
