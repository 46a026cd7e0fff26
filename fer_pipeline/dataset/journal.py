"""What a running stage has finished so far: an append-only file that survives `kill -9` and a torn last line."""

import errno
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from filelock import FileLock, Timeout

from fer_pipeline.dataset.rows import MANIFEST, Row, iter_rows, parse_row, write_rows
from fer_pipeline.errors import FerError, InputError, SetupError
from fer_pipeline.files import write_aside

JOURNAL = "journal.jsonl"
LOCK = ".lock"


class Entry(NamedTuple):
    """One finished item and where its line stands in the journal."""

    item: str
    offset: int


class Journal:
    """The journal of one folder, held by one process at a time (a crash leaves no lock behind).

    Each line is `{"item": KEY, "rows": [...]}`: an item is finished when its line is.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / JOURNAL
        self._lock = FileLock(folder / LOCK)
        self._file: FileIO | None = None

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
        if self._file is not None:
            with suppress(OSError):  # every line was flushed; on a full disk a torn one is left, and cut off next time
                self._file.close()
            self._file = None
        self._lock.release()

    def entries(self) -> Iterator[Entry]:
        """The finished items; a torn last line is cut off, since its item was not finished."""
        if not self.path.is_file():
            return
        offset = 0
        with self.path.open("rb") as lines:
            for line in lines:
                item = _item_of(line)
                if item is None:
                    break
                yield Entry(item, offset)
                offset += len(line)
        if offset < self.path.stat().st_size:
            os.truncate(self.path, offset)

    def append(self, item: str, rows: Sequence[Row]) -> None:
        """Note that an item is finished and what became of it."""
        if self._file is None:
            self._file = self.path.open("ab", buffering=0)  # a full disk shows here, not when the file is closed
        dumped = ",".join(row.to_line().rstrip("\n") for row in rows)
        line = f'{{"item":{json.dumps(item)},"rows":[{dumped}]}}\n'.encode()
        if self._file.write(line) != len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def rows_at(self, entry: Entry) -> list[Row]:
        """The rows of one finished item."""
        return list(self.rows_of([entry]))

    def rows_of(self, entries: Iterable[Entry]) -> Iterator[Row]:
        """The rows of some finished items, one item's at a time in memory."""
        with self.path.open("rb") as file:
            for entry in entries:
                file.seek(entry.offset)
                rows = json.loads(file.readline())["rows"]
                yield from sorted(
                    (parse_row(json.dumps(row), str(self.path)) for row in rows), key=lambda row: row.path
                )

    def rows(self) -> Iterator[Row]:
        """The rows of all finished items, in the order they were finished."""
        entries = list(self.entries())
        return self.rows_of(entries) if entries else iter(())

    def finish(self, rows: Sequence[Row]) -> None:
        """Write the manifest, then drop the journal: from here on the stage is complete."""
        write_rows(self.folder, rows)
        self.drop()

    def finish_sorted(self, rows: Iterable[Row]) -> None:
        """The same for rows that come sorted by path, one at a time in memory."""
        write_aside(self.folder / MANIFEST, (row.to_line().encode() for row in rows))
        self.drop()

    def drop(self) -> None:
        """Remove the journal; harmless if the manifest was never written."""
        if self._file is not None:
            self._file.close()
            self._file = None
        self.path.unlink(missing_ok=True)


def _item_of(line: bytes) -> str | None:
    """The item of a whole line; None for a torn one."""
    try:
        entry = json.loads(line) if line.endswith(b"\n") else {}
        item, rows = entry["item"], entry["rows"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    return item if isinstance(item, str) and isinstance(rows, list) else None


def folder_of(error: OSError) -> Path:
    """Where the file lies that an error is about."""
    return Path(os.fsdecode(error.filename)).parent


def existing_rows(folder: Path) -> list[Row]:
    """The rows of a folder that crawls and imports add to; none if it is new."""
    return list(iter_rows(folder)) if (folder / MANIFEST).is_file() else []


def cannot_write(folder: Path, error: OSError) -> FerError:
    """A full or read-only disk, or a file that went away while it was handed on, told in one line."""
    if isinstance(error, FileNotFoundError) and error.filename and not folder_of(error).is_relative_to(folder):
        return InputError(f"{error.filename}: has gone since it was listed: put it back, or rebuild its folder")
    return SetupError(f"{folder}: cannot write: {error.strerror or error}: make room or name another folder")
