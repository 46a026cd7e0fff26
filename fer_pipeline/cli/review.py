"""The command that shows the images of a data set, to decide by eye."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fer_pipeline.cli.app import Overrides, app, read_config
from fer_pipeline.cli.model import need_extra
from fer_pipeline.cli.serve import AllowHost, Host, Open, Port

if TYPE_CHECKING:
    from collections.abc import Callable

    from fer_pipeline.dataset.experiment import Experiment


@app.command()
def review(
    path: Annotated[Path | None, typer.Argument(metavar="DATA", help="A data folder, as in data/lips.")] = None,
    config: Annotated[Path | None, typer.Option("--config", "-c", help="YAML file of the experiment.")] = None,
    set_: Overrides = None,
    run: Annotated[
        Path | None, typer.Option("--run", help="Run whose opinions are shown; default: runs/NAME, its audit, folds.")
    ] = None,
    host: Host = "127.0.0.1",
    port: Port = 8001,
    open_: Open = False,
    allow_host: AllowHost = None,
    by: Annotated[str, typer.Option(help="Name written beside each decision.")] = "",
) -> None:
    """Look through the images in the browser: keep, drop, move to another class, bring back.

    Example: fer review data/lips --open
    """
    from fer_pipeline.errors import UsageError

    if (path is None) == (config is None):
        raise UsageError("name a data folder, or an experiment by --config: as in `fer review data/lips`")
    need_extra("serve", "fastapi", "uvicorn")
    from fer_pipeline.review.app import make_app
    from fer_pipeline.review.session import ReviewSession
    from fer_pipeline.web.server import listen, serve

    find, usual = _find(path) if path is not None else _named(config or Path(), set_)
    session = ReviewSession(find, run or usual, by)
    serve(make_app(session, host, allow_host or ()), listen(host, port), "review", open_page=open_)


def _find(path: Path) -> tuple[Callable[[], Experiment], Path]:
    """What finds the experiment of a data folder or of a stage's folder in it, and where its run would lie."""
    from fer_pipeline.dataset.experiment import find_stage_folder, of_home
    from fer_pipeline.errors import InputError

    if not path.is_dir():
        raise InputError(f"{path}: no such folder: name a data folder, as in data/lips")
    stage = find_stage_folder(path / "any")
    home = path if stage is None else stage.resolve().parent
    runs = [root / home.resolve().name for root in of_home(home).roots]
    return lambda: of_home(home), next((run for run in runs if run.is_dir()), Path("runs") / home.resolve().name)


def _named(config: Path, set_: list[str] | None) -> tuple[Callable[[], Experiment], Path]:
    from fer_pipeline.dataset.experiment import of_config

    settings = read_config(config, set_)
    return lambda: of_config(settings), settings.train.output
