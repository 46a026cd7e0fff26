"""Record what came of every URL: a file named by its content, a line in the journal, a row in the manifest."""

import hashlib
import re
import threading
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from fer_pipeline.dataset.blocklist import read_blocklist
from fer_pipeline.dataset.journal import Journal, cannot_write, existing_rows
from fer_pipeline.dataset.naming import Names, Places, is_there, item_of, mark_same_bytes, origin_of, path_without_file
from fer_pipeline.dataset.rows import Row, Status
from fer_pipeline.files import write_aside
from fer_pipeline.sources.crawl.client import Answer
from fer_pipeline.sources.crawl.urls import url_suffix
from fer_pipeline.vision.signatures import sniff_signature

Key = tuple[str, str]  # label and URL: fetched once
BINARY = frozenset(range(32)) - frozenset(b"\t\n\x0c\r\x1b")  # bytes no text has (WHATWG MIME Sniffing, 7.2)
SNIFFED = 512  # bytes that are looked at
TEXT_PIXELS = re.compile(rb"P[1-3][\s#]")  # PBM, PGM and PPM as text: the one kind of picture that is text


class Origin(NamedTuple):
    """Which search a URL was found by."""

    label: str
    engine: str
    keyword: str
    licence: str


class Ledger:
    """The rows of one raw folder while a crawl adds to them; safe to use from many threads."""

    def __init__(self, folder: Path, journal: Journal, *, force: bool = False) -> None:
        self.folder, self._journal = folder, journal
        begun = [row for row in journal.rows() if is_there(folder, row)]
        self._fetched = {key: row for row in begun if (key := key_of(row))}
        finished = list(existing_rows(folder))
        known = {origin_of(row) for row in finished}
        # Rows of an import that was killed in this folder, without those already in the manifest.
        imported = {origin_of(row): row for row in begun if not key_of(row) and origin_of(row) not in known}
        self._existing = mark_same_bytes(folder, [*finished, *imported.values()])
        done = (row for row in self._existing if not (force and row.status is Status.FAILED))
        self._known = {key for row in done if (key := key_of(row))} | self._fetched.keys()
        self._blocklist = read_blocklist(folder)
        self._names = Names([*self._existing, *self._fetched.values()])
        self._places = Places(folder)
        self._folders: set[Path] = set()  # that exist
        self._lock = threading.Lock()
        self._closed = False

    def is_known(self, label: str, url: str) -> bool:
        """Whether this URL need not be fetched."""
        with self._lock:
            return (label, url) in self._known or self._blocklist.knows_origin(url)

    def note(self, origin: Origin, url: str, answer: Answer) -> None:
        """Write the file, if there is one, and journal the row of a finished URL; SetupError if the disk fails."""
        row = make_row(origin, url, answer)
        with self._lock:  # two URLs may bring the same file
            if self._closed:
                return
            if row.sha256 in self._blocklist.contents:  # taken out by `fer forget`
                row = row.dropped("forgotten").replace(path=path_without_file(origin.label, url), sha256="")
            if row.status is Status.KEPT:
                name = f"{self._names.find(origin.label, row.sha256)}{Path(row.path).suffix}"
                row = row.replace(path=self._places.find(origin.label, name))
            try:
                self._write(row, answer)
            except OSError as error:
                raise cannot_write(self.folder, error) from None
            self._fetched[origin.label, url] = row
            self._known.add((origin.label, url))

    def _write(self, row: Row, answer: Answer) -> None:
        if row.status is Status.KEPT:
            path = self.folder / row.path
            if path.parent not in self._folders:
                path.parent.mkdir(parents=True, exist_ok=True)
                self._folders.add(path.parent)
            write_aside(path, [answer.body], sync=False)  # forcing each to disk takes ten times as long as fetching it
        self._journal.append(item_of(row), [row])

    def outcomes(self, keys: Iterable[Key], *, earlier: bool = False) -> Counter[str]:
        """Count these URLs by outcome, `kept` or the reason: those of this crawl, or with `earlier` of all crawls."""
        with self._lock:
            rows = self._rows() if earlier else self._fetched
            return Counter(rows[key].reason or "kept" for key in keys if key in rows)

    def has_found(self, keys: Iterable[Key]) -> bool:
        """Whether any of these URLs brought something, now or before; forgotten ones count too."""
        with self._lock:
            good = {key for key, row in self._rows().items() if row.status is not Status.FAILED}
            return any(key in good or self._blocklist.knows_origin(key[1]) for key in keys)

    def _rows(self) -> dict[Key, Row]:
        return {key: row for row in self._existing if (key := key_of(row))} | self._fetched

    def close(self) -> None:
        """Ignore whatever threads still bring."""
        with self._lock:
            self._closed = True

    def finish(self) -> tuple[list[Row], list[Row]]:
        """Complete the manifest; returns the rows of this crawl, and all rows of the folder."""
        earlier = [row for row in self._existing if key_of(row) not in self._fetched]
        fresh = mark_duplicates(earlier, self._fetched)
        held = {row.path for row in earlier} | {row.path for row in fresh}
        for row in self._fetched.values():
            if row.path not in held:  # the same bytes came under another suffix
                (self.folder / row.path).unlink(missing_ok=True)
        if earlier + fresh:
            self._journal.finish(earlier + fresh)
        else:
            self._journal.drop()
        return fresh, earlier + fresh


