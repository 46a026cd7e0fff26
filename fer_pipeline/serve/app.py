"""The web application of `fer serve`: the page, the API, health and metrics."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated

from fastapi import FastAPI, Query, Request, Response, WebSocket
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.requests import ClientDisconnect

from fer_pipeline import __version__, console
from fer_pipeline.errors import SetupError
from fer_pipeline.models.prediction import Prediction
from fer_pipeline.serve.example import draw_example
from fer_pipeline.serve.limits import Full, TooLarge
from fer_pipeline.serve.live import follow
from fer_pipeline.serve.schema import BODY, ERRORS, ErrorResponse, PredictResponse, ServerInfo, UploadResponse
from fer_pipeline.serve.service import Service
from fer_pipeline.serve.upload import BadUpload, read_uploads, unless_left
from fer_pipeline.vision.mouth_check import MISSING
from fer_pipeline.web.guard import guard
from fer_pipeline.web.pages import add_pages
from fer_pipeline.web.root_path import RootPath

USABLE = {"ok", "uncertain", "unknown", "no_face", *MISSING}
RETRY = {"Retry-After": "1"}
Answer = Callable[[str, list[Prediction]], Response]  # from the model's name and the predictions


def make_app(service: Service, host: str = "127.0.0.1", more_hosts: Sequence[str] = (), root_path: str = "") -> FastAPI:
    """Make the application, below `root_path` of a proxy; the service is open while it runs."""

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
    app.add_middleware(RootPath, root=root_path)
    return app


class _Refusal(Exception):
    """A request that is not answered by predictions, and the response it gets."""

    def __init__(self, status: int, detail: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(detail)
        self.response = JSONResponse({"detail": detail}, status, headers)


def _add_prediction(app: FastAPI, service: Service) -> None:
    async def counted(request: Request, model: str, answer: Answer) -> Response:
        """The response to the pictures of a request, which is counted and timed."""
        started, status = time.perf_counter(), 500
        try:
            response = answer(model, await _predict(request, service, model))
            status = response.status_code
        except _Refusal as refusal:
            response, status = refusal.response, refusal.response.status_code
        except ClientDisconnect:
            response, status = Response(), 499  # nginx's status for a client that left
        finally:
            service.telemetry.requests.labels(request.url.path, str(status)).inc()
            service.telemetry.seconds.observe(time.perf_counter() - started)
        return response

    @app.post("/predict", response_model=PredictResponse, responses=ERRORS, openapi_extra=BODY, summary="Predict")
    async def predict(
        request: Request, model: Annotated[str, Query(description="name of a model; default: the first")] = ""
    ) -> Response:
        """Predict every face of one or many pictures."""
        return await counted(request, model or service.default, _answer_all)

    @app.post("/upload", response_model=UploadResponse, responses=ERRORS, openapi_extra=BODY, summary="Predict a face")
    async def upload(request: Request) -> Response:
        """Predict the largest face of one picture, in the shape that clients of the usual tutorials expect."""
        return await counted(request, service.default, _answer_one)


def _answer_all(model: str, results: list[Prediction]) -> Response:
    usable = any(result.outcome in USABLE for result in results)
    return _as_json(PredictResponse(model=model, results=results), 200 if usable else 422)


def _answer_one(_: str, results: list[Prediction]) -> Response:
    face = next((face for result in results for face in result.faces if face.guess is not None), None)
    if face is None or face.guess is None or face.confidence is None:
        part = "whole face" if results[0].outcome in MISSING else "face"
        raise _Refusal(422, f"{results[0].outcome}: send a picture with a {part} in it")
    return _as_json(UploadResponse(prediction=face.guess, confidence=face.confidence))


async def _predict(request: Request, service: Service, model: str) -> list[Prediction]:
    if model not in service.models:
        raise _Refusal(404, f"no model of that name: there is {', '.join(service.models)}")
    try:
        with service.gate.load() as load:
            uploads = await read_uploads(request, load)
            with service.gate.place():
                async with asyncio.timeout(service.limits.timeout):
                    work = asyncio.gather(*(service.predict(data, model, path=name) for name, data in uploads))
                    return await unless_left(request, work)
    except BadUpload as error:
        raise _Refusal(error.status, str(error)) from None
    except TooLarge as error:
        raise _Refusal(413, str(error)) from None
    except Full:
        raise _Refusal(503, "busy: try again in a second", RETRY) from None
    except SetupError as error:
        console.note(f"serve: {error}"[:300])
        raise _Refusal(500, "the model cannot be used: see the server's log") from None
    except TimeoutError:
        limit = f"took longer than {service.limits.timeout:g} seconds"
        raise _Refusal(504, f"{limit}: send fewer or smaller pictures") from None


def _as_json(content: BaseModel, status: int = 200) -> Response:
    return Response(content.model_dump_json(), status, media_type="application/json")


def _add_monitoring(app: FastAPI, service: Service) -> None:
    @app.get("/healthz", summary="Liveness")
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/readyz", summary="Readiness", responses={503: {"model": ErrorResponse}})
    async def readyz() -> Response:
        if service.ready:
            return JSONResponse({"status": "ok"})
        return JSONResponse({"detail": "starting or stopping"}, 503, RETRY)

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
