"""What was taken out of a raw folder for good, known by hashes alone, so that no crawl or import brings it back."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fer_pipeline.dataset.naming import origins_of, photo_of
from fer_pipeline.dataset.rows import Row
from fer_pipeline.errors import InputError
from fer_pipeline.files import write_aside

BLOCKLIST = "blocklist.jsonl"


@dataclass(frozen=True)
class Blocklist:
    """Hashes of where images came from (`origins`), of their bytes (`contents`), and the stems of their names."""

    origins: frozenset[str] = frozenset()
    contents: frozenset[str] = frozenset()
    photos: frozenset[str] = frozenset()

    def knows_origin(self, origin: str) -> bool:
        """Whether what lies at a URL, or bears a name in a source, was forgotten."""
        return bool(self.origins) and hash_origin(origin) in self.origins

    def knows_row(self, row: Row) -> bool:
        """Whether a row of any stage is of a forgotten image."""
        return row.sha256 in self.contents if row.sha256 else photo_of(row.path) in self.photos

    def __or__(self, other: "Blocklist") -> "Blocklist":
        return Blocklist(self.origins | other.origins, self.contents | other.contents, self.photos | other.photos)

    def as_dict(self) -> dict[str, list[str]]:
        """As plain sorted lists, for JSON."""
        return {name: sorted(getattr(self, name)) for name in ("origins", "contents", "photos")}


def read_blocklist(folder: Path) -> Blocklist:
    """All that was forgotten of a raw folder; nothing where the note is missing."""
    path = folder / BLOCKLIST
    if not path.is_file():
        return Blocklist()
    found = Blocklist()
    for number, line in enumerate(path.read_bytes().splitlines(), start=1):
        found |= parse_blocklist(line, f"{path}:{number}")
    return found


def parse_blocklist(text: bytes, where: str) -> Blocklist:
    """One line of the note; `where` names it for the error."""
    try:
        values = json.loads(text)
        lists = [_texts(values[name]) for name in ("origins", "contents", "photos")]
    except (ValueError, TypeError, KeyError, RecursionError):
        raise InputError(f"{where}: not a line of {BLOCKLIST}: fix or remove it") from None
    return Blocklist(*lists)


def _texts(values: Any) -> frozenset[str]:
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise TypeError
    return frozenset(values)


def extend_blocklist(folder: Path, more: Blocklist) -> None:
    """Add to the note beside a raw folder, unless it says so already."""
    path = folder / BLOCKLIST
    known = read_blocklist(folder)
    if known | more != known:
        before = [path.read_bytes()] if path.is_file() else []
        write_aside(path, [*before, json.dumps(more.as_dict(), ensure_ascii=False).encode() + b"\n"])


def blocklist_of(rows: Iterable[Row]) -> Blocklist:
    """The hashes that keep some rows of a raw folder from coming back."""
    rows = list(rows)
    return Blocklist(
        frozenset(hash_origin(name) for row in rows for name in (*origins_of(row), *_names(row))),
        frozenset(row.sha256 for row in rows if row.sha256),
        frozenset(photo_of(row.path) for row in rows),
    )


def _names(row: Row) -> set[str]:
    """What a person may call an imported image by, so that the same command finishes a forgetting that was killed."""
    file = str(row.source.get("file", ""))
    return {file, file.rpartition("/")[2]} - {""}


def hash_origin(origin: str) -> str:
    """SHA-256 of a URL or name, in hex."""
    return hashlib.sha256(origin.encode(errors="backslashreplace")).hexdigest()
