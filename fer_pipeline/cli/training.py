"""The commands that make models: the whole pipeline, training, search, ensembles, small files; and the audit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fer_pipeline import console
from fer_pipeline.cli.app import (
    ClassFolders,
    ConfigFile,
    Force,
    Overrides,
    Run,
    Workers,
    check_given,
    choose_run,
    command,
    print_event,
    read_config,
)
from fer_pipeline.cli.completion import complete_run
from fer_pipeline.errors import UsageError
from fer_pipeline.pipeline import ORDER, require_extra

if TYPE_CHECKING:
    from fer_pipeline.config.schema import Config
    from fer_pipeline.training.tune import Tuning


@command("run")
def run(
    config: ConfigFile = None,
    set_: Overrides = None,
    workers: Workers = None,
    force: Annotated[
        bool, typer.Option("--force", help="Make every folder again, also where nothing changed.")
    ] = False,
    until: Annotated[
        str,
        typer.Option("--until", autocompletion=lambda: list(ORDER), help=f"Last step: {', '.join(ORDER)}."),
    ] = "eval",
    dry: Annotated[bool, typer.Option("--dry", "--dry-run", help="Only say what would be done.")] = False,
) -> None:
    """Do every step that is not done yet, from crawl to eval.

    Example: fer run --until crop
    """
    from fer_pipeline import pipeline

    settings = read_config(config, set_, workers)
    if dry:
        for step in pipeline.plan(settings, until):
            console.out.print(str(step))
    else:
        pipeline.run(settings, until=until, force=force, progress=print_event)


@command("train")
def train(
    config: ConfigFile = None,
    set_: Overrides = None,
    data: ClassFolders = None,
    folds: Annotated[int | None, typer.Option(min=2, max=100, help="Cross-validate: so many models instead.")] = None,
    by_source: Annotated[bool, typer.Option("--by-source", help="Cross-validate: leave each source out once.")] = False,
    begin: Annotated[
        Path | None,
        typer.Option(
            "--from",
            autocompletion=complete_run,
            help="Finished run to go on from: a short training into runs/NAME-tuned.",
        ),
    ] = None,
    force: Force = False,
) -> None:
    """Train a classifier; after a kill the same command goes on.

    Example: fer train --set train.epochs=60
    """
    from fer_pipeline.pipeline import train_model

    check_given(data)
    overrides = [*(set_ or []), *([] if data is None else [f"train.input={json.dumps(str(data))}"])]
    settings = read_config(config, overrides)
    if begin is not None:
        _finetune(settings, begin, overrides, judging=bool(folds or by_source), force=force)
    elif folds or by_source:
        _cross_validate(settings, folds or 0, by_source=by_source, force=force)
    else:
        train_model(settings, force=force, tell=print_event)


def _cross_validate(config: Config, folds: int, *, by_source: bool, force: bool) -> None:
    """Cross-validate, print the pooled figures and each fold's."""
    require_extra("train", "torch", "lightning", "sklearn")
    from fer_pipeline.cli.tables import format_score, print_metrics
    from fer_pipeline.models.data import FOLDS
    from fer_pipeline.report.warnings import warn_of_guessing
    from fer_pipeline.training.cross_validation import cross_validate

    result = cross_validate(config.train, folds, by_source=by_source, force=force)
    for name, score in result.scores.folds.items():
        console.out.print(f"fold {name}: {format_score(score)}")
    print_metrics(result.scores.pooled)
    for sentence in warn_of_guessing(result.scores.pooled):
        console.note(f"train: {sentence}")
    console.note(f"train: {result.folder / FOLDS}, predictions.csv")


def _finetune(config: Config, begin: Path, overrides: list[str], *, judging: bool, force: bool) -> None:
    """Train on from a finished run, and tell source by source what that gained and lost."""
    if judging:
        raise UsageError(f"--from {begin}: it has seen the images that --folds and --by-source would judge: use one")
    require_extra("train", "torch", "lightning", "sklearn", "scipy", "matplotlib", "onnx")
    from fer_pipeline.cli.tables import print_gains
    from fer_pipeline.pipeline import complete_run
    from fer_pipeline.training.finetune import finetune

    chosen = {one.partition("=")[0].strip().removeprefix("train.") for one in overrides if one.startswith("train.")}
    result = finetune(config.train, begin, chosen, force=force)
    complete_run(config.model_copy(update={"train": result.config}), result.outcome, print_event)
    if result.report is not None:
        print_gains(result.report)
        folder = result.config.output
        live = f"watch both models live: fer serve {result.base.run} {folder}"
        console.note(f"train: {folder / 'finetune_report.json'}; {live}")


