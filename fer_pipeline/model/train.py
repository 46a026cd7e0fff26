"""Train a classifier on a split folder: from crops to `runs/NAME/model.onnx`, read top to bottom.

The loop is Lightning's. All chance (order, augmentation, dropout) is drawn from seed and epoch, so that a run that was
killed and resumed at the last finished epoch ends with the same weights as one that was not.
"""

import logging
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import lightning
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping, WeightAveraging
from torch import Tensor

from fer_pipeline import console
from fer_pipeline.config import Recipe, TrainConfig
from fer_pipeline.errors import InputError, UsageError
from fer_pipeline.journal import Journal, cannot_write
from fer_pipeline.manifest import Row
from fer_pipeline.model.batches import Loader, make_batches
from fer_pipeline.model.bundle import MODEL, Card, write_bundle
from fer_pipeline.model.classifier import build_classifier
from fer_pipeline.model.dataset import Crops, check_classes, hash_data, list_crops, load_crops
from fer_pipeline.model.history import Checkpoints, EpochLine, History
from fer_pipeline.model.learner import Learner
from fer_pipeline.model.networks import default_size
from fer_pipeline.recipe import check_recipe, make_recipe, settings_of, start_over
from fer_pipeline.splits import part_groups

STEPS = 1_600


@dataclass(frozen=True)
class Outcome:
    """Where the model is, and whether it was made now."""

    model: Path
    fresh: bool
    seconds: float


def train(config: TrainConfig, *, force: bool = False) -> Outcome:
    """Train into the run folder; goes on after the last finished epoch, and leaves a finished run alone."""
    started = time.monotonic()
    recipe = make_recipe("train", config, hash_data(config.input) if config.input.is_dir() else "")
    check_device(config.device)
    with Journal(config.output):  # holds the folder's lock
        try:
            if force:
                start_over(config.output, "train")
            check_recipe(config.output, recipe)
            fresh = not (config.output / MODEL).is_file()
            if fresh:
                _train(config)
        except OSError as error:
            raise cannot_write(config.output, error) from None
    return Outcome(config.output / MODEL, fresh, time.monotonic() - started)


def check_device(device: str) -> None:
    """Raises UsageError for a device this machine lacks, before a finished run is given up for a new one."""
    if (device == "cuda" and not torch.cuda.is_available()) or (device == "mps" and not torch.mps.is_available()):
        raise UsageError(
            f"train.device: this machine has no {device}: set it to auto (`fer doctor` shows what there is)"
        )


def computes_bf16(config: TrainConfig) -> bool:
    """Whether to compute in bf16: as asked, or where it is faster (twice on a processor with AMX)."""
    if config.precision != "auto":
        return config.precision == "bf16"
    if config.device in {"auto", "cuda"} and torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return config.device in {"auto", "cpu"} and bool(torch.cpu._is_amx_tile_supported())


def _train(config: TrainConfig) -> None:
    torch.manual_seed(config.seed)
    size = config.size or default_size(config.network)
    rows = list_crops(config.input, "train")
    labels = check_classes(rows, config.input)
    crops = load_crops(config.input, rows, labels, size, config.output / "cache")
    held = part_groups(
        [str(row.label) for row in rows], [group_of(row) for row in rows], config.validation_share, config.seed
    )
    training = crops.part([index for index, out in enumerate(held) if not out])
    validation = crops.part([index for index, out in enumerate(held) if out])
    if len({*training.targets.tolist()}) < len(labels) or not len(validation.targets):
        raise InputError(f"{config.input}: too few images to hold back a validation part: add images per class")
    epochs, batch = settle_length(config, len(training.targets))
    learner = Learner(build_classifier(config, labels, size), config, _class_weights(training, config))
    batches = (
        make_batches(training, config, batch, shuffle=True),
        make_batches(validation, config, batch, shuffle=False),
    )
    _fit(learner, batches, epochs, config)
    write_bundle(config.output / MODEL, learner.classifier, _card(config, labels, size))


