"""The web application of `fer review`: one page, and the few requests it makes."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import FastAPI, HTTPException, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.gzip import GZipMiddleware
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from fer_pipeline import __version__
from fer_pipeline.config.schema import Label
from fer_pipeline.errors import FerError, InputError
from fer_pipeline.review.pictures import cut_preview, fit_box, guess_face, make_photo, make_thumbnail
from fer_pipeline.review.session import Conflict, ReviewSession
from fer_pipeline.vision.boxes import Box
from fer_pipeline.web.guard import guard
from fer_pipeline.web.pages import add_pages

MAX_IMAGES = 50_000  # in one request
FOREVER = {"cache-control": "private, max-age=86400, immutable"}  # the address changes with the data
Number = Annotated[float, Field(ge=-1e6, le=1e6, allow_inf_nan=False)]
PageSize = Annotated[int, Query(ge=1, le=MAX_IMAGES)]
Place = Annotated[int, Field(ge=0, le=100_000_000)]


class Order(BaseModel):
    """A decision on images by their places in the catalogue; `lines`: of the decisions that an undo takes back."""

    model_config = ConfigDict(extra="forbid", strict=True)

    token: str = Field(max_length=64)
    action: Literal["keep", "drop", "move", "undo"]
    places: list[Place] = Field(min_length=1, max_length=MAX_IMAGES)
    label: Label | Literal[""] = ""
    box: list[Number] | None = Field(None, min_length=4, max_length=4)
    lines: list[int] = Field([], max_length=MAX_IMAGES)


def make_app(session: ReviewSession, host: str = "127.0.0.1", more_hosts: Sequence[str] = (), key: str = "") -> FastAPI:
    """Make the application for one experiment."""
    app = FastAPI(title="fer review", version=__version__, docs_url=None, redoc_url=None)
    app.add_middleware(GZipMiddleware, minimum_size=2000, compresslevel=3)
    app.add_exception_handler(FerError, _error_response)
    app.add_exception_handler(RequestValidationError, _invalid_response)
    app.add_exception_handler(OSError, _missing_response)
    app.add_exception_handler(LookupError, _missing_response)
    _add_data(app, session)
    _add_pictures(app, session)
    add_pages(app, Path(__file__).parent, index="review.html")
    guard(app, host, more_hosts, key)
    return app


async def _error_response(_: Request, error: Exception) -> Response:
    status = 409 if isinstance(error, Conflict) else 422 if isinstance(error, InputError) else 507
    return JSONResponse({"detail": str(error)}, status_code=status)


async def _invalid_response(_: Request, error: Exception) -> Response:
    """Say what is wrong without repeating what was sent: FastAPI's own answer fails on numbers that JSON lacks."""
    assert isinstance(error, RequestValidationError)
    problem = error.errors()[0]
    return JSONResponse({"detail": f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}"}, status_code=422)


async def _missing_response(_: Request, error: Exception) -> Response:  # noqa: ARG001  an OSError names folders
    return JSONResponse({"detail": "there is no such image: reload the page"}, status_code=404)


def _add_data(app: FastAPI, session: ReviewSession) -> None:
    @app.get("/api/data")
    def data() -> dict[str, Any]:
        return session.describe()

    @app.get("/api/rows")
    def rows(token: str, start: Annotated[int, Query(ge=0)], count: PageSize) -> Response:
        # Not through a response model: checking each value takes seconds.
        return JSONResponse(session.rows(token, start, count))

    @app.get("/api/news")
    def news(since: Annotated[int, Query(ge=0)], rewritten: Annotated[int, Query(ge=0)] = 0) -> Response:
        return JSONResponse(session.news(since, rewritten))

    @app.post("/api/decisions")
    def decide(order: Order, since: Annotated[int, Query(ge=0)], rewritten: int = 0) -> Response:
        if (order.action == "move") != bool(order.label):
            raise InputError("`move` needs a label, and nothing else has one")
        box = Box(*order.box) if order.box else None
        lines = session.decide(order.token, order.places, order.action, order.label, box, order.lines)
        return JSONResponse(session.news(since, rewritten) | {"written": lines})

    @app.get("/api/images/{token}/{place}")
    def image(token: str, place: int) -> dict[str, Any]:
        item = session.item(token, place)
        return item.describe() | {"group": session.catalogue.group(item)[:100]}


def _add_pictures(app: FastAPI, session: ReviewSession) -> None:
    @app.get("/thumb/{token}/{place}")
    def thumb(token: str, place: int, whole: bool = False) -> Response:
        item = session.shown_item(token, place)
        content, kind = make_thumbnail(item.photo if whole else item.picture, item.safe, token)
        return Response(content, media_type=kind, headers=FOREVER)

    @app.get("/photo/{token}/{place}")
    def photo(token: str, place: int) -> Response:
        content, kind = make_photo(session.shown_item(token, place))
        return Response(content, media_type=kind, headers=FOREVER)

    @app.get("/preview/{token}/{place}")
    def preview(token: str, place: int, box: Annotated[list[Number], Query(min_length=4, max_length=4)]) -> Response:
        item = session.shown_item(token, place)
        fitted = fit_box(item, Box(*box))
        content = cut_preview(item, fitted, session.catalogue) if fitted and item.restorable else None
        if content is None:
            raise HTTPException(404, "no crop comes out of that box")
        return Response(content, media_type="image/png", headers=FOREVER)

    @app.get("/api/face/{token}/{place}")
    def face(token: str, place: int) -> dict[str, Any]:
        item = session.shown_item(token, place)
        return {"box": guess_face(item, session.catalogue) if item.restorable else None}
