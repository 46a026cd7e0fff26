"""Connections of urllib3 that lead to the very address that was checked, and whose answers end in time and size."""

import math
import os
import socket
import ssl
import threading
import time
from collections.abc import Callable
from functools import partial
from http.client import HTTPResponse
from pathlib import Path
from typing import Any

from certifi import where
from urllib3 import BaseHTTPResponse, HTTPConnectionPool, HTTPSConnectionPool, PoolManager
from urllib3.connection import HTTPConnection, HTTPSConnection

from fer_pipeline.errors import UsageError
from fer_pipeline.sources.crawl.addresses import resolve

MAX_HEAD = 65_536  # bytes up to the body: status, headers, and all that comes before them
LOOK = 0.2  # seconds between two looks at whether the crawl is stopping


class Stopped(Exception):
    """The crawl is being stopped: no further request is sent."""


class Budget(threading.local):
    """The time and the bytes that the answer of this thread's request may still take.

    The timeout of a socket starts again with every byte, and the library reads some lines however long they are.
    """

    def __init__(self, seconds: float, stop: threading.Event) -> None:
        self.seconds, self._stop = seconds, stop
        self._until, self._left = math.inf, math.inf
        self.is_used = self.has_connected = False  # ever; since it was last set to False

    def begin(self, max_bytes: int) -> None:
        """Give the next part of an answer all of the time, and so many bytes."""
        self._until, self._left = time.monotonic() + self.seconds, max_bytes
        self.is_used = True

    def wait(self, sock: socket.socket, act: Callable[[], Any]) -> Any:
        """Act as soon as the socket lets it; TimeoutError when time is over, Stopped when the crawl stops."""
        try:
            while not self._stop.is_set():
                left = self._until - time.monotonic()
                if left <= 0:
                    raise TimeoutError("no answer in time")
                sock.settimeout(min(left, LOOK))
                try:
                    return act()
                except TimeoutError:
                    continue
            raise Stopped
        finally:
            sock.settimeout(self.seconds)

    def count(self, received: int) -> int:
        """Count bytes; OSError beyond the limit."""
        self._left -= received
        if self._left < 0:
            raise OSError("more bytes than an answer may have")
        return received


class _Bounded(socket.socket):
    """A socket that receives within the budget of its thread."""

    budget: Budget

    def recv_into(self, *args: Any) -> int:
        """Receive; all of `http.client` reads by this."""
        return self.budget.count(self.budget.wait(self, partial(super().recv_into, *args)))


class _BoundedTLS(_Bounded, ssl.SSLSocket):
    """The same over TLS, also for the handshake."""

    @property
    def budget(self) -> Budget:  # type: ignore[override]
        return self.context.budget  # type: ignore[attr-defined,no-any-return]

    def do_handshake(self, block: bool = False) -> None:
        try:
            self.budget.wait(self, partial(super().do_handshake, block))
        except Stopped:  # no error that `ssl` cleans up after
            self.close()
            raise


class _FinalResponse(HTTPResponse):
    """The answer that counts, after those like `103 Early Hints`, of which `http.client` knows `100 Continue` alone."""

    def begin(self) -> None:
        """Receive status and headers."""
        super().begin()
        while self.status < 200:
            self.headers = None  # type: ignore[assignment]  # as before the first
            super().begin()


class _Checked(HTTPConnection):
    """A connection to a checked address."""

    response_class = _FinalResponse

    def __init__(self, *args: Any, budget: Budget, allow_private: bool, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._budget, self._allow_private = budget, allow_private

    def _new_conn(self) -> socket.socket:
        """Connect to the first address that takes it; the library would resolve the name again."""
        self._budget.has_connected = True
        problem = OSError("no address")
        for family, address in resolve(self.host, self.port, allow_private=self._allow_private):
            sock = _Bounded(family, socket.SOCK_STREAM)
            sock.budget = self._budget
            try:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                sock.settimeout(self._budget.seconds)
                sock.connect(address)
            except OSError as error:
                sock.close()
                problem = error
            else:
                self._budget.begin(MAX_HEAD)  # for a handshake or a tunnel
                return sock
        raise problem

    def getresponse(self) -> BaseHTTPResponse:  # type: ignore[override]
        """Receive status and headers."""
        self._budget.begin(MAX_HEAD)
        return super().getresponse()


class _CheckedTLS(_Checked, HTTPSConnection):
    """The same over TLS; name and certificate stay those of the URL."""


def check_addresses(manager: PoolManager, budget: Budget, *, allow_private: bool) -> PoolManager:
    """Have a pool manager of urllib3 connect to checked addresses only, and answers stay within the budget."""

    def make(pool_class: type[HTTPConnectionPool], connection: type[_Checked], *args: Any, **kwargs: Any) -> Any:
        pool = pool_class(*args, **kwargs)
        pool.ConnectionCls = partial(connection, budget=budget, allow_private=allow_private)  # type: ignore[assignment]
        return pool

    classes = {"http": (HTTPConnectionPool, _Checked), "https": (HTTPSConnectionPool, _CheckedTLS)}
    manager.pool_classes_by_scheme = {scheme: partial(make, *two) for scheme, two in classes.items()}  # type: ignore[misc]
    return manager


def trust(budget: Budget) -> ssl.SSLContext:
    """Trust the certificates that the environment names, as requests does, else certifi's; UsageError if none."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.sslsocket_class, context.budget = _BoundedTLS, budget  # type: ignore[attr-defined]
    named = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE") or where()
    try:
        context.load_verify_locations(**{"capath" if Path(named).is_dir() else "cafile": named})
    except OSError as error:
        raise UsageError(f"{named}: no certificates ({error.strerror}): fix REQUESTS_CA_BUNDLE or unset it") from None
    return context
