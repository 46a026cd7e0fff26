"""The commands to look: what a model is worth, how far an experiment is, reports, settings, this machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fer_pipeline import console
from fer_pipeline.cli.app import (
    ConfigFile,
    Open,
    Overrides,
    Run,
    check_given,
    choose_run,
    command,
    format_options,
    print_event,
    read_config,
    read_config_instead,
)
from fer_pipeline.cli.completion import complete_recipe, complete_run
from fer_pipeline.pipeline import ORDER, require_extra

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fer_pipeline.config.schema import Config
    from fer_pipeline.report.status import StageStatus


@command("init")
def init(
    recipe: Annotated[
        str | None,
        typer.Argument(autocompletion=complete_recipe, help="Recipe to begin with; without one they are listed."),
    ] = None,
    name: Annotated[str | None, typer.Option("--name", help="Name of the experiment; default: the recipe's.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a fer.yaml that is there.")] = False,
) -> None:
    """Write a short fer.yaml into this folder, made from a recipe.

    Example: fer init lips --name mine
    """
    from fer_pipeline.config.recipes import list_recipes
    from fer_pipeline.config.writer import write_config

    if recipe is None:
        for known, about in list_recipes().items():
            console.out.print(f"{known:<14}{about}")
        console.note("init: choose one: fer init lips --name mine")
        return
    path = write_config(recipe, name or recipe, force=force)
    console.note(f"init: {path}: look at it, then `fer run`")


@command("eval")
def eval_(
    run: Run = None,
    config: ConfigFile = None,
    set_: Overrides = None,
    data: Annotated[Path | None, typer.Option(help="Other folder to measure on; default: the run's test part.")] = None,
    others: Annotated[
        Path | None, typer.Option(help="Folder of pictures of none of the classes: how many are told as `unknown`?")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Where to write; default: the run's folder, eval-NAME in it for --data.")
    ] = None,
    max_leakage: Annotated[
        float, typer.Option(min=0, max=1, help="Largest share of test images that may be copies of training images.")
    ] = 0.01,
    allow_leakage: Annotated[bool, typer.Option("--allow-leakage", help="Accept any leakage.")] = False,
    allow_mismatch: Annotated[
        bool, typer.Option("--allow-mismatch", help="Accept pictures of another kind, or of one class alone.")
    ] = False,
) -> None:
    """Measure a model on images it never saw.

    Example: fer eval runs/sample --data other/crops --out scores
    """
    from fer_pipeline.pipeline import evaluate_run

    check_given(data)
    check_given(others, "--others")
    chosen = choose_run(run, config, set_)
    evaluate_run(
        chosen,
        data,
        out,
        tell=print_event,
        allow_mismatch=allow_mismatch,
        max_leakage=max_leakage,
        allow_leakage=allow_leakage,
        others=others,
    )


@command("compare")
def compare(
    run_a: Annotated[
        Path,
        typer.Argument(
            autocompletion=complete_run,
            help="Folder of a measured run or cross-validation, or its predictions.csv.",
        ),
    ],
    run_b: Annotated[Path, typer.Argument(autocompletion=complete_run, help="The other one.")],
    out: Annotated[Path | None, typer.Option(help="CSV of the images on which they differ.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that fer did not write.")] = False,
) -> None:
    """Tell whether one model is better, or lucky.

    Example: fer compare runs/lips runs/tutorial --out differ.csv
    """
    require_extra("train", "scipy")
    from fer_pipeline.cli.tables import print_comparison
    from fer_pipeline.evaluation.compare import check_differences, compare_runs, write_differences

    if out is not None:
        check_differences(out, force=force)
    result = compare_runs(run_a, run_b)
    if as_json:
        typer.echo(console.visible(result.summary().model_dump_json()))
    else:
        print_comparison(result, str(run_a), str(run_b))
    if out is not None:
        console.note(
            f"compare: {console.counted(write_differences(out, result), 'image')} on which they differ -> {out}"
        )


@command("status")
def status(
    config: ConfigFile = None,
    set_: Overrides = None,
    picture: Annotated[Path | None, typer.Option(help="Also draw the funnel into this .png file.")] = None,
) -> None:
    """Show how many images each stage kept, dropped and why.

    Where no configuration is named or lies here, the experiments in data/ and runs/ are listed.

    Example: fer status --picture funnel.png
    """
    from rich.table import Table

    from fer_pipeline.config.loader import locate_file
    from fer_pipeline.report.status import read_status

    if picture is not None:
        from fer_pipeline.report.plots import check_picture

        check_picture(picture)
    if locate_file(config) is None and not set_:
        _print_experiments()
        return
    settings = read_config(config, set_)
    table = Table("step", "kept", "dropped", "why", "folder", box=None)
    stands = read_status(settings)
    for stand in stands:
        table.add_row(
            "raw" if stand.step == "crawl" else stand.step, stand.kept, stand.dropped, stand.told, str(stand.folder)
        )
    console.out.print(table)
    for sentence in _warn(stands):
        console.out.print(sentence)
    console.out.print(_next_step(settings, stands, format_options(config, set_)))
    if picture is not None:
        from fer_pipeline.report.funnel import places_of, read_steps
        from fer_pipeline.report.plots import plot_funnel

        plot_funnel([(step.stage, step.kept, step.reasons) for step in read_steps(places_of(settings))], picture)
        console.note(f"status: {picture}")


def _warn(stands: list[StageStatus]) -> Iterator[str]:
    """What is odd about the folders, a line each."""
    from fer_pipeline.stages.dedupe import warn_of_copies

    for stand in stands:
        if stand.step == "dedupe":
            yield from (f"dedupe: {sentence}" for sentence in warn_of_copies(stand.folder))
        if stand.stale:
            yield f"stale: {stand.folder} was {stand.stale}"


def _print_experiments() -> None:
    """What lies in `data/` and `runs/`, an experiment a line: images of each stage, score of the run."""
    from rich.table import Table

    from fer_pipeline.report.experiments import STAGES, list_experiments

    found = list_experiments(Path("data"), Path("runs"))
    if not found:
        console.out.print("no experiment in data/ or runs/: begin one with `fer init RECIPE --name NAME`")
        return
    table = Table("name", *STAGES, "run", box=None)
    for column in table.columns[1:-1]:
        column.justify = "right"
    for one in found:
        table.add_row(one.name, *(f"{one.kept[stage]:,}" if stage in one.kept else "-" for stage in STAGES), one.run)
    console.out.print(table)
    console.note("status: no fer.yaml here: `fer status --config FILE` tells more of one")


def _next_step(config: Config, stands: list[StageStatus], options: str) -> str:
    """The first step that is missing, or must be done again, as a command to paste."""
    done = {stand.step for stand in stands if stand.finished}
    stale = {stand.step for stand in stands if stand.stale}
    for name in ORDER:
        if name == "eval" and (name not in done or name in stale):
            return f"next: fer eval {config.train.output}"
        if name == "crawl" and name not in done:
            return f"next: fer crawl{options} (or fer import)"
        if name not in done or name in stale:
            return f"next: fer run{options}"
    return f"all done: see {config.train.output}"


@command("show")
def show(
    folder: Annotated[
        Path | None,
        typer.Argument(help="Folder of a finished stage, as in data/sample/crops; default: the configuration's crops."),
    ] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Picture to write.")] = Path("sheet.png"),
    columns: Annotated[int, typer.Option(min=1, max=100, help="Pictures per class.")] = 12,
    config: ConfigFile = None,
    set_: Overrides = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that fer did not write.")] = False,
) -> None:
    """Draw a sheet with a row of pictures per class.

    Example: fer show data/sample/crops --out crops.png
    """
    from fer_pipeline.report.plots import check_picture, contact_sheet

    check_picture(out, (".png", ".jpg", ".jpeg"), force=force)
    if folder is None:
        folder = read_config_instead(config, set_, "the folder of a stage").crop.output
    rows = contact_sheet(folder, out, columns)
    console.note(f"show: {rows} classes in {out}")


@command("report")
def report(
    path: Annotated[
        Path | None,
        typer.Argument(
            autocompletion=complete_run,
            help="A run or a data folder, as in runs/sample, data/sample; default: both of the configuration.",
        ),
    ] = None,
    config: ConfigFile = None,
    set_: Overrides = None,
    open_: Open = False,
) -> None:
    """Write a page about a run, or about a data folder: report.html.

    Example: fer report runs/sample
    """
    from fer_pipeline.errors import UsageError
    from fer_pipeline.report.reports import write_experiment_pages, write_folder_page

    if path is not None and config is not None:
        raise UsageError(f"{path}: --config names folders too: leave one of them out")
    if path is None:
        pages = write_experiment_pages(read_config_instead(config, set_, "a run or a data folder"))
    else:
        pages = [write_folder_page(path)]
    for page in pages:
        console.out.print(str(page))
        if open_:
            console.show_page(page.resolve().as_uri())


@command("config")
def config_() -> None:
    """Print every setting with its default and meaning.

    Example: fer config
    """
    from fer_pipeline.config.docs import describe_settings

    typer.echo(describe_settings(), nl=False)


@command("doctor")
def doctor() -> None:
    """Say what this machine has and lacks, and how to fix it.

    Example: fer doctor
    """
    from fer_pipeline.report.doctor import examine

    ailing = False
    for finding in examine():
        ailing |= finding.needed and not finding.good
        mark = "ok     " if finding.good else "MISSING" if finding.needed else "without"
        remedy = f": {finding.remedy}" if not finding.good and finding.remedy else ""
        console.out.print(f"{mark} {finding.name}: {finding.found}{remedy}")
    raise typer.Exit(1 if ailing else 0)
