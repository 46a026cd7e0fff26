"""The command that looks for what makes a score too good: bias of the sources, and wrong labels."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fer_pipeline import console
from fer_pipeline.cli.app import ClassFolders, ConfigFile, Force, Overrides, app, check_given, read_config
from fer_pipeline.cli.model import need_extra

if TYPE_CHECKING:
    from fer_pipeline.config.schema import Config, TrainConfig
    from fer_pipeline.evaluation.audit import Audit


@app.command()
def audit(
    config: ConfigFile,
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
    """Find what predicts the label besides the expression, and which labels are suspect.

    Example: fer audit --config configs/lips.yaml --fail-on-bias
    """
    check_given(data)
    given = {"train.input": None if data is None else str(data), "audit.folds": folds, "audit.limit": limit}
    changes = [f"{key}={json.dumps(value)}" for key, value in given.items() if value is not None]
    settings = read_config(config, [*(set_ or []), *changes])
    need_extra("train", "torch", "lightning", "sklearn", "cleanlab", "jinja2")
    if networks or by_source:
        _train(settings, networks=networks, by_source=by_source, force=force)
    result = run_audit(settings, settings.unify.input if data is None else data.parent / "raw", out)
    raise typer.Exit(1 if fail_on_bias and result.bias.is_alarming else 0)


def run_audit(config: Config, originals: Path, out: Path | None = None) -> Audit:
    """Audit, write the page, print the sentences."""
    from fer_pipeline.dataset.rows import MANIFEST
    from fer_pipeline.evaluation.audit import AUDIT_FIGURES, AUDIT_TABLE, audit
    from fer_pipeline.report.audit_page import write_audit_page

    folder = out or config.train.output.with_name(f"{config.train.output.name}-audit")
    is_stage = (config.train.input / MANIFEST).is_file() and originals.is_dir()
    result = audit(config.train, config.audit, folder, originals if is_stage else None)
    page = write_audit_page(result, config.audit.shown)
    for sentence in result.sentences:
        console.out.print(sentence, markup=False)
    issues = sum(suspect.is_issue for suspect in result.suspects)
    low, high = result.scores.accuracy_ci95
    console.out.print(
        f"{issues} of {len(result.suspects)} labels are likely wrong; the label models agree with "
        f"{result.scores.accuracy:.1%} of all (95 %: {low:.1%} to {high:.1%}).",
        markup=False,
    )
    console.note(f"audit: {page}, {AUDIT_TABLE}, {AUDIT_FIGURES}")
    return result


def _train(config: Config, *, networks: bool, by_source: bool, force: bool) -> None:
    """Cross-validate networks; what is finished is left alone."""
    from fer_pipeline.training.cross_validation import cross_validate

    settings: TrainConfig = config.train
    if networks:
        cross_validate(settings, config.audit.folds, force=force)
    if by_source:
        cross_validate(settings, 0, by_source=True, force=force)
