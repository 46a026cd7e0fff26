"""The command that searches for better training settings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fer_pipeline import console
from fer_pipeline.cli.app import ConfigFile, Force, Overrides, app, read_config
from fer_pipeline.cli.model import need_extra

if TYPE_CHECKING:
    from fer_pipeline.config.schema import Config
    from fer_pipeline.training.tune import Tuning

SHOWN = 10  # trials in the printed table


@app.command()
def tune(
    config: ConfigFile,
    set_: Overrides = None,
    trials: Annotated[int, typer.Option(min=1, max=10_000, help="Trainings in all, the first as given.")] = 20,
    minutes: Annotated[float | None, typer.Option(min=0.01, help="Stop after so many minutes.")] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Epochs a trial at most.")] = None,
    force: Force = False,
) -> None:
    """Search learning rate, size and augmentation; after a kill the same command goes on.

    Example: fer tune --config configs/lips.yaml --trials 20 --epochs 15
    """
    need_extra("train", "torch", "lightning", "sklearn", "optuna", "matplotlib")
    from fer_pipeline.report.environment import write_environment
    from fer_pipeline.report.tuning import plot_trials
    from fer_pipeline.training.search_space import given_settings
    from fer_pipeline.training.tune import tune as search

    settings = read_config(config, set_)
    found = search(settings.train, trials, minutes=minutes, epochs=epochs, force=force)
    write_environment(found.folder, settings)
    plot_trials(found.trials, found.best.number, given_settings(settings.train), found.folder / "tune.png")
    write_best(found, settings, config)
    _print(found)
    console.note(f"tune: {found.folder / 'best.yaml'}, trials.csv, tune.png")


def write_best(found: Tuning, config: Config, origin: Path) -> None:
    """The configuration with the winner's settings, as YAML that `fer train` takes; its run lies beside the given's."""
    from fer_pipeline.files import write_aside
    from fer_pipeline.training.search_space import apply_settings

    settings = config.model_dump(mode="json", exclude_unset=True)
    winner = apply_settings(config.train, found.best.settings)
    changed = {name: winner.model_dump(mode="json")[name] for name in _changed(found.best.settings)}
    if "strength" in changed:
        changed["strength"] = winner.strength.model_dump(mode="json", exclude_none=True)
    output = config.train.output.with_name(f"{config.train.output.name}-best").as_posix()
    settings["train"] = settings.get("train", {}) | changed | {"output": output}
    said = f"# {origin.name} with the settings of trial {found.best.number + 1} of {len(found.trials)}\n"
    write_aside(found.folder / "best.yaml", [said.encode(), to_yaml(settings).encode()])


def _changed(settings: dict[str, Any]) -> list[str]:
    from fer_pipeline.training.search_space import STRENGTHS

    return list(dict.fromkeys("strength" if name in STRENGTHS else name for name in settings))


def to_yaml(value: Any, indent: int = 0) -> str:
    """Settings as YAML: sections by indentation, everything else as JSON, which is YAML that cannot be mistaken."""
    lines = []
    for key, inner in value.items():
        name = json.dumps(key, ensure_ascii=False) if not key.isidentifier() else key
        if isinstance(inner, dict) and inner:
            lines.append(f"{' ' * indent}{name}:\n{to_yaml(inner, indent + 2)}")
        else:
            lines.append(f"{' ' * indent}{name}: {json.dumps(inner, ensure_ascii=False)}\n")
    return "".join(lines)


def _print(found: Tuning) -> None:
    from rich.table import Table

    from fer_pipeline.evaluation.metrics import wilson_interval

    ranked = sorted(found.trials, key=lambda one: (one.state != "complete", -one.accuracy, one.number))
    table = Table("trial", "validation", "95 %", "settings", box=None)
    for place in range(3):
        table.columns[place].no_wrap = True
    count = found.comparison.count
    for one in ranked[:SHOWN]:
        low, high = wilson_interval(round(one.accuracy * count), count)
        ended = f"{low:.1%} to {high:.1%}" if one.state == "complete" else "broken off"
        values = ", ".join(f"{name} {value}" for name, value in one.settings.items()) or "as given"
        table.add_row(str(one.number + 1), f"{one.accuracy:.1%}", ended, values)
    console.out.print(table)
    console.out.print(judge_winner(found), markup=False)


def judge_winner(found: Tuning) -> str:
    """In plain words, whether the search was worth it."""
    one, count = found.comparison, len(found.trials)
    rivals = sum(trial.state == "complete" for trial in found.trials[1:])
    corrected = min(1.0, one.p_value * rivals)  # Bonferroni: the best of many rivals wins somewhere by chance alone
    if found.best.number == 0:
        return f"none of {count} trials beats the configuration as given: keep it"
    told = f"trial {found.best.number + 1} gets {one.gain:+.1%} (95 %: {one.low:+.1%} to {one.high:+.1%}) more of the "
    told += f"same {one.count} images right than the configuration as given ({one.won} won, {one.lost} lost, "
    told += f"McNemar p = {one.p_value:.2g}, for the best of {rivals} rivals {corrected:.2g}): "
    told += "more than luck" if one.gain > 0 and corrected < 0.05 else "this may be luck"
    return f"{told}; the best of {count} on one validation part is always a little too good: `fer eval` decides"
