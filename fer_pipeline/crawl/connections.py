"""Connections that go to the very address that was checked, are used again, and end with servers that take too long."""

import select
import socket
import ssl
import threading
import time
from collections import OrderedDict
from contextlib import suppress
from functools import partial
from http.client import HTTPConnection, HTTPSConnection
from typing import NamedTuple

from fer_pipeline.crawl.addresses import resolve

HOSTS = 64  # whose connections are kept open


class Target(NamedTuple):
    """Where a connection leads: straight, or through a proxy's host and port."""

    is_secure: bool
    host: str
    port: int
    proxy: tuple[str, int] | None = None
    credentials: str = ""  # for the proxy, as its header has them


def connect(address: tuple[str, int], timeout: float, _: object = None, *, allow_private: bool) -> socket.socket:
    """A socket to the first address of a host that takes it; as `socket.create_connection`, but resolves once."""
    problem = OSError("no address")
    for family, where in resolve(*address, allow_private=allow_private):
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.settimeout(timeout)
            sock.connect(where)
        except OSError as error:
            sock.close()
            problem = error
        else:
            return sock
    raise problem


def open_connection(target: Target, timeout: float, context: ssl.SSLContext, *, allow_private: bool) -> HTTPConnection:
    """A connection that is made when it is first used; the address of a proxy is its user's own choice."""
    host, port = target.proxy or (target.host, target.port)
    connection = (
        HTTPSConnection(host, port, timeout=timeout, context=context)
        if target.is_secure
        else HTTPConnection(host, port, timeout=timeout)
    )
    if target.proxy and target.is_secure:
        headers = {"Proxy-Authorization": target.credentials} if target.credentials else {}
        connection.set_tunnel(target.host, target.port, headers)
    is_free = allow_private or target.proxy is not None
    connection._create_connection = partial(connect, allow_private=is_free)  # type: ignore[attr-defined]
    return connection


class Pool:
    """Idle connections by where they lead; safe to use from many threads."""

    def __init__(self) -> None:
        self._idle: OrderedDict[tuple[Target, bool], list[HTTPConnection]] = OrderedDict()
        self._lock = threading.Lock()

    def take(self, key: tuple[Target, bool]) -> HTTPConnection | None:
        """An idle connection that the other side has not closed."""
        while True:
            with self._lock:
                waiting = self._idle.get(key)
                connection = waiting.pop() if waiting else None
            if connection is None or not _is_readable(connection):
                return connection
            connection.close()

    def give(self, key: tuple[Target, bool], connection: HTTPConnection) -> None:
        """Keep a connection for the next request; those of the hosts that were longest unused are closed."""
        with self._lock:
            self._idle.setdefault(key, []).append(connection)
            self._idle.move_to_end(key)
            oldest = self._idle.popitem(last=False)[1] if len(self._idle) > HOSTS else []
        for one in oldest:
            one.close()

    def close(self) -> None:
        """Close all that are idle."""
        with self._lock:
            idle, self._idle = self._idle, OrderedDict()
        for connection in (one for waiting in idle.values() for one in waiting):
            connection.close()


def _is_readable(connection: HTTPConnection) -> bool:
    """Whether something came unasked: the end, or what is no answer to us."""
    poll = select.poll()
    poll.register(connection.sock, select.POLLIN)
    return bool(poll.poll(0))


class Deadlines:
    """Bounds the time to an answer's body: a socket's timeout starts anew with every byte that drips in.

    One thread serves all connections, since a timer for each costs more than a request. All wait equally long, so the
    first that began is the first that is late, and a thread that sleeps as long as they wait is never late itself.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._pending: dict[object, tuple[float, socket.socket]] = {}  # in the order they began
        self._lock, self._closing = threading.Lock(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="deadlines", daemon=True)
        self._thread.start()

    def begin(self, sock: socket.socket) -> object:
        """Hang up when time is over, unless `end` is told before."""
        token = object()
        with self._lock:
            self._pending[token] = time.monotonic() + self._seconds, sock
        return token

    def end(self, token: object) -> bool:
        """Whether there was time enough; from here on nobody hangs up."""
        with self._lock:
            return self._pending.pop(token, None) is not None

    def close(self) -> None:
        """End the thread."""
        self._closing.set()
        self._thread.join()

    def _run(self) -> None:
        wait = self._seconds
        while not self._closing.wait(wait):
            wait = self._hang_up()

    def _hang_up(self) -> float:
        """End those that are late; gives the seconds until the next may be."""
        with self._lock:
            now = time.monotonic()
            while self._pending:
                token, (end, sock) = next(iter(self._pending.items()))
                if end > now:
                    return end - now
                del self._pending[token]
                with suppress(OSError):  # without touching what TLS keeps of it: another thread is reading
                    socket.socket.shutdown(sock, socket.SHUT_RDWR)
        return self._seconds
