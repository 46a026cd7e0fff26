"""The commands that use a model: on photos, as a service, on a camera."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fer_pipeline import console
from fer_pipeline.cli.app import (
    AllowHost,
    ConfigFile,
    Host,
    Open,
    Overrides,
    Port,
    Run,
    choose_run,
    command,
)
from fer_pipeline.cli.completion import complete_run
from fer_pipeline.dataset.class_folders import list_pictures
from fer_pipeline.errors import InputError, UsageError
from fer_pipeline.pipeline import available_cores, require_extra

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from fer_pipeline.models.prediction import FacePrediction, Prediction

Unknown = Annotated[
    float,
    typer.Option(min=0, help="Distance above which the answer is `unknown`, in the model's own limits; 0: never."),
]


@command("predict")
def predict(
    run: Annotated[
        Path,
        typer.Argument(
            autocompletion=complete_run,
            help="Folder of a finished run, or its model.onnx; with --url the first photo.",
        ),
    ],
    paths: Annotated[list[Path] | None, typer.Argument(help="Photos, or folders of photos.")] = None,
    url: Annotated[str | None, typer.Option(help="Ask a `fer serve` in place of a run: http://127.0.0.1:8000")] = None,
    model: Annotated[str, typer.Option(help="With --url: which of the server's models; default: its first.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
    crops: Annotated[bool, typer.Option("--crops", help="The files are crops already: take them as they are.")] = False,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes; default: one per core for many files.")] = None,
    uncertain: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Confidence below which the answer is `uncertain`; default: the model's own."),
    ] = None,
    unknown: Unknown = 1,
) -> None:
    """Tell the expression of every face in some photos.

    Example: fer predict runs/sample photo.jpg --json
    """
    any_face, heic, photos, unread = False, 0, 0, 0
    given = {"--crops": crops, "--workers": workers, "--uncertain": uncertain, "--unknown": unknown != 1}
    for prediction in (
        _predict_all(run, paths or [], crops, workers, {"uncertain": uncertain, "unknown": unknown})
        if url is None
        else _ask(url, [run, *(paths or [])], model, given)
    ):
        any_face |= prediction.outcome != "no_face"
        photos += 1
        unread += prediction.outcome in {"bad_image", "too_large"}
        heic += prediction.outcome == "bad_image" and Path(prediction.path).suffix.lower() in {".heic", ".heif"}
        if as_json:
            typer.echo(console.visible(prediction.model_dump_json()))
        else:
            faces = ", ".join(_format_face(face) for face in prediction.faces)
            typer.echo(console.visible(f"{prediction.path}: {faces or prediction.outcome}"))
    if heic and not has_heic():
        told = f"{console.counted(heic, 'file')} in HEIC, as iPhones store photos"
        console.note(f"predict: not read: {told}: `pip install 'fer-pipeline[heic]'`")
    if photos and unread == photos:
        raise InputError(f"predict: none of {console.counted(photos, 'file')} could be read as a picture: name photos")
    if not any_face:
        console.note("predict: no face was found: if these are crops of faces or lips already, add --crops")


def has_heic() -> bool:
    """Whether the extra is there that reads HEIC."""
    from importlib.util import find_spec

    return find_spec("pillow_heif") is not None


def _ask(url: str, paths: list[Path], model: str, given: Mapping[str, object]) -> Iterator[Prediction]:
    """The predictions of a server; it decides about crops, threshold and processes."""
    from fer_pipeline.models.model_file import MODEL
    from fer_pipeline.serve.client import predict_at

    for option, value in given.items():
        if value not in (None, False):
            raise UsageError(f"{option}: the server decides that: leave it out, or name a run in place of --url")
    if (paths[0] / MODEL).is_file():
        raise UsageError(f"{paths[0]}: with --url the server has the model: name photos only, and --model NAME")
    return predict_at(url, list_pictures(paths), model)


def _format_face(face: FacePrediction) -> str:
    if face.confidence is None:
        return face.outcome
    guess = f"{face.guess} {face.confidence:.0%}"
    return guess if face.outcome == "answered" else f"{face.outcome} ({guess})"


def _predict_all(
    run: Path, paths: list[Path], crops: bool, workers: int | None, limits: Mapping[str, Any]
) -> Iterator[Prediction]:
    from functools import partial

    from fer_pipeline.models.prediction import Prediction
    from fer_pipeline.models.predictor import load_predictor, predict_file
    from fer_pipeline.workers.stage_workers import WorkerCrash, work

    if not paths:
        raise UsageError("no photos: name some, or folders of photos, after the run")
    files = list_pictures(paths)
    load_predictor(run, **limits)  # a bad model is told once, before any photo
    count = workers or (available_cores() if len(files) >= 64 else 1)
    for path, result in work(partial(predict_file, run, crops, **limits), files, count):
        yield Prediction(path=str(path), outcome="bad_image") if isinstance(result, WorkerCrash) else result


@command("serve")
def serve(
    runs: Annotated[
        list[Path] | None,
        typer.Argument(
            autocompletion=complete_run,
            help="Finished runs or model files, between which the page switches; default: the configuration's.",
        ),
    ] = None,
    config: ConfigFile = None,
    set_: Overrides = None,
    host: Host = "127.0.0.1",
    port: Port = 8000,
    open_: Open = False,
    allow_host: AllowHost = None,
    root_path: Annotated[str, typer.Option(help="Path of a proxy below which the page lies, as /fer.")] = "",
    workers: Annotated[int | None, typer.Option(min=1, help="Processes that predict; default: one per core.")] = None,
    uncertain: Annotated[float | None, typer.Option(min=0, max=1, help="In place of the model's own.")] = None,
    unknown: Unknown = 1,
    queue: Annotated[int, typer.Option(min=1, help="Requests at once; more are told to come again.")] = 128,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds for an answer; a picture gets half of them.")] = 20,
    upload: Annotated[float, typer.Option(min=0.1, help="Seconds a request may take to come.")] = 60,
    max_mb: Annotated[float, typer.Option(min=0.01, help="Largest request in megabytes.")] = 30,
    max_files: Annotated[int, typer.Option(min=1, help="Pictures a request.")] = 16,
    max_megapixels: Annotated[float, typer.Option(min=0.01, help="Largest picture.")] = 50,
    frames: Annotated[float, typer.Option(min=0.1, help="Frames a second and camera.")] = 30,
    cameras: Annotated[int, typer.Option(min=0, help="Cameras watched at once.")] = 16,
) -> None:
    """Serve a model: a page to try it and watch it live, and an API.

    Example: fer serve runs/sample --open
    """
    chosen = [choose_run(run, config, set_) for run in runs] if runs else [choose_run(None, config, set_)]
    require_extra("serve", "fastapi", "uvicorn", "python_multipart", "websockets", "prometheus_client")
    from fer_pipeline.serve.app import make_app
    from fer_pipeline.serve.limits import Limits
    from fer_pipeline.serve.service import Service
    from fer_pipeline.web.root_path import check_root
    from fer_pipeline.web.server import listen
    from fer_pipeline.web.server import serve as answer

    limits = Limits(
        max_bytes=round(max_mb * 1e6),
        max_pixels=round(max_megapixels * 1e6),
        max_files=max_files,
        queue=queue,
        all_bytes=max(Limits.all_bytes, round(max_mb * 1e6)),
        upload=upload,
        timeout=timeout,
        frames=frames,
        connections=cameras,
    )
    root = check_root(root_path)
    service = Service(chosen, limits, workers or available_cores(), uncertain, unknown)
    bound = listen(host, port)
    service.start()
    answer(make_app(service, host, allow_host or (), root), bound, "serve", open_page=open_)


@command("live")
def live(
    output: Annotated[Path, typer.Option("--output", "-o", help="Annotated video (.mp4, .avi) or table (.csv).")],
    run: Run = None,
    config: ConfigFile = None,
    set_: Overrides = None,
    video: Annotated[Path | None, typer.Option(help="A video file in place of a camera.")] = None,
    camera: Annotated[int, typer.Option(min=0, help="Number of the camera.")] = 0,
    seconds: Annotated[float | None, typer.Option(min=0.1, help="Stop after so long; default: Ctrl-C.")] = None,
    window: Annotated[float, typer.Option(min=0, max=10, help="Seconds averaged over; 0: each frame by itself.")] = 0.5,
    every: Annotated[int, typer.Option(min=1, help="Look at every n-th frame.")] = 1,
    force: Annotated[bool, typer.Option("--force", help="Replace the output if it is there.")] = False,
) -> None:
    """Tell the expressions in a video or a camera's picture.

    Example: fer live runs/sample --video me.mp4 --output seen.mp4
    """
    from fer_pipeline.serve.video import check_output, watch

    chosen = choose_run(run, config, set_)
    source = camera if video is None else video
    check_output(source, output, force=force)
    seen = watch(source, chosen, output, seconds=seconds, window=window, every=every)
    told = f"{console.counted(seen.frames, 'frame')}, {console.counted(seen.faces, 'face')}"
    console.note(f"live: {output}: {told}, {seen.rate:.1f} frames/s")


@command("export")
def export(
    web: Annotated[Path, typer.Option(help="Folder to write: a page for any static host.")],
    run: Run = None,
    config: ConfigFile = None,
    set_: Overrides = None,
    runtime: Annotated[
        Path | None, typer.Option(help="Unpacked onnxruntime-web, where npm shall not fetch it.")
    ] = None,
) -> None:
    """Write a page that needs no server: photos and camera stay in the browser.

    The model must be trained with crop.align_by=five.

    Example: fer export runs/mine --web page
    """
    chosen = choose_run(run, config, set_)
    require_extra("train", "onnx")
    from fer_pipeline.export.web import LARGE, export_web

    written = export_web(chosen, web, runtime)
    console.note(f"export: {written.folder}: {written.size / 1e6:.1f} MB, for any static host")
    if written.size > LARGE:
        console.note("export: a page that large loads slowly: `fer quantise` makes a model a quarter of the size")
