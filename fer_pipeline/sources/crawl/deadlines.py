"""Ends connections whose servers take too long, and all of them when the crawl stops."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from fer_pipeline.sources.crawl.messages import BrokenAnswer

LATE = "no answer in time"


class Deadlines:
    """Bounds the time to an answer and to the end of its body: a socket's timeout starts again with every byte.

    One thread serves all connections, since a timer for each costs more than a request. All wait equally long, so the
    first that began is the first that is late, and a thread that sleeps as long as they wait is never late itself.
    """

    def __init__(self, seconds: float, stop: threading.Event) -> None:
        self._seconds, self._stop = seconds, stop
        self._pending: dict[object, tuple[float, socket.socket]] = {}  # in the order they began
        self._lock, self._is_over = threading.Lock(), False
        self._thread = threading.Thread(target=self._run, name="deadlines", daemon=True)
        self._thread.start()

    def begin(self, sock: socket.socket) -> object:
        """Hang up when time is over or the crawl stops, unless `end` is called before."""
        token = object()
        with self._lock:
            self._pending[token] = time.monotonic() + self._seconds, sock
            if self._is_over:
                self._hang_up(token)
        return token

    def end(self, token: object) -> bool:
        """Whether there was time enough; from now on the connection stays open."""
        with self._lock:
            return self._pending.pop(token, None) is not None

    @contextmanager
    def bound(self, sock: socket.socket) -> Iterator[None]:
        """TimeoutError if what is done inside takes too long, whatever it makes of the end it meets."""
        token = self.begin(sock)
        try:
            yield
        except (OSError, BrokenAnswer):
            if self.end(token):
                raise
            raise TimeoutError(LATE) from None
        except BaseException:
            self.end(token)
            raise
        if not self.end(token):  # what ends where we hung up may look complete
            raise TimeoutError(LATE)

    def close(self) -> None:
        """Hang up everywhere, and end the thread."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        wait = self._seconds
        while not self._stop.wait(wait):
            wait = self._end_the_late()
        with self._lock:
            self._is_over = True
            for token in list(self._pending):
                self._hang_up(token)

    def _end_the_late(self) -> float:
        """Gives the seconds until the next may be late."""
        with self._lock:
            now = time.monotonic()
            while self._pending:
                token, (end, _) = next(iter(self._pending.items()))
                if end > now:
                    return end - now
                self._hang_up(token)
        return self._seconds

    def _hang_up(self, token: object) -> None:
        _, sock = self._pending.pop(token)
        with suppress(OSError):  # without touching what TLS keeps of it: another thread is reading
            socket.socket.shutdown(sock, socket.SHUT_RDWR)
