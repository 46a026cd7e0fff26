"""What the files of a raw folder are called and where they go; all later stages keep both."""

import hashlib
import os
import re
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from fer_pipeline.dataset.rows import Row, Status

FULL = 4096  # files in a class folder, from which on more go into folders below it
USUAL = 12  # hex digits of a SHA-256 in a name: 48 bits, which two files share if somebody wants them to
# The stem of a name that raw folders give: the start of the bytes' SHA-256, all of it where others had the same start,
# and perhaps the number of a face.
GIVEN_NAME = re.compile(r"(?P<digits>[0-9a-f]{12}|[0-9a-f]{64})(-\d+)?")


class Names:
    """Files are called by the first 48 bits of their SHA-256, by all of it where others are; suffixes do not count,
    since later stages change them."""

    def __init__(self, rows: Iterable[Row]) -> None:
        known = (row for row in rows if row.sha256 or row.status is not Status.KEPT)
        self._taken = {(row.path.partition("/")[0], PurePosixPath(row.path).stem): row.sha256 for row in known}

    def find(self, label: str, sha256: str) -> str:
        """The stem for these bytes in a class, which nothing else is called by from now on."""
        name = sha256[:USUAL] if self._taken.get((label, sha256[:USUAL]), sha256) == sha256 else sha256
        self._taken[label, name] = sha256
        return name


class Places:
    """Where the files of a raw folder go: into the folder of their class, and below it once that is full.

    So a small class is one folder to look at, and of a large one no folder holds more than a few thousand entries, up
    to a million photos a class.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._names: dict[str, set[str]] = {}  # of each class: what its folder holds, or has been given a place for

    def find(self, label: str, name: str) -> str:
        """The path below the folder for a file, named by its content; where it is already, if it is."""
        flat, below = f"{label}/{name}", f"{label}/{name[:2]}/{name}"
        if label not in self._names:  # listed once: the process that asks is the only one that writes there
            there = self.folder / label
            self._names[label] = set(os.listdir(there)) if there.is_dir() else set()  # noqa: PTH208
        names = self._names[label]
        if name in names:
            return flat
        if name[:2] in names and (self.folder / below).exists():
            return below
        if len(names) >= FULL:
            names.add(name[:2])
            return below
        names.add(name)
        return flat


def is_there(folder: Path, row: Row) -> bool:
    """Whether a file that a journal says was written came to the disk: a power cut may leave it empty, or none."""
    path = folder / row.path
    return row.status is not Status.KEPT or (path.is_file() and path.stat().st_size > 0)


def origins_of(row: Row) -> list[str]:
    """What a crawl (the URL) or an import (source and name there) knows a row by."""
    url, file = row.source.get("url"), row.source.get("file")
    return [*([str(url)] if url else []), *([f"{row.source.get('name')} {file}"] if file else [])]


def origin_of(row: Row) -> str:
    """The first of these; the path of a row that came from nowhere."""
    return next(iter(origins_of(row)), row.path)


def item_of(row: Row) -> str:
    """What the journal of a raw folder knows an image by."""
    return f"{row.label} {row.source['url']}" if row.source.get("url") else origin_of(row)


def mark_same_bytes(folder: Path, rows: Iterable[Row]) -> list[Row]:
    """Of rows with the same bytes in a class the first stays; the others say so, and lose a file of their own.

    They had two names only if their formats are told by the URL alone. A row whose path another picture has, fails.
    """
    paths: set[str] = set()
    first: dict[tuple[str, str], str] = {}  # class folder and bytes, and where they lie
    marked: list[Row] = []
    for row in rows:
        label, own = row.path.partition("/")[0], path_without_file(row.path.rpartition("/")[0], origin_of(row))
        held = first.get((label, row.sha256)) if row.status is Status.KEPT else None
        if held is not None:
            if held != row.path and row.path not in paths:
                (folder / row.path).unlink(missing_ok=True)
            marked.append(row.dropped("same_bytes", copy_of=held).replace(path=own))
        elif row.path in paths and row.status is Status.KEPT:  # the file of that name is another picture
            marked.append(row.replace(path=own, status=Status.FAILED, reason="name_taken"))
        else:
            paths.add(row.path)
            if row.status is Status.KEPT and row.sha256:
                first[label, row.sha256] = row.path
            marked.append(row)
    return marked


def path_without_file(folder: str, origin: str) -> str:
    """The path of a row that has no file: unique to where it came from."""
    return f"{folder}/{hashlib.sha256(origin.encode()).hexdigest()[:USUAL]}"


def photo_of(path: str) -> str:
    """What a photo is called in every folder: `smile/0123456789ab-2.png` is a face of `smile/0123456789ab`."""
    folder, _, name = path.rpartition("/")
    stem = name.partition(".")[0].partition("-")[0]
    return f"{folder}/{stem}" if folder else stem


def photo_path(path: str) -> str:
    """Return the path of a crop's photo: `smile/01ab-2.png` was cut out of `smile/01ab.jpg`."""
    return f"{photo_of(path)}.jpg"
