"""Every step of an experiment in its order, from search words to a measured model.

`run` brings all of them up to date, `plan` says what that would be. Nothing is printed here: what a step has to say
goes to a callback, as an `Event`. Progress bars are the stages' own, see `console`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from fer_pipeline.console import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from fer_pipeline.config.schema import Config
    from fer_pipeline.evaluation.evaluate import Evaluation
    from fer_pipeline.evaluation.scores import Metrics
    from fer_pipeline.stages.runner import Summary
    from fer_pipeline.training.train import Outcome

STAGES = ("unify", "dedupe", "filter", "crop", "split")
ORDER = ("crawl", *STAGES, "train", "eval")


@dataclass(frozen=True)
class Event:
    """What a step has to say: a line of text, or the figures of a measurement."""

    step: str
    text: str = ""
    metrics: Metrics | None = None


@dataclass(frozen=True)
class StepResult:
    """A step that is up to date now; `fresh` tells whether it had anything to do."""

    step: str
    folder: Path
    fresh: bool


@dataclass(frozen=True)
class PlannedStep:
    """What `run` would do in one step, in words."""

    step: str
    folder: Path
    needed: bool
    reason: str

    def __str__(self) -> str:
        return f"{self.step}: {self.reason}"


def ignore(_: Event) -> None:
    """Take no notice."""


def run(
    config: Config | str | Path | None = None,
    *,
    until: str = "eval",
    force: bool = False,
    workers: int | Literal["ray"] | None = None,
    progress: Callable[[Event], None] | None = None,
) -> list[StepResult]:
    """Do every step that is not done yet, up to and with `until`.

    `config` is a Config, or what `-c` takes: a file, a recipe, None for fer.yaml of the working folder. `force` makes
    every folder again, `workers` replaces the setting, `progress` gets an `Event` for every line.
    """
    steps = steps_until(until)
    settings = resolve_config(config, workers)
    if "train" in steps and not (settings.train.output / "model.onnx").is_file():
        _check_training(settings)
    return [_do_step(name, settings, progress or ignore, force=force) for name in steps]


def _do_step(name: str, config: Config, tell: Callable[[Event], None], *, force: bool) -> StepResult:
    if name == "train":
        outcome = train_model(config, force=force, tell=tell)
        return StepResult(name, config.train.output, outcome.fresh)
    if name == "eval":
        return StepResult(name, config.train.output, ensure_evaluation(config.train.output, config.train.input, tell))
    if name != "crawl":
        return StepResult(name, getattr(config, name).output, make_stage(name, config, force=force, tell=tell).fresh)
    return StepResult(name, config.crawl.output, _fill_raw(config, tell, force=force))


def _fill_raw(config: Config, tell: Callable[[Event], None], *, force: bool) -> bool:
    """Crawl, unless an earlier crawl or import has brought images; whether there was anything to do."""
    raw = config.crawl.output
    if has_blocklist(raw):
        from fer_pipeline.dataset.experiment import of_config
        from fer_pipeline.lineage.forget import finish_forgetting

        if left := finish_forgetting(of_config(config)):
            tell(Event("crawl", f"forget: finished what was interrupted, {counted(left, 'image')} out of {raw}"))
    if is_filled(raw):
        tell(Event("crawl", f"crawl: {raw} is filled, nothing to do"))
        return False
    if is_half_imported(raw):
        from fer_pipeline.errors import InputError

        raise InputError(f"{raw} holds an import that was broken off: run that import again, or delete the folder")
    from fer_pipeline.sources.crawl.engines import web_engines

    if engines := ", ".join(web_engines(config.crawl)):
        tell(Event("crawl", f"crawl: {raw} has no image: asking {engines} (`fer import` brings your own)"))
    crawl_photos(config, force=force, tell=tell)
    return True


# --- the steps


def crawl_photos(config: Config, *, force: bool = False, tell: Callable[[Event], None] = ignore) -> None:
    """Ask the engines for every class; what was fetched before is not fetched again."""
    from fer_pipeline import console
    from fer_pipeline.sources.crawl.crawler import crawl

    def line(text: str) -> None:
        tell(Event("crawl", text))

    summary = crawl(config.crawl, force=force, on_progress=line, progress=console.progress)
    line(str(summary))
    if summary.kept:
        _add_sheet(config, tell)


def _add_sheet(config: Config, tell: Callable[[Event], None]) -> None:
    """Draw what was found, a row of pictures for each class, in a process that a hostile picture may kill."""
    from functools import partial

    from fer_pipeline.errors import FerError
    from fer_pipeline.lineage.forget import SHEET
    from fer_pipeline.report.plots import check_picture, contact_sheet
    from fer_pipeline.workers.stage_workers import WorkerCrash, work

    sheet = config.crawl.output.parent / SHEET
    try:
        check_picture(sheet)
        ((_, result),) = work(partial(contact_sheet, path=sheet), [config.crawl.output], 2)
    except (FerError, OSError) as error:
        tell(Event("crawl", f"crawl: no sheet.png: {error}"))
        return
    told = (
        "no sheet.png: a picture ended the process" if isinstance(result, WorkerCrash) else f"what was found: {sheet}"
    )
    tell(Event("crawl", f"crawl: {told}"))


def make_stage(name: str, config: Config, *, force: bool = False, tell: Callable[[Event], None] = ignore) -> Summary:
    """Bring the folder of one stage (unify, dedupe, filter, crop, split) up to date."""
    from fer_pipeline.stages.refresh import STAGES as MADE_BY
    from fer_pipeline.stages.runner import run_stage

    summary = run_stage(MADE_BY[name], getattr(config, name), workers=count_workers(config), force=force)
    for text in format_summary(summary):
        tell(Event(name, text))
    if name == "dedupe" and summary.fresh:
        from fer_pipeline.stages.dedupe import warn_of_copies

        for text in warn_of_copies(summary.folder):
            tell(Event(name, f"{name}: {text}"))
    if name == "split" and (summary.fresh or not (config.data / config.name / "report.html").is_file()):
        from fer_pipeline.stages.corrections import format_decisions
        from fer_pipeline.stages.split import count_parted, format_share

        tell(Event(name, f"split: {format_share(config.split)}"))
        if parted := count_parted(config.split):
            both = f"split: in both parts: {counted(parted, 'group')}, as their source's official parts have it"
            tell(Event(name, both))
        changed = format_decisions(config.split)
        if changed:
            tell(Event(name, f"split: decisions: {changed}"))
        _add_page(name, lambda: _write_data_page(config), tell)
    return summary


def format_summary(summary: Summary) -> Iterator[str]:
    """Say what a stage did, a line each."""
    stage, folder = summary.stage, summary.folder
    if not summary.fresh:
        yield f"{stage}: {folder} is finished ({counted(summary.kept, 'image')}), nothing to do"
        return
    if summary.changes:
        yield f"{stage}: settings changed: {', '.join(summary.changes)}"
    reasons = ", ".join(f"{reason} {count:,}" for reason, count in summary.reasons.items())
    lost = f" ({reasons})" if reasons else ""
    again = "" if summary.counts is None else "; reused {:,}, new {:,}, gone {:,}".format(*summary.counts)
    yield f"{stage}: kept {summary.kept:,} of {summary.total:,}{lost}{again} in {summary.seconds:.1f} s -> {folder}"
    if "needs_heic" in summary.reasons:
        yield f"{stage}: {summary.reasons['needs_heic']:,} are HEIC: `pip install 'fer-pipeline[heic]'`, then --force"
    if summary.second_look:
        yield f"{stage}: of these the face of {summary.second_look:,} was found by the second detector"
    if summary.kept == 0:
        yield f"{stage}: nothing is left: look at the reasons above and at {folder}"


def _check_training(config: Config) -> None:
    """Tell before the first step what would stop the training after the last."""
    require_extra("train", "torch", "lightning", "sklearn", "matplotlib", "onnx")
    from fer_pipeline.models.networks import check_network

    check_network(config.train.network)


def train_model(config: Config, *, force: bool = False, tell: Callable[[Event], None] = ignore) -> Outcome:
    """Train, then write the resolved configuration, the environment and the curves beside the model."""
    _check_training(config)
    from fer_pipeline.training.train import train

    outcome = train(config.train, force=force)
    complete_run(config, outcome, tell)
    return outcome


def complete_run(config: Config, outcome: Outcome, tell: Callable[[Event], None] = ignore) -> None:
    """Put configuration, environment and curves beside a model, and say where it is."""
    from fer_pipeline.console import is_lead
    from fer_pipeline.report.environment import write_environment
    from fer_pipeline.report.plots import plot_curves
    from fer_pipeline.training.history import read_history

    folder = outcome.model.parent
    if not is_lead():
        return
    if outcome.fresh or not (folder / "curves.png").is_file():  # also after a kill between the model and its pictures
        write_environment(folder, config)
        history = read_history(folder)
        if history:  # a model that is no network has no epochs
            plot_curves(history, folder / "curves.png")
    if outcome.fresh:
        tell(Event("train", f"train: {outcome.model} in {outcome.seconds:.0f} s"))
    else:
        tell(Event("train", f"train: {folder} is finished, nothing to do"))


def evaluate_run(
    run: Path,
    data: Path | None = None,
    out: Path | None = None,
    *,
    tell: Callable[[Event], None] = ignore,
    allow_mismatch: bool = False,
    **gate: Any,
) -> Evaluation:
    """Evaluate a run, with pictures and its page beside the figures.

    Raises InputError for a score that leaks, or on pictures that cannot measure the model, once it is written.
    """
    require_extra("train", "sklearn", "matplotlib")
    from fer_pipeline.dataset.rows import MANIFEST
    from fer_pipeline.evaluation.evaluate import CONFUSION, RELIABILITY, evaluate
    from fer_pipeline.evaluation.leakage import refuse_leaks
    from fer_pipeline.report.plots import plot_confusion, plot_reliability
    from fer_pipeline.report.run_page import write_run_page
    from fer_pipeline.report.warnings import warn_of_guessing

    if data is not None and not (data / MANIFEST).is_file():
        remedy = "whole photos must be cut first (`fer run --until crop`)"
        tell(Event("eval", f"eval: {data} is taken for crops, as they are; {remedy}"))
    result = evaluate(run, data, out, **gate)
    plot_confusion(result.metrics, result.folder / CONFUSION)
    plot_reliability(result.metrics.calibration, result.folder / RELIABILITY)
    for sentence in result.doubts:
        tell(Event("eval", f"eval: {sentence}"))
    tell(Event("eval", metrics=result.metrics))
    for sentence in [] if result.doubts else warn_of_guessing(result.metrics):
        tell(Event("eval", f"eval: {sentence}"))
    figures = result.folder / "metrics.json"
    tell(Event("eval", f"eval: {figures}, predictions.csv, leaks.csv, confusion.png, reliability.png"))
    _add_page("eval", lambda: write_run_page(run, result.folder), tell)
    refuse_leaks(result.metrics, result.folder)
    if result.doubts and not allow_mismatch:
        from fer_pipeline.errors import InputError

        raise InputError(f"{result.folder}: the score may not be what it seems, see above: or pass --allow-mismatch")
    return result


def ensure_evaluation(run: Path, data: Path, tell: Callable[[Event], None] = ignore) -> bool:
    """Evaluate a run unless its figures are there already (then False); what leaks too much is refused either way."""
    from fer_pipeline.evaluation.evaluate import is_evaluated, read_metrics
    from fer_pipeline.evaluation.leakage import refuse_leaks

    if not is_evaluated(run, data):
        evaluate_run(run, tell=tell)
        return True
    refuse_leaks(read_metrics(run), run)
    tell(Event("eval", f"eval: {run} is measured, nothing to do (see {run / 'metrics.json'})"))
    return False


def _write_data_page(config: Config) -> Path:
    from fer_pipeline.report.data_page import write_data_page
    from fer_pipeline.report.funnel import places_of

    return write_data_page(config.data / config.name, places_of(config))


def _add_page(step: str, write: Callable[[], Path], tell: Callable[[Event], None]) -> None:
    """Write a page beside a result; if that fails (an extra, room), the step says so and goes on."""
    from fer_pipeline.errors import FerError

    try:
        tell(Event(step, f"{step}: {write()}"))
    except (FerError, OSError) as error:
        tell(Event(step, f"{step}: no report.html: {error}"))


# --- what would be done


def plan(config: Config | str | Path | None = None, until: str = "eval") -> list[PlannedStep]:
    """What `run` would do, step by step; nothing is written."""
    steps = steps_until(until)
    settings = resolve_config(config)
    planned: list[PlannedStep] = []
    for name in steps:
        folder = settings.train.output if name == "eval" else getattr(settings, name).output
        before = next((one.step for one in reversed(planned) if one.needed), "")
        reason = _find_reason(name, settings, before)
        planned.append(PlannedStep(name, folder, bool(reason), reason or "nothing to do"))
    return planned


def _find_reason(name: str, config: Config, before: str) -> str:
    """Why a step has something to do; empty if it has nothing. `before` is an earlier one that has."""
    if name == "crawl":
        if has_blocklist(config.crawl.output):
            from fer_pipeline.dataset.experiment import of_config
            from fer_pipeline.lineage.forget import list_unfinished

            if left := list_unfinished(of_config(config)):
                return f"will finish an interrupted `fer forget`: {counted(len(left), 'image')}"
        return "" if is_filled(config.crawl.output) else f"will ask {', '.join(config.crawl.engines)}"
    if name == "eval":
        from fer_pipeline.evaluation.evaluate import is_evaluated

        return "" if not before and is_evaluated(config.train.output, config.train.input) else "will run"
    return _find_change(name, getattr(config, name), before)


def _find_change(name: str, section: Any, before: str) -> str:
    """How a folder differs from what its stage would make now."""
    from fer_pipeline.dataset.provenance import check_own
    from fer_pipeline.dataset.rows import MANIFEST
    from fer_pipeline.errors import FerError
    from fer_pipeline.models.model_file import MODEL
    from fer_pipeline.stages.records import OUTCOMES

    try:
        check_own(section.output, name)
        if not (section.output / (MODEL if name == "train" else MANIFEST)).is_file():
            begun = any((section.output / part).exists() for part in (OUTCOMES, "checkpoints"))
            return "will go on where it stopped" if begun else "will run"
        difference = "" if before else _find_difference(name, section)
    except FerError as error:
        return f"will fail: {error}"
    if before:
        return f"will be brought up to date after {before}"
    return f"will run again: it was {difference}" if difference else ""


def _find_difference(name: str, section: Any) -> str:
    """How the finished folder of a stage or a training was made otherwise; empty if it was not."""
    from fer_pipeline.dataset.provenance import format_difference, make_provenance, read_provenance
    from fer_pipeline.models.data import hash_data
    from fer_pipeline.stages.refresh import STAGES as MADE_BY
    from fer_pipeline.stages.runner import find_change

    if name in MADE_BY:
        return find_change(MADE_BY[name], section)
    return format_difference(
        read_provenance(section.output) or {}, make_provenance(name, section, hash_data(section.input))
    )


# --- what steps need


def steps_until(until: str) -> tuple[str, ...]:
    """The steps up to and with one of them; UsageError if there is no such step."""
    from fer_pipeline.errors import UsageError

    if until not in ORDER:
        raise UsageError(f"--until {until}: no such step: name one of {', '.join(ORDER)}")
    return ORDER[: ORDER.index(until) + 1]


def resolve_config(config: Config | str | Path | None, workers: int | Literal["ray"] | None = None) -> Config:
    """The configuration itself, or the one that a file, a recipe's name or the working folder gives."""
    from fer_pipeline.config.loader import find_config
    from fer_pipeline.config.schema import Config

    if not isinstance(config, Config):
        return find_config(config, [] if workers is None else [f"workers={workers}"])
    return config if workers is None else config.model_copy(update={"workers": workers})


