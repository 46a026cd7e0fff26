"""Fit a network: Lightning's loop over crops in memory, from the last finished epoch on.

All chance (order, augmentation, dropout) is drawn from seed and epoch, so that a run that was killed and resumed ends
with the same weights as one that was not. Under torchrun every process draws the chance of the whole batch, so that
many end with the weights of one.
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
from fer_pipeline.models.model_module import Scorer
from fer_pipeline.models.shared_layers import share_layers
from fer_pipeline.training.history import Checkpoints, EpochLine, History
from fer_pipeline.training.learner import Learner

STEPS = 1_600
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
) -> Scorer:
    """Whatever the configuration names, trained on some crops, weighed or chosen by others; it lies on the CPU.

    A network begins with the weights of `start`, if given, in place of random ones.
    """
    if config.network in CLASSICAL:
        scorer = fit_classical(config, training, validation)
    else:
        with torch.random.fork_rng(range(torch.cuda.device_count())):  # the host's random numbers stay its own
            scorer = fit_network(config, training, validation, folder, more, start)
    beside = config.geometry and config.network != "geometry"
    return fuse(scorer, training, validation, config) if beside else scorer


def fit_network(
    config: TrainConfig,
    training: Crops,
    validation: Crops,
    folder: Path,
    more: Sequence[Callback] = (),
    start: Weights | None = None,
) -> Classifier:
    """A network trained on some crops, its epoch chosen by others; checkpoints and history go into `folder`.

    `more` callbacks see every epoch before its checkpoint is written. `start` are all weights of the classifier.
    """
    torch.manual_seed(config.seed)
    epochs, batch = choose_length(config, len(training.targets))
    if batch < count_processes():
        raise UsageError(f"train.batch: {batch} crops for {count_processes()} processes: set it larger")
    classifier = build_classifier(config, training.labels, training.images.shape[1])
    if start is not None:
        classifier.load_state_dict(start)
    share_layers(classifier)
    learner = Learner(classifier, config, _class_weights(training, config))
    batches = (
        make_batches(training, config, batch, shuffle=True),
        make_batches(validation, config, batch, shuffle=False),
    )
    _fit(learner, batches, [*more, *_callbacks(config, epochs, folder)], epochs, config, folder)
    return learner.classifier.eval()


def choose_length(config: TrainConfig, count: int) -> tuple[int, int]:
    """Epochs and batch size for `count` crops, where the configuration leaves them open.

    What counts is the number of steps: 150 mouths reached 66 % after 80 steps, 87 after 400, 90 after 800, and 2,236
    were done after 1,600.
    """
    batch = config.batch or (32 if count < 2_000 else 64 if count < 10_000 else 128)
    epochs = config.epochs or min(200, max(20, round(STEPS * batch / count)))
    return epochs, batch


def computes_bf16(config: TrainConfig) -> bool:
    """Whether to compute in bf16: as asked, or where it is faster (twice on a processor with AMX)."""
    if config.precision != "auto":
        return config.precision == "bf16"
    if config.device in {"auto", "cuda"} and torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return config.device in {"auto", "cpu"} and bool(torch.cpu._is_amx_tile_supported())


def _class_weights(crops: Crops, config: TrainConfig) -> Tensor | None:
    """Inverse frequencies with mean one over the images, if asked for."""
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
    """Run Lightning's loop, from the last finished epoch on, and load the weights that become the model."""
    folder = run / "checkpoints"
    with _quiet():
        trainer = lightning.Trainer(
            max_epochs=epochs,
            **_devices(config.device),
            precision="bf16-mixed" if computes_bf16(config) else "32-true",
            callbacks=callbacks,
            logger=False,
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
    """What Lightning must know of the machine, or of the machines torchrun has started processes on."""
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
    return [*callbacks, EpochLine(epochs), Checkpoints(run / "checkpoints", config.monitor)]


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence Lightning's messages to developers; `EpochLine` says what concerns the user."""
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
    """Exponential average whose decay grows with the steps, so that a short run is no average of its first steps."""

    def average(means: list[Tensor], currents: list[Tensor], count: Tensor | int) -> None:
        if not means[0].is_floating_point():  # the counters of batch norm
            torch._foreach_copy_(means, currents)
            return
        keep = min(decay, (1 + float(count)) / (10 + float(count)))
        torch._foreach_lerp_(means, currents, 1 - keep)

    return average
