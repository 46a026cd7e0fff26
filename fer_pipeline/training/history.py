"""What is kept and told of a training while it runs: checkpoints, `history.csv` for the curves, a bar or lines."""

import csv
import math
import shutil
import time
from pathlib import Path
from typing import Any, Literal

import lightning
from lightning.pytorch.callbacks import Callback
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from fer_pipeline import console
from fer_pipeline.evaluation.metrics import wilson_interval
from fer_pipeline.files import write_csv
from fer_pipeline.models.distributed import is_lead

HISTORY = "history.csv"
COLUMNS = ("epoch", "train_loss", "train_accuracy", "val_loss", "val_accuracy", "learning_rate", "seconds")
Rows = list[dict[str, float]]


def read_history(folder: Path) -> Rows:
    """One row an epoch, as numbers."""
    path = folder / HISTORY
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]


class History(Callback):
    """Write `history.csv` again after every epoch; after a resume, epochs that will be done again are forgotten."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.rows: Rows = []
        self.started = time.monotonic()

    def on_train_epoch_start(self, trainer: lightning.Trainer, _: lightning.LightningModule) -> None:
        self.started = time.monotonic()
        self.rows = [row for row in self.rows or read_history(self.folder) if row["epoch"] <= trainer.current_epoch]

    def on_train_epoch_end(self, trainer: lightning.Trainer, _: lightning.LightningModule) -> None:
        values = {name: float(trainer.callback_metrics[name]) for name in COLUMNS if name in trainer.callback_metrics}
        values |= {
            "epoch": trainer.current_epoch + 1,
            "learning_rate": trainer.optimizers[0].param_groups[0]["lr"],
            "seconds": time.monotonic() - self.started,
        }
        self.rows.append({name: round(values[name], 6) for name in COLUMNS})
        if is_lead():
            # As text of one kind: an epoch read back after a resume is 3.0, one that was just finished 3.
            lines = ([f"{row[name]:.12g}" for name in COLUMNS] for row in self.rows)
            write_csv(self.folder / HISTORY, COLUMNS, lines)


class Checkpoints(Callback):
    """Keep the last and the best epoch, each written aside first: a kill while writing costs that epoch at most.

    The best is the first of the lowest validation loss or, on demand, of the highest accuracy.
    """

    def __init__(self, folder: Path, monitor: Literal["loss", "accuracy"] = "loss") -> None:
        self.folder, self.monitor = folder, monitor
        self.best = math.inf  # less is better

    def on_train_epoch_end(self, trainer: lightning.Trainer, _: lightning.LightningModule) -> None:
        value = float(trainer.callback_metrics[f"val_{self.monitor}"])
        score = value if self.monitor == "loss" else -value
        better = score < self.best
        self.best = min(score, self.best)
        aside = self.folder / ".last.part"
        trainer.save_checkpoint(aside)  # the lead writes, and all wait for it
        if not is_lead():
            return
        if better:
            copy = self.folder / ".best.part"
            shutil.copyfile(aside, copy)
            copy.replace(self.folder / "best.ckpt")
        aside.replace(self.folder / "last.ckpt")

    def state_dict(self) -> dict[str, float]:
        return {"best": self.best}

    def load_state_dict(self, state_dict: dict[str, float]) -> None:
        self.best = state_dict["best"]


class EpochLine(Callback):
    """A bar with the latest accuracy on a terminal; elsewhere a plain line now and then."""

    def __init__(self, epochs: int) -> None:
        self.epochs = epochs
        self.bar: Progress | None = None

    def on_train_start(self, trainer: lightning.Trainer, _: lightning.LightningModule) -> None:
        if console.is_live():
            columns = (
                "train",
                BarColumn(),
                MofNCompleteColumn(),
                TimeRemainingColumn(),
                TextColumn("{task.description}"),
            )
            self.bar = Progress(*columns, console=console.err, transient=True)
            self.bar.start()
            self.bar.add_task("", total=self.epochs, completed=trainer.current_epoch)

    def on_train_epoch_end(self, trainer: lightning.Trainer, _: lightning.LightningModule) -> None:
        values = {name: float(value) for name, value in trainer.callback_metrics.items()}
        told = f"loss {values['train_loss']:.3f}, validation {_format_accuracy(trainer, values['val_accuracy'])}"
        epoch = trainer.current_epoch + 1
        if self.bar is not None:
            self.bar.update(self.bar.task_ids[0], completed=epoch, description=told)
        elif epoch % max(1, self.epochs // 10) == 0 or epoch == self.epochs:
            console.note(f"train: epoch {epoch} of {self.epochs}: {told}")

    def teardown(self, _: lightning.Trainer, __: lightning.LightningModule, stage: str) -> None:
        del stage
        if self.bar is not None:
            self.bar.stop()
            self.bar = None


def _format_accuracy(trainer: lightning.Trainer, accuracy: float) -> str:
    """The accuracy on the validation part with its 95 % interval."""
    loader: Any = trainer.val_dataloaders
    images = len(loader.dataset)
    low, high = wilson_interval(round(accuracy * images), images)
    return f"{accuracy:.1%} ({low:.0%} to {high:.0%})"
