"""Protect fer's web applications against requests from pages of other sites, and from other people of this machine.

A page of another site can send requests to 127.0.0.1 from the user's own browser. So the Host header must name this
server (against DNS rebinding), and any request that is not plain reading must come from a page of this server. Headers
keep a page from loading what is not its own. Where photos can be seen and changed, the address that the command prints
holds a secret key, as with notebooks; the browser keeps it in a cookie.
"""

import secrets
import socket
from collections.abc import MutableMapping, Sequence
from fnmatch import fnmatchcase
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.requests import HTTPConnection
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

SAFE = {"GET", "HEAD", "OPTIONS"}
HEADERS = {
    "content-security-policy": "default-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; "
    "object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "permissions-policy": "camera=(self), microphone=(), geolocation=()",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "cross-origin-resource-policy": "same-origin",
}
FOREIGN = "a page of another site may not send this request: use this server's page, or a program"
NO_KEY = "open the address that the command printed, with its ?key= / 请打开命令给出的地址，连同其中的 ?key="


def is_loopback(host: str) -> bool:
    """Whether an address is of this machine itself."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def new_key() -> str:
    """A secret for the address of a page."""
    return secrets.token_urlsafe(24)


def guard(app: Starlette, host: str, more_hosts: Sequence[str] = (), key: str = "") -> None:
    """Protect an application bound to `host`: it answers to addresses, to this machine's names, and to `more_hosts`.

    With a `key` it answers only those who know it.
    """
    machine = socket.gethostname().lower()
    names = {"localhost", host.lower(), machine, f"{machine.partition('.')[0]}.local", *map(str.lower, more_hosts)}
    app.state.key = key
    app.add_middleware(Guard, names=names if is_loopback(host) else {*names, socket.getfqdn().lower()}, key=key)


class Guard:
    """Refuses requests for other hosts, of other origins and without the key; adds security headers to answers."""

    def __init__(self, app: ASGIApp, names: set[str], key: str) -> None:
        self.app, self.names, self.key = app, names, key

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        answer = self._answer(HTTPConnection(scope))
        if answer is None:
            await self.app(scope, receive, _with_headers(send))
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            await answer(scope, receive, _with_headers(send))

    def _answer(self, request: HTTPConnection) -> Response | None:
        """The answer to a request that does not reach the application."""
        host = _host_of(request)
        if not self._is_known(host):
            remedy = "use its address, or start it with --allow-host and this name"
            return JSONResponse({"detail": f"this server is not called {host[:100]}: {remedy}"}, 400)
        if _is_foreign(request):
            return JSONResponse({"detail": FOREIGN}, 403)
        return self._check_key(request) if self.key else None

    def _is_known(self, host: str) -> bool:
        """Whether a Host header names this server; only a name can be another site's, and all browsers send one."""
        try:
            ip_address(host)
        except ValueError:
            return host == "" or any(fnmatchcase(host, name) for name in self.names)
        return True

    def _check_key(self, request: HTTPConnection) -> Response | None:
        """Let those in who show the key; one who shows it in the address of the page gets it as a cookie."""
        cookie = f"fer-key-{(request.scope.get('server') or ('', 0))[1]}"  # cookies are for all ports of a host
        given = request.query_params.get("key")
        shown = (given, request.cookies.get(cookie), request.headers.get("authorization", "").removeprefix("Bearer "))
        if not any(secrets.compare_digest((one or "").encode(), self.key.encode()) for one in shown):
            return JSONResponse({"detail": NO_KEY}, 403)
        if not given or request.scope["type"] != "http" or not request.url.path.endswith("/"):
            return None
        answer = RedirectResponse("./", 303)  # the key stays out of the browser's history
        answer.set_cookie(cookie, self.key, httponly=True, samesite="lax", path=request.scope.get("root_path") or "/")
        return answer


def _host_of(request: HTTPConnection) -> str:
    """The name or address in the Host header, without its port."""
    try:
        return urlsplit(f"//{request.headers.get('host', '')}").hostname or ""
    except ValueError:
        return "?"


def _is_foreign(request: HTTPConnection) -> bool:
    """Whether the Origin header names another site, for a request that is not plain reading."""
    origin = request.headers.get("origin")
    if origin is None or (request.scope["type"] == "http" and request.scope["method"] in SAFE):
        return False
    return origin.partition("://")[2] != request.headers.get("host", "")


def _with_headers(send: Send) -> Send:
    async def send_guarded(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers.setdefault(name, value)
        await send(message)

    return send_guarded
