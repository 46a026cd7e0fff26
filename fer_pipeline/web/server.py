"""Run a web application on this machine; it stops without losing a request."""

import os
import signal
import socket
from typing import TYPE_CHECKING

from fer_pipeline import console
from fer_pipeline.errors import SetupError, UsageError
from fer_pipeline.web.guard import is_loopback

if TYPE_CHECKING:
    from starlette.types import ASGIApp

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


def serve(app: "ASGIApp", bound: socket.socket, title: str, *, open_page: bool = False) -> None:
    """Serve until SIGTERM or Ctrl-C; requests in flight are finished first."""
    import uvicorn

    host = bound.getsockname()[0]
    console.note(f"{title}: {address(bound)} (Ctrl-C stops it)")
    if not is_loopback(host):
        console.note(f"{title}: open to everyone who can reach this machine: put a proxy with a password before it")
    config = uvicorn.Config(
        app,
        access_log=False,  # client addresses and file names are private
        log_level="warning",
        server_header=False,
        ws_max_size=8_000_000,
        ws_max_queue=2,
        ws_per_message_deflate=False,  # frames are JPEG already
        timeout_graceful_shutdown=GRACE,
    )
    if open_page:
        show_page(address(bound))  # the socket is bound: the first request waits for the server
    # uvicorn stops gracefully and then raises the signal again: the code after this must still run.
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        uvicorn.Server(config).run(sockets=[bound])
    except KeyboardInterrupt:
        pass
    finally:
        signal.signal(signal.SIGTERM, before)
        bound.close()


def show_page(url: str) -> None:
    """Open a page in the user's browser, where there is a display."""
    import webbrowser

    if (
        os.environ.get("DISPLAY")
        or os.environ.get("WAYLAND_DISPLAY")
        or os.name == "nt"
        or os.uname().sysname == "Darwin"
    ):
        webbrowser.open(url)
