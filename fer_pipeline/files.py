"""Write files so that no reader ever sees half of one: under another name first, then renamed."""

import csv
import hashlib
import io
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

WRITER = "FER_WRITER"  # in the environment of a process that may write a file while another writes the same: its mark
BLOCK = 65_536  # bytes that are written at once


def write_aside(path: Path, chunks: Iterable[bytes], *, sync: bool = True) -> None:
    """Write a file under another name and rename it, so that nobody ever sees half of it.

    `sync` forces it to disk first, so that not even a power cut leaves an empty file under the final name; images,
    which are many and can be made again, go without.
    """
    aside = aside_of(path)
    file = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)
    try:
        for block in _blocks(chunks):
            left = memoryview(block)
            while left:
                left = left[os.write(file, left) :]
        if sync:
            os.fsync(file)
    finally:
        os.close(file)
    os.replace(aside, path)  # noqa: PTH105


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


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write a table aside and rename it."""
    text = io.StringIO(newline="")
    csv.writer(text).writerows([header, *rows])
    write_aside(path, [text.getvalue().encode()])


def hash_file(path: Path) -> str:
    """SHA-256 of a file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
