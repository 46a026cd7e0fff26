"""What a running command has finished so far: an append-only file that survives `kill -9` and a torn last line."""

import errno
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, NamedTuple, Self

from filelock import FileLock, Timeout

from fer_pipeline.console import note
from fer_pipeline.dataset.rows import MANIFEST, Row, iter_rows, parse_row, write_rows
from fer_pipeline.errors import FerError, InputError, SetupError
from fer_pipeline.files import unshare, write_aside

JOURNAL = "journal.jsonl"
LOCK = ".lock"


class Entry(NamedTuple):
    """One finished item, where its line stands in the journal, and the key under which its rows are valid."""

    item: str
    offset: int
    key: str = ""


class Journal:
    """The journal of one folder, held by one process at a time (a crash leaves no lock behind).

    Each line is `{"item": NAME, "rows": [...]}`, with a `key` if the rows are to be reused only where the same key is
    asked for: an item is finished when its line is.
    """

    def __init__(self, folder: Path, name: str = JOURNAL) -> None:
        self.folder = folder
        self.path = folder / name
        self._lock = FileLock(folder / LOCK)
        self._file: FileIO | None = None
        self._reader: BinaryIO | None = None

    def __enter__(self) -> Self:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._lock.acquire(timeout=0)
        except Timeout:
            raise InputError(f"{self.folder}: another fer command is writing here: wait for it or stop it") from None
        except OSError as error:
            raise cannot_write(self.folder, error) from None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
        self._lock.release()

    def entries(self) -> Iterator[Entry]:
        """Yield the finished items.

        A torn last line is passed over, since its item was not finished, and cut off by who holds the folder: to
        others it may be one that is being written. A damaged line elsewhere is reported and passed over: what stands
        behind it still counts.
        """
        if not self.path.is_file():
            return
        offset = 0
        with self.path.open("rb") as lines:
            for number, line in enumerate(lines, start=1):
                entry = _parse(line, offset)
                if entry is not None:
                    yield entry
                elif line.endswith(b"\n"):
                    note(f"{self.path}:{number}: damaged, passed over: what it told of is not known any more")
                else:
                    if self._lock.is_locked:
                        unshare(self.path)
                        os.truncate(self.path, offset)
                    return
                offset += len(line)

    def append(self, item: str, rows: Sequence[Row], key: str = "") -> None:
        """Note that an item is finished and what became of it."""
        if self._file is None:
            unshare(self.path)
            self._file = self.path.open("ab", buffering=0)  # a full disk shows here, not when the file is closed
        line = to_line(item, rows, key)
        if self._file.write(line) != len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def rows_at(self, entry: Entry) -> list[Row]:
        """Read the rows of one finished item, by their paths."""
        if self._reader is None:
            self._reader = self.path.open("rb")
        rows = json.loads(_line_at(self._reader, entry.offset))["rows"]
        return sorted((parse_row(json.dumps(row), str(self.path)) for row in rows), key=lambda row: row.path)

    def rows_of(self, entries: Iterable[Entry]) -> Iterator[Row]:
        """Yield the rows of some finished items, one item's at a time in memory."""
        for entry in entries:
            yield from self.rows_at(entry)

    def rows(self) -> Iterator[Row]:
        """Yield the rows of all finished items, in the order they were finished."""
        entries = list(self.entries())
        return self.rows_of(entries) if entries else iter(())

    def compact(self, entries: Iterable[Entry]) -> None:
        """Keep the lines of these entries alone, in their order."""
        self.close()
        if self.path.is_file():
            with self.path.open("rb") as file:
                write_aside(self.path, (_line_at(file, entry.offset) for entry in entries))

    def finish(self, rows: Sequence[Row]) -> None:
        """Write the manifest, then drop the journal: from here on the folder is complete."""
        write_rows(self.folder, rows)
        self.drop()

    def drop(self) -> None:
        """Remove the journal; harmless if the manifest was never written."""
        self.close()
        self.path.unlink(missing_ok=True)

    def close(self) -> None:
        """Close the files, not the lock."""
        if self._file is not None:
            with suppress(OSError):  # every line was flushed; on a full disk a torn one is left, and cut off next time
                self._file.close()
            self._file = None
        if self._reader is not None:
            self._reader.close()
            self._reader = None


def to_line(item: str, rows: Sequence[Row], key: str = "") -> bytes:
    """Format the journal line of a finished item."""
    dumped = ",".join(row.to_line().rstrip("\n") for row in rows)
    valid = f'"key":{json.dumps(key)},' if key else ""
    return f'{{"item":{json.dumps(item)},{valid}"rows":[{dumped}]}}\n'.encode()


def _line_at(file: BinaryIO, offset: int) -> bytes:
    file.seek(offset)
    return file.readline()


def _parse(line: bytes, offset: int) -> Entry | None:
    """The entry of a whole line; None for a torn or damaged one."""
    try:
        found = json.loads(line) if line.endswith(b"\n") else {}
        item, rows, key = found["item"], found["rows"], found.get("key", "")
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None
    good = isinstance(item, str) and isinstance(key, str) and isinstance(rows, list)
    return Entry(item, offset, key) if good else None


def folder_of(error: OSError) -> Path:
    """Where the file lies that an error is about."""
    return Path(os.fsdecode(error.filename)).parent


def existing_rows(folder: Path) -> list[Row]:
    """Read the rows of a folder that crawls and imports add to; none if it is new."""
    return list(iter_rows(folder)) if (folder / MANIFEST).is_file() else []


def cannot_write(folder: Path, error: OSError) -> FerError:
    """Tell of a full or read-only disk, or of a file that went away while it was handed on, in one line."""
    if isinstance(error, FileNotFoundError) and error.filename and not folder_of(error).is_relative_to(folder):
        return InputError(f"{error.filename}: has gone since it was listed: put it back, or run the stages again")
    return SetupError(f"{folder}: cannot write: {error.strerror or error}: make room or name another folder")
