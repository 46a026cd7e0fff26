"""The commands to look at what there is: the funnel, a sheet of pictures, this machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fer_pipeline import console
from fer_pipeline.cli.app import ConfigFile, Overrides, app, read_config

if TYPE_CHECKING:
    from fer_pipeline.config import Config

Funnel = list[tuple[str, int, dict[str, int]]]


@app.command()
def status(
    config: ConfigFile,
    set_: Overrides = None,
    picture: Annotated[Path | None, typer.Option(help="Also draw the funnel into this .png file.")] = None,
) -> None:
    """Show how many images each stage kept, dropped and why.  Example: fer status --config configs/sample.yaml"""
    from rich.table import Table

    settings = read_config(config, set_)
    table = Table("stage", "kept", "dropped", "why", "folder", box=None)
    funnel = read_funnel(settings)
    for name, kept, reasons in funnel:
        why = ", ".join(f"{reason} {count:,}" for reason, count in reasons.items())
        folder = getattr(settings, name).output
        table.add_row(name, f"{kept:,}", f"{sum(reasons.values()):,}", why or "-", str(folder))
    console.out.print(table)
    console.out.print(_next_step(settings, funnel), markup=False)
    if picture is not None:
        from fer_pipeline.report.plots import plot_funnel

        plot_funnel(funnel, picture)
        console.note(f"status: {picture}")


def read_funnel(config: Config) -> Funnel:
    """Stage, images kept, and the counts by reason of those that were not, for every finished stage."""
    from fer_pipeline.config import FOLDERS
    from fer_pipeline.manifest import MANIFEST
    from fer_pipeline.stages.runner import summarise

    finished = [name for name in FOLDERS if (getattr(config, name).output / MANIFEST).is_file()]
    summaries = [summarise(name, getattr(config, name).output) for name in finished]
    return [(summary.stage, summary.kept, summary.reasons) for summary in summaries]


def _next_step(config: Config, funnel: Funnel) -> str:
    from fer_pipeline.cli.stages import ORDER

    done = [name for name, _, _ in funnel]
    done += [
        name
        for name, file in (("train", "model.onnx"), ("eval", "metrics.json"))
        if (config.train.output / file).is_file()
    ]
    missing = next((name for name in ORDER if name not in done), None)
    return f"next: fer {missing}" if missing else f"all done: see {config.train.output}"


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
    from fer_pipeline.report.configuration import describe_settings

    typer.echo(describe_settings(), nl=False)


@app.command()
def doctor() -> None:
    """Say what this machine has and lacks, and how to mend it.  Example: fer doctor"""
    from fer_pipeline.report.doctor import examine

    ailing = False
    for finding in examine():
        ailing |= finding.needed and not finding.good
        mark = "ok     " if finding.good else "MISSING" if finding.needed else "without"
        remedy = f": {finding.remedy}" if not finding.good and finding.remedy else ""
        console.out.print(f"{mark} {finding.name}: {finding.found}{remedy}", markup=False)
    raise typer.Exit(1 if ailing else 0)
