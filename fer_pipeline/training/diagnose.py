"""Tell a training that failed: one that ended at chance, whose loss grew, or whose loss is no number any more."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from fer_pipeline.errors import InputError
from fer_pipeline.evaluation.metrics import wilson_interval

CHECK_EVERY = 50  # batches, since reading the loss back from a GPU waits for it
NEAR_CHANCE = 0.05  # an accuracy above that of the commonest class that still is chance, unless there are many images
LEARNED = 0.2  # an accuracy on training images above that of the commonest class by which they were learned


class Diverged(InputError):
    """The loss of a training is infinite or no number."""


class StopAtNan(Callback):
    """Stop a training whose loss is no finite number, before its weights are kept.

    Raises Diverged, at most `CHECK_EVERY` batches later.
    """

    def __init__(self, learning_rate: float) -> None:
        self.learning_rate = learning_rate

    def on_train_batch_end(
        self, trainer: lightning.Trainer, _: lightning.LightningModule, outputs: Any, __: Any, index: int
    ) -> None:
        loss = outputs["loss"] if isinstance(outputs, Mapping) else outputs
        if index % CHECK_EVERY == 0 and isinstance(loss, Tensor) and not bool(torch.isfinite(loss)):
            self._stop(trainer)

    def on_train_epoch_end(self, trainer: lightning.Trainer, _: lightning.LightningModule) -> None:
        losses = [float(trainer.callback_metrics[name]) for name in ("train_loss", "val_loss")]
        if not all(map(math.isfinite, losses)):
            self._stop(trainer)

    def _stop(self, trainer: lightning.Trainer) -> None:
        told = f"train: the loss is no finite number in epoch {trainer.current_epoch + 1}"
        raise Diverged(f"{told}: {_lower(self.learning_rate)}")


def _lower(rate: float) -> str:
    return f"lower train.learning_rate, e.g. from {rate:g} to {rate / 10:g}"


def diagnose(
    accuracy: float, counts: Mapping[str, int], history: Sequence[Mapping[str, float]] = (), learning_rate: float = 0
) -> list[str]:
    """Say in one sentence each what failed in a training, and what to try; empty where nothing did.

    `accuracy` is that of the finished model on its validation images, of which `counts` has the number by label.
    `history` has a row for each epoch (see `history.COLUMNS`), none for a model without epochs.
    """
    if history and has_diverged([row["train_loss"] for row in history], len(counts)):
        told = f"the loss ended at {history[-1]['train_loss']:.3g}, where guessing has {math.log(len(counts)):.2g}"
        return [f"{told}: {_lower(learning_rate)}"]
    total, label = sum(counts.values()), max(counts, key=lambda name: counts[name])
    share = counts[label] / total
    if not is_chance(accuracy, share, total):
        return []
    told = f"{accuracy:.1%} of {total:,} validation images are right, no better than always answering {label!r} "
    told += f"({share:.1%})"
    if history and history[-1]["train_accuracy"] < min(1.0, share + LEARNED):
        rates = f"another train.learning_rate (now {learning_rate:g}) or more epochs"
        return [f"{told}: try {rates}, check the labels with `fer audit`, or add images"]
    if history:
        told += f", though {history[-1]['train_accuracy']:.1%} of the training images are"
    return [f"{told}: check the labels with `fer audit`, or add images"]


def is_chance(accuracy: float, share: float, images: int) -> bool:
    """Whether an accuracy on so many images is that of always answering the class that has this `share` of them.

    It is where it lies less than `NEAR_CHANCE` above the share and its 95 % interval holds the share.
    """
    return accuracy < share + NEAR_CHANCE and wilson_interval(round(accuracy * images), images)[0] <= share


def has_diverged(losses: Sequence[float], classes: int) -> bool:
    """Whether training ended worse than guessing: at twice its loss, or above it and twice the first epoch's."""
    guessing, last = math.log(classes), losses[-1]
    return last > 2 * guessing or (last > guessing and last > 2 * losses[0])
