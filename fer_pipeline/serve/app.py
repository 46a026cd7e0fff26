"""The web application of `fer serve`: the page, the API, and what watches it."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request, Response, WebSocket
from fastapi.responses import JSONResponse
from starlette.requests import ClientDisconnect

from fer_pipeline import __version__
from fer_pipeline.serve.example import draw_example
from fer_pipeline.serve.limits import Full, TooLarge
from fer_pipeline.serve.live import follow
from fer_pipeline.serve.schema import BODY, REFUSALS, Answer, Refusal, Version
from fer_pipeline.serve.service import Service
from fer_pipeline.serve.upload import BadUpload, Upload, read_uploads, unless_left
from fer_pipeline.web.guard import guard
from fer_pipeline.web.pages import add_pages

USABLE = {"ok", "uncertain", "no_face"}
RETRY = {"Retry-After": "1"}


def make_app(service: Service, host: str = "127.0.0.1", more_hosts: Sequence[str] = ()) -> FastAPI:
    """The application; the service is opened when it starts and closed when it stops."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with service.opened():
            yield

    app = FastAPI(
        title="fer serve",
        version=__version__,
        description="Tells the expression of every face in a picture. Nothing is stored.",
        docs_url=None,  # its page comes from another host
        redoc_url=None,
        lifespan=lifespan,
    )
    app.state.service = service
    _add_prediction(app, service)
    _add_watching(app, service)
    _add_example(app)

    @app.websocket("/live")
    async def live(socket: WebSocket, model: str = "") -> None:
        await follow(socket, service, model or service.default)

    add_pages(app, Path(__file__).parent, index="serve.html")
    guard(app, host, more_hosts)
    return app


def _add_prediction(app: FastAPI, service: Service) -> None:
    @app.post("/predict", response_model=Answer, responses=REFUSALS, openapi_extra=BODY, summary="Predict")
    async def predict(
        request: Request, model: Annotated[str, Query(description="name of a model; default: the first")] = ""
    ) -> Response:
        """What the model says of every face of one or many pictures."""
        started, status = time.perf_counter(), 500
        try:
            response = await _predict(request, service, model or service.default)
            status = response.status_code
        except ClientDisconnect:
            response, status = Response(), 499  # as nginx counts those who left
        finally:
            service.telemetry.requests.labels("/predict", str(status)).inc()
            service.telemetry.seconds.observe(time.perf_counter() - started)
        return response


async def _predict(request: Request, service: Service, model: str) -> Response:
    if model not in service.models:
        return _refuse(404, f"no model of that name: there is {', '.join(service.models)}")
    try:
        with service.gate.request() as load:
            uploads = await read_uploads(request, load)
            async with asyncio.timeout(service.limits.timeout):
                work = asyncio.gather(*(_answer(service, upload, model) for upload in uploads))
                results = await unless_left(request, work)
    except BadUpload as error:
        return _refuse(error.status, str(error))
    except TooLarge as error:
        return _refuse(413, str(error))
    except Full:
        return _refuse(503, "busy: come again in a second", RETRY)
    except TimeoutError:
        return _refuse(504, f"took longer than {service.limits.timeout:g} seconds: send fewer or smaller pictures")
    usable = any(result["outcome"] in USABLE for result in results)
    return JSONResponse({"model": model, "results": results}, 200 if usable else 422)


async def _answer(service: Service, upload: Upload, model: str) -> dict[str, Any]:
    return {"name": upload.name} | await service.answer(bytes(upload.data), model)


def _refuse(status: int, detail: str, headers: dict[str, str] | None = None) -> Response:
    return JSONResponse({"detail": detail}, status, headers)


def _add_watching(app: FastAPI, service: Service) -> None:
    @app.get("/healthz", summary="Whether the process lives")
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/readyz", summary="Whether requests are welcome", responses={503: {"model": Refusal}})
    async def readyz() -> Response:
        return JSONResponse({"status": "ok"}) if service.ready else _refuse(503, "starting or stopping", RETRY)

    @app.get("/version", response_model=Version, summary="Models, their preprocessing, and the limits")
    async def version() -> dict[str, Any]:
        return service.describe()

    @app.get("/metrics", summary="What was counted, for Prometheus", response_class=Response)
    async def metrics() -> Response:
        service.telemetry.queue.set(service.gate.requests)
        return Response(service.telemetry.render(), media_type="text/plain; version=0.0.4; charset=utf-8")


def _add_example(app: FastAPI) -> None:
    @app.get("/example.jpg", summary="A drawn picture to try", response_class=Response)
    async def example() -> Response:
        picture = await asyncio.to_thread(draw_example)
        return Response(picture, media_type="image/jpeg", headers={"cache-control": "max-age=86400"})
