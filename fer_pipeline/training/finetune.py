"""Fine-tune a finished model on old and new data, and compare it with what it was before."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from fer_pipeline.config.schema import TrainConfig
from fer_pipeline.dataset.provenance import preprocessing_of
from fer_pipeline.errors import InputError
from fer_pipeline.evaluation.scores import Gains
from fer_pipeline.models.data import check_classes, list_crops
from fer_pipeline.models.distributed import is_lead
from fer_pipeline.models.pretrained import REMEDY, Base, choose_settings, read_base
from fer_pipeline.training.finetune_report import compare_with_base
from fer_pipeline.training.train import Outcome, train


@dataclass(frozen=True)
class FinetuneResult:
    """The settings of the fine-tuning, the run it started from, the training, and its `finetune_report`."""

    config: TrainConfig
    base: Base
    outcome: Outcome
    report: Gains | None  # None in the other processes of torchrun


def finetune(config: TrainConfig, run: Path, chosen: Collection[str] = (), *, force: bool = False) -> FinetuneResult:
    """Fine-tune a finished run into a run of its own; after a kill the same call continues.

    `chosen` names the settings the user set, which replace those that suit a short training.
    """
    base = read_base(run)
    settings = choose_settings(config, base, chosen)
    check_fit(settings.input, base)
    outcome = train(settings, force=force, base=base)
    return FinetuneResult(settings, base, outcome, compare_with_base(base, settings) if is_lead() else None)


def check_fit(folder: Path, base: Base) -> None:
    """Raise InputError where the crops have other classes or preprocessing than the model was trained on."""
    labels = check_classes(list_crops(folder, "train"), folder)
    for label in labels:
        if label not in base.card.labels:
            known = ", ".join(base.card.labels)
            raise InputError(
                f"{folder}: {base.run} does not know the class {label!r}, but {known}: {_leave_out(label)}"
            )
    for label in base.card.labels:
        if label not in labels:
            told = f"{folder}: no image of {label!r}, which {base.run} knows and would forget"
            raise InputError(f"{told}: bring the old data into the same folder, or {REMEDY}")
    theirs, own = (each.model_dump(mode="json") for each in (base.card.preprocessing, preprocessing_of(folder)))
    for section, stage in (("cut", "crop"), ("detector", "filter")):
        for name in theirs[section]:
            if name != "faces" and theirs[section][name] != own[section][name]:  # how many of a photo changes no crop
                told = f"{folder} was made with {stage}.{name} = {own[section][name]}"
                wanted = f"{base.run} with {theirs[section][name]}"
                raise InputError(f"{told}, {wanted}: make the crops as the model knows them, or {REMEDY}")


def _leave_out(label: str) -> str:
    return f"name the others in split.labels to leave {label!r} out, or {REMEDY}"
