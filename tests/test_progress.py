"""Promises of `fer_pipeline.training.progress`: how far a training is and how long it will take."""

import re
from io import StringIO
from pathlib import Path

import lightning
import pytest
import torch
from lightning.pytorch.callbacks import Callback
from rich.console import Console
from support.drawn import tiny_training, write_split

from fer_pipeline import console
from fer_pipeline.training.fit import fit_network
from fer_pipeline.training.progress import TimeEstimate, TrainingProgress, format_duration
from fer_pipeline.training.train import hold_back, read_crops

torch.set_num_threads(1)


class Clock:
    """A clock that is set by hand, in seconds."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class SlowBatches(Callback):
    """Let every training batch take so many seconds of a clock, and what follows an epoch's batches some more."""

    def __init__(self, clock: Clock, seconds: float, after: float = 0.0) -> None:
        self.clock, self.seconds, self.after = clock, seconds, after

    def on_train_batch_start(self, *_: object) -> None:
        self.clock.now += self.seconds

    def on_validation_end(self, *_: object) -> None:
        self.clock.now += self.after


def train_slowly(tmp_path: Path, epochs: int, seconds: float, after: float = 0.0) -> int:
    """Train on a clock of our own; returns the number of batches of an epoch."""
    data = write_split(tmp_path / "split", train=24, test=1)
    config = tiny_training(data, tmp_path / "run", network="simpleconv3", epochs=epochs, batch=4, validation_share=0.2)
    (tmp_path / "run").mkdir()
    clock, batches = Clock(), 0

    class Count(Callback):
        def on_train_start(self, trainer: lightning.Trainer, _: lightning.LightningModule) -> None:
            nonlocal batches
            batches = int(trainer.num_training_batches)

    watched = [Count(), SlowBatches(clock, seconds, after), TrainingProgress(epochs, clock)]
    fit_network(config, *hold_back(read_crops(config, "train"), config), tmp_path / "run", watched)
    return batches


def lines_within(text: str) -> list[str]:
    return [line for line in text.splitlines() if "left in the epoch" in line]


def lines_of_ends(text: str) -> list[str]:
    return [line for line in text.splitlines() if "validation loss" in line]


def test_a_long_epoch_says_at_every_quarter_how_far_it_is_and_how_long_it_will_take(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    batches = train_slowly(tmp_path, epochs=2, seconds=60, after=30)
    assert batches == 9
    told = capsys.readouterr().err
    assert lines_within(told) == [
        "train: epoch 1 of 2, 33 %, 6.0 min left in the epoch, 15.0 min in all",
        "train: epoch 1 of 2, 56 %, 4.0 min left in the epoch, 13.0 min in all",
        "train: epoch 1 of 2, 78 %, 2.0 min left in the epoch, 11.0 min in all",
        "train: epoch 2 of 2, 33 %, 6.5 min left in the epoch, 6.5 min in all",
        "train: epoch 2 of 2, 56 %, 4.5 min left in the epoch, 4.5 min in all",
        "train: epoch 2 of 2, 78 %, 2.5 min left in the epoch, 2.5 min in all",
    ]


def test_the_end_of_a_long_epoch_says_losses_accuracies_time_and_time_left(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train_slowly(tmp_path, epochs=3, seconds=60)
    ends = [line for line in lines_of_ends(capsys.readouterr().err) if "9.0 min" in line]
    assert len(ends) == 3, "each epoch is long enough for a line of its own"
    pattern = r"train: epoch 1 of 3: loss \d\.\d+, accuracy [\d.]+%, validation loss \d\.\d+, accuracy [\d.]+% \(.*\); "
    assert re.match(pattern + r"9\.0 min, 18\.0 min left$", ends[0])
    assert ends[-1].endswith("; 9.0 min"), "nothing is left"


@pytest.mark.slow
def test_short_epochs_are_told_ten_times_in_all_and_never_from_within(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train_slowly(tmp_path, epochs=20, seconds=0.01)
    told = capsys.readouterr().err
    assert lines_within(told) == []
    own = [line for line in lines_of_ends(told) if line.endswith(("; 0.1 s", "s left"))]
    assert {line.split(":")[1].strip() for line in own} == {f"epoch {number} of 20" for number in range(2, 21, 2)}


def test_an_epoch_of_hours_is_never_silent_for_longer_than_five_minutes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    batches = train_slowly(tmp_path, epochs=1, seconds=600)
    assert len(lines_within(capsys.readouterr().err)) == batches - 1, "a batch of ten minutes: a line after each"


def test_on_a_terminal_a_bar_says_epoch_time_left_and_accuracy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = StringIO()
    monkeypatch.setattr(console, "err", Console(file=shown, force_terminal=True, width=80))
    train_slowly(tmp_path, epochs=2, seconds=60, after=30)
    # The bar as it is left; what it shows on the way depends on when the terminal is drawn.
    assert re.search(r"train.*epoch 2 of 2, 100 %, 30 s left, validation \d+\.\d%", shown.getvalue())
    assert "train: epoch" not in shown.getvalue()


def test_the_time_left_of_a_resumed_training_is_that_of_the_epochs_still_to_come() -> None:
    clock = Clock()
    estimate = TimeEstimate(10, clock)
    estimate.begin_epoch(9)
    clock.now = 50
    estimate.add_batch(1, 2)
    assert (estimate.left_in_epoch(), estimate.left()) == (50, 150)
    clock.now = 110
    estimate.add_batch(2, 2)
    clock.now = 130  # validation
    assert estimate.end_epoch() == 130
    assert (estimate.left_in_epoch(), estimate.left()) == (0, 130)
    estimate.begin_epoch(10)
    clock.now = 180
    estimate.add_batch(1, 2)
    assert estimate.left() == estimate.left_in_epoch() == 50 + 20, "validation is part of an epoch"


def test_before_the_first_batch_nothing_is_estimated() -> None:
    estimate = TimeEstimate(3, Clock())
    estimate.begin_epoch(1)
    assert (estimate.left_in_epoch(), estimate.left()) == (0, 0)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.44, "0.4 s"),
        (9.96, "10 s"),
        (45, "45 s"),
        (89, "89 s"),
        (252, "4.2 min"),
        (14_760, "4.1 h"),
        (216_000, "2.5 days"),
    ],
)
def test_durations_are_told_in_the_unit_that_fits(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text
