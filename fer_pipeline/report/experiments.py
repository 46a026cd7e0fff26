"""All experiments of a working folder, in a table."""

from pathlib import Path
from typing import NamedTuple

from fer_pipeline.config.schema import FOLDERS
from fer_pipeline.dataset.experiment import find_homes
from fer_pipeline.report.funnel import places_below, read_steps
from fer_pipeline.report.status import HISTORY, read_curves, read_json

STAGES = tuple(FOLDERS)


class ExperimentStatus(NamedTuple):
    """The images that each finished stage kept, by stage, and what the run reached, if there is one."""

    name: str
    kept: dict[str, int]
    run: str


def list_experiments(data: Path, runs: Path) -> list[ExperimentStatus]:
    """Every folder with a finished stage below `data` and every run below `runs`, joined by name."""
    homes = {home.name: home for home in find_homes(data)}
    trained = {path.parent.name for name in ("model.onnx", HISTORY) for path in runs.glob(f"*/{name}")}
    return [
        ExperimentStatus(
            name,
            {step.stage: step.kept for step in read_steps(places_below(homes[name]))} if name in homes else {},
            _describe_run(runs / name),
        )
        for name in sorted(homes.keys() | trained)
    ]


def _describe_run(run: Path) -> str:
    """The measured accuracy with its interval; else how far the training is."""
    metrics = read_json(run / "metrics.json")
    try:
        low, high = metrics["accuracy_ci95"]
        return f"{metrics['accuracy']:.1%} ({low:.1%} to {high:.1%})"
    except (KeyError, TypeError, ValueError):
        pass
    if (run / "model.onnx").is_file():
        return "not measured"
    history = read_curves(run)
    return f"begun: epoch {history[-1]['epoch']:.0f}" if history else "-"
