"""Bring images that exist already into a raw folder, each with what its source knows of it.

Originals are copied and never touched. Several imports and crawls may fill one raw folder; each row keeps its source.
"""

import errno
import hashlib
import stat
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError

from fer_pipeline.config.schema import Label
from fer_pipeline.console import progress
from fer_pipeline.dataset.blocklist import read_blocklist
from fer_pipeline.dataset.journal import Journal, existing_rows
from fer_pipeline.dataset.naming import Names, Places, is_there, item_of, mark_same_bytes, path_without_file
from fer_pipeline.dataset.provenance import locked_raw
from fer_pipeline.dataset.rows import UNLABELLED, Row, Status
from fer_pipeline.errors import InputError, UsageError, reason_of
from fer_pipeline.files import hash_file, remove_files, write_aside
from fer_pipeline.vision.image_io import link_image, sniff_suffix
from fer_pipeline.vision.signatures import sniff_signature

LABEL: TypeAdapter[str] = TypeAdapter(Label)
MAX_BYTES = 300_000_000  # of a file that may be a picture


@dataclass(frozen=True)
class Found:
    """One image of a source: its name there, its bytes (or where to read them) and what the source knows of it."""

    origin: str
    data: bytes | Path
    label: str | None = None
    split: Literal["train", "test"] | None = None
    group: str | None = None
    attributes: dict[str, Any] = field(default_factory=dict)

    def read(self) -> bytes:
        """The bytes; OSError for a file that cannot be read, or had better not be: a pipe, a device, a huge one."""
        if isinstance(self.data, bytes):
            return self.data
        found = self.data.stat()
        if found.st_size > MAX_BYTES:
            raise OSError(errno.EFBIG, "too large for a picture")
        if not (stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)):
            raise OSError(errno.EINVAL, "no plain file")
        return self.data.read_bytes()


def import_images(found: Iterable[Found], output: Path, source: str, *, link: bool = False) -> Counter[str]:
    """Copy images into a raw folder, one row each; what an earlier import brought is not brought again.

    With `link` files are hard-linked where the disk allows it. Returns how many were added, by reason (`kept` for those
    that go on). Raises InputError for a class whose name no folder can bear.
    """
    images = (_checked(one) for one in found)
    first = next(images, None)
    if first is None:
        raise InputError(f"{source}: holds no file to import: name a folder with images or class folders")
    with locked_raw(output) as journal:
        return _import(chain([first], images), output, source, journal, link=link)


def _import(found: Iterable[Found], output: Path, source: str, journal: Journal, *, link: bool) -> Counter[str]:
    old = existing_rows(output)
    # What is there, one row an image: an earlier command may have been killed between the manifest and the end of its
    # journal. An image that did not come to the disk is brought again.
    begun = (row for row in journal.rows() if is_there(output, row))
    rows = {item_of(row): row for row in chain(old, begun)}
    forgotten = read_blocklist(output)
    places = Places(output)
    names = Names(rows.values())
    barred = 0
    moved: set[str] = set()  # files of images that have another class now
    groups: dict[str, str] = {}  # also for images that are here already: a second import may name the persons
    with progress("import", None) as advance:
        for one in found:
            item = f"{source} {one.origin}"
            if item in rows and _is_another(one, output, rows[item]):
                one = _renamed(one)  # noqa: PLW2901  two folders of one name hold different pictures under one name
                item = f"{source} {one.origin}"
            if forgotten.knows_origin(item):
                barred += 1
            elif (known := rows.get(item)) is None or _is_to_bring(known, one):
                if known is not None and known.status is Status.KEPT:
                    moved.add(known.path)
                rows[item] = _bring(one, places, names, source, forgotten.contents, link=link)
                journal.append(item, [rows[item]])
            advance(1)
            if one.group is not None:
                groups[item] = one.group
    marked = mark_same_bytes(output, [row.replace(group=groups.get(item, row.group)) for item, row in rows.items()])
    journal.finish(marked)
    remove_files(output, sorted(moved - {row.path for row in marked if row.status is Status.KEPT}))
    fresh = {row.path for row in marked} - {row.path for row in old}
    counts = Counter(row.reason or "kept" for row in marked if row.path in fresh) + Counter(forgotten=barred)
    return counts + Counter(of_another_class_now=len(moved))


def _is_another(one: Found, output: Path, known: Row) -> bool:
    """Whether a picture is another than the one that bears its name here: by its size alone, which costs nothing."""
    if known.status is not Status.KEPT:
        return False
    try:
        size = len(one.data) if isinstance(one.data, bytes) else one.data.stat().st_size
        return size != (output / known.path).stat().st_size
    except OSError:
        return False


def _renamed(one: Found) -> Found:
    """The same under a name that tells it from others of its name."""
    try:
        return replace(one, origin=f"{one.origin}~{hashlib.sha256(one.read()).hexdigest()[:8]}")
    except OSError:
        return one


def _is_to_bring(known: Row, one: Found) -> bool:
    """Whether an image that is here already is to be brought again: it failed, or its source names another class."""
    other = one.label is not None and known.label != one.label
    return known.status is Status.FAILED or (known.status is Status.KEPT and other)


def _checked(one: Found) -> Found:
    if one.label is not None:
        check_label(one.label, one.origin)
    return one


def check_label(label: str, where: str) -> None:
    """Raise InputError for a class that a YAML file could not name either."""
    try:
        LABEL.validate_python(label)
    except ValidationError:
        rule = "up to 64 letters, none of them / or \\ or a control sign, no dot first, no .json or .jsonl last"
        raise InputError(f"{where!r}: class {label!r}: not {rule}: rename its folder, or name it by --names") from None


def _bring(one: Found, places: Places, names: Names, source: str, barred: frozenset[str], *, link: bool = False) -> Row:
    """Copy one image under the hash of its content; what cannot be read or is no image gets a row and no file."""
    time = datetime.now(UTC).isoformat(timespec="seconds")
    origin = {"name": source, "file": one.origin, "time": time, **one.attributes}
    folder = one.label if one.label is not None else UNLABELLED
    row = Row(
        path=path_without_file(folder, f"{source} {one.origin}"),
        label=one.label,
        source=origin,
        group=one.group,
        split=one.split,
    )
    try:
        data = one.read()
    except OSError as error:
        return row.replace(status=Status.FAILED, reason=reason_of(error))
    digest = hashlib.sha256(data).hexdigest()
    if digest in barred:  # `fer forget` took these bytes out
        return row.dropped("forgotten")
    suffix = sniff_signature(data) or sniff_suffix(data)
    row = row.replace(sha256=digest)
    if suffix is None:
        return row.dropped("not_an_image" if data else "empty")
    row = row.replace(path=places.find(folder, f"{names.find(folder, row.sha256)}{suffix}"))
    path = places.folder / row.path
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists() or hash_file(path) != row.sha256:  # no row speaks of what lies there
        if link and isinstance(one.data, Path):
            link_image(one.data.resolve(), path)
        else:
            write_aside(path, [data], sync=False)
    return row


def check_apart(source: Path, output: Path) -> None:
    """Raises UsageError if an import would write among the originals."""
    if output.resolve().is_relative_to(source.resolve()):
        raise UsageError(f"--output {output}: lies in {source}, where the originals are: name a folder elsewhere")
