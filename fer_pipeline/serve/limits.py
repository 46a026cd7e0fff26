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
    queue: int = 128  # requests at once, waiting or in work
    all_bytes: int = 400_000_000  # of all bodies held at once
    upload: float = 60  # seconds for receiving the body
    timeout: float = 20  # seconds from then to the response
    batch: int = 32  # maximum batch size, in crops
    wait: float = 0.002  # maximum batching delay in seconds
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
    """Admission control: counts requests and the bytes they hold, and refuses more than the limits."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.requests = 0
        self.bytes = 0

    @contextmanager
    def request(self) -> Iterator["Load"]:
        """Admit one request; raises Full if there are too many."""
        if self.requests >= self.limits.queue:
            raise Full
        load = Load(self)
        self.requests += 1
        try:
            yield load
        finally:
            self.requests -= 1
            self.bytes -= load.bytes


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
