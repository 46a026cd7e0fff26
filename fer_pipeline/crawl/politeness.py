"""Ask servers politely: an honest name, a pause per host, limits in time and size, and patience where it is asked."""

import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from urllib.parse import urljoin, urlsplit

import requests
import urllib3

from fer_pipeline import __version__
from fer_pipeline.config import CrawlConfig
from fer_pipeline.crawl.deadline import DeadlineAdapter
from fer_pipeline.errors import UsageError

MAX_REDIRECTS = 5
MAX_WAIT = 30.0  # seconds; a server that wants more patience is asked again all the same, within `crawl.retries`
Clock = Callable[[], float]
Sleep = Callable[[float], object]
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


def may_ask(url: str) -> str:
    """Whether a URL may be asked: "" or the reason why not. Every request and every redirect passes here."""
    try:
        parts = urlsplit(url)
        is_sound = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:
        is_sound = False
    return "" if is_sound else "bad_url"


def user_agent(contact: str) -> str:
    """The name we go by; UsageError if the contact cannot stand in a header."""
    if not (contact.isascii() and contact.isprintable()):
        raise UsageError("crawl.contact: a header cannot hold it: write a plain mail address or URL")
    return f"fer-pipeline/{__version__}" + (f" (+{contact})" if contact else "")


class HostPace:
    """Spaces the requests to one host by `interval` seconds, from whichever thread; `free` hosts are our own."""

    def __init__(
        self, interval: float, *, free: Collection[str] = (), clock: Clock = time.monotonic, sleep: Sleep = time.sleep
    ) -> None:
        self._interval, self._free, self._clock, self._sleep = interval, free, clock, sleep
        self._next: dict[str, float] = {}
        self._lock = threading.Lock()

    def wait(self, url: str) -> None:
        """Sleep until this URL's host may be asked, and take that turn."""
        host = urlsplit(url).netloc
        with self._lock:
            now = self._clock()
            turn = max(now, self._next.get(host, now))
            self._next[host] = turn + (0.0 if host in self._free else self._interval)
        if turn > now:
            self._sleep(turn - now)

    def hold(self, url: str, seconds: float) -> None:
        """Leave this URL's host alone for a while."""
        host = urlsplit(url).netloc
        with self._lock:
            self._next[host] = max(self._next.get(host, 0.0), self._clock() + seconds)


class _Session(requests.Session):
    """Sees no redirects: requests would read the body of each, without limit, even when told not to follow."""

    def get_redirect_target(self, _: requests.Response) -> str | None:
        return None


class Fetcher:
    """One session for all downloads of a crawl; `alias` is an address that is asked elsewhere: (shown, asked)."""

    def __init__(
        self, config: CrawlConfig, pace: HostPace, stop: threading.Event, alias: tuple[str, str] = ("", "")
    ) -> None:
        self._config, self._pace, self._stop, self._alias = config, pace, stop, alias
        self._session = _Session()
        self._session.headers["User-Agent"] = user_agent(config.contact)
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, DeadlineAdapter(pool_maxsize=config.threads + 1))
        self.close = self._session.close

    def fetch(self, url: str) -> Answer:
        """Ask until there is an answer, `crawl.retries` times in all; Stopped is the only error raised."""
        answer = Answer(url)
        for attempt in range(self._config.retries):
            answer = self._attempt(url)
            if answer.reason not in PASSING:
                break
            wait = answer.wait if answer.wait >= 0 else 2.0**attempt
            self._pace.hold(answer.url, min(wait, MAX_WAIT))
        ours = datetime.now(UTC).isoformat(timespec="seconds")
        return replace(answer, time=answer.time or ("" if answer.reason else ours))  # so that failures repeat

    def _attempt(self, url: str) -> Answer:
        try:
            return self._follow(url)
        except (requests.Timeout, urllib3.exceptions.TimeoutError):
            return Answer(url, reason="timeout")
        except ValueError:  # InvalidURL and the like, and what the name service makes of odd names
            return Answer(url, reason="bad_url")
        except (OSError, urllib3.exceptions.HTTPError) as error:
            return Answer(url, reason="connection", detail=_root_cause(error))

    def _follow(self, url: str) -> Answer:
        for _ in range(MAX_REDIRECTS + 1):
            if refused := may_ask(url):
                return Answer(url, reason=refused)
            self._pace.wait(url)
            self._check()
            deadline = time.monotonic() + self._config.timeout
            with self._get(url) as response:
                target = requests.Session.get_redirect_target(self._session, response)
                answer = None if target else self._read(response, url, deadline)
            if answer is not None:
                return answer
            url = urljoin(url, target or "")
        return Answer(url, reason="redirects")

    def _get(self, url: str) -> requests.Response:
        shown, ours = self._alias
        proxies = None
        if shown and url.startswith(f"{shown}/"):
            url = ours + url.removeprefix(shown)
            proxies = {"no_proxy": urlsplit(ours).hostname or ""}
        return self._session.get(url, stream=True, timeout=self._config.timeout, proxies=proxies)

    def _read(self, response: requests.Response, url: str, deadline: float) -> Answer:
        clock, kind = _date(response, "Date"), response.headers.get("Content-Type", "")
        answer = Answer(url, time=clock.isoformat(timespec="seconds") if clock else "", content_type=kind)
        if response.status_code != 200:
            reason = f"http_{response.status_code}"
            wait = _retry_after(response) if reason in BUSY else 0.0
            return replace(answer, reason=reason, detail=str(response.status_code), wait=wait)
        body = bytearray()
        # Not read(), which waits for a full chunk, however slow it comes.
        while chunk := response.raw.read1(65536, decode_content=True):
            self._check()
            body += chunk
            if len(body) > self._config.max_bytes:
                return replace(answer, reason="too_large")
            if time.monotonic() > deadline:
                break
        return replace(answer, reason="timeout") if time.monotonic() > deadline else replace(answer, body=bytes(body))

    def _check(self) -> None:
        if self._stop.is_set():
            raise Stopped


def _date(response: requests.Response, header: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(response.headers.get(header, ""))
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _retry_after(response: requests.Response) -> float:
    """Seconds the server asks for, as a number or a date; -1 if it does not say."""
    text = response.headers.get("Retry-After", "").strip()
    if text.isdecimal():
        return float(text[:9])
    until, now = _date(response, "Retry-After"), _date(response, "Date") or datetime.now(UTC)
    return -1.0 if until is None else max(0.0, (until - now).total_seconds())


def _root_cause(error: BaseException) -> str:
    """What the operating system said, out of the three libraries that wrapped it."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror.lower()
        cause = cause.__cause__ or cause.__context__
    return "connection broken"
