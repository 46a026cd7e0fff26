"""The commands to look at what there is: the funnel, a sheet of pictures, this machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fer_pipeline import console
from fer_pipeline.cli.app import ConfigFile, Overrides, app, format_options, read_config

if TYPE_CHECKING:
    from fer_pipeline.config.schema import Config
    from fer_pipeline.report.status import StageStatus


@app.command()
def status(
    config: ConfigFile,
    set_: Overrides = None,
    picture: Annotated[Path | None, typer.Option(help="Also draw the funnel into this .png file.")] = None,
) -> None:
    """Show how many images each stage kept, dropped and why.  Example: fer status --config configs/sample.yaml"""
    from rich.markup import escape
    from rich.table import Table

    from fer_pipeline.report.status import read_status

    settings = read_config(config, set_)
    table = Table("step", "kept", "dropped", "why", "folder", box=None)
    stands = read_status(settings)
    for stand in stands:
        table.add_row(stand.step, stand.kept, stand.dropped, escape(stand.told), escape(str(stand.folder)))
    console.out.print(table)
    for stand in stands:
        if stand.stale:
            console.out.print(f"stale: {stand.folder} was {stand.stale}", markup=False)
    console.out.print(_next_step(settings, stands, format_options(config, set_ or ())), markup=False)
    if picture is not None:
        from fer_pipeline.report.funnel import places_of, read_steps
        from fer_pipeline.report.plots import plot_funnel

        plot_funnel([(step.stage, step.kept, step.reasons) for step in read_steps(places_of(settings))], picture)
        console.note(f"status: {picture}")


def _next_step(config: Config, stands: list[StageStatus], options: str) -> str:
    """The first step that is missing, or must be done again, as a command to paste."""
    from fer_pipeline.cli.stages import ORDER

    done = {stand.step for stand in stands if stand.finished}
    stale = {stand.step for stand in stands if stand.stale}
    for name in ORDER:
        if name == "eval" and (name not in done or name in stale):
            return f"next: fer eval {config.train.output}"
        if name not in done:
            return f"next: fer {name} {options}{' (or fer import)' if name == 'crawl' else ''}"
        if name in stale:
            return f"next: fer {name} {options} --force"
    return f"all done: see {config.train.output}"


@app.command()
def show(
    folder: Annotated[Path, typer.Argument(help="Folder of a finished stage, as in data/sample/crops.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Picture to write.")] = Path("sheet.png"),
    columns: Annotated[int, typer.Option(min=1, max=100, help="Pictures per class.")] = 12,
) -> None:
    """Draw a sheet with a row of pictures per class.  Example: fer show data/sample/crops --out crops.png"""
    from fer_pipeline.report.plots import contact_sheet

    rows = contact_sheet(folder, out, columns)
    console.note(f"show: {rows} classes in {out}")


@app.command("config")
def config_() -> None:
    """Print every setting with its default and meaning.  Example: fer config"""
    from fer_pipeline.config.docs import describe_settings

    typer.echo(describe_settings(), nl=False)


@app.command()
def doctor() -> None:
    """Say what this machine has and lacks, and how to fix it.  Example: fer doctor"""
    from fer_pipeline.report.doctor import examine

    ailing = False
    for finding in examine():
        ailing |= finding.needed and not finding.good
        mark = "ok     " if finding.good else "MISSING" if finding.needed else "without"
        remedy = f": {finding.remedy}" if not finding.good and finding.remedy else ""
        console.out.print(f"{mark} {finding.name}: {finding.found}{remedy}", markup=False)
    raise typer.Exit(1 if ailing else 0)