@command("tune")
def tune(
    config: ConfigFile = None,
    set_: Overrides = None,
    trials: Annotated[int, typer.Option(min=1, max=10_000, help="Trainings in all, the first as given.")] = 20,
    minutes: Annotated[float | None, typer.Option(min=0.01, help="Stop after so many minutes.")] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Epochs a trial at most.")] = None,
    force: Force = False,
) -> None:
    """Search learning rate, size and augmentation.

    After a kill the same command goes on.

    Example: fer tune --trials 20 --epochs 15
    """
    require_extra("train", "torch", "lightning", "sklearn", "optuna", "matplotlib")
    from fer_pipeline.cli.tables import print_trials
    from fer_pipeline.config.loader import find_file
    from fer_pipeline.report.environment import write_environment
    from fer_pipeline.report.tuning import plot_trials
    from fer_pipeline.training.search_space import given_settings
    from fer_pipeline.training.tune import tune as search

    settings = read_config(config, set_)
    found = search(settings.train, trials, minutes=minutes, epochs=epochs, force=force)
    write_environment(found.folder, settings)
    plot_trials(found.trials, found.best.number, given_settings(settings.train), found.folder / "tune.png")
    _write_best(found, settings, find_file(config))
    print_trials(found)
    console.note(f"tune: {found.folder / 'best.yaml'}, trials.csv, tune.png")


def _write_best(found: Tuning, config: Config, origin: Path) -> None:
    """The configuration with the winner's settings, as YAML that `fer train` takes; its run lies beside the given's."""
    from fer_pipeline.config.writer import to_yaml
    from fer_pipeline.files import write_aside
    from fer_pipeline.training.search_space import STRENGTHS, apply_settings

    settings = config.model_dump(mode="json", exclude_unset=True)
    winner = apply_settings(config.train, found.best.settings)
    names = dict.fromkeys("strength" if name in STRENGTHS else name for name in found.best.settings)
    changed = {name: winner.model_dump(mode="json")[name] for name in names}
    if "strength" in changed:
        changed["strength"] = winner.strength.model_dump(mode="json", exclude_none=True)
    output = config.train.output.with_name(f"{config.train.output.name}-best").as_posix()
    settings["train"] = settings.get("train", {}) | changed | {"output": output}
    head = f"# {origin.name} with the settings of trial {found.best.number + 1} of {len(found.trials)}\n"
    write_aside(found.folder / "best.yaml", [head.encode(), to_yaml(settings).encode()])


@command("ensemble")
def ensemble(
    runs: Annotated[
        list[Path],
        typer.Argument(autocompletion=complete_run, help="Folders of finished runs, or of cross-validations."),
    ],
    output: Annotated[Path, typer.Option(help="Folder to write to, as in runs/NAME.")],
    force: Force = False,
) -> None:
    """Average several models into one file.

    Of cross-validations the answers are averaged and measured: each image is judged by models that did not see it.

    Example: fer ensemble runs/lips runs/classical --output runs/both
    """
    from fer_pipeline.training.cv_ensemble import is_cross_validation

    folds = [run for run in runs if is_cross_validation(run)]
    if folds and len(folds) < len(runs):
        one = next(run for run in runs if run not in folds)
        raise UsageError(f"{folds[0]} is a cross-validation and {one} is none: average models, or cross-validations")
    if folds:
        _average_folds(runs, output, force=force)
    else:
        _join_models(runs, output, force=force)


def _join_models(runs: list[Path], output: Path, *, force: bool) -> None:
    """Write the model file and say what it costs."""
    require_extra("train", "onnx")
    from fer_pipeline.training.ensemble import make_ensemble

    made = make_ensemble(runs, output, force=force)
    if not made.fresh:
        console.note(f"ensemble: {output} is finished, nothing to do")
        return
    side = max(member.card.size for member in made.members)
    for member in made.members:
        shrunk = "" if member.card.size == side else f", which the file makes of {side} px"
        console.note(f"ensemble: {member.run}: {member.card.network}, crops of {member.card.size} px{shrunk}")
    console.note(f"ensemble: {made.model}, {made.model.stat().st_size / 1e6:.1f} MB; `fer eval {output}` measures it")


def _average_folds(runs: list[Path], output: Path, *, force: bool) -> None:
    """Print every member's score, that of their mean, and whether it is better than the best of them."""
    require_extra("train", "sklearn", "scipy")
    from fer_pipeline.cli.tables import format_score, print_comparison, print_metrics
    from fer_pipeline.training.cv_ensemble import average_cross_validations

    result = average_cross_validations(runs, output, force=force)
    for name, score in result.scores.members.items():
        console.out.print(f"{name}: {format_score(score)}")
    print_metrics(result.scores.pooled)
    print_comparison(result.paired, str(result.best), str(output))
    console.note("ensemble: members chosen for these figures, or after others were tried, make them a little too good")
    console.note(f"ensemble: {output / 'folds.json'}, predictions.csv")


