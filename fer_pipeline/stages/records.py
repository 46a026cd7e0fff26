"""Which files of a folder are its stage's own: what the stage may replace or remove, and nothing else.

The records are the manifest, the journal of outcomes and, while a folder is made again, `.files.jsonl` and the manifest
that waits to be renamed. Each is on disk before the file it names is, so that a kill leaves no file that nothing names.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from pathlib import Path, PurePosixPath
from typing import Any

from fer_pipeline.dataset.journal import Entry, Journal
from fer_pipeline.dataset.rows import MANIFEST, Row, Status, is_inside, iter_rows, parse_row
from fer_pipeline.errors import InputError
from fer_pipeline.files import remove_files, replace_file, write_aside, write_file
from fer_pipeline.stages.stage import Stage

OUTCOMES = "outcomes.jsonl"
FILES = ".files.jsonl"
WAITING = f".{MANIFEST}.part"  # rows whose files are being put in place
HALF = re.compile(r"\.(?P<stem>[^.]+?)(-\d+)?\.[A-Za-z0-9]+(\.[0-9a-f]{8})?\.part")  # what a killed writer leaves


class Records:
    """The records of one folder, held by its journal's lock."""

    def __init__(self, folder: Path, stage: Stage[Any], journal: Journal) -> None:
        self._folder, self._stage, self._journal = folder, stage, journal

    def open(self, *, again: bool) -> set[str] | None:
        """Note the files there are, and that the folder is unfinished from here on.

        Returns the items of the folder's last finished state, None if it had none. With `again` no outcome is kept.
        """
        finished = (self._folder / MANIFEST).is_file()
        before = {str(row.attributes.get("moved_from", row.path)) for row in self._rows(MANIFEST)}
        if self._stage.process_image is not None:
            before = {entry.item for entry in self._journal.entries()}
        names = set(self.names())
        if names:
            write_aside(self._folder / FILES, (f"{json.dumps(name)}\n".encode() for name in sorted(names)))
        for name in (MANIFEST, WAITING):
            (self._folder / name).unlink(missing_ok=True)
        if again:
            self._journal.drop()
        return before if finished else None

    def close(self, rows: Iterable[Row], entries: Iterable[Entry], link: Callable[[Row], None] | None) -> None:
        """Write the manifest of rows that come sorted by path; put files in place, remove those of no kept row."""
        kept: set[str] = set()
        stems: dict[str, set[str]] = {}  # of each folder: what its files are called

        def lines() -> Iterator[bytes]:
            for row in rows:
                if row.status is Status.KEPT:
                    kept.add(self._stage.locate(row))
                place = PurePosixPath(self._stage.locate(row))
                stems.setdefault(str(place.parent), set()).add(place.stem.partition("-")[0])
                yield row.to_line().encode()

        waiting = self._folder / WAITING
        write_file(waiting, lines(), sync=True)
        if link is not None:
            for row in self._rows(WAITING):
                if row.status is Status.KEPT:
                    link(row)
        if self._stage.describe is not None:
            self._stage.describe(self._folder, (row for row in self._rows(WAITING) if row.status is Status.KEPT))
        self._remove_halves(stems)
        remove_files(self._folder, sorted(set(self._noted()) - kept))
        self._journal.compact(entries)
        replace_file(waiting, self._folder / MANIFEST)
        self.forget()

    def forget(self) -> None:
        """Drop what is only noted while a folder is being made."""
        (self._folder / FILES).unlink(missing_ok=True)

    def are_complete(self) -> bool:
        """Whether every file that the manifest names is there: somebody may have deleted some by hand."""
        kept = (row for row in self._rows(MANIFEST) if row.status is Status.KEPT)
        return all((self._folder / self._stage.locate(row)).is_file() for row in kept)

    def names(self) -> Iterator[str]:
        """Yield the files of the folder, finished or not, by their relative names; some more than once."""
        yield from self._noted()
        for name in (MANIFEST, WAITING):
            yield from (self._stage.locate(row) for row in self._rows(name) if row.status is Status.KEPT)
        if self._stage.process_image is not None and self._stage.finalize_rows is None:
            yield from (row.path for row in self._journal.rows() if row.status is Status.KEPT)

    def _rows(self, name: str) -> Iterator[Row]:
        """The rows of a manifest; of one that waits, those that were written whole."""
        if name == MANIFEST:
            yield from iter_rows(self._folder) if (self._folder / MANIFEST).is_file() else ()
            return
        path = self._folder / name
        if path.is_file():
            with path.open("rb") as lines:
                yield from (parse_row(line, str(path)) for line in lines if line.endswith(b"}\n"))

    def _noted(self) -> Iterator[str]:
        path = self._folder / FILES
        return _read_names(path) if path.is_file() else iter(())

    def _remove_halves(self, stems: dict[str, set[str]]) -> None:
        """Remove files that a killed process had begun under a name that only it gives: `.NAME.part`."""
        for place, names in stems.items():
            folder = self._folder / place
            halves = folder.glob(".*.part") if folder.is_dir() else ()
            for path in [path for path in halves if (found := HALF.fullmatch(path.name)) and found["stem"] in names]:
                path.unlink(missing_ok=True)


def _read_names(path: Path) -> Iterator[str]:
    for number, line in enumerate(path.read_bytes().splitlines(), start=1):
        try:
            name = json.loads(line)
        except ValueError:
            name = None
        if not isinstance(name, str) or not is_inside(name):
            raise InputError(f"{path}:{number}: names no file of this folder: remove the line")
        yield name


def recorded_files(folder: Path, stage: Stage[Any]) -> Iterator[str]:
    """Yield the files that a stage's folder has by its records, without holding it."""
    with closing(Journal(folder, OUTCOMES)) as journal:
        yield from Records(folder, stage, journal).names()
