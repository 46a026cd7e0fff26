"""Which URL is fetched next: hosts take turns, and those that are slow or must wait hold up no other."""

import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import NamedTuple
from urllib.parse import urlsplit

from fer_pipeline.sources.crawl.urls import normalise

SOON = 1.0  # seconds that a thread waits for a host's turn rather than ask a host that others wait for already


class Task(NamedTuple):
    """A URL to fetch, and how often that was attempts."""

    url: str
    host: str
    attempts: int = 0


@dataclass
class _Line:
    """What waits for one host."""

    tasks: deque[Task] = field(default_factory=deque)
    asked: int = 0  # threads on it
    place: int = 0  # the number of its entry that counts: earlier ones are stale


class HostQueue:
    """The URLs of a crawl, for many threads.

    Next is one whose host may be asked within SOON and answers the fewest threads just now; among these the host that
    has most left, since it needs the longest. A URL stays until its host may be asked.
    """

    def __init__(self, delay: Callable[[str], float], clock: Callable[[], float] = time.monotonic) -> None:
        self._delay, self._clock = delay, clock  # seconds until a host may be asked
        self._lines: dict[str, _Line] = {}
        self._ready: list[tuple[int, int, int, str]] = []  # threads on a host, URLs left (negative), place, host
        self._later: list[tuple[float, int, str]] = []  # when to look again, place, host
        self._places = 0
        self._changed = threading.Condition()

    def put(self, url: str, *_: object) -> None:
        """Add a URL."""
        self.put_back(Task(url, _host_of(url)))

    def put_back(self, task: Task) -> None:
        """Add a URL, or one that could not be asked yet."""
        with self._changed:
            line = self._lines.setdefault(task.host, _Line())
            line.tasks.append(task)
            if len(line.tasks).bit_count() == 1:  # has doubled: how much is left is known well enough
                self._place(task.host, line)
            self._changed.notify()

    def get(self, timeout: float) -> Task:
        """The next one; `done` wants to hear of its end. Raises queue.Empty if there is none in so many seconds."""
        until = self._clock() + timeout
        with self._changed:
            while (host := self._choose()) is None:
                now = self._clock()
                if now >= until:
                    raise queue.Empty
                self._changed.wait(min(until, self._later[0][0] if self._later else until) - now)
            line = self._lines[host]
            task = line.tasks.popleft()
            line.asked += 1
            self._place(host, line)
        return task

    def done(self, task: Task) -> None:
        """One that was handed out is finished."""
        with self._changed:
            line = self._lines[task.host]
            line.asked -= 1
            self._place(task.host, line)

    def empty(self) -> bool:
        """Whether nothing waits; threads may still put back what they hold."""
        with self._changed:
            return not any(line.tasks for line in self._lines.values())

    def _place(self, host: str, line: _Line) -> None:
        """Put a host where it belongs now."""
        if not line.tasks:
            line.place = 0
            if not line.asked:
                del self._lines[host]
            return
        self._places += 1
        line.place = self._places
        late = self._delay(host) - SOON
        if late > 0:
            heappush(self._later, (self._clock() + late, line.place, host))
        else:
            heappush(self._ready, (line.asked, -len(line.tasks), line.place, host))

    def _choose(self) -> str | None:
        now = self._clock()
        while self._later and self._later[0][0] <= now:
            _, place, host = heappop(self._later)
            if self._counts(host, place):
                self._place(host, self._lines[host])
        while self._ready:
            *_, place, host = heappop(self._ready)
            if not self._counts(host, place):
                continue
            if self._delay(host) <= SOON:
                return host
            self._place(host, self._lines[host])  # it was held since
        return None

    def _counts(self, host: str, place: int) -> bool:
        return host in self._lines and self._lines[host].place == place


def _host_of(url: str) -> str:
    """As the pace knows it; "" for what is no URL, which fetching it will say."""
    try:
        return urlsplit(normalise(url)).netloc
    except ValueError:
        return ""
