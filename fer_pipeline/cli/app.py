"""The application all commands join, and the options they share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from typer.core import TyperGroup

from fer_pipeline import __version__, console

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fer_pipeline.config.schema import Config

# In the order in which one needs them.
COMMANDS = (
    "sample import crawl collect unify dedupe filter clean crop split audit review train tune eval compare quantise "
    "ensemble predict serve live run status show report trace forget doctor config"
)


class InOrder(TyperGroup):
    """Lists the commands along the pipeline, not by the module they stand in."""

    def list_commands(self, ctx: typer.Context) -> list[str]:  # type: ignore[override]
        return sorted(super().list_commands(ctx), key=COMMANDS.split().index)


app = typer.Typer(
    name="fer",
    cls=InOrder,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["--help", "-h"]},
    help="From search words to a measured facial-expression classifier, one folder after another.\n\n"
    "Example: fer run --config configs/sample.yaml",
)

ConfigFile = Annotated[Path, typer.Option("--config", "-c", help="YAML file of the experiment.")]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a setting, as in crop.margin=1.4.")
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


def read_config(path: Path, overrides: list[str] | None, workers: str | None = None) -> Config:
    """The experiment with its overrides; `--workers` is one more."""
    from fer_pipeline.config.loader import load_config

    extra = [] if workers is None else [f"workers={workers}"]
    return load_config(path, [*(overrides or []), *extra])


def check_given(data: Path | None) -> None:
    """UsageError for a `--data` that is not there, before anything is loaded."""
    from fer_pipeline.errors import UsageError

    if data is not None and not data.is_dir():
        raise UsageError(f"--data {data}: no such folder: name one that is there")


def format_options(config: Path, overrides: Sequence[str]) -> str:
    """The options again, so that a command that is told can be pasted."""
    import shlex

    return " ".join(["--config", shlex.quote(str(config)), *(f"--set {shlex.quote(one)}" for one in overrides)])


def count_workers(config: Config) -> int | Literal["ray"]:
    """How many processes a stage may use, or `ray`; two on one core, for an image may crash the one that opens it."""
    return config.workers or max(2, available_cores())


def available_cores() -> int:
    """The cores this process may run on."""
    import os

    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
