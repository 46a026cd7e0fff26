"""Train a classifier on a split folder: from crops to `runs/NAME/model.onnx`, read top to bottom."""

import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import torch

from fer_pipeline import console
from fer_pipeline.config.schema import TrainConfig
from fer_pipeline.dataset.provenance import locked_run, make_provenance, preprocessing_of
from fer_pipeline.dataset.rows import session_of
from fer_pipeline.errors import InputError, UsageError
from fer_pipeline.evaluation.metrics import wilson_interval
from fer_pipeline.evaluation.predictions import write_seen
from fer_pipeline.models.classical import wanted_measures
from fer_pipeline.models.data import Crops, check_classes, group_of, hash_data, list_crops, load_crops
from fer_pipeline.models.distributed import in_turn, is_lead, joined, led
from fer_pipeline.models.feature_distance import fit_distance
from fer_pipeline.models.model_file import MODEL, Card, TemperatureFit, write_bundle
from fer_pipeline.models.model_module import ModelModule, predict
from fer_pipeline.models.networks import default_size
from fer_pipeline.models.pretrained import Base, read_weights
from fer_pipeline.stages.partition import part_groups
from fer_pipeline.training.calibration import calibrate
from fer_pipeline.training.diagnose import diagnose
from fer_pipeline.training.fit import fit
from fer_pipeline.training.history import find_kept, read_history
from fer_pipeline.training.loggers import check_logger

FEW_IMAGES = 20  # of a class, below which a score says little


@dataclass(frozen=True)
class Outcome:
    """The path of the model, whether this call trained it, and how many seconds that took."""

    model: Path
    fresh: bool
    seconds: float


def train(config: TrainConfig, *, force: bool = False, base: Base | None = None) -> Outcome:
    """Train into the run folder; continue after the last finished epoch, and leave a finished run alone.

    With `base` the network starts from that model's weights.
    """
    started = time.monotonic()
    provenance = make_provenance("train", config, hash_data(config.input)) | ({"base": base.sha256} if base else {})
    check_device(config.device)
    with joined(config.device), led(locked_run(config.output, provenance, force=force)):
        fresh = not (config.output / MODEL).is_file()
        if fresh:
            check_logger(config)
            with in_turn():
                crops = read_crops(config, "train")
            training, validation = hold_back(crops, config)
            warn_of_few(crops, len(validation.targets))
            start = read_weights(base, config) if base else None
            classifier = fit(config, training, validation, config.output, start=start)
            if is_lead():
                write_seen(config.output, training, validation, base.run if base else None)
                calibration = calibrate(classifier, validation) if config.calibrate else None
                distance = fit_distance(classifier, training, validation, config.unknown)
                card = make_card(config, crops, provenance["input"], calibration).model_copy(
                    update={"base": provenance.get("base", ""), "known": config.unknown if distance else 0}
                )
                write_bundle(config.output / MODEL, classifier, card, distance)
                for sentence in find_failures(config, validation, classifier):
                    console.note(f"train: {sentence}")
    return Outcome(config.output / MODEL, fresh, time.monotonic() - started)


def check_device(device: str) -> None:
    """Raise UsageError for a device this machine lacks, before a finished run is put aside for a new one."""
    if (device == "cuda" and not torch.cuda.is_available()) or (device == "mps" and not torch.mps.is_available()):
        raise UsageError(
            f"train.device: this machine has no {device}: set it to auto (`fer doctor` shows what there is)"
        )


def read_crops(config: TrainConfig, part: str | None) -> Crops:
    """Read the crops of `part` (None: of all parts), in the size the configuration or else the network asks for."""
    rows = list_crops(config.input, part)
    labels = check_classes(rows, config.input)
    size = config.size or default_size(config.network)
    cut, cache = preprocessing_of(config.input).cut, config.output / "cache"
    return load_crops(config.input, rows, labels, size, cache, wanted_measures(config), cut)


def hold_back(crops: Crops, config: TrainConfig) -> tuple[Crops, Crops]:
    """Divide crops into those to train on and the validation part that chooses the epoch.

    Stratified by label; groups stay whole. A camera session would be held back whole: it is trained on, as long as
    there are other images. Raises InputError where a class or the validation part would be empty.
    """
    places = range(len(crops.rows))
    free = [index for index in places if not session_of(crops.rows[index])]
    more = "images per class" if free else "another session"
    rows = [crops.rows[index] for index in free or places]
    parts = part_groups([str(row.label) for row in rows], [*map(group_of, rows)], config.validation_share, config.seed)
    held = {index for index, out in zip(free or places, parts, strict=True) if out}
    training = crops.part([index for index in places if index not in held])
    validation = crops.part(sorted(held))
    if len({*training.targets.tolist()}) < len(crops.labels) or not len(validation.targets):
        raise InputError(f"{config.input}: too few images to hold back a validation part: add {more}")
    return training, validation


def warn_of_few(crops: Crops, held: int) -> None:
    """Warn where a class has so few images that every score is mostly chance."""
    label, fewest = min(Counter(str(row.label) for row in crops.rows).items(), key=lambda item: (item[1], item[0]))
    if fewest < FEW_IMAGES:
        low, high = wilson_interval(round(0.8 * held), held)
        told = f"of {console.counted(held, 'image')} held back, 80 % right may as well be {low:.0%} or {high:.0%}"
        console.note(
            f"train: class {label!r} has {console.counted(fewest, 'image')} only, scores are mostly chance: {told}"
        )


def find_failures(config: TrainConfig, validation: Crops, model: ModelModule) -> list[str]:
    """Say in one sentence each what failed in a finished training, see `diagnose`."""
    history = read_history(config.output)
    if history and not config.geometry:  # else the network is half of the model
        accuracy = find_kept(history, config.keep, config.monitor)["val_accuracy"]
    else:
        accuracy = float((predict(model, validation).argmax(axis=1) == validation.targets).mean())
    counts = Counter(validation.labels[target] for target in validation.targets)
    return diagnose(accuracy, {label: counts[label] for label in validation.labels}, history, config.learning_rate)


def make_card(config: TrainConfig, crops: Crops, data: str, calibration: TemperatureFit | None) -> Card:
    """What the model file tells of itself; `data` is the hash of what it learned from."""
    return Card(
        labels=crops.labels,
        size=crops.images.shape[1],
        network=config.network,
        preprocessing=preprocessing_of(config.input),
        measures=list(wanted_measures(config)),
        data=data,
        settings=config.model_dump(mode="json"),
        calibration=calibration,
        uncertain=config.uncertain,
    )
