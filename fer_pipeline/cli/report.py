"""The command that writes the pages people look at, and the pages other commands add when they are done."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fer_pipeline import console
from fer_pipeline.cli.app import Overrides, app, read_config
from fer_pipeline.cli.serve import Open

if TYPE_CHECKING:
    from collections.abc import Callable

    from fer_pipeline.config.schema import Config


@app.command()
def report(
    path: Annotated[Path | None, typer.Argument(help="A run or a data folder, as in runs/sample, data/sample.")] = None,
    config: Annotated[Path | None, typer.Option("--config", "-c", help="Both pages of this experiment.")] = None,
    set_: Overrides = None,
    open_: Open = False,
) -> None:
    """Write report.html: what a run is worth, or what a data folder holds.  Example: fer report runs/sample"""
    from fer_pipeline.errors import UsageError
    from fer_pipeline.web.server import show_page

    if (path is None) == (config is None):
        raise UsageError("name a run or a data folder, or an experiment by --config: as in `fer report runs/sample`")
    pages = _report_folder(path) if path is not None else _report_experiment(read_config(config or Path(), set_))
    for page in pages:
        console.out.print(str(page), markup=False)
        if open_:
            show_page(page.resolve().as_uri())


def _report_folder(path: Path) -> list[Path]:
    """The page of a run or of a data folder, told apart by what lies in it; a stage's folder means the data around."""
    from fer_pipeline.dataset.rows import MANIFEST
    from fer_pipeline.errors import InputError
    from fer_pipeline.report.data_page import write_data_page
    from fer_pipeline.report.funnel import places_below
    from fer_pipeline.report.run_page import write_run_page

    if path.is_file() or (path / "model.onnx").is_file():
        return [write_run_page(path)]
    for home in (path, path.resolve().parent) if (path / MANIFEST).is_file() else (path,):
        if any(place.finished for place in places_below(home)):
            return [write_data_page(home, places_below(home))]
    raise InputError(f"{path} is neither a run (no model.onnx) nor a data folder (no finished raw, unified, …)")


def _report_experiment(config: Config) -> list[Path]:
    """The page of the data, and that of the run if there is one."""
    from fer_pipeline.report.data_page import write_data_page
    from fer_pipeline.report.funnel import places_of
    from fer_pipeline.report.run_page import write_run_page

    pages = [write_data_page(config.data / config.name, places_of(config))]
    return [*pages, write_run_page(config.train.output)] if (config.train.output / "model.onnx").is_file() else pages


def add_run_page(run: Path, folder: Path) -> None:
    """The page beside the figures that were just written."""

    def write() -> Path:
        from fer_pipeline.report.run_page import write_run_page

        return write_run_page(run, folder)

    _add("eval", write)


def add_data_page(config: Config) -> None:
    """The page of the data that was just split."""

    def write() -> Path:
        from fer_pipeline.report.data_page import write_data_page
        from fer_pipeline.report.funnel import places_of

        return write_data_page(config.data / config.name, places_of(config))

    _add("split", write)


def _add(step: str, write: Callable[[], Path]) -> None:
    """Write a page nobody asked for by name: what it lacks (an extra, room) is told and fails nothing."""
    from fer_pipeline.errors import FerError

    try:
        console.note(f"{step}: {write()}")
    except (FerError, OSError) as error:
        console.note(f"{step}: no report.html: {error}")
