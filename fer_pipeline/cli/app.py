"""The application all commands join, and the options they share."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer
from typer.core import TyperGroup

from fer_pipeline import __version__, console
from fer_pipeline.cli.completion import complete_config, complete_run, complete_setting

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fer_pipeline.config.schema import Config
    from fer_pipeline.pipeline import Event

F = TypeVar("F", bound=Callable[..., Any])
# In the order in which one needs them.
PANELS = {
    "Data": "init sample import crawl collect",
    "Cleaning": "unify dedupe filter clean crop split review audit",
    "Training": "run train tune eval compare ensemble quantise",
    "Use": "predict serve live export",
    "Look": "status show report config doctor",
    "Care": "trace forget",
}
COMMANDS = " ".join(PANELS.values()).split()


class InOrder(TyperGroup):
    """Lists the commands along the pipeline, not by the module they stand in."""

    def list_commands(self, ctx: typer.Context) -> list[str]:  # type: ignore[override]
        return sorted(super().list_commands(ctx), key=COMMANDS.index)


app = typer.Typer(
    name="fer",
    cls=InOrder,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["--help", "-h"]},
    help="From search words to a measured facial-expression classifier, one folder after another.\n\n"
    "Example: fer init sample --name me && fer run",
)


def panel_of(name: str) -> str:
    """The panel of the help page a command stands in."""
    return next(panel for panel, commands in PANELS.items() if name in commands.split())


def command(name: str) -> Callable[[F], F]:
    """Register a function as a command, in its panel."""
    return app.command(name, rich_help_panel=panel_of(name))


ConfigFile = Annotated[
    str | None,
    typer.Option(
        "--config",
        "-c",
        metavar="FILE|RECIPE",
        autocompletion=complete_config,
        help="Settings: a YAML file, or a recipe by name; default: $FER_CONFIG, else fer.yaml of this folder.",
    ),
]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        autocompletion=complete_setting,
        help="Override a setting, as in crop.margin=1.4.",
    ),
]


def _check_workers(value: str | None) -> str | None:
    """A number of processes, or `ray`; the configuration says how many."""
    if value is not None and value != "ray" and not (value.isascii() and value.isdigit() and 0 < int(value[:9]) <= 512):
        raise typer.BadParameter(f"{value!r} is not a valid integer from 1 to 512, nor `ray`")
    return value


Workers = Annotated[
    str | None,
    typer.Option(
        "--workers",
        metavar="N|ray",
        callback=_check_workers,
        help="Processes, or `ray` for those of a Ray cluster; default: one per core, two at least.",
    ),
]
ClassFolders = Annotated[
    Path | None,
    typer.Option("--data", help="Folder with a folder per class, in place of train.input."),
]
Force = Annotated[bool, typer.Option("--force", help="Start over, also if the folder is finished.")]
Run = Annotated[
    Path | None,
    typer.Argument(
        autocompletion=complete_run,
        help="Folder of a finished run, as in runs/sample, or its model.onnx; default: the configuration's.",
    ),
]
Host = Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 is the whole network.")]
Port = Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0: any that is free.")]
Open = Annotated[bool, typer.Option("--open", help="Open the page in the browser.")]
AllowHost = Annotated[list[str] | None, typer.Option(help="Name under which a proxy asks, as in faces.example.org.")]


@app.callback(invoke_without_command=True)
def common(
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Only results and errors.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Say more.")] = False,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    """Settle how much is said; the options may stand anywhere on the line."""
    if version:
        typer.echo(f"fer {__version__}")
        raise typer.Exit
    console.set_level(quiet=quiet, verbose=verbose)


def read_config(given: str | Path | None, overrides: list[str] | None, workers: str | None = None) -> Config:
    """The experiment with its overrides; `--workers` is one more."""
    from fer_pipeline.config.loader import find_config

    extra = [] if workers is None else [f"workers={workers}"]
    return find_config(given, [*(overrides or []), *extra])


def read_config_instead(given: str | None, overrides: list[str] | None, noun: str) -> Config:
    """The same for a command that would also take a folder; UsageError says so if no configuration is there."""
    from fer_pipeline.config.loader import locate_file
    from fer_pipeline.errors import UsageError

    if locate_file(given) is None:
        begin = "begin one in this folder with `fer init RECIPE --name NAME`"
        raise UsageError(f"name {noun}, or an experiment by --config, or {begin}")
    return read_config(given, overrides)


def choose_run(run: Path | None, config: str | None, overrides: list[str] | None) -> Path:
    """The run that is named, else that of the configuration."""
    from fer_pipeline.errors import UsageError

    if run is None:
        return read_config_instead(config, overrides, "a run, as in runs/mine").train.output
    if config is not None:
        raise UsageError(f"{run}: --config names a run too: leave one of them out")
    return run


def check_given(folder: Path | None, option: str = "--data") -> None:
    """UsageError for a folder that is not there, before anything is loaded."""
    from fer_pipeline.errors import UsageError

    if folder is not None and not folder.is_dir():
        raise UsageError(f"{option} {folder}: no such folder: name one that is there")


def format_options(config: str | Path | None, overrides: Sequence[str] | None) -> str:
    """The options again, with a space before each, so that a command that is told can be pasted."""
    named = [] if config is None else ["--config", str(config)]
    words = [*named, *(word for one in overrides or () for word in ("--set", one))]
    return "".join(f" {shlex.quote(word)}" for word in words)


def print_event(event: Event) -> None:
    """What a step of the pipeline has to say: figures on stdout, lines on stderr."""
    from fer_pipeline.cli.tables import print_metrics

    if event.metrics is not None:
        print_metrics(event.metrics)
    if event.text:
        console.note(event.text)


def to_json(value: Any) -> str:
    """A value as one line of JSON, letters of all languages as they are."""
    import json

    return json.dumps(value, ensure_ascii=False)
