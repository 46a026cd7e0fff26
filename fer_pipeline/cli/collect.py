"""The command that makes somebody's own camera a source."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fer_pipeline import console
from fer_pipeline.cli.app import Overrides, app, available_cores, format_options, read_config
from fer_pipeline.cli.model import need_extra
from fer_pipeline.cli.serve import AllowHost, Host, Open, Port

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fer_pipeline.config.schema import Config, Preprocessing
    from fer_pipeline.dataset.experiment import Experiment
    from fer_pipeline.sources.camera.capture_store import CaptureStore


@app.command()
def collect(
    data: Annotated[Path | None, typer.Argument(help="Data folder, as in data/mine; default: the config's.")] = None,
    config: Annotated[Path | None, typer.Option("--config", "-c", help="YAML file of the experiment.")] = None,
    set_: Overrides = None,
    label: Annotated[
        list[str] | None, typer.Option(help="A class to collect; default: those the data have, else the config's.")
    ] = None,
    target: Annotated[int, typer.Option(min=1, max=10_000, help="Photos of each class a session.")] = 40,
    host: Host = "127.0.0.1",
    port: Port = 8000,
    open_: Open = False,
    allow_host: AllowHost = None,
) -> None:
    """Collect photos with your own camera: hold a class's key.  Example: fer collect data/mine --label smile --open"""
    need_extra("serve", "uvicorn", "websockets", "starlette")
    from fer_pipeline.sources.camera.app import make_app
    from fer_pipeline.sources.camera.capture_store import CaptureStore
    from fer_pipeline.sources.camera.session import SessionOptions, check_labels
    from fer_pipeline.sources.camera.target import find_labels, find_target
    from fer_pipeline.web.server import listen, serve

    place = find_target(data, None if config is None else read_config(config, set_))
    labels = check_labels(label or find_labels(place))
    _check_models(place.preprocessing)
    bound = listen(host, port)
    with CaptureStore(place.raw) as store:
        options = SessionOptions(labels, target, place.preprocessing)
        serve(
            make_app(options, store, min(2, available_cores()), host, allow_host or ()),
            bound,
            "collect",
            open_page=open_,
        )
    print_sessions(store)
    if sum(store.before.values()) + len(store.kept):
        bring_along(place.experiment(), place.config, config, set_ or ())


def _check_models(preprocessing: Preprocessing) -> None:
    """Say what is missing before the page is up."""
    from fer_pipeline.console import note
    from fer_pipeline.vision.landmarks import load_detector, load_landmarks
    from fer_pipeline.vision.weights import LICENCE_NOTE

    load_detector(preprocessing.detector)
    if preprocessing.cut.region != "whole":
        load_landmarks(preprocessing.cut.landmarks)
        note(f"collect: {LICENCE_NOTE}")


def print_sessions(store: CaptureStore) -> None:
    """What is there now of the last session and of all."""
    if store.kept:
        told = ", ".join(f"{name} {count:,}" for name, count in sorted(store.counts.items()))
        console.note(f"collect: {store.session}: {told} -> {store.raw}")
    total = sum(store.before.values()) + len(store.kept)
    console.note(f"collect: photos of all sessions in {store.raw}: {total:,}")


def bring_along(
    experiment: Experiment, settings: Config | None, path: Path | None, overrides: Sequence[str] = ()
) -> None:
    """Bring the stages up to date with the new photos, and say what to do next."""
    from fer_pipeline.errors import FerError
    from fer_pipeline.stages.refresh import refresh

    name = experiment.raw.parent.name if experiment.raw else "NAME"
    told = format_options(path, overrides) if path else f"--config YOUR.yaml --set name={name}"
    done = []
    try:
        for summary in refresh(experiment):
            done.append(summary.stage)
    except FerError as error:
        console.note(f"collect: {error}")
    if done:
        console.note(f"collect: {', '.join(done)} up to date: only the new photos were processed")
    if "split" not in experiment.folders:
        console.note(f"collect: next: fer run {told} --until split")
    run = str(settings.train.output) if settings else f"runs/{name}"
    console.note(f"collect: then fer train {told} --from {run}, or without --from where there is no model yet")
