"""One row per image, and the JSON Lines file that holds the rows of a finished stage."""

import re
from collections.abc import Iterable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from fer_pipeline.errors import InputError
from fer_pipeline.files import write_aside
from fer_pipeline.vision.boxes import Box, Point

MANIFEST = "manifest.jsonl"
UNLABELLED = "unlabelled"
PLAIN = re.compile(r"[\w-][^/\\:\0]*(/[\w-][^/\\:\0]*)*")  # a path no part of which begins with a dot
WEBCAM = "webcam"  # the engine of what `fer collect` brings


class Status(StrEnum):
    """What became of an image in a stage."""

    KEPT = "kept"
    DROPPED = "dropped"  # judged, and not wanted: `reason` is a short code
    FAILED = "failed"  # could not be judged: `reason` is the name of the error


class Row(BaseModel):
    """What is known of one image; `path` is relative to the stage's folder and, from unify on, its lineage.

    `box` is the face in the photo in pixels, `landmarks` its 68 points (order of iBUG 300-W) in pixels of the photo.
    `group` ties images a split must not part; `attributes` holds what stages measured, apart from the thresholds.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str
    label: str | None = None
    source: dict[str, Any] = {}
    sha256: str = ""
    status: Status = Status.KEPT
    reason: str = ""
    box: Box | None = None
    landmarks: tuple[Point, ...] | None = None
    group: str | None = None
    split: Literal["train", "test"] | None = None
    attributes: dict[str, Any] = {}

    def replace(self, **changes: Any) -> "Row":
        """A copy with some fields changed."""
        return self.model_copy(update=changes)

    def dropped(self, reason: str, **attributes: Any) -> "Row":
        """A copy that says why this image goes no further."""
        return self.replace(status=Status.DROPPED, reason=reason, attributes={**self.attributes, **attributes})

    def to_line(self) -> str:
        """One line of JSON; unset fields are left out, so that a manifest stays readable."""
        return self.model_dump_json(exclude_defaults=True) + "\n"


def session_of(row: Row) -> str | None:
    """The session before a camera that a picture is of; None for pictures from elsewhere."""
    return str(row.source.get("name")) if row.source.get("engine") == WEBCAM else None


def parse_row(line: str | bytes, where: str) -> Row:
    """Read one manifest line; `where` names file and line for the error."""
    try:
        row = Row.model_validate_json(line)
    except ValidationError as error:
        problem = error.errors()[0]
        field = ".".join(str(part) for part in problem["loc"]) or "line"
        raise InputError(f"{where}: {field}: {problem['msg']}: fix the line or rebuild the folder") from None
    if not is_inside(row.path):
        raise InputError(f"{where}: path {row.path!r} leads out of its folder: fix the line")
    return row


def is_inside(path: str) -> bool:
    """Whether a relative path stays below the folder it is joined to."""
    if PLAIN.fullmatch(path):  # nearly all, in a tenth of the time
        return True
    parts = Path(path).parts
    return bool(parts) and ".." not in parts and not Path(path).is_absolute() and "\0" not in path


def iter_rows(folder: Path) -> Iterator[Row]:
    """The rows of a finished stage, one at a time, in the order of their paths."""
    if not (folder / MANIFEST).is_file():
        raise InputError(f"{folder} holds no finished stage ({MANIFEST} is missing): run the stage that makes it first")
    for where, line in manifest_lines(folder):
        yield parse_row(line, where)


def manifest_lines(folder: Path) -> Iterator[tuple[str, bytes]]:
    """The lines of a manifest, each with its file and number for an error; none if it is missing."""
    path = folder / MANIFEST
    try:
        with path.open("rb") as lines:
            yield from ((f"{path}:{number}", line) for number, line in enumerate(lines, start=1))
    except FileNotFoundError:
        return
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}): fix it or rebuild the folder") from None


def read_rows(folder: Path) -> list[Row]:
    """All rows of a finished stage."""
    return list(iter_rows(folder))


def kept_rows(folder: Path) -> Iterator[Row]:
    """The rows of the images that go on to the next stage."""
    return (row for row in iter_rows(folder) if row.status is Status.KEPT)


def write_rows(folder: Path, rows: Iterable[Row]) -> None:
    """Write the manifest of a complete stage, sorted by path, in one atomic step."""
    write_aside(folder / MANIFEST, (row.to_line().encode() for row in sorted(rows, key=lambda row: row.path)))
