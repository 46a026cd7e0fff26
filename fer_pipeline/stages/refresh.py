"""Bring folders up to date by the settings they were made with: after photos came or went without a configuration."""

import json
from collections.abc import Iterator
from typing import Any

from pydantic import ValidationError

from fer_pipeline.config.schema import FOLDERS, Config, StageConfig
from fer_pipeline.dataset.experiment import Experiment
from fer_pipeline.dataset.provenance import read_provenance
from fer_pipeline.dataset.rows import MANIFEST
from fer_pipeline.errors import FerError
from fer_pipeline.stages.crop import CROP
from fer_pipeline.stages.dedupe import DEDUPE
from fer_pipeline.stages.filter import FILTER
from fer_pipeline.stages.runner import Summary, find_change, run_stage
from fer_pipeline.stages.split import SPLIT
from fer_pipeline.stages.stage import Stage
from fer_pipeline.stages.unify import UNIFY
from fer_pipeline.workers.stage_workers import Workers

STAGES: dict[str, Stage[Any]] = {stage.name: stage for stage in (UNIFY, DEDUPE, FILTER, CROP, SPLIT)}


def recorded_config(experiment: Experiment, stage: str) -> StageConfig | None:
    """Read the settings a finished stage of an experiment was made with; None if it is not finished, or not ours."""
    folder = experiment.folders.get(stage)
    source = experiment.folders.get(_maker(stage))
    if folder is None or source is None or not (folder / MANIFEST).is_file():
        return None
    made = read_provenance(folder) or {}
    settings = made.get("settings")
    if made.get("stage") != stage or not isinstance(settings, dict):
        return None
    kind: Any = Config.model_fields[stage].annotation
    try:
        config: StageConfig = kind.model_validate_json(
            json.dumps(settings | {"input": str(source), "output": str(folder)})
        )
    except ValidationError:
        return None
    return config


def _maker(stage: str) -> str:
    source = FOLDERS[stage][0]
    return next(name for name, (_, folder) in FOLDERS.items() if folder == source)


def list_current(experiment: Experiment) -> list[str]:
    """Name the stages that are up to date, from the first on."""
    current = []
    for name, stage in STAGES.items():
        config = recorded_config(experiment, name)
        if config is None or find_change(stage, config):
            break
        current.append(name)
    return current


def refresh(experiment: Experiment, stages: list[str] | None = None, workers: Workers = 1) -> Iterator[Summary]:
    """Run finished stages again by their recorded settings (all of them, if None), in their order.

    Ends at the first that is not finished. FerError of a stage that cannot be made names its folder.
    """
    for stage in STAGES if stages is None else stages:
        config = recorded_config(experiment, stage)
        if config is None:
            return
        try:
            yield run_stage(STAGES[stage], config, workers=workers)
        except FerError as error:
            raise type(error)(f"{config.output} cannot be brought up to date: {error}") from None
