"""FER2013 (Goodfellow et al. 2013) in the shapes people have it, and the votes of FERPlus (Barsoum et al. 2016)."""

import csv
import io
from collections.abc import Iterator
from functools import partial
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import IO

import numpy as np
import PIL.Image

from fer_pipeline.console import note
from fer_pipeline.dataset.class_folders import Part, part_of, read_tree, to_label
from fer_pipeline.errors import InputError
from fer_pipeline.sources.archives import ERRORS, broken, iter_members
from fer_pipeline.sources.importers import Found
from fer_pipeline.sources.label_list import find_winner

LABELS = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")  # in the order of their codes
SIDE = 48
MAX_MEMBER = 30_000_000
MAX_LINE = 100_000  # characters; 2,304 values take a tenth
MAX_BLANK = 10_000  # empty lines on end
VOTES = "fer2013new.csv"
# What FERPlus calls its columns; the last two are no classes.
VOTED = {
    "neutral": "neutral", "happiness": "happy", "surprise": "surprise", "sadness": "sad", "anger": "angry",
    "disgust": "disgust", "fear": "fear", "contempt": "contempt", "unknown": None, "nf": None,
}  # fmt: skip
SHAPES = "fer2013.csv, icml_face_data.csv or train.csv, folders as in train/happy/1.jpg, or an archive of either"


def find_fer2013(source: Path, votes: Path | None = None) -> Iterator[Found]:
    """Find the pictures of FER2013 in a CSV, a folder or an archive (tar or zip).

    `votes` is FERPlus' list; by default the one beside a CSV. Both official test parts become `test`, and
    `source.usage` tells them apart. Raises InputError for what is none of these.
    """
    if source.is_dir():
        return _from_folder(source, votes)
    if not source.is_file():
        raise InputError(f"{source}: no such file: name {SHAPES}")
    return _from_csv(source, votes) if source.suffix.lower() == ".csv" else _from_archive(source, votes)


def _from_folder(source: Path, votes: Path | None) -> Iterator[Found]:
    lists = [
        path for path in sorted(source.rglob("*")) if path.suffix.lower() == ".csv" and "pixels" in _titles_of(path)
    ]
    best = [path for path in lists if "usage" in _titles_of(path)][:1] or lists
    if best:
        return chain.from_iterable(_from_csv(path, votes) for path in best)
    return _from_class_folders(source)


def _from_class_folders(source: Path) -> Iterator[Found]:
    tree = read_tree(source)
    parts = [one for one in tree.members if one.part is not None and one.label is not None]
    if not parts:
        raise InputError(
            f"{source}: holds no USAGE/CLASS/image files as in train/happy/1.jpg: name the folder above them"
        )
    left = sorted({one.name.partition("/")[0] for one in tree.members} - {one.name.partition("/")[0] for one in parts})
    if left:
        note(f"import: passed over, since they name no part: {', '.join(left)}")
    return (Found(one.name, one.path, one.label, one.part, attributes={"usage": one.usage}) for one in parts)


def _from_archive(source: Path, votes: Path | None) -> Iterator[Found]:
    found = 0
    try:
        for one in _read_archive(source, votes):
            found += 1
            yield one
    except ERRORS as error:
        raise broken(source, error) from None
    if not found:
        raise InputError(f"{source}: holds no USAGE/CLASS/image files as in train/happy/1.jpg: name another archive")


def _read_archive(source: Path, votes: Path | None) -> Iterator[Found]:
    """The pictures of the first list of pixels, or of the class folders before it."""
    for member in iter_members(source):
        if member.name.lower().endswith(".csv"):
            titles = _peek(member.file)
            if "pixels" in titles:
                yield from _read_csv(member.file, titles, f"{source}:{member.name}", votes)
                return
        elif member.size <= MAX_MEMBER:
            one = _sort_in(member.name, member.file.read())
            if one is not None:
                yield one


def _sort_in(name: str, data: bytes) -> Found | None:
    """The label and part of `.../train/happy/1.jpg`; None for what is elsewhere."""
    parts = PurePosixPath(name).parts[-3:]
    split = part_of(parts[0]) if len(parts) == 3 else None
    if split is None or any(part.startswith(".") for part in parts[1:]):
        return None
    return Found("/".join(parts), data, to_label(parts[1]), split, attributes={"usage": parts[0]})


