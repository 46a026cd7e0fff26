"""The command that makes somebody's own camera a source."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fer_pipeline import console
from fer_pipeline.cli.app import Overrides, app, available_cores, read_config, tell_options
from fer_pipeline.cli.model import need_extra
from fer_pipeline.cli.serve import AllowHost, Host, Open, Port

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fer_pipeline.collect.album import Album
    from fer_pipeline.config import Config, Recipe
    from fer_pipeline.lineage.experiment import Experiment


@app.command()
def collect(
    data: Annotated[Path | None, typer.Argument(help="Data folder, as in data/mine; default: the config's.")] = None,
    config: Annotated[Path | None, typer.Option("--config", "-c", help="YAML file of the experiment.")] = None,
    set_: Overrides = None,
    label: Annotated[
        list[str] | None, typer.Option(help="A class to collect; default: those the data have, else the config's.")
    ] = None,
    target: Annotated[int, typer.Option(min=1, max=10_000, help="Photos of each class a sitting.")] = 40,
    host: Host = "127.0.0.1",
    port: Port = 8000,
    open_: Open = False,
    allow_host: AllowHost = None,
) -> None:
    """Collect photos with your own camera: hold a class's key.  Example: fer collect data/mine --label smile --open"""
    need_extra("serve", "uvicorn", "websockets", "starlette")
    from fer_pipeline.collect.album import Album
    from fer_pipeline.collect.app import make_app
    from fer_pipeline.collect.desk import Wish, check_labels
    from fer_pipeline.collect.place import find_labels, find_place
    from fer_pipeline.web.server import listen, serve

    place = find_place(data, None if config is None else read_config(config, set_))
    labels = check_labels(label or find_labels(place))
    _check_models(place.recipe)
    bound = listen(host, port)
    with Album(place.raw) as album:
        wish = Wish(labels, target, place.recipe)
        serve(
            make_app(wish, album, min(2, available_cores()), host, allow_host or ()), bound, "collect", open_page=open_
        )
    tell_sittings(album)
    if sum(album.before.values()) + len(album.kept):
        bring_along(place.experiment(), place.config, config, set_ or ())


def _check_models(recipe: Recipe) -> None:
    """Say what is missing before the page is up."""
    from fer_pipeline.console import note
    from fer_pipeline.faces import load_detector, load_landmarks
    from fer_pipeline.weights import LICENCE_NOTE

    load_detector(recipe.detector)
    if recipe.cut.region != "whole":
        load_landmarks(recipe.cut.landmarks)
        note(f"collect: {LICENCE_NOTE}")


def tell_sittings(album: Album) -> None:
    """What is there now of the last sitting and of all."""
    if album.kept:
        told = ", ".join(f"{name} {count:,}" for name, count in sorted(album.counts.items()))
        console.note(f"collect: {album.sitting}: {told} -> {album.raw}")
    total = sum(album.before.values()) + len(album.kept)
    console.note(f"collect: photos of all sittings in {album.raw}: {total:,}")


def bring_along(
    experiment: Experiment, settings: Config | None, path: Path | None, overrides: Sequence[str] = ()
) -> None:
    """Bring the stages up to date with the new photos, and say what to do next."""
    from fer_pipeline.lineage.grow import grow

    name = experiment.raw.parent.name if experiment.raw else "NAME"
    told = tell_options(path, overrides) if path else f"--config YOUR.yaml --set name={name}"
    done, stale = [], ""
    for stage, trouble in grow(experiment):
        stale = trouble
        done += [] if trouble else [stage]
    if done:
        console.note(f"collect: {', '.join(done)} up to date: only the new photos were judged")
    if stale:
        console.note(f"collect: {stale}: fer run {told} --until split --force")
    elif "split" not in experiment.folders:
        console.note(f"collect: next: fer run {told} --until split")
    run = str(settings.train.output) if settings else f"runs/{name}"
    console.note(f"collect: then fer train {told} --from {run}, or without --from where there is no model yet")
