"""Limits of the server: sizes, times, and how many requests at once."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Limits of one request, and of all together; the defaults suit two cores."""

    max_bytes: int = 30_000_000  # of one request's body
    max_pixels: int = 50_000_000  # of a picture; a larger one is refused before it is decoded
    max_files: int = 16  # pictures a request
    queue: int = 128  # requests at once whose pictures are there, waiting or in work
    all_bytes: int = 400_000_000  # of all bodies held at once
    upload: float = 60  # seconds for receiving the body
    timeout: float = 20  # seconds from then to the response
    frames: float = 30  # per second and live connection
    connections: int = 16  # live connections at once
    idle: float = 60  # seconds without a frame until a live connection is closed

    @property
    def picture_timeout(self) -> float:
        """Seconds for one picture; half of the timeout, so that the others of its request can still be answered."""
        return self.timeout / 2


class Full(Exception):
    """The server is busy: try again in a second."""


class TooLarge(Exception):
    """A request exceeds a limit of its own, which waiting does not fix."""


class Gate:
    """Admission control: counts the bytes that requests hold and the requests in work, and refuses too many.

    A request has no place before its body is there, so that slow senders keep none from others.
    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.requests = 0
        self.bytes = 0

    def check(self) -> None:
        """Raise Full if there is no place."""
        if self.requests >= self.limits.queue:
            raise Full

    @contextmanager
    def load(self) -> Iterator["Load"]:
        """Count the bytes of a request while it is received and in work; raises Full if there is no place anyway."""
        self.check()
        load = Load(self)
        try:
            yield load
        finally:
            self.bytes -= load.bytes

    @contextmanager
    def place(self) -> Iterator[None]:
        """Admit a request whose body is there; raises Full if there are too many."""
        self.check()
        self.requests += 1
        try:
            yield
        finally:
            self.requests -= 1


class Load:
    """The bytes of one request, counted while they are received."""

    def __init__(self, gate: Gate) -> None:
        self.gate, self.bytes = gate, 0

    def add(self, count: int) -> None:
        """Count more bytes; raises TooLarge or Full before they are kept."""
        limits = self.gate.limits
        if self.bytes + count > limits.max_bytes:
            raise TooLarge(f"larger than {limits.max_bytes:,} bytes: send fewer or smaller pictures")
        if self.gate.bytes + count > limits.all_bytes:
            raise Full
        self.bytes += count
        self.gate.bytes += count
