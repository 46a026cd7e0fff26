"""The web application of `fer serve`: the page, the API, health and metrics."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated

from fastapi import FastAPI, Query, Request, Response, WebSocket
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.requests import ClientDisconnect

from fer_pipeline import __version__
from fer_pipeline.models.prediction import Prediction
from fer_pipeline.serve.example import draw_example
from fer_pipeline.serve.limits import Full, TooLarge
from fer_pipeline.serve.live import follow
from fer_pipeline.serve.schema import BODY, ERRORS, ErrorResponse, PredictResponse, ServerInfo
from fer_pipeline.serve.service import Service
from fer_pipeline.serve.upload import BadUpload, Upload, read_uploads, unless_left
from fer_pipeline.web.guard import guard
from fer_pipeline.web.pages import add_pages

USABLE = {"ok", "uncertain", "no_face"}
RETRY = {"Retry-After": "1"}


def make_app(service: Service, host: str = "127.0.0.1", more_hosts: Sequence[str] = ()) -> FastAPI:
    """Make the application; it opens the service when it starts and closes it when it stops."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with service.opened():
            yield

    app = FastAPI(
        title="fer serve",
        version=__version__,
        description="Predicts the expression of every face in a picture. Nothing is stored.",
        docs_url=None,  # its page loads scripts from another host
        redoc_url=None,
        lifespan=lifespan,
    )
    app.state.service = service
    _add_prediction(app, service)
    _add_monitoring(app, service)
    _add_example(app)

    @app.websocket("/live")
    async def live(socket: WebSocket, model: str = "") -> None:
        await follow(socket, service, model or service.default)

    add_pages(app, Path(__file__).parent, index="serve.html")
    guard(app, host, more_hosts)
    return app


def _add_prediction(app: FastAPI, service: Service) -> None:
    @app.post("/predict", response_model=PredictResponse, responses=ERRORS, openapi_extra=BODY, summary="Predict")
    async def predict(
        request: Request, model: Annotated[str, Query(description="name of a model; default: the first")] = ""
    ) -> Response:
        """Predict every face of one or many pictures."""
        started, status = time.perf_counter(), 500
        try:
            response = await _predict(request, service, model or service.default)
            status = response.status_code
        except ClientDisconnect:
            response, status = Response(), 499  # nginx's status for a client that left
        finally:
            service.telemetry.requests.labels("/predict", str(status)).inc()
            service.telemetry.seconds.observe(time.perf_counter() - started)
        return response


async def _predict(request: Request, service: Service, model: str) -> Response:
    if model not in service.models:
        return _error(404, f"no model of that name: there is {', '.join(service.models)}")
    try:
        with service.gate.request() as load:
            uploads = await read_uploads(request, load)
            async with asyncio.timeout(service.limits.timeout):
                work = asyncio.gather(*(_predict_upload(service, upload, model) for upload in uploads))
                results = await unless_left(request, work)
    except BadUpload as error:
        return _error(error.status, str(error))
    except TooLarge as error:
        return _error(413, str(error))
    except Full:
        return _error(503, "busy: try again in a second", RETRY)
    except TimeoutError:
        return _error(504, f"took longer than {service.limits.timeout:g} seconds: send fewer or smaller pictures")
    usable = any(result.outcome in USABLE for result in results)
    return _as_json(PredictResponse(model=model, results=results), 200 if usable else 422)


async def _predict_upload(service: Service, upload: Upload, model: str) -> Prediction:
    return await service.predict(bytes(upload.data), model, path=upload.name)


def _as_json(content: BaseModel, status: int = 200) -> Response:
    return Response(content.model_dump_json(), status, media_type="application/json")


def _error(status: int, detail: str, headers: dict[str, str] | None = None) -> Response:
    return JSONResponse({"detail": detail}, status, headers)


def _add_monitoring(app: FastAPI, service: Service) -> None:
    @app.get("/healthz", summary="Liveness")
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/readyz", summary="Readiness", responses={503: {"model": ErrorResponse}})
    async def readyz() -> Response:
        return JSONResponse({"status": "ok"}) if service.ready else _error(503, "starting or stopping", RETRY)

    @app.get("/version", summary="Models, their preprocessing, and the limits")
    async def version() -> ServerInfo:
        return service.describe()

    @app.get("/metrics", summary="Metrics for Prometheus", response_class=Response)
    async def metrics() -> Response:
        service.telemetry.queue.set(service.gate.requests)
        return Response(service.telemetry.render(), media_type="text/plain; version=0.0.4; charset=utf-8")


def _add_example(app: FastAPI) -> None:
    @app.get("/example.jpg", summary="A drawn example picture", response_class=Response)
    async def example() -> Response:
        picture = await asyncio.to_thread(draw_example)
        return Response(picture, media_type="image/jpeg", headers={"cache-control": "max-age=86400"})
