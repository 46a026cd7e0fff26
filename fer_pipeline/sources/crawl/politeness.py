"""Ask servers politely: an honest name, a pause per host, and max_wait where it is asked."""

import math
import threading
import time
from collections.abc import Callable, Collection
from urllib.parse import urlsplit

from fer_pipeline import __version__
from fer_pipeline.errors import UsageError

NAME = "fer-pipeline"  # what robots.txt and X-Robots-Tag may call us
MAX_WAIT = 30.0  # seconds; a host that wants to be left alone for longer is, for the rest of the crawl or until then
Clock = Callable[[], float]
Sleep = Callable[[float], object]  # what is true ends the waiting: the crawl stops


def user_agent(contact: str) -> str:
    """The name we go by; UsageError if the contact cannot stand in a header."""
    if not (contact.isascii() and contact.isprintable()):
        raise UsageError("crawl.contact: a header cannot hold it: write a plain mail address or URL")
    return f"{NAME}/{__version__}" + (f" (+{contact})" if contact else "")


class Deferred(Exception):
    """A host may be asked, but so much later that something else had better be done until then."""


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

    def wait(self, url: str, max_wait: float = math.inf) -> bool:
        """Sleep until this URL's host may be asked, and take that turn; False at once if that is too far off.

        Deferred, and no turn taken, if it is further off than `max_wait`, in seconds.
        """
        host, turn = urlsplit(url).netloc, -math.inf
        while True:
            with self._lock:
                now = self._clock()
                held = self._held.get(host, turn)
                if held - now > MAX_WAIT:
                    return False
                if turn > -math.inf and held <= turn:  # nobody asked for more max_wait while we slept
                    return True
                if self._next_turn(host, now) - now > max_wait:
                    raise Deferred
                turn = self._take_turn(host, now)
            if turn <= now or self._sleep(turn - now):
                return True

    def delay(self, host: str) -> float:
        """Seconds until a host may be asked, 0 for one that is given up; takes no turn."""
        with self._lock:
            now = self._clock()
            return 0.0 if self._held.get(host, now) - now > MAX_WAIT else self._next_turn(host, now) - now

    def _next_turn(self, host: str, now: float) -> float:
        return max(now, self._next.get(host, now), self._held.get(host, now))

    def _take_turn(self, host: str, now: float) -> float:
        turn = self._next_turn(host, now)
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
