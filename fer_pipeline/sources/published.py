"""Readers of published data sets: FER2013 (Goodfellow et al. 2013) and CelebA (Liu et al. 2015)."""

import csv
import io
import lzma
import tarfile
import zlib
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, Literal, Self

import numpy as np
import PIL.Image

from fer_pipeline.errors import InputError, UsageError
from fer_pipeline.sources.importers import Found, to_text

FER_LABELS = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
LABELS = dict(enumerate(FER_LABELS))
FER_SIDE = 48
# The official parts. Both test parts become `test`; `source.usage` tells them apart.
USAGES: dict[str, Literal["train", "test"]] = {
    "training": "train",
    "train": "train",
    "publictest": "test",
    "validation": "test",
    "privatetest": "test",
    "test": "test",
}
MAX_MEMBER = 30_000_000
MAX_NAME = 65_536  # bytes that an archive may use to name a member
NAMES = {tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE}
MAX_LINE = 100_000  # characters; 2,304 values take a tenth
TAR_ERRORS = (
    tarfile.TarError,
    EOFError,
    OSError,
    ValueError,
    OverflowError,
    RecursionError,
    zlib.error,
    lzma.LZMAError,
)


def find_fer2013(source: Path) -> Iterator[Found]:
    """FER2013 as the official CSV, as a folder USAGE/CLASS/file, or as such a folder in a .tar.gz."""
    if source.is_dir():
        return _from_folder(source)
    if not source.is_file():
        raise InputError(f"{source}: no such file: name fer2013.csv, its .tar.gz or a folder")
    return _from_csv(source) if source.suffix == ".csv" else _from_tar(source)


def _from_folder(source: Path) -> Iterator[Found]:
    found = 0
    for path in sorted(source.glob("*/*/*")):
        is_plain = path.is_file() and not path.is_symlink()
        one = _sort_in(path.relative_to(source).as_posix(), path) if is_plain else None
        if one is not None:
            found += 1
            yield one
    if not found:
        raise InputError(f"{source}: no USAGE/CLASS/image files as in train/happy/1.jpg: name the folder above them")


class _Member(tarfile.TarInfo):
    """A member that takes no more memory than it needs: names without end and holes come from no honest archive."""

    @classmethod
    def frombuf(cls, buf: Any, encoding: str, errors: str) -> Self:
        member = super().frombuf(buf, encoding, errors)
        if member.type in NAMES and member.size > MAX_NAME:
            raise tarfile.ReadError(f"name of {member.size:,} bytes")
        if member.type == tarfile.GNUTYPE_SPARSE:
            raise tarfile.ReadError("file with holes")
        return member

    def _proc_gnusparse_10(self, *_: object) -> None:
        raise tarfile.ReadError("file with holes")


def _from_tar(source: Path) -> Iterator[Found]:
    """Members are read one after another and only as data: none is unpacked to a path of its own choosing."""
    found = 0
    try:
        with tarfile.open(source, "r|*", tarinfo=_Member) as archive:
            for member in archive:
                archive.members.clear()  # type: ignore[attr-defined]  # else every header is held to the end
                if len(archive.pax_headers) > 100:
                    raise tarfile.ReadError("headers without end")
                file = archive.extractfile(member) if member.isreg() and member.size <= MAX_MEMBER else None
                one = _sort_in(member.name, file.read()) if file is not None else None
                if one is not None:
                    found += 1
                    yield one
    except TAR_ERRORS as error:
        raise InputError(f"{source}: cannot be read as an archive ({error}): fetch it again") from None
    if not found:
        raise InputError(f"{source}: holds no USAGE/CLASS/image files as in train/happy/1.jpg: name another archive")


def _sort_in(name: str, data: bytes | Path) -> Found | None:
    """The label and part of `.../train/happy/1.jpg`; None for what is elsewhere."""
    parts = PurePosixPath(to_text(name).replace("\0", "")).parts[-3:]
    split = USAGES.get(parts[0].lower()) if len(parts) == 3 else None
    if split is None or parts[1].startswith("."):
        return None
    return Found("/".join(parts), data, parts[1], split, attributes={"usage": parts[0]})


def _from_csv(source: Path) -> Iterator[Found]:
    with source.open(newline="", encoding="utf-8", errors="replace") as file:
        reader = csv.DictReader(iter(partial(file.readline, MAX_LINE), ""))
        try:
            if not {"emotion", "pixels", "Usage"} <= set(reader.fieldnames or ()):
                raise InputError(
                    f"{source}: the first line must name emotion,pixels,Usage: name the official fer2013.csv"
                )
            for number, record in enumerate(reader, start=2):
                yield _from_record(record, f"{source}:{number}")
        except csv.Error as error:
            raise InputError(f"{source}:{reader.line_num}: {error}: fix or remove the line") from None


def _from_record(record: dict[str, str], where: str) -> Found:
    try:
        label, split = LABELS[int(record["emotion"])], USAGES[record["Usage"].strip().lower()]
        pixels = np.array(record["pixels"].split(), dtype=np.uint8).reshape(FER_SIDE, FER_SIDE)
    except (ValueError, IndexError, KeyError, TypeError, OverflowError, AttributeError):
        raise InputError(f"{where}: not an emotion 0-6, 2304 grey values and a Usage: fix or remove the line") from None
    buffer = io.BytesIO()
    PIL.Image.fromarray(pixels).save(buffer, "PNG")
    line = where.rpartition(":")[2]
    return Found(f"line {line}", buffer.getvalue(), label, split, attributes={"usage": record["Usage"].strip()})


def find_celeba(images: Path, attributes: Path, attribute: str, per_class: int) -> Iterator[Found]:
    """The first `per_class` images with and without an attribute, as `smiling` and `not_smiling`."""
    if not images.is_dir():
        raise InputError(f"{images}: no such folder: name the one with 000001.jpg")
    try:
        lines = attributes.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        raise InputError(f"{attributes}: {error.strerror}: name list_attr_celeba.txt") from None
    names = lines[1].split() if len(lines) > 1 else []
    if attribute not in names:
        raise UsageError(f"--attribute {attribute}: not in {attributes}: it knows {', '.join(names[:40]) or 'none'}")
    column = names.index(attribute) + 1
    taken: Counter[str] = Counter()
    for number, line in enumerate(lines[2:], start=3):
        fields = line.split()
        if len(fields) != len(names) + 1 or set(fields[0]) & {"/", "\0"} or fields[column] not in {"1", "-1"}:
            raise InputError(f"{attributes}:{number}: not a file name and {len(names)} values 1 or -1: fetch it again")
        label = attribute.lower() if fields[column] == "1" else f"not_{attribute.lower()}"
        if taken[label] < per_class:
            taken[label] += 1
            yield Found(fields[0], images / fields[0], label)
