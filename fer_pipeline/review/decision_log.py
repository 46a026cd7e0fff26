"""Append decisions to `decisions.csv`: under a lock, and forced to disk before they are confirmed.

Two tabs or two processes lose nothing, and a kill costs at most the lines that were being written. A file that is not
one of decisions is refused and stays as it is.
"""

import csv
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
    effective_decisions,
    parse_decisions,
    parse_lines,
    read_bytes,
    to_line,
)
from fer_pipeline.errors import InputError, SetupError
from fer_pipeline.files import unshare

LOCK = ".decisions.lock"
LOCK_TIMEOUT = 10  # seconds to wait for another process that is writing


class Log:
    """The decisions of one data set; other processes may write the file too, and a person may edit it."""

    def __init__(self, home: Path) -> None:
        self.path = home / DECISIONS
        self.decisions: list[Decision] = []
        self.rewritten = 0  # times that earlier lines were found changed
        self._data = b""
        self._lock = FileLock(home / LOCK, timeout=LOCK_TIMEOUT, thread_local=False)
        self._thread_lock = RLock()

    def read(self) -> list[Decision]:
        """Return all lines as they are now; only new ones are parsed."""
        with self._thread_lock:
            self._update(read_bytes(self.path))
            return self.decisions

    def _update(self, data: bytes) -> None:
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
        self, decisions: Sequence[Decision], check_current: Callable[[dict[str, Decision]], None] | None = None
    ) -> list[int]:
        """Append decisions, all or none; returns the numbers of their lines.

        `check_current` gets what counts by image while the file is locked, and raises if that forbids them. InputError
        if the file has a broken line or stays locked, SetupError if it cannot be written.
        """
        try:
            with self._thread_lock, self._lock:
                known = self.read()
                if check_current is not None:
                    check_current(effective_decisions(known))
                now = datetime.now(UTC).isoformat(timespec="seconds")
                lines = [to_line(check(one._replace(time=one.time or now), one.path)) for one in decisions]
                _append(self.path, _repair_end(self.path), b"".join(lines))
                return [one.line for one in self.read()[-len(lines) :]]
        except Timeout:
            raise InputError(f"{self.path}: locked by another process: try again") from None
        except OSError as error:
            reason = error.strerror or error
            raise SetupError(f"{self.path}: cannot write: {reason}: make room, or allow writing") from None


def _repair_end(path: Path) -> int:
    """Cut off a torn last line, or end one that an editor left open; returns the size of the file then.

    Only what a kill of fer may have left is cut off: InputError for an open line that a person must have written.
    """
    unshare(path)
    data = read_bytes(path)
    start = max(map(data.rfind, ENDS)) + 1
    if start == len(data):
        return start
    if start and len(parse_decisions(data, "")) > len(parse_decisions(data[:start], "")):
        _append(path, len(data), b"\n")
        return len(data) + 1
    if not _is_torn(data[start:], is_header=start == 0):
        parse_decisions(data + b"\n", str(path))  # says what is wrong with the line
    os.truncate(path, start)
    return start


def _is_torn(line: bytes, *, is_header: bool) -> bool:
    """Whether a line may be the beginning of one that fer was writing."""
    if is_header:
        return ",".join(HEADER).encode().startswith(line)
    try:
        fields = next(csv.reader([line.decode()]), [])
    except UnicodeDecodeError as error:
        return error.reason == "unexpected end of data"  # cut within a character
    except csv.Error:
        return False
    return len(fields) < len(HEADER)


def _append(path: Path, size: int, lines: bytes) -> None:
    text = lines if size else ",".join(HEADER).encode() + b"\n" + lines
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        if os.write(file, text) != len(text):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        os.fsync(file)
    except OSError:  # what is not confirmed must not be there later
        os.ftruncate(file, size)
        raise
    finally:
        os.close(file)
