"""The ways a request may take: straight to a public address, through the environment's proxy, or to our own gallery."""

import base64
import os
import re
import socket
import ssl
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import lru_cache
from http.client import HTTPConnection, HTTPException, HTTPResponse, IncompleteRead
from pathlib import Path
from types import TracebackType
from urllib.parse import SplitResult, urlsplit
from urllib.request import getproxies

from certifi import where
from requests.utils import get_auth_from_url, get_environ_proxies, select_proxy
from urllib3.util import parse_url

from fer_pipeline.config import CrawlConfig
from fer_pipeline.crawl.addresses import resolve
from fer_pipeline.crawl.connections import Deadlines, Pool, Target, open_connection
from fer_pipeline.errors import UsageError

PLAIN = re.compile(r"[!#-;=?-\[\]_a-z~]*")  # what stands in a URL as it is
PORTS = {"http": 80, "https": 443}


class Exchange(AbstractContextManager["Exchange"]):
    """One answer and the connection it comes over, which is kept if the answer was read to its end."""

    def __init__(self, response: HTTPResponse, keep: Callable[[], None], close: Callable[[], None]) -> None:
        self.status, self.headers = response.status, response.headers
        self._response, self._keep, self._close = response, keep, close
        self._is_read = False

    def read(self) -> bytes:
        """What has come of the body by now; b"" at its end."""
        chunk = self._response.read1(65536)
        if not chunk:
            if self._response.length:
                raise IncompleteRead(b"", self._response.length)
            self._is_read = not self._response.will_close
        return chunk

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._response.close()
        (self._keep if self._is_read and error is None else self._close)()


class Routes:
    """Sends requests over connections that are kept and used again; safe to use from many threads."""

    def __init__(self, config: CrawlConfig, agent: str) -> None:
        self._config = config
        self._headers = {"User-Agent": agent, "Accept-Encoding": "gzip"}
        self._context = _trust()
        self._has_proxy = _check_proxies()
        self._pool, self._deadlines = Pool(), Deadlines(config.timeout)

    def send(self, url: str, *, is_own: bool = False) -> Exchange:
        """Ask, and follow nothing; the body is still to be read. PrivateAddress if the host may not be asked."""
        parts = _normalise(url)
        key = self._target(url, parts, is_own=is_own), is_own
        line = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
        headers = self._headers
        if key[0].proxy and not key[0].is_secure:
            line = f"http://{parts.netloc}{line}"
            headers = headers | ({"Proxy-Authorization": key[0].credentials} if key[0].credentials else {})
        if connection := self._pool.take(key):
            try:
                return self._ask(connection, key, line, headers)
            except (ConnectionError, HTTPException):  # the server was about to close it
                connection.close()
        return self._ask(self._open(key), key, line, headers)

    def _open(self, key: tuple[Target, bool]) -> HTTPConnection:
        is_free = key[1] or self._config.allow_private
        return open_connection(key[0], self._config.timeout, self._context, allow_private=is_free)

    def _ask(
        self, connection: HTTPConnection, key: tuple[Target, bool], line: str, headers: dict[str, str]
    ) -> Exchange:
        try:
            connection.request("GET", line, headers=headers)
            response = self._await(connection)
        except BaseException:
            connection.close()
            raise
        return Exchange(response, lambda: self._pool.give(key, connection), connection.close)

    def _await(self, connection: HTTPConnection) -> HTTPResponse:
        """TimeoutError when time is over, whatever the reader makes of the end it meets."""
        token = self._deadlines.begin(connection.sock)
        try:
            response = connection.getresponse()
        except (OSError, HTTPException):
            if self._deadlines.end(token):
                raise
            raise TimeoutError("no answer in time") from None
        if not self._deadlines.end(token):  # headers that end where we hung up look complete
            response.close()
            raise TimeoutError("no answer in time")
        return response

    def _target(self, url: str, parts: SplitResult, *, is_own: bool) -> Target:
        straight = _lead(parts.scheme, parts.netloc)
        proxy = select_proxy(url, get_environ_proxies(url)) if self._has_proxy and not is_own else None
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
        """End all connections that are idle."""
        self._pool.close()
        self._deadlines.close()


@lru_cache(maxsize=4096)
def _lead(scheme: str, netloc: str) -> Target:
    """Where a host is asked without a proxy."""
    parts = SplitResult(scheme, netloc, "", "", "")
    return Target(scheme == "https", (parts.hostname or "").rstrip("."), parts.port or PORTS[scheme])


def _normalise(url: str) -> SplitResult:
    """A URL as it goes over the line; ValueError if it is none. Most are plain, and need no more than parting."""
    if not PLAIN.fullmatch(url):
        url = parse_url(url).url  # quotes the path, writes the host as punycode
    return urlsplit(url)


def _trust() -> ssl.SSLContext:
    """The certificates to trust: those the environment names, as with requests, else certifi's."""
    named = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE") or where()
    try:
        if Path(named).is_dir():
            return ssl.create_default_context(capath=named)
        return ssl.create_default_context(cafile=named)
    except OSError as error:
        raise UsageError(f"{named}: no certificates ({error.strerror}): mend REQUESTS_CA_BUNDLE or unset it") from None


def _check_proxies() -> bool:
    """Whether the environment names a proxy; UsageError for a kind we cannot speak to."""
    named = {key: proxy for key, proxy in getproxies().items() if key in {"http", "https", "all"}}
    for key, proxy in named.items():
        if "://" in proxy and not proxy.startswith("http://"):
            raise UsageError(f"{key}_proxy={proxy.split('@')[-1]}: only http:// proxies are spoken to: name another")
    return bool(named)
