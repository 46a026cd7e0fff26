"""Be polite to servers: an honest user agent, a delay between requests to a host, and waiting where it is asked for."""

import math
import threading
import time
from collections.abc import Callable, Collection
from urllib.parse import urlsplit

from fer_pipeline import __version__
from fer_pipeline.errors import UsageError

USER_AGENT = "fer-pipeline"  # our name in robots.txt and X-Robots-Tag (product token, RFC 9309)
MAX_WAIT = 30.0  # seconds; a host that asks for a longer wait gets no more requests until it is over
Clock = Callable[[], float]
Sleep = Callable[[float], object]  # returns true if the crawl is stopping


def user_agent(contact: str) -> str:
    """Return the User-Agent header; UsageError if it cannot hold the contact."""
    if not (contact.isascii() and contact.isprintable()):
        raise UsageError("crawl.contact: a header cannot hold it: write a plain mail address or URL")
    return f"{USER_AGENT}/{__version__}" + (f" (+{contact})" if contact else "")


class Deferred(Exception):
    """A host may be requested only so much later that other hosts should be requested first."""


class HostPace:
    """Keeps requests to one host `interval` seconds apart, across threads; `free` hosts need no delay.

    URLs must be normalised: another spelling would be another host.
    """

    def __init__(
        self, interval: float, *, free: Collection[str] = (), clock: Clock = time.monotonic, sleep: Sleep = time.sleep
    ) -> None:
        self._interval, self._free, self._clock, self._sleep = interval, free, clock, sleep
        self._next: dict[str, float] = {}
        self._held: dict[str, float] = {}  # hosts that asked for a pause, and its end
        self._intervals: dict[str, float] = {}  # crawl delays of hosts that ask for a longer one
        self._lock = threading.Lock()

    def wait(self, url: str, max_wait: float = math.inf) -> bool:
        """Sleep until this URL's host may be requested; False at once if it asked for a pause beyond MAX_WAIT.

        Deferred, without reserving the host's next slot, if it is more than `max_wait` seconds away.
        """
        host, slot = urlsplit(url).netloc, -math.inf
        while True:
            with self._lock:
                now = self._clock()
                held = self._held.get(host, slot)
                if held - now > MAX_WAIT:
                    return False
                if slot > -math.inf and held <= slot:  # while this thread slept, no pause beyond its slot was asked for
                    return True
                if self._next_slot(host, now) - now > max_wait:
                    raise Deferred
                slot = self._take_slot(host, now)
            if slot <= now or self._sleep(slot - now):
                return True

    def delay(self, host: str) -> float:
        """Return the seconds until a host may be requested; 0 for one that asked for a pause beyond MAX_WAIT."""
        with self._lock:
            now = self._clock()
            return 0.0 if self._held.get(host, now) - now > MAX_WAIT else self._next_slot(host, now) - now

    def _next_slot(self, host: str, now: float) -> float:
        return max(now, self._next.get(host, now), self._held.get(host, now))

    def _take_slot(self, host: str, now: float) -> float:
        slot = self._next_slot(host, now)
        interval = 0.0 if host in self._free else self._intervals.get(host, self._interval)
        self._next[host] = slot + interval
        return slot

    def hold(self, url: str, seconds: float) -> None:
        """Send no request to this URL's host for so many seconds."""
        host = urlsplit(url).netloc
        with self._lock:
            self._held[host] = max(self._held.get(host, 0.0), self._clock() + seconds)

    def set_crawl_delay(self, url: str, seconds: float) -> None:
        """Use the crawl delay of a host's robots.txt where it is longer than the interval, up to MAX_WAIT seconds."""
        with self._lock:
            self._intervals[urlsplit(url).netloc] = max(self._interval, min(seconds, MAX_WAIT))
