"""Write files so that no reader ever sees half of one, and replace none that somebody else made."""

import csv
import hashlib
import io
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import Any

from fer_pipeline.errors import InputError, UsageError

MARK = "fer-pipeline"  # in the metadata of every page and picture
MARKED = (  # how that reads in a page, a PNG, a JPEG, an SVG and a PDF; a person's own text about fer has none of these
    f'<meta name="generator" content="{MARK} '.encode(),
    b"Software\0" + MARK.encode(),
    b"\xff\xfe\0\x0e" + MARK.encode(),
    f"<dc:title>{MARK}</dc:title>".encode(),
    f"/Creator ({MARK})".encode(),
)
WRITER = "FER_WRITER"  # in the environment of a process that may write a file while another writes the same: its mark
BLOCK = 65_536  # bytes that are written at once


def write_aside(path: Path, chunks: Iterable[bytes], *, sync: bool = True) -> None:
    """Write a file under another name and rename it, so that no reader ever sees half of it.

    `sync` forces it to disk first, so that not even a power cut leaves an empty file under the final name; images,
    which are many and can be made again, go without.
    """
    aside = aside_of(path)
    write_file(aside, chunks, sync=sync)
    replace_file(aside, path)


def write_file(path: str | Path, chunks: Iterable[bytes], *, sync: bool) -> None:
    """Write a file in place; `sync` forces it to disk."""
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_CLOEXEC", 0), 0o666)
    try:
        for block in _blocks(chunks):
            left = memoryview(block)
            while left:
                left = left[os.write(file, left) :]
        if sync:
            os.fsync(file)
    finally:
        os.close(file)


def replace_file(aside: str | Path, path: Path) -> None:
    """Give a file its final name."""
    os.replace(aside, path)  # noqa: PTH105


def list_named(paths: Iterable[Path], list_below: Callable[[Path], list[Path]], noun: str, remedy: str) -> list[Path]:
    """List the files named and, by `list_below`, those of the folders named.

    Raises InputError with `remedy` for what does not exist, and where nothing is found.
    """
    given = list(paths)
    files: list[Path] = []
    for path in given:
        if path.is_dir():
            files += list_below(path)
        elif path.is_file():
            files.append(path)
        else:
            raise InputError(f"{path}: no such file or folder: {remedy}")
    if not files:
        raise InputError(f"{', '.join(map(str, given))}: holds no {noun}: {remedy}")
    return files


def unshare(path: Path) -> None:
    """Before a file is written in place: if it has another name too, as in a backup of hard links, go on in a copy."""
    if path.is_file() and path.stat().st_nlink > 1:
        write_aside(path, [path.read_bytes()])


def remove_files(folder: Path, names: Iterable[str]) -> None:
    """Remove files below a folder by their relative names, and the folders that are empty without them."""
    parents = set()
    for name in names:
        path = folder / name
        path.unlink(missing_ok=True)
        parents |= {parent for parent in path.parents if parent != folder and parent.is_relative_to(folder)}
    for parent in sorted(parents, key=lambda path: len(path.parts), reverse=True):
        with suppress(OSError):  # it still holds something, or is gone
            parent.rmdir()


def _blocks(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The same bytes in fewer pieces, where they are small."""
    gathered = bytearray()
    for chunk in chunks:
        if not gathered and len(chunk) >= BLOCK:
            yield chunk
            continue
        gathered += chunk
        if len(gathered) >= BLOCK:
            yield bytes(gathered)
            gathered.clear()
    yield bytes(gathered)


def aside_of(path: Path) -> str:
    """Where a file is written before it bears its name: under one name for all runs, so that none leaves another's."""
    folder, name = os.path.split(path)  # texts and bare calls: a crawl does this for each picture
    return os.path.join(folder, f".{name}{os.environ.get(WRITER, '')}.part")  # noqa: PTH118


# How a cell begins that a spreadsheet would compute; a signed number is none.
LIVE = re.compile(r"'*(?:[=@\t\r]|[+-](?!\d*\.?\d+(?:e[+-]?\d+)?$))")


def to_cell(value: Any) -> Any:
    """A value as a cell of a table: a text that a spreadsheet would compute begins with a quote, which it shows."""
    return f"'{value}" if isinstance(value, str) and LIVE.match(value) else value


def from_cell(text: str) -> str:
    """What `to_cell` was given."""
    return text[1:] if text.startswith("'") and LIVE.match(text) else text


class TableReader(csv.DictReader):  # type: ignore[type-arg]  # has no [str] before Python 3.12
    """Reads the rows of a table that fer wrote."""

    def __next__(self) -> dict[str | Any, str | Any]:
        return {key: from_cell(cell) if isinstance(cell, str) else cell for key, cell in super().__next__().items()}


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write a table aside and rename it."""
    text = io.StringIO(newline="")
    csv.writer(text).writerows(map(to_cell, row) for row in chain([header], rows))
    write_aside(path, [text.getvalue().encode()])


def hash_file(path: Path) -> str:
    """SHA-256 of a file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_own_file(path: Path, begins: bytes = b"") -> bool:
    """Whether fer wrote a page, picture or table: it names itself near the start, or begins as only its own do."""
    try:
        with path.open("rb") as file:
            head = file.read(4096)
    except OSError:
        return False
    return any(mark in head for mark in MARKED) or (begins != b"" and head.startswith(begins))


def check_target(path: Path, *, force: bool = False, begins: bytes = b"") -> None:
    """Refuse to replace a file that fer did not write, unless forced; `begins`: how a table of fer's own begins."""
    if path.is_dir():
        raise UsageError(f"{path}: is a folder: name a file")
    if path.exists() and not force and not is_own_file(path, begins):
        raise UsageError(f"{path}: is there already and fer did not write it: name another file, or pass --force")
