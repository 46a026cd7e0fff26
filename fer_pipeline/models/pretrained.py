"""The finished run that a fine-tuning starts from: its metadata, its weights, and the settings to continue with."""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import ValidationError
from torch import Tensor

from fer_pipeline.config.schema import TrainConfig
from fer_pipeline.errors import InputError, UsageError
from fer_pipeline.files import hash_file
from fer_pipeline.models.classical import CLASSICAL
from fer_pipeline.models.classifier import Classifier, build_classifier
from fer_pipeline.models.data import list_crops
from fer_pipeline.models.model_file import MODEL, Card, find_model, open_session, read_card

# Settings that the weights depend on, which therefore stay as they are.
FIXED = ("network", "size", "center_crop", "grey", "standardise", "dropout", "geometry")
# A short training with a small learning rate. Old and new sources count alike; the last epoch is kept, since no camera
# picture is held back to choose one by.
GENTLE = {"learning_rate": 5e-4, "schedule": "onecycle", "sampler": "sources", "keep": "last", "patience": 0}
CROPS_SEEN = 15_000  # in all epochs together: half a minute on two cores for `compact_resnet`
REMEDY = "train again without --from"


@dataclass(frozen=True)
class Base:
    """A finished run to start from; `sha256` is that of its model file."""

    run: Path
    card: Card
    sha256: str


def read_base(run: Path) -> Base:
    """Read the run to start from; raises InputError if it is not finished, UsageError if it has no network weights."""
    path = find_model(run)
    if path.name != MODEL:
        raise UsageError(f"{path}: only {MODEL} of a run has weights to go on from: name the run's folder")
    card = read_card(open_session(path, threads=1), path)
    if card.network in CLASSICAL:
        raise UsageError(f"{path} is a {card.network}, which has no weights to go on from: {REMEDY}")
    return Base(path.parent, card, hash_file(path))


def choose_settings(config: TrainConfig, base: Base, chosen: Collection[str]) -> TrainConfig:
    """Choose the settings of a fine-tuning: the network as it is, and a schedule shorter than the first training's.

    Settings that are `chosen` (by --set), or that `config` sets to other values than the first training, are kept.
    Raises UsageError where these contradict the network.
    """
    theirs: dict[str, Any] = {name: base.card.settings.get(name) for name in TrainConfig.model_fields} | {
        "size": base.card.size
    }
    own = config.model_dump(mode="json")
    said = {name for name in config.model_fields_set if own[name] is not None and own[name] != theirs[name]}
    wanted = said | set(chosen)
    for name in FIXED:
        if name in wanted and own[name] != theirs[name]:
            told = (
                f"train.{name} is {json.dumps(own[name])}, but {base.run} was trained with {json.dumps(theirs[name])}"
            )
            raise UsageError(f"{told}: leave it out, or {REMEDY}")
    settings = own | {name: theirs[name] for name in FIXED if theirs[name] is not None} | {"weights": None}
    settings |= {name: value for name, value in GENTLE.items() if name not in wanted}
    if "epochs" not in wanted:
        settings["epochs"] = min(60, max(3, round(CROPS_SEEN / len(list_crops(config.input, "train")))))
    if "output" not in chosen:
        settings["output"] = str(config.output.with_name(f"{config.output.name}-tuned"))
    return _check(settings, base)


def _check(settings: dict[str, Any], base: Base) -> TrainConfig:
    try:
        config = TrainConfig.model_validate_json(json.dumps(settings))
    except ValidationError:
        raise InputError(f"{base.run / MODEL}: its metadata is damaged: train again with `fer train`") from None
    if config.output.resolve() == base.run.resolve():
        raise UsageError(f"{base.run} would be overwritten: name another run by --set train.output=runs/OTHER")
    return config


def read_weights(base: Base, config: TrainConfig) -> Mapping[str, Tensor]:
    """Read all weights of the classifier from its checkpoint; raises InputError unless they are the model file's."""
    path = base.run / "checkpoints" / f"{base.card.settings.get('keep', 'best')}.ckpt"
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)["state_dict"]
        weights = {str(name).removeprefix("classifier."): value for name, value in state.items()}
        classifier = _build(base, config)
        classifier.load_state_dict(weights)
    except FileNotFoundError:
        raise InputError(f"{path} is missing, which holds the weights to go on from: {REMEDY}") from None
    except UsageError:
        raise
    except Exception:  # noqa: BLE001  torch's reader raises a dozen kinds, all for a file that is not what it should be
        raise InputError(f"{path}: does not hold the weights of {base.run / MODEL}: {REMEDY}") from None
    if base.card.inputs == ["crops"] and not _agree(classifier.eval(), base):
        raise InputError(f"{path} and {base.run / MODEL} are of two trainings: {REMEDY}")
    return classifier.state_dict()


def _build(base: Base, config: TrainConfig) -> Classifier:
    """Build the classifier as it is in the model file, with its own test-time augmentation."""
    theirs = {name: value for name, value in base.card.settings.items() if name in {"flip", "tta_crops"}}
    return build_classifier(config.model_copy(update=theirs), base.card.labels, base.card.size)


def _agree(classifier: Classifier, base: Base) -> bool:
    """Whether weights and model file give the same probabilities for random crops."""
    side = base.card.size
    crops = np.random.default_rng(0).integers(0, 256, (4, side, side, 3), dtype=np.uint8)
    classifier.temperature = base.card.calibration.temperature if base.card.calibration else 1.0
    with torch.inference_mode():
        own = classifier(torch.from_numpy(crops)).numpy()
    theirs, *_ = open_session(base.run / MODEL, threads=1).run(None, {"crops": crops})
    return own.shape == theirs.shape and float(np.abs(own - theirs).max()) < 1e-3
