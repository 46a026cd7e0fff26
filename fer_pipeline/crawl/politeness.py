"""Ask servers politely: an honest name, a pause per host, and patience where it is asked."""

import math
import queue
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Collection
from urllib.parse import urlsplit

from fer_pipeline import __version__
from fer_pipeline.errors import UsageError

NAME = "fer-pipeline"  # what robots.txt and X-Robots-Tag may call us
LOOKED_AT = 32  # hosts among which the next URL is chosen, so that choosing does not grow with their number
MAX_WAIT = 30.0  # seconds; a host that wants to be left alone for longer is, for the rest of the crawl or until then
Clock = Callable[[], float]
Sleep = Callable[[float], object]  # what is true ends the waiting: the crawl stops


def user_agent(contact: str) -> str:
    """The name we go by; UsageError if the contact cannot stand in a header."""
    if not (contact.isascii() and contact.isprintable()):
        raise UsageError("crawl.contact: a header cannot hold it: write a plain mail address or URL")
    return f"{NAME}/{__version__}" + (f" (+{contact})" if contact else "")


class HostPace:
    """Spaces the requests to one host by `interval` seconds, from whichever thread; `free` hosts are our own.

    URLs come normalised: another spelling would be another host.
    """

    def __init__(
        self, interval: float, *, free: Collection[str] = (), clock: Clock = time.monotonic, sleep: Sleep = time.sleep
    ) -> None:
        self._interval, self._free, self._clock, self._sleep = interval, free, clock, sleep
        self._next: dict[str, float] = {}
        self._held: dict[str, float] = {}  # hosts that asked to be left alone, and until when
        self._intervals: dict[str, float] = {}  # of hosts that asked for a longer one
        self._lock = threading.Lock()

    def wait(self, url: str) -> bool:
        """Sleep until this URL's host may be asked, and take that turn; False at once if that is too far off."""
        host, turn = urlsplit(url).netloc, -math.inf
        while True:
            with self._lock:
                now = self._clock()
                held = self._held.get(host, turn)
                if held - now > MAX_WAIT:
                    return False
                if turn > -math.inf and held <= turn:  # nobody asked for more patience while we slept
                    return True
                turn = self._take_turn(host, now)
            if turn <= now or self._sleep(turn - now):
                return True

    def delay(self, host: str) -> float:
        """Seconds until a host may be asked; takes no turn."""
        with self._lock:
            now = self._clock()
            return max(self._next.get(host, now), self._held.get(host, now)) - now

    def _take_turn(self, host: str, now: float) -> float:
        turn = max(now, self._next.get(host, now), self._held.get(host, now))
        interval = 0.0 if host in self._free else self._intervals.get(host, self._interval)
        self._next[host] = turn + interval
        return turn

    def hold(self, url: str, seconds: float) -> None:
        """Leave this URL's host alone for a while."""
        host = urlsplit(url).netloc
        with self._lock:
            self._held[host] = max(self._held.get(host, 0.0), self._clock() + seconds)

    def slow_down(self, url: str, seconds: float) -> None:
        """Take a longer interval for this URL's host, as its robots.txt asks, within MAX_WAIT."""
        with self._lock:
            self._intervals[urlsplit(url).netloc] = max(self._interval, min(seconds, MAX_WAIT))


class HostQueue:
    """URLs to fetch, in turn from all their hosts: one that is slow, or asked slowly, holds up no other's.

    Next is one whose host may be asked at once and answers the fewest threads just now, else the soonest.
    """

    def __init__(self, delay: Callable[[str], float]) -> None:
        self._delay = delay  # seconds until a host may be asked
        self._there: queue.SimpleQueue[None] = queue.SimpleQueue()  # one for each URL, to wait at
        self._urls: dict[str, deque[str]] = {}
        self._turns: deque[str] = deque()  # the hosts of `_urls`
        self._asked: Counter[str] = Counter()  # threads on each host
        self._lock = threading.Lock()

    def put(self, url: str, *_: object) -> None:
        """Add a URL."""
        host = _host_of(url)
        with self._lock:
            if host not in self._urls:
                self._urls[host] = deque()
                self._turns.append(host)
            self._urls[host].append(url)
        self._there.put(None)

    def get(self, timeout: float) -> str:
        """The next URL; `done` wants to hear of its end. Raises queue.Empty if none comes in so many seconds."""
        self._there.get(timeout=timeout)
        with self._lock:
            host, place = self._choose()
            url = self._urls[host].popleft()
            if not self._urls[host]:
                del self._urls[host], self._turns[place]
            self._asked[host] += 1
        return url

    def done(self, url: str) -> None:
        """A URL that was handed out is finished."""
        host = _host_of(url)
        with self._lock:
            self._asked[host] -= 1
            if not self._asked[host]:
                del self._asked[host]

    def _choose(self) -> tuple[str, int]:
        """A host, and where it stands among the turns, counted from their end, to which all go that were looked at."""
        best, chosen, looked = (math.inf, math.inf), 0, 0
        while looked < min(len(self._turns), LOOKED_AT) and best > (0.0, 0.0):
            host = self._turns[0]
            self._turns.rotate(-1)
            found = (max(0.0, self._delay(host)), float(self._asked[host]))
            if found < best:
                best, chosen = found, looked
            looked += 1
        return self._turns[chosen - looked], chosen - looked


def _host_of(url: str) -> str:
    try:
        return urlsplit(url).netloc.lower()
    except ValueError:  # no URL: fetching it will say so
        return ""
