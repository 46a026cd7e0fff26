"""Fit a model to crops in memory: Lightning's loop, resumed after the last finished epoch.

All random numbers (order, augmentation, dropout) are drawn from seed and epoch, so that a run that was killed and
resumed ends with the same weights as one that was not. Under torchrun Lightning's DDP
trains one network in all processes.
"""

import logging
import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping, WeightAveraging
from torch import Tensor

from fer_pipeline import console
from fer_pipeline.config.schema import TrainConfig
from fer_pipeline.errors import UsageError
from fer_pipeline.models.batches import Loader, make_batches
from fer_pipeline.models.classical import CLASSICAL, fit_classical
from fer_pipeline.models.classifier import Classifier, build_classifier
from fer_pipeline.models.data import Crops
from fer_pipeline.models.distributed import computes_on_gpu, count_processes
from fer_pipeline.models.fusion import fuse
from fer_pipeline.models.model_module import ModelModule
from fer_pipeline.training.diagnose import StopAtNan
from fer_pipeline.training.history import Checkpoints, History
from fer_pipeline.training.learner import Learner
from fer_pipeline.training.loggers import make_logger
from fer_pipeline.training.progress import TrainingProgress

STEPS = 1_600  # of a training whose length is left open
Weights = Mapping[str, Tensor]
QUIET = (
    *("does not have many workers", "LeafSpec", "smaller than the logging interval", "lr_scheduler.step"),
    "Grad strides do not match",
)


def fit(
    config: TrainConfig,
    training: Crops,
    validation: Crops,
    folder: Path,
    more: Sequence[Callback] = (),
    start: Weights | None = None,
) -> ModelModule:
    """Train the configured model on `training` crops, its epoch or weights chosen by `validation`; it lies on the CPU.

    A network starts from the weights `start`, if given, in place of random ones.
    """
    if config.network in CLASSICAL:
        model: ModelModule = fit_classical(config, training)
    else:
        with torch.random.fork_rng(range(torch.cuda.device_count())):  # the host's random numbers stay its own
            model = fit_network(config, training, validation, folder, more, start)
    beside = config.geometry and config.network != "geometry"
    return fuse(model, training, validation, config) if beside else model


def fit_network(
    config: TrainConfig,
    training: Crops,
    validation: Crops,
    folder: Path,
    more: Sequence[Callback] = (),
    start: Weights | None = None,
) -> Classifier:
    """Train a network on `training` crops, its epoch chosen by `validation`; checkpoints and history go into `folder`.

    `more` callbacks see every epoch before its checkpoint is written. `start` holds all weights of the classifier.
    Raises Diverged where the loss is no finite number.
    """
    torch.manual_seed(config.seed)
    epochs, batch = choose_length(config, len(training.targets))
    if batch // count_processes() < min(2, count_processes()):
        raise UsageError(f"train.batch: {batch} crops for {count_processes()} processes: set it larger")
    classifier = build_classifier(config, training.labels, training.images.shape[1])
    if start is not None:
        classifier.load_state_dict(start)
    learner = Learner(classifier, config, class_weights(training, config))
    batches = (
        make_batches(training, config, batch, shuffle=True),
        make_batches(validation, config, batch, shuffle=False),
    )
    callbacks = [StopAtNan(config.learning_rate), *more, *_callbacks(config, epochs, folder)]
    _fit(learner, batches, callbacks, epochs, config, folder)
    return learner.classifier.eval()


def choose_length(config: TrainConfig, count: int) -> tuple[int, int]:
    """Choose epochs and batch size for `count` crops, where the configuration leaves them open.

    What matters is the number of steps: 150 mouths reached 66 % after 80 steps, 87 after 400, 90 after 800, and 2,236
    were done after 1,600.
    """
    batch = config.batch or (32 if count < 2_000 else 64 if count < 10_000 else 128)
    epochs = config.epochs or min(200, max(20, round(STEPS * batch / count)))
    return epochs, batch


def computes_bf16(config: TrainConfig) -> bool:
    """Whether to compute in bf16: as configured, or where it is faster (twice on a processor with AMX)."""
    if config.precision != "auto":
        return config.precision == "bf16"
    if config.device in {"auto", "cuda"} and torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return config.device in {"auto", "cpu"} and bool(torch.cpu._is_amx_tile_supported())


def class_weights(crops: Crops, config: TrainConfig) -> Tensor | None:
    """Compute inverse class frequencies (classes,), with mean one over the images; None if not asked for."""
    if config.class_weights == "none":
        return None
    counts = np.bincount(crops.targets, minlength=len(crops.labels))
    return torch.tensor(len(crops.targets) / (len(counts) * counts), dtype=torch.float32)


def _fit(
    learner: Learner,
    batches: tuple[Loader, Loader],
    callbacks: list[Callback],
    epochs: int,
    config: TrainConfig,
    run: Path,
) -> None:
    """Run Lightning's loop, resumed after the last finished epoch, and load the weights that become the model."""
    folder = run / "checkpoints"
    with _quiet():
        trainer = lightning.Trainer(
            max_epochs=epochs,
            **_devices(config.device),
            precision="bf16-mixed" if computes_bf16(config) else "32-true",
            callbacks=callbacks,
            logger=make_logger(config, run) or False,
            enable_checkpointing=False,
            default_root_dir=run,
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


def _devices(device: str) -> dict[str, Any]:
    """List Lightning's settings for the device, or for the processes torchrun has started."""
    if count_processes() == 1:
        return {"accelerator": {"cuda": "gpu"}.get(device, device), "devices": 1}
    on_machine = int(os.environ["LOCAL_WORLD_SIZE"])
    return {
        "accelerator": "gpu" if computes_on_gpu(device) else "cpu",
        "devices": on_machine,
        "num_nodes": count_processes() // on_machine,
        "strategy": "ddp",
    }


def _callbacks(config: TrainConfig, epochs: int, run: Path) -> list[Callback]:
    callbacks: list[Callback] = [History(run)]
    if config.ema:
        callbacks.append(WeightAveraging(multi_avg_fn=_warm_average(config.ema)))
    if config.patience:
        best = {"loss": "min", "accuracy": "max"}[config.monitor]
        callbacks.append(EarlyStopping(f"val_{config.monitor}", patience=config.patience, mode=best))
    return [*callbacks, TrainingProgress(epochs), Checkpoints(run / "checkpoints", config.monitor)]


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence Lightning's messages to developers; `TrainingProgress` says what concerns the user."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric", "lightning")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            for said in QUIET:
                warnings.filterwarnings("ignore", f".*{said}")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _warm_average(decay: float) -> Callable[[list[Tensor], list[Tensor], Tensor | int], None]:
    """Make an exponential average whose decay grows with the steps, so that a short run does not average its start."""

    def average(means: list[Tensor], currents: list[Tensor], count: Tensor | int) -> None:
        if not means[0].is_floating_point():  # the counters of batch norm
            torch._foreach_copy_(means, currents)
            return
        keep = min(decay, (1 + float(count)) / (10 + float(count)))
        torch._foreach_lerp_(means, currents, 1 - keep)

    return average