def make_row(origin: Origin, url: str, answer: Answer) -> Row:
    """Make the row of one finished URL, before duplicates are marked."""
    source = {
        "url": url,
        "engine": origin.engine,
        "keyword": origin.keyword,
        "licence": origin.licence,
        "time": answer.time,
        "content_type": answer.content_type,
    }
    if reason := answer.reason or name_problem(answer.body):
        path = path_without_file(origin.label, url)
        return Row(path=path, label=origin.label, source=source, status=Status.FAILED, reason=reason)
    digest = hashlib.sha256(answer.body).hexdigest()
    path = f"{origin.label}/{digest}{file_suffix(url, answer.body)}"  # shortened later, where the name stays unique
    return Row(path=path, label=origin.label, source=source, sha256=digest)


def mark_duplicates(earlier: Iterable[Row], fetched: Mapping[Key, Row]) -> list[Row]:
    """Keep one of several URLs with the same bytes in a class, the earlier row or the first by URL; drop the others."""
    held = {(row.label, row.sha256): row.path for row in earlier if row.status is Status.KEPT}
    rows: list[Row] = []
    for (label, url), row in sorted(fetched.items()):
        if row.status is not Status.KEPT or (label, row.sha256) not in held:
            rows.append(row)
            held.setdefault((label, row.sha256), row.path)
            continue
        copy = row.dropped("same_bytes", copy_of=held[label, row.sha256])
        rows.append(copy.replace(path=path_without_file(label, url)))
    return rows


def key_of(row: Row) -> Key | None:
    """Return label and URL of a row; None if it was not crawled but imported, for example."""
    url = row.source.get("url")
    return (row.label or "", url) if isinstance(url, str) else None


def name_problem(body: bytes) -> str:
    """Return why a body is certainly no picture: `empty` or, for a web page or other text, `not_an_image`; else ""."""
    if not body:
        return "empty"
    head = body[:SNIFFED]
    is_text = BINARY.isdisjoint(head) and not TEXT_PIXELS.match(head) and not sniff_signature(head)
    return "not_an_image" if is_text else ""


def file_suffix(url: str, body: bytes) -> str:
    """Choose a suffix by content; for what is no known image by the URL, else `.bin`."""
    if known := sniff_signature(body):
        return known
    suffix = url_suffix(url)
    return suffix if re.fullmatch(r"\.[a-z0-9]{1,5}", suffix) else ".bin"
