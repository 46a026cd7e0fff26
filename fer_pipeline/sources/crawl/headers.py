"""What the headers of an answer say: when it was given, how long to wait, how it is packed, what its owner refuses."""

import zlib
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache

from urllib3 import BaseHTTPResponse as Response
from urllib3.exceptions import DecodeError

from fer_pipeline.sources.crawl.robots import refusal_of


def first(response: Response, name: str) -> str:
    """Return the first value of a header; "" if there is none."""
    return next(iter(response.headers.getlist(name)), "")


def refusal_of_answer(response: Response) -> str:
    """What the headers of an answer refuse."""
    return refusal_of(response.headers.getlist("x-robots-tag"), first(response, "tdm-reservation"))


class Unpacker:
    """Undoes gzip, giving no more than a byte over the limit at once, however much is packed into it."""

    def __init__(self, response: Response, limit: int) -> None:
        encoding = first(response, "content-encoding").strip().lower()
        if encoding not in {"identity", "", "gzip", "x-gzip", "deflate"}:
            raise DecodeError(f"encoded as {encoding}, which was not asked for")
        is_plain = encoding in {"identity", ""}
        # 32: gzip or zlib, as its header says
        self._unpacker = None if is_plain else zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)
        self._limit = limit

    def feed(self, chunk: bytes) -> bytes:
        if self._unpacker is None:
            return chunk
        return b"" if self._unpacker.eof else self._unpacker.decompress(chunk, self._limit + 1)

    def finish(self) -> None:
        """DecodeError if there should be more."""
        if self._unpacker is not None and not self._unpacker.eof:
            raise DecodeError("packed, and broken off")


def answered_at(response: Response) -> str:
    """When the server says that it answered."""
    return _as_iso(first(response, "date"))


@lru_cache(maxsize=256)  # a fast server says the same for a whole second
def _as_iso(text: str) -> str:
    moment = _as_moment(text)
    return moment.isoformat(timespec="seconds") if moment else ""


def _as_moment(text: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(text)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def retry_after(response: Response) -> float:
    """Seconds the server asks for, as a number or a date; -1 if it does not say."""
    text = first(response, "retry-after").strip()
    if text.isdecimal():
        return float(text[:9])
    until, now = _as_moment(text), _as_moment(first(response, "date")) or datetime.now(UTC)
    return -1.0 if until is None else max(0.0, (until - now).total_seconds())
