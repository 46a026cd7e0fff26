"""What a training keeps while it runs: its checkpoints, and `history.csv` with losses and accuracies by epoch."""

import csv
import math
import shutil
import time
from pathlib import Path
from typing import Literal

import lightning
from lightning.pytorch.callbacks import Callback

from fer_pipeline.files import write_csv
from fer_pipeline.models.distributed import is_lead

HISTORY = "history.csv"
COLUMNS = ("epoch", "train_loss", "train_accuracy", "val_loss", "val_accuracy", "learning_rate", "seconds")
Rows = list[dict[str, float]]


def read_history(folder: Path) -> Rows:
    """Read `history.csv` of a run: one row for each epoch, as numbers; empty where there is none."""
    path = folder / HISTORY
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]


def find_kept(rows: Rows, keep: str, monitor: str) -> dict[str, float]:
    """Find the row of the epoch whose weights became the model; `keep` and `monitor` as in the settings of train."""
    if keep == "last":
        return rows[-1]
    if monitor == "loss":
        return min(rows, key=lambda row: row["val_loss"])
    return max(rows, key=lambda row: row["val_accuracy"])


class History(Callback):
    """Write `history.csv` after every epoch; after a resume without the epochs that are done again."""

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
    """Keep the weights of the last and the best epoch, as `last.ckpt` and `best.ckpt`.

    The best is the first with the lowest validation loss or, with `monitor` accuracy, the highest validation accuracy.
    Files are written aside and renamed: a kill while writing costs that epoch at most.
    """

    def __init__(self, folder: Path, monitor: Literal["loss", "accuracy"] = "loss") -> None:
        self.folder, self.monitor = folder, monitor
        self.best = math.inf  # the lower the better

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
