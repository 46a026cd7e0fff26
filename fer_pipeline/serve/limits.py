"""How much a server takes on before it says no."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """What one request may ask, and all of them together; the defaults suit two cores."""

    max_bytes: int = 30_000_000  # of one request's body
    max_pixels: int = 50_000_000  # a picture may claim; more is refused before it is decoded
    max_files: int = 16  # pictures a request
    queue: int = 128  # requests at once, waiting or in work
    all_bytes: int = 400_000_000  # of all bodies held at once
    upload: float = 60  # seconds for the body to come
    timeout: float = 20  # seconds from then to the answer
    batch: int = 32  # crops for ONNX Runtime at once
    wait: float = 0.002  # seconds a crop waits for company
    frames: float = 30  # a second and live connection
    connections: int = 16  # live at once
    idle: float = 60  # seconds without a frame after which a live connection gives up its place

    @property
    def patience(self) -> float:
        """Seconds for a picture: one that holds its process leaves time to answer the others of its request."""
        return self.timeout / 2


class Full(Exception):
    """No room for more now: come again in a second."""


class TooLarge(Exception):
    """A request is over a limit that waiting does not fix."""


class Gate:
    """Counts the requests inside and the bytes they hold; a full one refuses instead of letting a queue grow."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.requests = 0
        self.bytes = 0

    @contextmanager
    def request(self) -> Iterator["Load"]:
        """A place for one request; raises Full if there is none."""
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
    """The bytes of one request, counted while they come."""

    def __init__(self, gate: Gate) -> None:
        self.gate, self.bytes = gate, 0

    def add(self, count: int) -> None:
        """Take so many more; raises TooLarge or Full before they are kept."""
        limits = self.gate.limits
        if self.bytes + count > limits.max_bytes:
            raise TooLarge(f"larger than {limits.max_bytes:,} bytes: send fewer or smaller pictures")
        if self.gate.bytes + count > limits.all_bytes:
            raise Full
        self.bytes += count
        self.gate.bytes += count
