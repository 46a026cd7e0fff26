"""The HTTP client of a crawl: fetch a URL where robots.txt allows it, within limits of time, size and redirects."""

import math
import threading
import zlib
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import NamedTuple
from urllib.parse import urljoin

from urllib3 import BaseHTTPResponse
from urllib3.exceptions import HTTPError

from fer_pipeline.config.schema import CrawlConfig
from fer_pipeline.sources.crawl.addresses import PrivateAddress
from fer_pipeline.sources.crawl.connections import Stopped
from fer_pipeline.sources.crawl.headers import Unpacker, answered_at, first, refusal_of_answer, retry_after
from fer_pipeline.sources.crawl.politeness import MAX_WAIT, Deferred, HostPace, user_agent
from fer_pipeline.sources.crawl.robots import RobotsPolicy
from fer_pipeline.sources.crawl.transport import Transport
from fer_pipeline.sources.crawl.urls import normalise

MAX_REDIRECTS = 5
REDIRECTS = frozenset({301, 302, 303, 307, 308})
BUSY = frozenset({"http_429", "http_503"})
RETRIED = BUSY | {"timeout", "connection", "http_500", "http_502", "http_504"}
PIECE = 65_536  # bytes of a body that are read at once


@dataclass(frozen=True)
class Answer:
    """What came of one URL: a body, or the `reason` why there is none."""

    url: str  # after redirects
    body: bytes = b""
    reason: str = ""  # code for the row
    detail: str = ""  # the same for people
    time: str = ""  # ISO 8601, UTC: the Date header, else the clock of this machine
    content_type: str = ""
    wait: float = 0.0  # seconds, from Retry-After; -1 without one


class HostBusy(Exception):
    """A URL's host may be requested only later; the URL has had `attempts` attempts."""

    def __init__(self, attempts: int) -> None:
        super().__init__(attempts)
        self.attempts = attempts


class RequestOptions(NamedTuple):
    """How a URL is requested."""

    max_bytes: int  # of the body
    respect_robots: bool  # fetch only what robots.txt, TDM reservation and X-Robots-Tag allow
    is_local_gallery: bool = False  # listed by the gallery that fer serves itself
    max_wait: float = math.inf  # seconds to wait until the host may be requested


