"""The photos of sessions before a camera, in a raw folder as a crawl or an import would leave them there.

Each photo is written aside and renamed, then noted in the folder's journal: a server that is killed loses none, and the
next one completes the manifest. Every session is one source and one group.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from fer_pipeline.dataset.blocklist import read_blocklist
from fer_pipeline.dataset.journal import JOURNAL, Journal, cannot_write, existing_rows
from fer_pipeline.dataset.naming import item_of
from fer_pipeline.dataset.provenance import locked_raw
from fer_pipeline.dataset.rows import WEBCAM, Row, Status, session_of
from fer_pipeline.errors import InputError
from fer_pipeline.files import write_aside
from fer_pipeline.vision.image_io import sniff_suffix

PAUSE = timedelta(minutes=30)  # after a shorter one it is still the same session: the same chair, the same light
ENDED = ".session_ended"  # in the raw folder: the session that somebody ended last, which no restart goes on with


class CaptureStore:
    """The sessions of one raw folder, which no other command writes to meanwhile; one is open at a time."""

    def __init__(self, raw: Path, pause: timedelta = PAUSE) -> None:
        self.raw, self.pause = raw, pause
        self.session: str | None = None
        self.kept: list[Row] = []  # of the open session, in their order
        self.before: Counter[str] = Counter()  # by class, of all earlier sessions
        self._held = ExitStack()
        self._journal: Journal
        self._names: set[str] = set()
        self._known: set[str] = set()  # SHA-256 of what the folder holds
        self._barred: frozenset[str] = frozenset()

    def __enter__(self) -> Self:
        self._journal = self._held.enter_context(locked_raw(self.raw))
        try:
            self._check_finished()
            self.complete()  # also what a killed server noted last
            held = [row for row in existing_rows(self.raw) if row.status is Status.KEPT]
            self._barred = read_blocklist(self.raw).contents
        except BaseException:
            self._held.close()
            raise
        rows = [row for row in held if session_of(row)]
        self._known = {row.sha256 for row in held}
        self._names = {str(session_of(row)) for row in rows} | {self._ended}
        self.before = _count(rows)
        self._go_on(rows)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.complete()
        finally:
            self._held.close()

    def _check_finished(self) -> None:
        """Refuse what a killed crawl or import noted: it alone knows which of it counts, and its groups."""
        if any(session_of(row) is None for row in self._journal.rows()):
            raise InputError(f"{self.raw} holds an unfinished crawl or import: let the same command finish first")

    def _go_on(self, rows: list[Row]) -> None:
        """Open the last session again if it is not long over."""
        last = max(rows, key=_time, default=None)
        if last is None or self._is_past(last) or session_of(last) == self._ended:
            return
        self.session = session_of(last)
        self.kept = sorted((row for row in rows if session_of(row) == self.session), key=_time)
        self.before -= _count(self.kept)

    def _is_past(self, last: Row) -> bool:
        return datetime.now(UTC) - _time(last) > self.pause

    @property
    def _ended(self) -> str:
        path = self.raw / ENDED
        return path.read_text(encoding="utf-8") if path.is_file() else ""

    @property
    def is_over(self) -> bool:
        """Whether the pause since the last photo was so long that what comes next is another session."""
        return bool(self.kept) and self._is_past(self.kept[-1])

    @property
    def counts(self) -> Counter[str]:
        """How many photos of each class the open session has."""
        return _count(self.kept)

    def refuse(self, data: bytes) -> Literal["same", "forgotten"] | None:
        """Why these bytes cannot be added: they are here already, or `fer forget` took them out."""
        digest = hashlib.sha256(data).hexdigest()
        return "same" if digest in self._known else "forgotten" if digest in self._barred else None

    def keep(self, label: str, data: bytes) -> Row:
        """Add a photo, file first; SetupError if the disk will not take it."""
        digest = hashlib.sha256(data).hexdigest()
        now = datetime.now(UTC)
        self.session = self.session or self._name(now)
        source = {
            "name": self.session,
            "engine": WEBCAM,
            "file": f"{label}/{now:%H%M%S}-{now.microsecond:06}",
            "time": now.isoformat(timespec="microseconds"),
        }
        path = self.raw / label / f"{digest[:12]}{sniff_suffix(data) or '.bin'}"
        relative = path.relative_to(self.raw).as_posix()
        row = Row(path=relative, label=label, source=source, sha256=digest, group=self.session)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_aside(path, [data], sync=False)
            self._journal.append(item_of(row), [row])
        except OSError as error:
            raise cannot_write(self.raw, error) from None
        self.kept.append(row)
        self._known.add(digest)
        return row

    def _name(self, now: datetime) -> str:
        """`webcam:2026-11-20`, and `-2` for the second session of a day."""
        day = f"{WEBCAM}:{now.astimezone():%Y-%m-%d}"
        name = next(name for name in (day, *(f"{day}-{n}" for n in range(2, 10_000))) if name not in self._names)
        self._names.add(name)
        return name

    def undo(self) -> Row | None:
        """Take the last photo of the open session back; None if there is none."""
        if not self.kept:
            return None
        row = self.kept.pop()
        self._known.discard(row.sha256)
        self.complete(without=row)
        (self.raw / row.path).unlink(missing_ok=True)  # last: a row never names a file that is not there
        return row

    def end(self) -> None:
        """Close the open session; the next photo begins another."""
        self.complete()
        if self.kept:
            try:
                write_aside(self.raw / ENDED, [str(self.session).encode()])
            except OSError as error:
                raise cannot_write(self.raw, error) from None
        self.before += self.counts
        self.session, self.kept = None, []

    def complete(self, without: Row | None = None) -> None:
        """Bring the manifest up to date with the journal."""
        noted = (self.raw / JOURNAL).is_file()
        if not noted and without is None:
            return
        try:
            rows = {row.path: row for row in (*existing_rows(self.raw), *self._journal.rows())}
            if without is not None:
                rows.pop(without.path, None)
            if rows or without is not None:
                self._journal.finish(list(rows.values()))
            else:
                self._journal.drop()
        except OSError as error:
            raise cannot_write(self.raw, error) from None


def _time(row: Row) -> datetime:
    """When a photo was taken; long ago for a row that does not say."""
    try:
        return datetime.fromisoformat(str(row.source.get("time"))).astimezone(UTC)
    except ValueError:
        return datetime.min.replace(tzinfo=UTC)


def _count(rows: Iterable[Row]) -> Counter[str]:
    return Counter(str(row.label) for row in rows)
