"""The web application of `fer collect`: the page, and a WebSocket that takes frames and tells what became of them.

The page sends a JPEG as a binary message for each frame while a class is held, and text: `{"hold": "smile"}`,
`{"hold": null}`, `{"undo": true}`, `{"end": true}`. It is answered by text with a `state`, and for a frame with its
`outcome`: kept no_face mouth_outside mouth_hidden blurred same full bad_image
forgotten. A frame that an undo or an end overtook has none.
"""

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from fer_pipeline.errors import FerError
from fer_pipeline.sources.camera.capture_store import CaptureStore
from fer_pipeline.sources.camera.session import CaptureSession, SessionOptions
from fer_pipeline.vision.crop import load_models
from fer_pipeline.web.frames import Newest, until_one_ends
from fer_pipeline.web.guard import guard
from fer_pipeline.web.pages import add_pages
from fer_pipeline.workers.picture_pool import Pool

TELL = 'send a frame, {"hold": CLASS or null}, {"undo": true} or {"end": true}'


def make_app(
    options: SessionOptions,
    store: CaptureStore,
    workers: int = 1,
    host: str = "127.0.0.1",
    more_hosts: Sequence[str] = (),
    key: str = "",
) -> Starlette:
    """The application over an open store; its processes start with it and end with it."""

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        pool = Pool(workers, (load_models, options.preprocessing))
        app.state.session = CaptureSession(options, store, pool)
        try:
            await pool.warm()
            yield
        finally:
            pool.close()

    routes = [Route("/crops/{number}", _crop), WebSocketRoute("/session", _session)]
    app = Starlette(routes=routes, lifespan=lifespan)
    add_pages(app, Path(__file__).parent, index="collect.html")
    guard(app, host, more_hosts, key)
    return app


async def _crop(request: Request) -> Response:
    """A crop that was just kept."""
    session: CaptureSession = request.app.state.session
    png = session.crops.get(request.path_params["number"].removesuffix(".png"))
    if png is None:
        return PlainTextResponse("no such crop", 404)
    return Response(png, media_type="image/png", headers={"cache-control": "no-store"})


async def _session(socket: WebSocket) -> None:
    """Follow one page until it goes; then the manifest is up to date."""
    await socket.accept()
    session: CaptureSession = socket.app.state.session
    page = _Page(socket, session)
    await page.tell({"state": session.state()})
    try:
        await until_one_ends(page.answer_frames(), page.receive())
    except WebSocketDisconnect:
        pass
    except FerError as error:  # a full disk: said on the page, and again where the server runs
        await page.tell({"detail": str(error)})
        await socket.close(1011)
        raise
    finally:
        session.store.complete()


class _Page:
    """One page: which class is held there, and its newest frame."""

    def __init__(self, socket: WebSocket, session: CaptureSession) -> None:
        self.socket, self.session = socket, session
        self.held: str | None = None
        self.newest_is_of = ("", 0)  # the class that was held and the turn it was
        self.newest = Newest()

    async def tell(self, message: dict[str, Any]) -> None:
        await self.socket.send_text(json.dumps(message, ensure_ascii=False))

    async def receive(self) -> None:
        """Take frames and wishes as they come."""
        number = 0
        while True:
            message = await self.socket.receive()
            if message["type"] == "websocket.disconnect":
                return
            if (data := message.get("bytes")) is not None:
                if self.held is not None:
                    self.newest_is_of = (self.held, self.session.turn)
                    self.newest.put(number, data)
                number += 1
            else:
                await self._obey(message.get("text") or "")

    async def _obey(self, text: str) -> None:
        match _read(text):
            case {"hold": None}:
                self.held = None
            case {"hold": str(label)} if label in self.session.options.labels:
                self.held = label
            case {"undo": True}:
                self.session.undo()
                await self.tell({"state": self.session.state()})
            case {"end": True}:
                self.session.end()
                await self.tell({"state": self.session.state()})
            case _:
                await self.tell({"detail": TELL})

    async def answer_frames(self) -> None:
        """Tell what became of each frame that no newer one overtook."""
        while True:
            number, data = await self.newest.get()
            label, turn = self.newest_is_of
            answer = await self.session.take(label, data, turn)
            await self.tell({"frame": number, **answer})


def _read(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