class Fetcher:
    """Sends all requests of a crawl; `alias` is the local gallery's address in rows, and the one it is served on."""

    def __init__(
        self, config: CrawlConfig, pace: HostPace, stop: threading.Event, alias: tuple[str, str] = ("", "")
    ) -> None:
        self._config, self._pace, self._stop, self._alias = config, pace, stop, alias
        self._transport = Transport(config, user_agent(config.contact), stop)
        self._robots = RobotsPolicy(self._read_rules, pace.set_crawl_delay)
        self.close, self.delay = self._transport.close, pace.delay

    def fetch(
        self,
        url: str,
        *,
        respect_robots: bool = False,
        is_local_gallery: bool = False,
        max_bytes: int | None = None,
        max_wait: float = math.inf,
        attempts: int = 0,
    ) -> Answer:
        """Request a URL until it is answered, `crawl.retries` times in all.

        `respect_robots`: fetch only what robots.txt, TDM reservation and X-Robots-Tag allow. `is_local_gallery`: for
        URLs listed by the gallery that fer serves, which skip robots.txt and the check of addresses; no other page or
        redirect may lead there. `max_bytes`: of the body, where that is less than `crawl.max_bytes`. Raises Stopped;
        HostBusy, with the attempts it has had, if its host may be requested only in more than `max_wait` seconds.
        """
        limit = min(max_bytes or self._config.max_bytes, self._config.max_bytes)
        return self._date(self._retry(url, RequestOptions(limit, respect_robots, is_local_gallery, max_wait), attempts))

    def _date(self, answer: Answer) -> Answer:
        if answer.time or answer.reason:  # without an answer no time, so that a repeated crawl gives the same rows
            return answer
        return replace(answer, time=datetime.now(UTC).isoformat(timespec="seconds"))

    def _read_rules(self, url: str, limit: int) -> tuple[bytes, str]:
        """Fetch robots.txt or tdmrep.json: body, or the beginning of a too large one, and reason."""
        answer = self._retry(url, RequestOptions(limit, respect_robots=False))
        return answer.body, answer.reason

    def _retry(self, url: str, options: RequestOptions, attempts: int = 0) -> Answer:
        answer = Answer(url)
        for attempt in range(attempts, self._config.retries):
            try:
                answer = self._attempt(url, options)
            except Deferred:
                raise HostBusy(attempt) from None
            if answer.reason:
                self._check()  # a crawl that stops closes all connections, which is no failure of the URL
            if answer.reason not in RETRIED:
                break
            wait = answer.wait if answer.wait >= 0 else 2.0**attempt
            self._pace.hold(normalise(answer.url), wait)
            if wait > MAX_WAIT:
                break
        return answer

    def _attempt(self, url: str, options: RequestOptions) -> Answer:
        try:
            return self._follow(url, options)
        except (Stopped, Deferred):
            raise
        except PrivateAddress:
            return Answer(url, reason="private_address")
        except ValueError:  # no URL, or a host that cannot be a name
            return Answer(url, reason="bad_url")
        except (OSError, HTTPError, zlib.error) as error:
            return _describe_failure(url, error)
        except Exception as error:  # noqa: BLE001  an unforeseen answer costs its own URL, not the crawl
            return Answer(url, reason=type(error).__name__)

    def _follow(self, url: str, options: RequestOptions) -> Answer:
        shown, address = self._alias
        is_local_gallery = options.is_local_gallery and bool(address) and url.startswith(f"{shown}/")
        max_wait = options.max_wait
        for _ in range(MAX_REDIRECTS + 1):
            asked = normalise(address + url.removeprefix(shown) if is_local_gallery else url)
            obeys = options.respect_robots and not is_local_gallery
            if obeys and (refused := self._robots.refusal(asked)):
                return Answer(url, reason=refused)
            if not self._pace.wait(shown if is_local_gallery else asked, max_wait):
                return Answer(url, reason="busy")
            max_wait = math.inf  # a redirect is followed at once, else its first host would be requested again
            self._check()
            with closing(self._transport.send(asked, options.max_bytes, is_local_gallery=is_local_gallery)) as response:
                target = first(response, "location") if response.status in REDIRECTS else ""
                if not target:
                    refused = refusal_of_answer(response) if obeys and response.status == 200 else ""
                    return Answer(url, reason=refused) if refused else self._read(response, url, options.max_bytes)
            url, is_local_gallery = (
                urljoin(asked, target.encode("latin-1", "replace").decode("utf-8", "replace")),
                False,
            )
        return Answer(url, reason="redirects")

    def _read(self, response: BaseHTTPResponse, url: str, limit: int) -> Answer:
        answer = partial(Answer, url, time=answered_at(response), content_type=first(response, "content-type"))
        if response.status != 200:
            reason = f"http_{response.status}"
            wait = retry_after(response) if reason in BUSY else 0.0
            return answer(reason=reason, detail=str(response.status), wait=wait)
        body, unpacker = bytearray(), Unpacker(response, limit)
        while chunk := response.read(PIECE, decode_content=False):
            self._check()
            body += unpacker.feed(chunk)
            if len(body) > limit:
                return answer(reason="too_large", body=bytes(body[:limit]))
        unpacker.finish()
        return answer(body=bytes(body))

    def _check(self) -> None:
        if self._stop.is_set():
            raise Stopped


def _describe_failure(url: str, error: BaseException) -> Answer:
    """Say why there was no answer: the library wraps what happened, at times more than once."""
    while cause := error.__cause__ or error.__context__:
        error = cause
    if isinstance(error, TimeoutError):
        return Answer(url, reason="timeout")
    detail = error.strerror if isinstance(error, OSError) and error.strerror else "connection broken"
    return Answer(url, reason="connection", detail=detail.lower())