def _from_csv(source: Path, votes: Path | None) -> Iterator[Found]:
    beside = source.with_name(VOTES)
    with source.open("rb") as file:
        yield from _read_csv(file, _peek(file), str(source), votes or (beside if beside.is_file() else None))


def _peek(file: IO[bytes]) -> list[str]:
    """The titles of the columns: the first line, without blanks, in small letters; the file is read on from there."""
    line = file.readline(MAX_LINE).decode("utf-8-sig", errors="replace")
    return [title.strip().strip('"').lower() for title in line.split(",")]


def _titles_of(path: Path) -> list[str]:
    with path.open("rb") as file:
        return _peek(file)


def _read_csv(file: IO[bytes], titles: list[str], where: str, votes: Path | None) -> Iterator[Found]:
    """Read the lines after the titles; `where` names the list for errors."""
    if "pixels" not in titles:
        raise InputError(f"{where}: the first line must name emotion,pixels,Usage, or pixels alone: name {SHAPES}")
    lines = _decode(iter(partial(file.readline, MAX_LINE), b""), where)
    reader = csv.DictReader(lines, fieldnames=titles)
    name = "" if "usage" in titles else f"{PurePosixPath(where).name} "  # train.csv and test.csv may both be brought
    polls = _read_votes(votes) if votes is not None else None
    try:
        for number, record in enumerate(reader, start=2):
            one = _from_record(record, f"{where}:{number}", f"{name}line {number}")
            yield one if polls is None else _vote(one, next(polls, None), f"{votes}:{number}")
    except csv.Error as error:
        raise InputError(f"{where}:{reader.line_num + 1}: {error}: fix or remove the line") from None


def _decode(lines: Iterator[bytes], where: str) -> Iterator[str]:
    blank = 0
    for line in lines:
        blank = 0 if line.strip() else blank + 1
        if blank > MAX_BLANK:
            raise InputError(f"{where}: goes on with empty lines: name {SHAPES}")
        yield line.decode(errors="replace")


def _from_record(record: dict[str, str | None], where: str, origin: str) -> Found:
    usage = record.get("usage")
    try:
        label = LABELS[_code(record["emotion"])] if "emotion" in record else None
        pixels = np.array(str(record["pixels"]).split(), dtype=np.uint8).reshape(SIDE, SIDE)
    except (ValueError, IndexError, KeyError, TypeError, OverflowError):
        raise InputError(f"{where}: not an emotion 0-6, 2304 grey values and a Usage: fix or remove the line") from None
    split: Part | None = part_of(usage or "")
    if "usage" in record and split is None:
        raise InputError(f"{where}: not an emotion 0-6, 2304 grey values and a Usage: fix or remove the line")
    buffer = io.BytesIO()
    PIL.Image.fromarray(pixels).save(buffer, "PNG")
    return Found(origin, buffer.getvalue(), label, split, attributes={"usage": usage.strip()} if usage else {})


def _code(text: str | None) -> int:
    code = int(str(text))
    if code < 0:
        raise ValueError
    return code


def _read_votes(path: Path) -> Iterator[dict[str, str | None]]:
    """Yield the lines of FERPlus' list, which are in the order of the official CSV."""
    try:
        with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
            reader = csv.DictReader(file)
            reader.fieldnames = [title.strip().lower() for title in reader.fieldnames or ()]
            if not {"usage", "neutral", "happiness", "nf"} <= set(reader.fieldnames):
                raise InputError(f"{path}: no votes of FERPlus: name its {VOTES}")
            yield from reader
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}): name {VOTES} of FERPlus") from None


def _vote(one: Found, poll: dict[str, str | None] | None, where: str) -> Found:
    """The picture with the class that most gave it; without one for a tie, or if most saw no face or could not tell."""
    if poll is None or part_of(str(poll["usage"])) != one.split:
        raise InputError(f"{where}: is of another list than the pictures: name the official fer2013.csv and {VOTES}")
    counts = {name: int(text) for name in VOTED if (text := str(poll.get(name) or "0").strip()).isdigit()}
    label = VOTED.get(find_winner(counts) or "")
    votes = {VOTED[name] or name: count for name, count in counts.items() if count}
    return Found(one.origin, one.data, label, one.split, one.group, one.attributes | {"votes": votes})
