"""Write down what people decide: each line appended under a lock and forced to disk before it is said to be kept.

Two tabs or two processes lose nothing, and a kill costs at most the lines that were being written.
"""

import errno
import os
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from threading import RLock

from filelock import FileLock, Timeout

from fer_pipeline.dataset.decisions import (
    DECISIONS,
    ENDS,
    HEADER,
    Decision,
    check,
    parse_decisions,
    parse_lines,
    read_bytes,
    settle,
    to_line,
)
from fer_pipeline.errors import InputError, SetupError

LOCK = ".decisions.lock"
PATIENCE = 10  # seconds to wait for another process that is writing


class Log:
    """The decisions beside a data set; others may write the file too, and a person may edit it."""

    def __init__(self, home: Path) -> None:
        self.path = home / DECISIONS
        self.decisions: list[Decision] = []
        self.rewritten = 0  # how often it was found to be another file than the one that was read before
        self._data = b""
        self._lock = FileLock(home / LOCK, timeout=PATIENCE, thread_local=False)
        self._turn = RLock()

    def read(self) -> list[Decision]:
        """All lines as they are now; only what is new is parsed."""
        with self._turn:
            self._take(read_bytes(self.path))
            return self.decisions

    def _take(self, data: bytes) -> None:
        if data != self._data:
            if self._data.endswith(b"\n") and data.startswith(self._data):
                first = len(self._data.splitlines()) + 1
                fresh = data[len(self._data) :].splitlines(keepends=True)
                self.decisions = self.decisions + parse_lines(fresh, str(self.path), first)
            else:
                self.decisions = parse_decisions(data, str(self.path))
                self.rewritten += not data.startswith(self._data)
            self._data = data

    def append(
        self, decisions: Sequence[Decision], agree: Callable[[dict[str, Decision]], None] | None = None
    ) -> list[int]:
        """Add lines to the file, all or none, and give their numbers.

        `agree` sees what counts once nobody else can write, and raises what speaks against it; so does a broken line.
        """
        try:
            with self._turn, self._lock:
                known = self.read()
                if agree is not None:
                    agree(settle(known))
                now = datetime.now(UTC).isoformat(timespec="seconds")
                lines = [to_line(check(one._replace(time=one.time or now), one.path)) for one in decisions]
                _append(self.path, _mend(self.path), b"".join(lines))
                return [one.line for one in self.read()[-len(lines) :]]
        except Timeout:
            raise InputError(f"{self.path}: another process keeps it locked: try again") from None
        except OSError as error:
            reason = error.strerror or error
            raise SetupError(f"{self.path}: cannot write: {reason}: make room, or allow writing") from None


def _mend(path: Path) -> int:
    """Cut off a torn last line, or end one that an editor left open; returns the size of the file then."""
    data = read_bytes(path)
    start = max(map(data.rfind, ENDS)) + 1
    if start == len(data):
        return start
    if start and len(parse_decisions(data, "")) > len(parse_decisions(data[:start], "")):
        _append(path, len(data), b"\n")
        return len(data) + 1
    os.truncate(path, start)
    return start


def _append(path: Path, size: int, lines: bytes) -> None:
    text = lines if size else ",".join(HEADER).encode() + b"\n" + lines
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        if os.write(file, text) != len(text):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        os.fsync(file)
    except OSError:  # what was not said to be written must not be there after all
        os.ftruncate(file, size)
        raise
    finally:
        os.close(file)
