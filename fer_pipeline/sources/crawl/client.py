"""Fetch one URL after another within limits of time, size and redirects, where it is allowed."""

import math
import threading
import zlib
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import NamedTuple
from urllib.parse import urljoin

from fer_pipeline.config.schema import CrawlConfig
from fer_pipeline.sources.crawl.addresses import PrivateAddress
from fer_pipeline.sources.crawl.headers import Unpacker, answered_at, refusal_of_answer, retry_after
from fer_pipeline.sources.crawl.messages import BrokenAnswer
from fer_pipeline.sources.crawl.politeness import MAX_WAIT, Deferred, HostPace, user_agent
from fer_pipeline.sources.crawl.robots import Permission
from fer_pipeline.sources.crawl.routes import Exchange, Routes
from fer_pipeline.sources.crawl.urls import normalise

MAX_REDIRECTS = 5
REDIRECTS = frozenset({301, 302, 303, 307, 308})
BUSY = frozenset({"http_429", "http_503"})
PASSING = BUSY | {"timeout", "connection", "http_500", "http_502", "http_504"}


class Stopped(Exception):
    """The crawl is being stopped: nothing more is asked."""


@dataclass(frozen=True)
class Answer:
    """What came of one URL: a body, or the `reason` why there is none."""

    url: str  # the one that answered, after redirects
    body: bytes = b""
    reason: str = ""  # short code for a row
    detail: str = ""  # more of it for people
    time: str = ""  # ISO-8601, UTC: by the server's clock where it tells, else by ours
    content_type: str = ""
    wait: float = 0.0  # seconds the server asked to be left alone


class HostBusy(Exception):
    """A URL's host may be asked only later; it was `attempts` so many times."""

    def __init__(self, attempts: int) -> None:
        super().__init__(attempts)
        self.attempts = attempts


class RequestOptions(NamedTuple):
    """How a URL is asked."""

    limit: int  # bytes of the body
    respect_robots: bool  # only where robots.txt, a TDM reservation and X-Robots-Tag allow it
    is_local_gallery: bool = False  # listed by our own gallery
    max_wait: float = math.inf  # seconds to wait for the host's turn


class Fetcher:
    """All requests of a crawl; `alias` is the address of our own gallery, which is asked elsewhere: (shown, asked)."""

    def __init__(
        self, config: CrawlConfig, pace: HostPace, stop: threading.Event, alias: tuple[str, str] = ("", "")
    ) -> None:
        self._config, self._pace, self._stop, self._alias = config, pace, stop, alias
        self._routes = Routes(config, user_agent(config.contact), stop)
        self._permission = Permission(self._read_rules, pace.slow_down)
        self.close, self.delay = self._routes.close, pace.delay

    def fetch(
        self, url: str, *, respect_robots: bool = False, is_local_gallery: bool = False, most: int | None = None
    ) -> Answer:
        """Ask until there is an answer, `crawl.retries` times in all; Stopped is the only error raised.

        `respect_robots`: only where the owner of the host allows it. `is_local_gallery`: our own gallery listed it; no
        other pages or redirects lead to it, since it is asked without leave and past the check of its address. `most`:
        bytes, where fewer than `crawl.max_bytes` will do.
        """
        limit = self._config.max_bytes
        return self._date(
            self._persist(url, RequestOptions(min(most or limit, limit), respect_robots, is_local_gallery))
        )

    def fetch_soon(
        self, url: str, attempts: int, max_wait: float, *, respect_robots: bool, is_local_gallery: bool
    ) -> Answer:
        """The same for a picture asked `attempts` times before; HostBusy if its host's turn is beyond `max_wait`."""
        options = RequestOptions(self._config.max_bytes, respect_robots, is_local_gallery, max_wait)
        return self._date(self._persist(url, options, attempts))

    def _date(self, answer: Answer) -> Answer:
        if answer.time or answer.reason:  # a failure without an answer has no time, so that runs repeat
            return answer
        return replace(answer, time=datetime.now(UTC).isoformat(timespec="seconds"))

    def _read_rules(self, url: str, limit: int) -> tuple[bytes, str]:
        """Body and reason of a file of rules; of one that is too large its beginning."""
        answer = self._persist(url, RequestOptions(limit, respect_robots=False))
        return answer.body, answer.reason

    def _persist(self, url: str, options: RequestOptions, attempts: int = 0) -> Answer:
        answer = Answer(url)
        for attempt in range(attempts, self._config.retries):
            try:
                answer = self._attempt(url, options)
            except Deferred:
                raise HostBusy(attempt) from None
            if answer.reason:
                self._check()  # a crawl that stops hangs up on everybody, which says nothing of a URL
            if answer.reason not in PASSING:
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
        except TimeoutError:
            return Answer(url, reason="timeout")
        except (OSError, BrokenAnswer, zlib.error) as error:
            detail = error.strerror if isinstance(error, OSError) and error.strerror else "connection broken"
            return Answer(url, reason="connection", detail=detail.lower())
        except ValueError:  # no URL, and what the name service makes of odd names
            return Answer(url, reason="bad_url")
        except Exception as error:  # noqa: BLE001  what one server makes us stumble over costs its own URL, not the crawl
            return Answer(url, reason=type(error).__name__)

    def _follow(self, url: str, options: RequestOptions) -> Answer:
        shown, address = self._alias
        is_local_gallery = options.is_local_gallery and bool(address) and url.startswith(f"{shown}/")
        max_wait = options.max_wait
        for _ in range(MAX_REDIRECTS + 1):
            asked = normalise(address + url.removeprefix(shown) if is_local_gallery else url)
            asks = options.respect_robots and not is_local_gallery
            if asks and (refused := self._permission.check(asked)):
                return Answer(url, reason=refused)
            if not self._pace.wait(shown if is_local_gallery else asked, max_wait):
                return Answer(url, reason="busy")
            max_wait = math.inf  # what a redirect led to is waited for, lest the first host be asked again
            self._check()
            with self._routes.send(asked, is_local_gallery=is_local_gallery) as response:
                target = response.headers.first("location") if response.status in REDIRECTS else ""
                if not target:
                    refused = refusal_of_answer(response) if asks and response.status == 200 else ""
                    return Answer(url, reason=refused) if refused else self._read(response, url, options.limit)
            url, is_local_gallery = (
                urljoin(asked, target.encode("latin-1", "replace").decode("utf-8", "replace")),
                False,
            )
        return Answer(url, reason="redirects")

    def _read(self, response: Exchange, url: str, limit: int) -> Answer:
        answer = partial(Answer, url, time=answered_at(response), content_type=response.headers.first("content-type"))
        if response.status != 200:
            reason = f"http_{response.status}"
            wait = retry_after(response) if reason in BUSY else 0.0
            return answer(reason=reason, detail=str(response.status), wait=wait)
        body, unpacker = bytearray(), Unpacker(response, limit)
        while chunk := response.read():
            self._check()
            body += unpacker.feed(chunk)
            if len(body) > limit:
                return answer(reason="too_large", body=bytes(body[:limit]))
        unpacker.finish()
        return answer(body=bytes(body))

    def _check(self) -> None:
        if self._stop.is_set():
            raise Stopped
