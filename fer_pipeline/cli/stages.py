"""The commands that lead from search words to a split data set."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from fer_pipeline import console
from fer_pipeline.cli.app import ConfigFile, Force, Overrides, Workers, app, count_workers, read_config
from fer_pipeline.cli.report import add_data_page

if TYPE_CHECKING:
    from pathlib import Path

    from fer_pipeline.config.schema import Config
    from fer_pipeline.stages.runner import Summary

ORDER = ("crawl", "unify", "dedupe", "filter", "crop", "split", "train", "eval")


@app.command()
def crawl(config: ConfigFile, set_: Overrides = None, force: Force = False) -> None:
    """Fetch photos for every class; a second run adds only what is new.

    Example: fer crawl --config configs/lips.yaml
    """
    _crawl(read_config(config, set_), force=force)


@app.command()
def unify(config: ConfigFile, set_: Overrides = None, workers: Workers = None, force: Force = False) -> None:
    """Turn everything readable into upright RGB JPEG.  Example: fer unify --config configs/lips.yaml"""
    _run_one("unify", read_config(config, set_, workers), force=force)


@app.command()
def dedupe(config: ConfigFile, set_: Overrides = None, workers: Workers = None, force: Force = False) -> None:
    """Drop near-copies.  Example: fer dedupe --config configs/lips.yaml --set dedupe.distance=6"""
    _run_one("dedupe", read_config(config, set_, workers), force=force)


@app.command("filter")
def filter_(config: ConfigFile, set_: Overrides = None, workers: Workers = None, force: Force = False) -> None:
    """Drop photos without a face.  Example: fer filter --config configs/lips.yaml"""
    _run_one("filter", read_config(config, set_, workers), force=force)


@app.command()
def clean(config: ConfigFile, set_: Overrides = None, workers: Workers = None, force: Force = False) -> None:
    """Unify, dedupe and filter in one go.  Example: fer clean --config configs/lips.yaml"""
    settings = read_config(config, set_, workers)
    for name in ("unify", "dedupe", "filter"):
        _run_one(name, settings, force=force)


@app.command()
def crop(config: ConfigFile, set_: Overrides = None, workers: Workers = None, force: Force = False) -> None:
    """Cut out the lips or the face.  Example: fer crop --config configs/lips.yaml --set crop.margin=1.4"""
    _run_one("crop", read_config(config, set_, workers), force=force)


@app.command()
def split(config: ConfigFile, set_: Overrides = None, workers: Workers = None, force: Force = False) -> None:
    """Part the crops into train and test.  Example: fer split --config configs/lips.yaml"""
    _run_one("split", read_config(config, set_, workers), force=force)


@app.command()
def run(
    config: ConfigFile,
    set_: Overrides = None,
    workers: Workers = None,
    force: Annotated[bool, typer.Option("--force", help="Make again what was made with other settings.")] = False,
    until: Annotated[str, typer.Option("--until", help=f"Last step: {', '.join(ORDER)}.")] = "eval",
) -> None:
    """Do every step in order, from crawl to eval.  Example: fer run --config configs/sample.yaml --until crop"""
    from fer_pipeline.errors import UsageError

    if until not in ORDER:
        raise UsageError(f"--until {until}: no such step: name one of {', '.join(ORDER)}")
    settings = read_config(config, set_, workers)
    for name in ORDER[: ORDER.index(until) + 1]:
        _step(name, settings, force=force)


def _step(name: str, config: Config, *, force: bool) -> None:
    from fer_pipeline.cli import judge, model

    if name == "train":
        model.run_training(config, force=force)
    elif name == "eval":
        judge.ensure_evaluation(config.train.output, config.train.input)
    elif name != "crawl":
        _run_one(name, config, force=force)
    elif _is_filled(config.crawl.output):
        console.note(f"crawl: {config.crawl.output} is filled, nothing to do")
    else:
        from fer_pipeline.sources.crawl.engines import web_engines

        if engines := ", ".join(web_engines(config.crawl)):
            console.note(f"crawl: {config.crawl.output} has no image: asking {engines} (`fer import` brings your own)")
        _crawl(config, force=force)


def _is_filled(raw: Path) -> bool:
    """Whether a crawl or an import has brought at least one image."""
    from fer_pipeline.dataset.rows import MANIFEST, kept_rows

    return (raw / MANIFEST).is_file() and next(kept_rows(raw), None) is not None


def _crawl(config: Config, *, force: bool) -> None:
    from fer_pipeline.sources.crawl.crawler import crawl as fetch

    summary = fetch(config.crawl, force=force, on_progress=console.note, progress=console.progress)
    console.note(str(summary))


def _run_one(name: str, config: Config, *, force: bool) -> None:
    from fer_pipeline.stages.runner import run_stage

    summary = run_stage(_stage(name), getattr(config, name), workers=count_workers(config), force=force)
    tell(summary)
    if name == "split" and summary.fresh:
        from fer_pipeline.stages.corrections import format_decisions

        changed = format_decisions(config.split)
        if changed:
            console.note(f"split: decisions: {changed}")
        add_data_page(config)


def _stage(name: str) -> Any:
    from importlib import import_module

    return getattr(import_module(f"fer_pipeline.stages.{name}"), name.upper())


def tell(summary: Summary) -> None:
    """One line for a finished stage."""
    if not summary.fresh:
        console.note(f"{summary.stage}: {summary.folder} is finished ({summary.kept:,} images), nothing to do")
        return
    reasons = ", ".join(f"{reason} {count:,}" for reason, count in summary.reasons.items())
    lost = f" ({reasons})" if reasons else ""
    if summary.changes:
        console.note(f"{summary.stage}: settings changed: {', '.join(summary.changes)}")
    if summary.counts is not None:
        reused, new, gone = summary.counts
        lost += f"; reused {reused:,}, new {new:,}, gone {gone:,}"
    kept = f"kept {summary.kept:,} of {summary.total:,}{lost}"
    console.note(f"{summary.stage}: {kept} in {summary.seconds:.1f} s -> {summary.folder}")
    if summary.kept == 0:
        console.note(f"{summary.stage}: nothing is left: look at the reasons above and at {summary.folder}")
