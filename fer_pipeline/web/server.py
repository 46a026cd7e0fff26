"""Run a web application on this machine; it stops without losing a request."""

import asyncio
import os
import signal
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from fer_pipeline import console
from fer_pipeline.errors import SetupError, UsageError
from fer_pipeline.web.guard import is_loopback

if TYPE_CHECKING:
    from starlette.applications import Starlette

MAX_CRUMBS, CRUMB = 1000, 50  # pieces of a body, after which they must have so many bytes on average
MAX_FILES = 10_240  # open files; macOS allows no more
HEAD_TIME = 10  # seconds within which a connection must send a request's head
GRACE = 20  # seconds for requests in flight once the server was asked to stop


def listen(host: str, port: int) -> socket.socket:
    """Bind a socket; UsageError for an unknown host, SetupError if the port is taken. Port 0 takes any that is free."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
    except (OSError, UnicodeError):
        raise UsageError(
            f"--host {host}: no such address: 127.0.0.1 is this machine, 0.0.0.0 the whole network"
        ) from None
    bound = socket.socket(family, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
        bound.listen(2048)  # from now on clients wait instead of being refused
    except OSError as error:
        bound.close()
        reason = (error.strerror or "cannot be bound").lower()
        raise SetupError(f"{host}:{port}: {reason}: choose another --port, or 0 for any that is free") from None
    return bound


def address(bound: socket.socket) -> str:
    """Return the URL for a browser on this machine."""
    host, port = bound.getsockname()[:2]
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]", "::1": "[::1]"}.get(host, host)
    return f"http://{shown}:{port}"


class Parser(h11.Connection):
    """Reads requests, and refuses a body in crumbs: each costs the loop, which all share, as much as a whole picture.

    h11 bounds the bytes of a request's head, which httptools does not.
    """

    _pieces = _bytes = 0

    def next_event(self) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        event = super().next_event()
        if isinstance(event, h11.Request):
            self._pieces = self._bytes = 0
        elif isinstance(event, h11.Data):
            self._pieces, self._bytes = self._pieces + 1, self._bytes + len(event.data)
            if self._pieces > MAX_CRUMBS and self._bytes < CRUMB * self._pieces:
                raise h11.RemoteProtocolError("a body in crumbs")
        return event


class Connection(H11Protocol):
    """A connection that is closed if it sends no request in time: uvicorn itself waits for ever for the first."""

    _waiting: asyncio.TimerHandle | None = None

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.conn = Parser(h11.SERVER)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._expect_head()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self._waiting is not None:
            self._waiting.cancel()

    def _expect_head(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
        self._waiting = self.loop.call_later(HEAD_TIME, self._close_if_idle)

    def _close_if_idle(self) -> None:
        """Close unless a request is in work or a WebSocket has taken over."""
        if (self.cycle is None or self.cycle.response_complete) and self.transport.get_protocol() is self:
            self.transport.abort()


def make_server(app: "Starlette", log_level: str = "warning") -> uvicorn.Server:
    """The server of an application, for a bound socket."""
    _allow_connections()
    return uvicorn.Server(
        uvicorn.Config(
            app,
            http=Connection,
            access_log=False,  # client addresses and file names are private
            log_level=log_level,
            server_header=False,
            ws_max_size=8_000_000,
            ws_max_queue=2,
            ws_per_message_deflate=False,  # frames are JPEG already
            timeout_graceful_shutdown=GRACE,
        )
    )


def _allow_connections() -> None:
    """Take `MAX_FILES` connections if the system lets us: each is an open file, of which 1,024 are a usual limit."""
    with suppress(ImportError, OSError, ValueError):  # Windows has no such limit
        import resource

        before, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = MAX_FILES if most == resource.RLIM_INFINITY else min(most, MAX_FILES)
        if before != resource.RLIM_INFINITY and before < wanted:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))


def serve(app: "Starlette", bound: socket.socket, title: str, *, open_page: bool = False) -> None:
    """Serve until SIGTERM or Ctrl-C; requests in flight are finished first."""
    key = getattr(app.state, "key", "")
    url = f"{address(bound)}/?key={key}" if key else address(bound)
    tell = console.err.print if key else console.note  # nothing else tells the key
    tell(f"{title}: {url} (Ctrl-C stops it)")
    if not is_loopback(bound.getsockname()[0]):
        console.note(f"{title}: open to everyone who can reach this machine: put a proxy with a password before it")
    # uvicorn stops gracefully and then raises the signal again: the code after this must still run.
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with (
            _shown(url, key) if open_page else nullcontext()
        ):  # the socket is bound: the first request waits for the server
            make_server(app).run(sockets=[bound])
    except KeyboardInterrupt:
        pass
    finally:
        signal.signal(signal.SIGTERM, before)
        bound.close()


@contextmanager
def _shown(url: str, key: str) -> Iterator[None]:
    """Show a page; one with a key by a file that leads there, since all people of this machine see a command's words.

    It lies in the home folder, since some browsers may not look elsewhere.
    """
    if not key:
        console.show_page(url)
        yield
        return
    folder = Path.home() if os.access(Path.home(), os.W_OK) else None
    with tempfile.NamedTemporaryFile("w", prefix="fer-", suffix=".html", dir=folder, delete=False) as file:
        file.write(f'<!DOCTYPE html><meta charset="utf-8"><meta http-equiv="refresh" content="0; url={url}">')
    try:
        console.show_page(Path(file.name).as_uri())
        yield
    finally:
        Path(file.name).unlink(missing_ok=True)
