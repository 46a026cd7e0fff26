"""Show the progress of a training: a bar on a terminal, else lines in and after long epochs, with the time left."""

import time
from collections.abc import Callable
from typing import Any

import lightning
from lightning.pytorch.callbacks import Callback
from rich.progress import BarColumn, Progress, TextColumn

from fer_pipeline import console
from fer_pipeline.evaluation.metrics import wilson_interval

QUARTERS = 4  # of an epoch, each of which is worth a line
MIN_SECONDS = 30.0  # between two lines, so that short epochs are not told one by one
MAX_SECONDS = 300.0  # without a line, in an epoch of hours


class TimeEstimate:
    """Estimate the time left from the batches and epochs done so far in this process, in seconds.

    An epoch is its training batches and what follows them (validation, writing the checkpoint); how long that takes is
    known once an epoch is over.
    """

    def __init__(self, epochs: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.epochs, self.clock = epochs, clock
        self.epoch = 0  # the current one, from 1
        self.share = 0.0  # of its training batches that are done
        self._is_over = False
        self._started = self._trained = clock()
        self._after_batches = 0.0
        self._durations: list[float] = []

    def begin_epoch(self, epoch: int) -> None:
        """Start to measure epoch number `epoch`, counted from 1."""
        self.epoch, self.share, self._is_over = epoch, 0.0, False
        self._started = self._trained = self.clock()

    def add_batch(self, done: int, total: int) -> None:
        """Note that `done` of the epoch's `total` batches are done."""
        self.share = done / total
        self._trained = self.clock()

    def end_epoch(self) -> float:
        """Note that the epoch is over; return how long it took."""
        now = self.clock()
        self._after_batches = now - self._trained
        self._durations.append(now - self._started)
        self._is_over = True
        return self._durations[-1]

    def left_in_epoch(self) -> float:
        """Estimate the rest of the current epoch."""
        if self._is_over or not self.share:
            return 0.0
        return (self.clock() - self._started) * (1 - self.share) / self.share + self._after_batches

    def left(self) -> float:
        """Estimate the rest of the training; before an epoch is over all are taken to be as long as the current one."""
        current = self.left_in_epoch()
        durations = self._durations or [self.clock() - self._started + current]
        return current + sum(durations) / len(durations) * (self.epochs - self.epoch)


def format_duration(seconds: float) -> str:
    """Format seconds for people: `0.4 s`, `45 s`, `4.2 min`, `4.1 h`, `2.5 days`."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    for limit, unit, name in ((90, 1, "s"), (5400, 60, "min"), (172_800, 3600, "h")):
        if seconds < limit:
            return f"{seconds:.0f} s" if unit == 1 else f"{seconds / unit:.1f} {name}"
    return f"{seconds / 86_400:.1f} days"


class TrainingProgress(Callback):
    """Show how far a training is and how long it will take; `clock` gives seconds.

    On a terminal it is a bar over all batches. Elsewhere it is a line at each quarter of an epoch, though `MIN_SECONDS`
    after the last line at the earliest and `MAX_SECONDS` at the latest, and one at the end of an epoch that took
    `MIN_SECONDS` or ends a tenth of the training.
    """

    def __init__(self, epochs: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.epochs, self.clock = epochs, clock
        self.estimate = TimeEstimate(epochs, clock)
        self.bar: Progress | None = None
        self._last_line, self._last_quarter = clock(), 0
        self._accuracy = ""

    def on_train_start(self, trainer: lightning.Trainer, _: lightning.LightningModule) -> None:
        self._last_line = self.clock()
        if console.is_live():
            columns = ("train", BarColumn(20), TextColumn("{task.description}"))  # fits into 80 columns
            self.bar = Progress(*columns, console=console.err, transient=True)
            self.bar.start()
            batches = int(trainer.num_training_batches)
            self.bar.add_task("", total=self.epochs * batches, completed=trainer.current_epoch * batches)

    def on_train_epoch_start(self, trainer: lightning.Trainer, _: lightning.LightningModule) -> None:
        self.estimate.begin_epoch(trainer.current_epoch + 1)
        self._last_quarter = 0

    def on_train_batch_end(
        self, trainer: lightning.Trainer, _: lightning.LightningModule, __: Any, ___: Any, index: int
    ) -> None:
        done, total = index + 1, int(trainer.num_training_batches)
        self.estimate.add_batch(done, total)
        if self.bar is not None:
            rest = format_duration(self.estimate.left())
            text = f"{self._format_place()}, {rest} left{self._accuracy}"
            self.bar.update(self.bar.task_ids[0], advance=1, description=text)
        elif done < total and self._is_line_due():
            epoch, rest = format_duration(self.estimate.left_in_epoch()), format_duration(self.estimate.left())
            self._print(f"{self._format_place()}, {epoch} left in the epoch, {rest} in all")

    def _is_line_due(self) -> bool:
        silent, quarter = self.clock() - self._last_line, int(self.estimate.share * QUARTERS)
        return silent >= MAX_SECONDS or (silent >= MIN_SECONDS and quarter > self._last_quarter)

    def _format_place(self) -> str:
        """Format where the training is, as `epoch 3 of 60, 41 %`."""
        return f"epoch {self.estimate.epoch} of {self.epochs}, {100 * self.estimate.share:.0f} %"

    def on_train_epoch_end(self, trainer: lightning.Trainer, _: lightning.LightningModule) -> None:
        epoch, seconds = trainer.current_epoch + 1, self.estimate.end_epoch()
        if self.bar is not None:
            self._accuracy = f", validation {float(trainer.callback_metrics['val_accuracy']):.1%}"
            self.bar.update(self.bar.task_ids[0], completed=epoch * int(trainer.num_training_batches))
            return
        tenth = epoch % max(1, self.epochs // 10) == 0
        if tenth or epoch == self.epochs or self.clock() - self._last_line >= MIN_SECONDS:
            left = "" if epoch == self.epochs else f", {format_duration(self.estimate.left())} left"
            self._print(f"epoch {epoch} of {self.epochs}: {format_scores(trainer)}; {format_duration(seconds)}{left}")

    def _print(self, text: str) -> None:
        console.note(f"train: {text}")
        self._last_line, self._last_quarter = self.clock(), int(self.estimate.share * QUARTERS)

    def teardown(self, _: lightning.Trainer, __: lightning.LightningModule, stage: str) -> None:
        del stage
        if self.bar is not None:
            self.bar.stop()
            self.bar = None


def format_scores(trainer: lightning.Trainer) -> str:
    """Format losses and accuracies of the last epoch, the validation accuracy with its 95 % interval."""
    values = {name: float(value) for name, value in trainer.callback_metrics.items()}
    loader: Any = trainer.val_dataloaders
    images = len(loader.dataset)
    low, high = wilson_interval(round(values["val_accuracy"] * images), images)
    return (
        f"loss {values['train_loss']:.3f}, accuracy {values['train_accuracy']:.1%}, validation loss "
        f"{values['val_loss']:.3f}, accuracy {values['val_accuracy']:.1%} ({low:.0%} to {high:.0%})"
    )