def settle_length(config: TrainConfig, count: int) -> tuple[int, int]:
    """Epochs and batch size for `count` crops, where the configuration leaves them open.

    What counts is the number of steps: 150 mouths reached 66 % after 80 steps, 87 after 400, 90 after 800, and 2,236
    were done after 1,600.
    """
    batch = config.batch or (32 if count < 2_000 else 64 if count < 10_000 else 128)
    epochs = config.epochs or min(200, max(20, round(STEPS * batch / count)))
    return epochs, batch


def group_of(row: Row) -> str:
    """What a split may not part: the row's group, or the image alone."""
    return row.group or row.path


def _class_weights(crops: Crops, config: TrainConfig) -> Tensor | None:
    """Inverse frequencies with mean one over the images, if asked for."""
    if config.class_weights == "none":
        return None
    counts = np.bincount(crops.targets, minlength=len(crops.labels))
    return torch.tensor(len(crops.targets) / (len(counts) * counts), dtype=torch.float32)


def _fit(learner: Learner, batches: tuple[Loader, Loader], epochs: int, config: TrainConfig) -> None:
    """Run Lightning's loop, from the last finished epoch on, and load the weights that become the model."""
    folder = config.output / "checkpoints"
    with warnings.catch_warnings():
        _quieten()
        trainer = lightning.Trainer(
            max_epochs=epochs,
            accelerator={"auto": "auto", "cpu": "cpu", "cuda": "gpu", "mps": "mps"}[config.device],
            devices=1,
            precision="bf16-mixed" if computes_bf16(config) else "32-true",
            callbacks=_callbacks(config, epochs, folder),
            logger=False,
            enable_checkpointing=False,
            default_root_dir=config.output,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            use_distributed_sampler=False,
        )
        last = folder / "last.ckpt"
        if last.is_file():
            console.note(f"train: going on after the last finished epoch in {folder}")
        try:
            trainer.fit(learner, *batches, ckpt_path=last if last.is_file() else None, weights_only=True)
        except SystemExit:  # how Lightning leaves on Ctrl-C
            raise KeyboardInterrupt from None
    state = torch.load(folder / f"{config.keep}.ckpt", map_location="cpu", weights_only=True)
    learner.load_state_dict(state["state_dict"])  # with `ema` these are the averaged weights


def _callbacks(config: TrainConfig, epochs: int, folder: Path) -> list[Callback]:
    callbacks: list[Callback] = [History(config.output)]
    if config.ema:
        callbacks.append(WeightAveraging(multi_avg_fn=_warm_average(config.ema)))
    if config.patience:
        callbacks.append(EarlyStopping("val_loss", patience=config.patience))
    return [*callbacks, EpochLine(epochs), Checkpoints(folder)]


def _quieten() -> None:
    """Lightning speaks to its developers; what concerns the user is said by `EpochLine`."""
    for name in ("lightning.pytorch", "lightning.fabric", "lightning"):
        logging.getLogger(name).setLevel(logging.ERROR)
    for said in ("does not have many workers", "LeafSpec", "smaller than the logging interval", "lr_scheduler.step"):
        warnings.filterwarnings("ignore", f".*{said}.*")


def _warm_average(decay: float) -> Callable[[list[Tensor], list[Tensor], Tensor | int], None]:
    """Exponential average whose decay grows with the steps, so that a short run is no average of its first steps."""

    def average(means: list[Tensor], currents: list[Tensor], count: Tensor | int) -> None:
        if not means[0].is_floating_point():  # the counters of batch norm
            torch._foreach_copy_(means, currents)
            return
        keep = min(decay, (1 + float(count)) / (10 + float(count)))
        torch._foreach_lerp_(means, currents, 1 - keep)

    return average


def _card(config: TrainConfig, labels: list[str], size: int) -> Card:
    """What the model file tells of itself; detector and crop are those that made the data."""
    detector, cut = settings_of(config.input, "filter"), settings_of(config.input, "crop")
    recipe = Recipe()
    if detector is not None and cut is not None:
        cut.pop("embedding", None)
        recipe = Recipe.model_validate({"detector": detector, "cut": cut})
    return Card(
        labels=labels,
        size=size,
        network=config.network,
        recipe=recipe,
        data=hash_data(config.input),
        settings=config.model_dump(mode="json"),
    )