def is_filled(raw: Path) -> bool:
    """Whether a crawl or an import has brought at least one image."""
    from fer_pipeline.dataset.rows import MANIFEST, kept_rows

    return (raw / MANIFEST).is_file() and next(kept_rows(raw), None) is not None


def has_blocklist(raw: Path) -> bool:
    """Whether anything was ever forgotten here: else what finishes a forgetting need not be loaded."""
    from fer_pipeline.dataset.blocklist import BLOCKLIST

    return (raw / BLOCKLIST).is_file()


def is_half_imported(raw: Path) -> bool:
    """Whether an import was broken off here before anything was finished."""
    from contextlib import closing

    from fer_pipeline.dataset.journal import JOURNAL, Journal

    if not (raw / JOURNAL).is_file():
        return False
    with closing(Journal(raw)) as journal:
        return any("file" in row.source and "engine" not in row.source for row in journal.rows())


def count_workers(config: Config) -> int | Literal["ray"]:
    """How many processes a stage may use, or `ray`; two on one core, for an image may crash the one that opens it."""
    return config.workers or max(2, available_cores())


def available_cores() -> int:
    """The cores this process may run on."""
    import os

    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def require_extra(extra: str, *modules: str) -> None:
    """SetupError that names the extra to install if one of its modules is missing; imports nothing."""
    from importlib.util import find_spec

    from fer_pipeline.errors import SetupError

    missing = [name for name in modules if find_spec(name) is None]
    if missing:
        raise SetupError(f"{', '.join(missing)} not installed: `pip install 'fer-pipeline[{extra}]'`")
