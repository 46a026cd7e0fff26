"""What people decided by eye about single images: `decisions.csv` beside the stages' folders, an input of `split`.

A line a decision. The last one on an image counts, and `undo` takes it back. `review` alone writes it, no stage does.
"""

import csv
import hashlib
import io
import json
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from pydantic import TypeAdapter, ValidationError

from fer_pipeline.config.schema import Label
from fer_pipeline.dataset.rows import is_inside
from fer_pipeline.errors import InputError
from fer_pipeline.files import from_cell, to_cell
from fer_pipeline.vision.boxes import Box

DECISIONS = "decisions.csv"
HEADER = ("time", "path", "action", "label", "box", "by")
# keep: seen, stays as the stages say; restore: bring back what a stage dropped; undo: the decision before it counts.
ACTIONS = ("keep", "drop", "move", "restore", "undo")
BROUGHT = {"move", "restore"}  # bring an image back that a stage dropped, where one did
LARGEST = 100_000.0  # pixels
ENDS = (b"\n", b"\r")  # of a whole line, whatever wrote it
_LABEL: TypeAdapter[str] = TypeAdapter(Label)


class Decision(NamedTuple):
    """One line; `path` is an image's in any stage's folder, `box` its face in pixels of the photo, drawn by hand."""

    path: str
    action: str
    label: str = ""
    box: Box | None = None
    by: str = ""
    time: str = ""
    line: int = 0  # in the file, from 2 on

    @property
    def image(self) -> str:
        """What the image is called in every folder."""
        return image_of(self.path)


def image_of(path: str) -> str:
    """A path without its suffix, which alone changes from stage to stage; faces of one photo keep their numbers."""
    return str(PurePosixPath(path).with_suffix(""))


def check(decision: Decision, where: str) -> Decision:
    """The decision, if it is one that can be written and read again; `where` opens the error."""
    path, action, label, box = decision.path, decision.action, decision.label, decision.box
    wrong = {
        f"path {path[:80]!r} is not one below a folder": not is_inside(path) or len(path) > 1000 or _is_odd(path),
        f"action {action[:20]!r} is none of {', '.join(ACTIONS)}": action not in ACTIONS,
        f"label {label[:80]!r} is none that a folder can have": action == "move" and not _is_label(label),
        "a label belongs to `move` alone": action != "move" and label != "",
        "a box belongs to `restore` and `move` alone": box is not None and action not in BROUGHT,
        "box is not `left top right bottom` in pixels": box is not None and not _is_box(box),
        "by is too long, or no text": len(decision.by) > 100 or _is_odd(decision.by),
    }
    for problem in (told for told, bad in wrong.items() if bad):
        raise InputError(f"{where}: {problem}: fix it")
    return decision


def _is_odd(text: str) -> bool:
    """Whether a text would not stay on one line, or hides what it says."""
    return not text.isprintable()


def _is_box(box: Box) -> bool:
    """A face may reach beyond its photo."""
    return -LARGEST <= box.left < box.right <= LARGEST and -LARGEST <= box.top < box.bottom <= LARGEST


def _is_label(label: str) -> bool:
    try:
        return not _is_odd(_LABEL.validate_python(label))
    except ValidationError:
        return False


def to_line(decision: Decision) -> bytes:
    """The line of a decision, as bytes of UTF-8."""
    box = "" if decision.box is None else " ".join(f"{value:g}" for value in decision.box)
    text = io.StringIO(newline="")
    fields = (decision.time, decision.path, decision.action, decision.label, box, decision.by)
    csv.writer(text, lineterminator="\n").writerow(map(to_cell, fields))
    return text.getvalue().encode()


def _parse(line: bytes, where: str, number: int) -> Decision:
    try:
        (fields,) = csv.reader([line.decode().rstrip("\r\n")], strict=True)
        time, path, action, label, box, by = map(from_cell, fields)
        values = [float(value) for value in box.split()]
        drawn = Box(*values) if values else None
    except (ValueError, TypeError, csv.Error):
        raise InputError(f"{where}: not a line of {','.join(HEADER)}: fix or remove it") from None
    return check(Decision(path, action, label, drawn, by, time, number), where)


def parse_decisions(data: bytes, where: str) -> list[Decision]:
    """All lines of a file; a last one that was torn by a kill is none. Raises InputError with file and line."""
    lines = data.removeprefix(b"\xef\xbb\xbf").splitlines(keepends=True)
    if not lines or (len(lines) == 1 and not lines[0].endswith(ENDS)):
        return []
    if lines[0].strip() != ",".join(HEADER).encode():
        raise InputError(f"{where}:1: does not begin with {','.join(HEADER)}: fix or rename the file")
    return parse_lines(lines[1:], where, 2)


def parse_lines(lines: list[bytes], where: str, first: int) -> list[Decision]:
    """Lines from the `first` of a file on; a last one without an end counts if it is whole."""
    found = []
    for number, line in enumerate(lines, start=first):
        try:
            if line.strip():
                found.append(_parse(line, f"{where}:{number}", number))
        except InputError:
            if line.endswith(ENDS):
                raise
    return found


def effective_decisions(decisions: Iterable[Decision]) -> dict[str, Decision]:
    """What counts for each image; an image whose decisions were all taken back has none."""
    held: dict[str, list[Decision]] = {}
    for one in decisions:
        stack = held.setdefault(one.image, [])
        if one.action != "undo":
            stack.append(one)
        elif stack:
            stack.pop()
    return {image: stack[-1] for image, stack in held.items() if stack}


def read_decisions(home: Path) -> dict[str, Decision]:
    """What counts for each image of the folders below `home`; nothing where there are no decisions."""
    return effective_decisions(load_decisions(home))


def load_decisions(home: Path) -> list[Decision]:
    """All lines of the file below `home`, those that count no more too."""
    return parse_decisions(read_bytes(home / DECISIONS), str(home / DECISIONS))


def read_bytes(path: Path) -> bytes:
    """What a file holds; nothing where there is none."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}): fix or remove it") from None


def hash_decisions(home: Path) -> str:
    """Changes with what a split would make of the decisions, not with who looked at what; empty if there is none."""
    counting = [one for one in read_decisions(home).values() if one.action != "keep"]
    told = sorted((one.image, one.action, one.label, one.box or ()) for one in counting)
    return hashlib.sha256(json.dumps(told).encode()).hexdigest() if told else ""
