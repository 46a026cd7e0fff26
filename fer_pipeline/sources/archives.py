"""Read the members of an archive one after another, as data alone: none is unpacked to a path of its own choosing."""

import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple, Self

from fer_pipeline.dataset.class_folders import to_text
from fer_pipeline.errors import InputError

RATIO = 20  # what an archive may unpack to, by its own size; pictures hardly shrink, a CSV to a third
ROOM = 100_000_000  # bytes that it may unpack to anyway
HEADER = 512  # bytes that a member counts for beside its own
MAX_NAME = 65_536  # bytes that an archive may use to name a member
PACKED = (b"PK", b"\x1f\x8b", b"BZh", b"\xfd7zXZ")  # how zip, gzip, bzip2 and xz begin
NAMES = {tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE}
ERRORS = (
    tarfile.TarError,
    zipfile.BadZipFile,
    EOFError,
    OSError,
    ValueError,
    OverflowError,
    RecursionError,
    RuntimeError,  # a zip that asks for a password
    zlib.error,
    lzma.LZMAError,
)


class ArchiveMember(NamedTuple):
    """A file in an archive: to be read before the next one is asked for."""

    name: str
    size: int
    file: IO[bytes]


def iter_members(archive: Path) -> Iterator[ArchiveMember]:
    """Yield the files of a tar or zip archive, whatever it is called.

    Raises InputError for what is no archive, a damaged one, or one that unpacks to far more than its own size.
    """
    try:
        room = ROOM + RATIO * archive.stat().st_size
        for member in _from_zip(archive) if zipfile.is_zipfile(archive) else _from_tar(archive):
            room -= member.size + HEADER
            if room < 0:
                told = f"unpacks to more than {RATIO} times its size, which pictures do not"
                raise InputError(f"{archive}: {told}: unpack what you trust and name the folder")
            yield member
    except ERRORS as error:
        raise broken(archive, error) from None


def broken(archive: Path, error: Exception) -> InputError:
    """What to say of an archive that ends early, also while a member is read."""
    if "password" in str(error):
        return InputError(f"{archive}: asks for a password: unpack it and name the folder")
    with archive.open("rb") as file:
        start = file.read(262)
    if not start.startswith(PACKED) and start[257:] != b"ustar":
        return InputError(f"{archive}: no zip or tar archive: name one, the csv, or the folder it was unpacked to")
    return InputError(f"{archive}: cannot be read to its end ({error}): it is damaged: fetch it again")


def _from_zip(path: Path) -> Iterator[ArchiveMember]:
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            if not info.is_dir():
                with archive.open(info) as file:
                    yield ArchiveMember(_clean(info.filename), info.file_size, file)


class _TarMember(tarfile.TarInfo):
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


def _from_tar(path: Path) -> Iterator[ArchiveMember]:
    with tarfile.open(path, "r|*", tarinfo=_TarMember) as archive:
        for member in archive:
            archive.members.clear()  # type: ignore[attr-defined]  # else every header is held to the end
            if len(archive.pax_headers) > 100:
                raise tarfile.ReadError("headers without end")
            file = archive.extractfile(member) if member.isreg() else None
            if file is not None:
                yield ArchiveMember(_clean(member.name), member.size, file)


def _clean(name: str) -> str:
    return to_text(name.replace("\0", "").replace("\\", "/"))
