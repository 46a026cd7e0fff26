"""Send requests: straight to a public address, through the proxy of the environment, or to the local gallery."""

import base64
import os
import socket
import ssl
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from urllib.parse import SplitResult, urlsplit
from urllib.request import getproxies

from certifi import where
from requests.utils import get_auth_from_url, get_environ_proxies, select_proxy

from fer_pipeline.config.schema import CrawlConfig
from fer_pipeline.errors import UsageError
from fer_pipeline.sources.crawl.addresses import resolve
from fer_pipeline.sources.crawl.connections import Pool, Target, open_connection
from fer_pipeline.sources.crawl.deadlines import LATE, Deadlines
from fer_pipeline.sources.crawl.messages import BrokenAnswer, Connection, Head, read_body, read_head
from fer_pipeline.sources.crawl.urls import PORTS


class Response(AbstractContextManager["Response"]):
    """One answer and the connection it comes over, which is kept if the answer was read to its end."""

    def __init__(self, connection: Connection, head: Head, deadlines: Deadlines, keep: Callable[[], None]) -> None:
        self.status, self.headers = head.status, head.headers
        self._pieces, is_measured = read_body(connection, head)
        self._wire, self._keep, self._stays, self._is_read = connection, keep, is_measured and head.stays, False
        self._deadlines, self._token = deadlines, deadlines.begin(connection.sock)

    def read(self) -> bytes:
        """What has come of the body by now; b"" at its end, TimeoutError when time is over."""
        try:
            if piece := next(self._pieces, b""):
                return piece
        except (OSError, BrokenAnswer):
            if self._deadlines.end(self._token):
                raise
            raise TimeoutError(LATE) from None
        if not self._deadlines.end(self._token):  # what ends where we hung up may look complete
            raise TimeoutError(LATE)
        self._is_read = True
        return b""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._deadlines.end(self._token)
        (self._keep if self._is_read and self._stays and error is None else self._wire.close)()


class Transport:
    """Sends requests over connections that are kept and used again; safe to use from many threads."""

    def __init__(self, config: CrawlConfig, agent: str, stop: threading.Event) -> None:
        self._config = config
        self._headers = f"User-Agent: {agent}\r\nAccept-Encoding: gzip\r\n"
        self._context = _trust()
        self._has_proxy = _check_proxies()
        self._pool, self._deadlines = Pool(), Deadlines(config.timeout, stop)

    def send(self, url: str, *, is_local_gallery: bool = False) -> Response:
        """Ask a normalised URL, and follow nothing; the body is still to be read. PrivateAddress if that may not be."""
        parts = urlsplit(url)
        key = self._target(url, parts, is_local_gallery=is_local_gallery), is_local_gallery
        line = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
        headers = self._headers
        if key[0].proxy and not key[0].is_secure:
            line = f"http://{parts.netloc}{line}"
            headers = f"Proxy-Authorization: {key[0].credentials}\r\n{headers}" if key[0].credentials else headers
        request = f"GET {line} HTTP/1.1\r\nHost: {parts.netloc}\r\n{headers}\r\n".encode("ascii")
        if connection := self._pool.take(key):
            try:
                return self._ask(connection, key, request)
            except (ConnectionError, BrokenAnswer):  # the server was about to close it
                pass
        return self._ask(self._open(key), key, request)

    def _open(self, key: tuple[Target, bool]) -> Connection:
        is_free = key[1] or self._config.allow_private
        return open_connection(key[0], self._config.timeout, self._context, self._deadlines, is_free=is_free)

    def _ask(self, connection: Connection, key: tuple[Target, bool], request: bytes) -> Response:
        try:
            with self._deadlines.bound(connection.sock):
                connection.sock.sendall(request)
                head = read_head(connection)
            return Response(connection, head, self._deadlines, lambda: self._pool.give(key, connection))
        except BaseException:
            connection.close()
            raise

    def _target(self, url: str, parts: SplitResult, *, is_local_gallery: bool) -> Target:
        straight = _lead(parts.scheme, parts.netloc)
        proxy = select_proxy(url, get_environ_proxies(url)) if self._has_proxy and not is_local_gallery else None
        if not proxy:
            return straight
        self._check_host(straight)
        found, auth = urlsplit(proxy if "://" in proxy else f"http://{proxy}"), ":".join(get_auth_from_url(proxy))
        credentials = f"Basic {base64.b64encode(auth.encode()).decode()}" if auth != ":" else ""
        return straight._replace(proxy=(found.hostname or "", found.port or 80), credentials=credentials)

    def _check_host(self, target: Target) -> None:
        """A proxy resolves names by itself: what is private from here is not asked of it either."""
        try:
            resolve(target.host, target.port, allow_private=self._config.allow_private)
        except socket.gaierror:  # behind a proxy there may be no name service: then the proxy's own rules count
            return

    def close(self) -> None:
        """End all connections, and what is still asked over them."""
        self._deadlines.close()
        self._pool.close()


@lru_cache(maxsize=4096)
def _lead(scheme: str, netloc: str) -> Target:
    """Where a host is asked without a proxy."""
    parts = SplitResult(scheme, netloc, "", "", "")
    return Target(scheme == "https", parts.hostname or "", parts.port or PORTS[scheme])


def _trust() -> ssl.SSLContext:
    """The certificates to trust: those the environment names, as with requests, else certifi's."""
    named = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE") or where()
    try:
        if Path(named).is_dir():
            return ssl.create_default_context(capath=named)
        return ssl.create_default_context(cafile=named)
    except OSError as error:
        raise UsageError(f"{named}: no certificates ({error.strerror}): fix REQUESTS_CA_BUNDLE or unset it") from None


def _check_proxies() -> bool:
    """Whether the environment names a proxy; UsageError for a kind that is not supported."""
    named = {key: proxy for key, proxy in getproxies().items() if key in {"http", "https", "all"}}
    for key, proxy in named.items():
        if "://" in proxy and not proxy.startswith("http://"):
            raise UsageError(f"{key}_proxy={proxy.split('@')[-1]}: only http:// proxies are supported: name another")
    return bool(named)
