"""Bound the time a server takes to begin its answer: a socket's timeout starts anew with every byte that drips in."""

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from http.client import HTTPException
from typing import Any

from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool


class DeadlineAdapter(HTTPAdapter):
    """Takes a status line and headers that need longer than the timeout for a timeout."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Give the connections of this adapter a deadline."""
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": _Pool, "https": _SecurePool}


class _Connection(HTTPConnection):
    def getresponse(self) -> Any:
        return _ask_in_time(self, super().getresponse)


class _SecureConnection(HTTPSConnection):
    def getresponse(self) -> Any:
        return _ask_in_time(self, super().getresponse)


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _SecurePool(HTTPSConnectionPool):
    ConnectionCls = _SecureConnection


def _ask_in_time(connection: HTTPConnection, ask: Callable[[], Any]) -> Any:
    """Hang up when time is over; TimeoutError then, whatever the reader makes of the end it meets."""
    late = threading.Event()
    timer = threading.Timer(float(connection.timeout or 0), _hang_up, (connection.sock, late))
    timer.daemon = True
    timer.start()
    response = None
    try:
        response = ask()
    except (OSError, HTTPException):
        if not late.is_set():
            raise
    finally:
        timer.cancel()
    if not late.is_set():
        return response
    if response is not None:  # headers that end where we hung up look complete
        response.close()
    raise TimeoutError("no answer in time")


def _hang_up(sock: socket.socket, late: threading.Event) -> None:
    """End both directions without touching what TLS keeps of the connection: another thread is reading from it."""
    late.set()
    with suppress(OSError):
        socket.socket.shutdown(sock, socket.SHUT_RDWR)
