"""Promises of `fer_pipeline.training.diagnose`: a training that failed says so, and what to try."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from support.drawn import draw_mouth, tiny_training, write_png, write_split

from fer_pipeline.dataset.rows import read_rows
from fer_pipeline.errors import InputError
from fer_pipeline.training.diagnose import diagnose, has_diverged, is_chance
from fer_pipeline.training.history import read_history
from fer_pipeline.training.train import train
from fer_pipeline.training.tune import tune

torch.set_num_threads(1)
EVEN = {"closed": 100, "open": 100}


def history(*losses: float, accuracy: float = 0.5) -> list[dict[str, float]]:
    return [{"epoch": place + 1, "train_loss": loss, "train_accuracy": accuracy} for place, loss in enumerate(losses)]


def test_a_training_that_learned_says_nothing() -> None:
    assert diagnose(0.9, EVEN, history(0.7, 0.4, 0.2, accuracy=0.95), 0.003) == []
    assert diagnose(0.9, EVEN) == [], "a model without epochs"


def test_one_at_chance_that_did_not_even_learn_its_images_is_told_of_the_learning_rate() -> None:
    assert diagnose(0.51, EVEN, history(0.7, 0.69), 0.003) == [
        "51.0% of 200 validation images are right, no better than always answering 'closed' (50.0%): try another "
        "train.learning_rate (now 0.003) or more epochs, check the labels with `fer audit`, or add images"
    ]


def test_one_at_chance_that_learned_its_images_by_heart_is_told_of_labels_and_images() -> None:
    (told,) = diagnose(0.51, EVEN, history(0.7, 0.1, accuracy=0.99), 0.003)
    assert told.endswith("though 99.0% of the training images are: check the labels with `fer audit`, or add images")


def test_a_model_without_epochs_at_chance_is_told_of_labels_and_images() -> None:
    (told,) = diagnose(0.9, {"closed": 10, "open": 90})
    assert told.endswith("always answering 'open' (90.0%): check the labels with `fer audit`, or add images")


def test_a_loss_that_exploded_is_told_with_a_smaller_learning_rate() -> None:
    assert diagnose(0.5, EVEN, history(0.7, 8.25), 0.5) == [
        "the loss ended at 8.25, where guessing has 0.69: lower train.learning_rate, e.g. from 0.5 to 0.05"
    ]


@pytest.mark.parametrize(
    ("losses", "classes", "expected"),
    [
        ([0.7, 0.3], 2, False),
        ([40.0, 0.7], 2, False),  # it came back
        ([40.0], 2, True),
        ([0.3, 0.8], 2, True),
        ([0.01, 0.03], 2, False),  # far above its start, and still far better than guessing
        ([1.9, 2.0], 7, False),
        ([1.9, 4.0], 7, True),
    ],
)
def test_a_loss_has_grown_when_it_ends_worse_than_guessing(losses: list[float], classes: int, expected: bool) -> None:
    assert has_diverged(losses, classes) is expected


@pytest.mark.parametrize(
    ("accuracy", "share", "images", "expected"),
    [
        (0.5, 0.5, 10, True),
        (0.7, 0.5, 10, False),  # too few images to say that it learned nothing
        (0.52, 0.5, 200, True),
        (0.53, 0.5, 10_000, False),  # little, but no accident
        (0.3, 0.5, 100_000, True),
        (0.93, 0.9, 1_000, False),
    ],
)
def test_chance_is_what_always_answering_the_commonest_class_would_reach(
    accuracy: float, share: float, images: int, expected: bool
) -> None:
    assert is_chance(accuracy, share, images) is expected


def write_meaningless(folder: Path) -> Path:
    """A split whose labels have nothing to do with the pictures: every crop is the same."""
    write_split(folder, train=20, test=2)
    for row in read_rows(folder):
        write_png(folder / str(row.split) / row.path, draw_mouth("open", 0))
    return folder


@pytest.mark.parametrize("network", ["simpleconv3", "hog_svm"])
def test_a_training_that_ends_at_chance_says_so_at_its_end(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], network: str
) -> None:
    data = write_meaningless(tmp_path / "split")
    train(tiny_training(data, tmp_path / "run", network=network, epochs=1, validation_share=0.3))
    told = [line for line in capsys.readouterr().err.splitlines() if "no better than always answering" in line]
    assert len(told) == 1
    assert told[0].startswith("train: 50.0% of 12 validation images are right")
    assert "`fer audit`" in told[0]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A split of drawn mouths. Not to be changed."""
    return write_split(tmp_path_factory.mktemp("diagnose") / "split", train=16, test=2)


def poison(monkeypatch: pytest.MonkeyPatch, at: int) -> None:
    """Let the loss be NaN from step number `at` on, as an overflow makes it."""
    from fer_pipeline.training import learner

    plain, count = learner.weigh_losses, 0

    def weigh(*args: Any, **options: Any) -> torch.Tensor:
        nonlocal count
        count += 1
        return plain(*args, **options) * (math.nan if count > at else 1.0)

    monkeypatch.setattr(learner, "weigh_losses", weigh)


@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_a_loss_that_is_no_number_stops_the_training_and_leaves_no_model(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ema: float
) -> None:
    config = tiny_training(data, tmp_path / "run", network="simpleconv3", epochs=5, batch=4, patience=2, ema=ema)
    poison(monkeypatch, at=10)
    told = r"train: the loss is no finite number in epoch 2: lower train\.learning_rate, e\.g\. from .* to "
    with pytest.raises(InputError, match=told) as raised:
        train(config)
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "run/model.onnx").exists()
    kept = torch.load(tmp_path / "run/checkpoints/last.ckpt", weights_only=True)
    assert all(bool(value.isfinite().all()) for value in kept["state_dict"].values()), "the epoch before is kept"
    assert len(read_history(tmp_path / "run")) == 1


def test_a_trial_whose_loss_is_no_number_does_not_end_the_search(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny_training(data, tmp_path / "x", network="simpleconv3", size=48, batch=8)
    first = tune(config, 1, epochs=1)
    poison(monkeypatch, at=0)
    result = tune(config, 2, epochs=1)
    assert [one.state for one in result.trials] == ["complete", "pruned"]
    assert result.best == first.best
    monkeypatch.undo()
    assert [one.state for one in tune(config, 3, epochs=1).trials] == ["complete", "pruned", "complete"]
