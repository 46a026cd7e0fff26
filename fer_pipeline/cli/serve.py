"""The commands that answer in the browser."""

from pathlib import Path
from typing import Annotated

import typer

from fer_pipeline.cli.app import app, available_cores
from fer_pipeline.cli.model import need_extra

Host = Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 is the whole network.")]
Port = Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0: any that is free.")]
Open = Annotated[bool, typer.Option("--open", help="Open the page in the browser.")]
AllowHost = Annotated[list[str] | None, typer.Option(help="Name under which a proxy asks, as in faces.example.org.")]


@app.command()
def serve(
    runs: Annotated[
        list[Path], typer.Argument(help="Finished runs or model files; the page switches between several.")
    ],
    host: Host = "127.0.0.1",
    port: Port = 8000,
    open_: Open = False,
    allow_host: AllowHost = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes that find faces; default: one per core.")
    ] = None,
    uncertain: Annotated[float | None, typer.Option(min=0, max=1, help="In place of the model's own.")] = None,
    batch: Annotated[int, typer.Option(min=1, max=4096, help="Maximum batch size, in crops.")] = 32,
    wait: Annotated[float, typer.Option(min=0, max=1000, help="Maximum batching delay in milliseconds.")] = 2,
    queue: Annotated[int, typer.Option(min=1, help="Requests at once; more are told to come again.")] = 128,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds for an answer; a picture gets half of them.")] = 20,
    upload: Annotated[float, typer.Option(min=0.1, help="Seconds a request may take to come.")] = 60,
    max_mb: Annotated[float, typer.Option(min=0.01, help="Largest request in megabytes.")] = 30,
    max_files: Annotated[int, typer.Option(min=1, help="Pictures a request.")] = 16,
    max_megapixels: Annotated[float, typer.Option(min=0.01, help="Largest picture.")] = 50,
    frames: Annotated[float, typer.Option(min=0.1, help="Frames a second and camera.")] = 30,
    cameras: Annotated[int, typer.Option(min=0, help="Cameras watched at once.")] = 16,
) -> None:
    """Serve a model: a page to try it and watch it live, and an API.  Example: fer serve runs/sample --open"""
    need_extra("serve", "fastapi", "uvicorn", "python_multipart", "websockets", "prometheus_client")
    from fer_pipeline.serve.app import make_app
    from fer_pipeline.serve.limits import Limits
    from fer_pipeline.serve.service import Service
    from fer_pipeline.web.server import listen, serve

    limits = Limits(
        max_bytes=round(max_mb * 1e6),
        max_pixels=round(max_megapixels * 1e6),
        max_files=max_files,
        queue=queue,
        all_bytes=max(Limits.all_bytes, round(max_mb * 1e6)),
        upload=upload,
        timeout=timeout,
        batch=batch,
        wait=wait / 1000,
        frames=frames,
        connections=cameras,
    )
    service = Service(runs, limits, workers or available_cores(), uncertain)
    bound = listen(host, port)
    service.start()
    serve(make_app(service, host, allow_host or ()), bound, "serve", open_page=open_)


@app.command()
def live(
    run: Annotated[Path, typer.Argument(help="Folder of a finished run, or its model.onnx.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Annotated video (.mp4, .avi) or table (.csv).")],
    video: Annotated[Path | None, typer.Option(help="A video file in place of a camera.")] = None,
    camera: Annotated[int, typer.Option(min=0, help="Number of the camera.")] = 0,
    seconds: Annotated[float | None, typer.Option(min=0.1, help="Stop after so long; default: Ctrl-C.")] = None,
    window: Annotated[float, typer.Option(min=0, max=10, help="Seconds averaged over; 0: each frame by itself.")] = 0.5,
    every: Annotated[int, typer.Option(min=1, help="Look at every n-th frame.")] = 1,
    force: Annotated[bool, typer.Option("--force", help="Replace the output if it is there.")] = False,
) -> None:
    """Tell the expressions in a camera's picture or a video, frame by frame.

    Example: fer live runs/sample --video me.mp4 --output seen.mp4
    """
    from fer_pipeline import console
    from fer_pipeline.serve.video import check_output, watch

    source = camera if video is None else video
    check_output(source, output, force=force)
    seen = watch(source, run, output, seconds=seconds, window=window, every=every)
    console.note(f"live: {output}: {seen.frames} frames, {seen.faces} faces, {seen.rate:.1f} frames/s")
