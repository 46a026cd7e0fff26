"""Bound what a decoder may take, so that a small file that claims much costs its picture and not the machine.

Only in processes that are fer's own, since it is the process that is bounded, and only where the system can.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PIXEL_BYTES = 12  # Pillow holds 4 bytes a pixel and the array 3, a decoder up to 5 beside them
FILE_BYTES = 5000  # for each byte of the file: a blank photo takes as much, a bomb a hundred times that
SPARE = 100_000_000  # bytes for small pictures, tables of decoders, and what a worker is sent meanwhile
SECONDS = 30  # of a processor; a photo of 100 million pixels takes three
SIZES = Path("/proc/self/statm")
_bounded = {"memory": False, "time": False}


def bound_decoders(*, time: bool) -> None:
    """Bound the memory of decoders in this process from now on; with `time` one that takes too long ends it."""
    _bounded.update(memory=SIZES.is_file(), time=time and hasattr(signal, "setitimer"))


@contextmanager
def bounded_decoder(pixels: int, size: int) -> Iterator[None]:
    """Let a decoder take what so many pixels from a file of `size` bytes need, if decoders are bounded here.

    What exceeds it is a MemoryError or the decoder's own error, or ends the process. Does nothing outside the main
    thread: other threads would be bounded too.
    """
    is_main = threading.current_thread() is threading.main_thread()
    if is_main and _bounded["time"]:
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        if is_main and _bounded["memory"]:
            with _bounded_memory(SPARE + min(PIXEL_BYTES * pixels, FILE_BYTES * size)):
                yield
        else:
            yield
    finally:
        if is_main and _bounded["time"]:
            signal.setitimer(signal.ITIMER_PROF, 0)


@contextmanager
def _bounded_memory(size: int) -> Iterator[None]:
    """Let this process take so many bytes more than it has."""
    import resource

    before, most = resource.getrlimit(resource.RLIMIT_DATA)
    taken = int(SIZES.read_bytes().split()[5]) * resource.getpagesize()
    known = [one for one in (before, most) if one != resource.RLIM_INFINITY]
    resource.setrlimit(resource.RLIMIT_DATA, (min([taken + size, *known]), most))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (before, most))
