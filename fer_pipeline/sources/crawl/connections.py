"""Connections that go to the very address that was checked, and are used again."""

import select
import socket
import ssl
import threading
from collections import OrderedDict
from typing import NamedTuple

from fer_pipeline.sources.crawl.addresses import resolve
from fer_pipeline.sources.crawl.deadlines import Deadlines
from fer_pipeline.sources.crawl.messages import BrokenAnswer, Connection, read_head

HOSTS = 64  # whose connections are kept open


class Target(NamedTuple):
    """Where a connection leads: straight, or through a proxy's host and port."""

    is_secure: bool
    host: str
    port: int
    proxy: tuple[str, int] | None = None
    credentials: str = ""  # for the proxy, as its header has them


def connect(address: tuple[str, int], timeout: float, *, allow_private: bool) -> socket.socket:
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


def open_connection(
    target: Target, timeout: float, context: ssl.SSLContext, deadlines: Deadlines, *, is_free: bool
) -> Connection:
    """A new connection; `is_free`: also to private addresses. That of a proxy is its user's own choice."""
    sock = connect(target.proxy or (target.host, target.port), timeout, allow_private=is_free or bool(target.proxy))
    try:
        if target.is_secure:
            if target.proxy:
                with deadlines.bound(sock):
                    _tunnel(Connection(sock), target)
            sock = context.wrap_socket(sock, server_hostname=target.host, do_handshake_on_connect=False)
            with deadlines.bound(sock):
                sock.do_handshake()
    except BaseException:
        sock.close()
        raise
    return Connection(sock)


def _tunnel(connection: Connection, target: Target) -> None:
    """Ask a proxy for a way to a server that it cannot listen to."""
    place = f"[{target.host}]:{target.port}" if ":" in target.host else f"{target.host}:{target.port}"
    credentials = f"Proxy-Authorization: {target.credentials}\r\n" if target.credentials else ""
    connection.sock.sendall(f"CONNECT {place} HTTP/1.1\r\nHost: {place}\r\n{credentials}\r\n".encode())
    if (status := read_head(connection).status) != 200 or not connection.is_empty:
        raise BrokenAnswer(f"the proxy answered {status}")


class Pool:
    """Idle connections by where they lead; safe to use from many threads."""

    def __init__(self) -> None:
        self._idle: OrderedDict[tuple[Target, bool], list[Connection]] = OrderedDict()
        self._lock = threading.Lock()

    def take(self, key: tuple[Target, bool]) -> Connection | None:
        """An idle connection that the other side has not closed."""
        while True:
            with self._lock:
                waiting = self._idle.get(key)
                connection = waiting.pop() if waiting else None
            if connection is None or not _is_readable(connection):
                return connection
            connection.close()

    def give(self, key: tuple[Target, bool], connection: Connection) -> None:
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


def _is_readable(connection: Connection) -> bool:
    """Whether something came unasked: the end, or what is no answer to us."""
    poll = select.poll()
    poll.register(connection.sock, select.POLLIN)
    return not connection.is_empty or bool(poll.poll(0))