@command("quantise")
def quantise(run: Run = None, config: ConfigFile = None, set_: Overrides = None) -> None:
    """Make an 8-bit model file and weigh it against the float one.

    Example: fer quantise runs/sample
    """
    chosen = choose_run(run, config, set_)
    require_extra("train", "onnx", "scipy", "sklearn")
    from fer_pipeline.cli.tables import format_score
    from fer_pipeline.training.quantise import FIGURES, QUANTISED
    from fer_pipeline.training.quantise import quantise as make

    scores = make(chosen)
    for name, score in (("float32", scores.float32), ("int8", scores.int8)):
        size = f"{scores.bytes[name] / 1e6:.2f} MB, {score.images_per_second:,.0f} images/s a thread"
        console.out.print(f"{name}: {format_score(score)}; {size}")
    console.out.print(f"float32 (A) against int8 (B): {scores.paired.verdict}")
    console.out.print(f"int8 is {scores.speed_ratio:.2f} times as fast here")
    console.note(f"quantise: {QUANTISED}, {FIGURES} beside the model of {chosen}")


@command("audit")
def audit(
    config: ConfigFile = None,
    set_: Overrides = None,
    data: ClassFolders = None,
    out: Annotated[Path | None, typer.Option(help="Where to write; default: runs/NAME-audit.")] = None,
    folds: Annotated[int | None, typer.Option(min=2, max=100, help="In place of audit.folds.")] = None,
    limit: Annotated[float | None, typer.Option(min=0.5, max=0.999, help="In place of audit.limit.")] = None,
    networks: Annotated[
        bool, typer.Option("--networks", help="Train a network per fold as one more label model.")
    ] = False,
    by_source: Annotated[bool, typer.Option("--by-source", help="Train a network without each source.")] = False,
    fail_on_bias: Annotated[bool, typer.Option("--fail-on-bias", help="Exit 1 if the files tell the label.")] = False,
    force: Force = False,
) -> None:
    """Look for wrong labels, and for sources that give them away.

    Example: fer audit --fail-on-bias
    """
    check_given(data)
    given = {"train.input": None if data is None else str(data), "audit.folds": folds, "audit.limit": limit}
    changes = [f"{key}={json.dumps(value)}" for key, value in given.items() if value is not None]
    settings = read_config(config, [*(set_ or []), *changes])
    require_extra("train", "torch", "lightning", "sklearn", "cleanlab", "jinja2")
    if networks or by_source:
        _train_networks(settings, networks=networks, by_source=by_source, force=force)
    is_biased = _audit(settings, settings.unify.input if data is None else data.parent / "raw", out)
    raise typer.Exit(1 if fail_on_bias and is_biased else 0)


def _audit(config: Config, originals: Path, out: Path | None) -> bool:
    """Audit, write the page, print the sentences; whether the files tell the label."""
    from fer_pipeline.dataset.rows import MANIFEST
    from fer_pipeline.evaluation.audit import AUDIT_FIGURES, AUDIT_TABLE
    from fer_pipeline.evaluation.audit import audit as look
    from fer_pipeline.report.audit_page import write_audit_page

    folder = out or config.train.output.with_name(f"{config.train.output.name}-audit")
    is_stage = (config.train.input / MANIFEST).is_file() and originals.is_dir()
    result = look(config.train, config.audit, folder, originals if is_stage else None)
    page = write_audit_page(result, config.audit.shown)
    for sentence in result.sentences:
        console.out.print(sentence)
    issues = sum(suspect.is_issue for suspect in result.suspects)
    low, high = result.scores.accuracy_ci95
    console.out.print(
        f"{issues} of {len(result.suspects)} labels are likely wrong; the label models agree with "
        f"{result.scores.accuracy:.1%} of all (95 %: {low:.1%} to {high:.1%})."
    )
    console.note(f"audit: {page}, {AUDIT_TABLE}, {AUDIT_FIGURES}")
    return result.bias.is_alarming


def _train_networks(config: Config, *, networks: bool, by_source: bool, force: bool) -> None:
    """Cross-validate networks; what is finished is left alone."""
    from fer_pipeline.training.cross_validation import cross_validate

    if networks:
        cross_validate(config.train, config.audit.folds, force=force)
    if by_source:
        cross_validate(config.train, 0, by_source=True, force=force)
