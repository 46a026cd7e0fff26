"""What became of every URL: files named by their content, a journal line at once, and one row each in the manifest."""

import hashlib
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
from fer_pipeline.sources.crawl.content import file_suffix, name_problem

Key = tuple[str, str]  # label and URL: what is fetched once


class Origin(NamedTuple):
    """Why a URL was fetched."""

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
        # What an import began that was killed here, less what the manifest has.
        imported = {origin_of(row): row for row in begun if not key_of(row) and origin_of(row) not in known}
        self._existing = mark_same_bytes(folder, [*finished, *imported.values()])
        done = (row for row in self._existing if not (force and row.status is Status.FAILED))
        self._known = {key for row in done if (key := key_of(row))} | self._fetched.keys()
        self._forgotten = read_blocklist(folder)
        self._names = Names([*self._existing, *self._fetched.values()])
        self._places = Places(folder)
        self._folders: set[Path] = set()  # that are there
        self._lock = threading.Lock()
        self._closed = False

    def is_known(self, label: str, url: str) -> bool:
        """Whether this URL needs no fetching."""
        with self._lock:
            return (label, url) in self._known or self._forgotten.knows_origin(url)

    def note(self, origin: Origin, url: str, answer: Answer) -> None:
        """Write the file if there is one, and that the URL is finished; SetupError if the disk will not take it."""
        row = make_row(origin, url, answer)
        with self._lock:  # one at a time, since two URLs may bring the same file
            if self._closed:
                return
            if row.sha256 in self._forgotten.contents:  # `fer forget` took these bytes out
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
        """How many of these URLs were fetched in this crawl, or also in an earlier one, by `kept` or the reason."""
        with self._lock:
            rows = self._rows() if earlier else self._fetched
            return Counter(rows[key].reason or "kept" for key in keys if key in rows)

    def has_found(self, keys: Iterable[Key]) -> bool:
        """Whether any of these URLs brought something, now or before; what was forgotten counts too."""
        with self._lock:
            good = {key for key, row in self._rows().items() if row.status is not Status.FAILED}
            return any(key in good or self._forgotten.knows_origin(key[1]) for key in keys)

    def _rows(self) -> dict[Key, Row]:
        return {key: row for row in self._existing if (key := key_of(row))} | self._fetched

    def close(self) -> None:
        """Take no more notes; threads that are still on their way come to nothing."""
        with self._lock:
            self._closed = True

    def finish(self) -> tuple[list[Row], list[Row]]:
        """Complete the manifest; gives the rows of this crawl, and all that the folder holds."""
        stay = [row for row in self._existing if key_of(row) not in self._fetched]
        fresh = settle(stay, self._fetched)
        held = {row.path for row in stay} | {row.path for row in fresh}
        for row in self._fetched.values():
            if row.path not in held:  # the same bytes came under another suffix
                (self.folder / row.path).unlink(missing_ok=True)
        if stay + fresh:
            self._journal.finish(stay + fresh)
        else:
            self._journal.drop()
        return fresh, stay + fresh


def make_row(origin: Origin, url: str, answer: Answer) -> Row:
    """The row of one finished URL, before copies are settled."""
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
    path = f"{origin.label}/{digest}{file_suffix(url, answer.body)}"  # shorter where nothing else is called so
    return Row(path=path, label=origin.label, source=source, sha256=digest)


def settle(stay: Iterable[Row], fetched: Mapping[Key, Row]) -> list[Row]:
    """Of several URLs with the same bytes in a class keep the one that was there before, else the first by name."""
    held = {(row.label, row.sha256): row.path for row in stay if row.status is Status.KEPT}
    settled: list[Row] = []
    for (label, url), row in sorted(fetched.items()):
        if row.status is not Status.KEPT or (label, row.sha256) not in held:
            settled.append(row)
            held.setdefault((label, row.sha256), row.path)
            continue
        copy = row.dropped("same_bytes", copy_of=held[label, row.sha256])
        settled.append(copy.replace(path=path_without_file(label, url)))
    return settled


def key_of(row: Row) -> Key | None:
    """Label and URL of a row; None if it came from elsewhere, an import for example."""
    url = row.source.get("url")
    return (row.label or "", url) if isinstance(url, str) else None
