"""Protect fer's web applications against requests from pages of other sites.

A page of another site can send requests to 127.0.0.1 from the user's own browser. So the Host header must name this
server (against DNS rebinding), and any request that is not plain reading must come from a page of this server. Headers
keep a page from loading what is not its own.
"""

from collections.abc import MutableMapping, Sequence
from ipaddress import ip_address
from typing import Any

from starlette.applications import Starlette
from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

LOCAL = ["localhost", "127.0.0.1", "[::1]", "::1"]
SAFE = {"GET", "HEAD", "OPTIONS"}
HEADERS = {
    "content-security-policy": "default-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; "
    "object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "permissions-policy": "camera=(self), microphone=(), geolocation=()",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "cross-origin-resource-policy": "same-origin",
}


def is_loopback(host: str) -> bool:
    """Whether an address is of this machine itself."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def guard(app: Starlette, host: str, more_hosts: Sequence[str] = ()) -> None:
    """Protect an application bound to `host`; bound to the network, it accepts any host unless some are given."""
    hosts = [*LOCAL, host, *more_hosts] if is_loopback(host) or more_hosts else ["*"]
    app.add_middleware(SameOrigin)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=hosts, www_redirect=False)


class SameOrigin:
    """Refuses requests of other origins, and adds security headers to answers."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
        elif _is_foreign(scope):
            await self._refuse(scope, receive, send)
        else:
            await self.app(scope, receive, _with_headers(send))

    async def _refuse(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008, "reason": "another site's page"})
        else:
            detail = "a page of another site may not send this request: use this server's page, or a program"
            await JSONResponse({"detail": detail}, status_code=403)(scope, receive, send)


def _is_foreign(scope: Scope) -> bool:
    """Whether the Origin header names another site, for a request that is not plain reading."""
    headers = Headers(scope=scope)
    origin = headers.get("origin")
    if origin is None or (scope["type"] == "http" and scope["method"] in SAFE):
        return False
    return origin.partition("://")[2] != headers.get("host", "")


def _with_headers(send: Send) -> Send:
    async def send_guarded(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers.setdefault(name, value)
        await send(message)

    return send_guarded
