"""A queue of URLs by host: a slow host, or one that must be waited for, delays no other."""

import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import NamedTuple

from fer_pipeline.sources.crawl.urls import host_of

LOOK = 0.05  # seconds between two looks at whether the crawl is stopping
SOON = 1.0  # seconds a thread rather waits for a host than sends a second request to a busy one


class Task(NamedTuple):
    """A URL to fetch, and how many attempts it has had."""

    url: str
    host: str
    attempts: int = 0


@dataclass
class _Line:
    """The URLs that wait for one host."""

    tasks: deque[Task] = field(default_factory=deque)
    busy: int = 0  # threads that are at a URL of it
    ticket: int = 0  # of its valid entry in a heap: earlier ones are stale


class HostQueue:
    """The URLs of a crawl, handed out to many threads.

    The next URL is of a host that may be requested within SOON seconds and that the fewest threads are at; among these
    the host with the most URLs left, since it takes the longest. A URL stays until its host may be requested.
    """

    def __init__(self, delay: Callable[[str], float], clock: Callable[[], float] = time.monotonic) -> None:
        self._delay, self._clock = delay, clock  # seconds until a host may be requested
        self._lines: dict[str, _Line] = {}
        self._ready: list[tuple[int, int, int, str]] = []  # busy threads, URLs left (negative), ticket, host
        self._later: list[tuple[float, int, str]] = []  # when to look again, ticket, host
        self._tickets = 0
        self._changed = threading.Condition()

    def put(self, url: str, *_: object) -> None:
        """Add a URL."""
        self.put_back(Task(url, host_of(url)))

    def put_back(self, task: Task) -> None:
        """Add a URL, or return one that could not be requested yet."""
        with self._changed:
            line = self._lines.setdefault(task.host, _Line())
            line.tasks.append(task)
            if len(line.tasks).bit_count() == 1:  # it has doubled: an entry for each would only cost time
                self._enter(task.host, line)
            self._changed.notify()

    def get(self, timeout: float) -> Task:
        """Take the next URL, to be ended by `done`; queue.Empty if there is none within `timeout` seconds."""
        until = self._clock() + timeout
        with self._changed:
            while (host := self._choose()) is None:
                now = self._clock()
                if now >= until:
                    raise queue.Empty
                self._changed.wait(min(until, self._later[0][0] if self._later else until) - now)
            line = self._lines[host]
            task = line.tasks.popleft()
            line.busy += 1
            self._enter(host, line)
        return task

    def done(self, task: Task) -> None:
        """End a URL that was taken."""
        with self._changed:
            line = self._lines[task.host]
            line.busy -= 1
            self._enter(task.host, line)
            if not self._lines:
                self._changed.notify_all()  # `join` waits for this

    def task_done(self) -> None:
        """Do nothing: the queues of Python have this, but `done` also says which URL has ended."""

    def join(self, stop: threading.Event) -> None:
        """Wait until no URL is left and none is on its way, or the crawl stops."""
        with self._changed:
            while self._lines and not stop.is_set():
                self._changed.wait(LOOK)

    def _enter(self, host: str, line: _Line) -> None:
        """Enter a host into the heap where it belongs now."""
        if not line.tasks:
            line.ticket = 0
            if not line.busy:
                del self._lines[host]
            return
        self._tickets += 1
        line.ticket = self._tickets
        late = self._delay(host) - SOON
        if late > 0:
            heappush(self._later, (self._clock() + late, line.ticket, host))
        else:
            heappush(self._ready, (line.busy, -len(line.tasks), line.ticket, host))

    def _choose(self) -> str | None:
        now = self._clock()
        while self._later and self._later[0][0] <= now:
            _, ticket, host = heappop(self._later)
            if self._is_valid(host, ticket):
                self._enter(host, self._lines[host])
        while self._ready:
            *_, ticket, host = heappop(self._ready)
            if not self._is_valid(host, ticket):
                continue
            if self._delay(host) <= SOON:
                return host
            self._enter(host, self._lines[host])  # it has been put off since
        return None

    def _is_valid(self, host: str, ticket: int) -> bool:
        return host in self._lines and self._lines[host].ticket == ticket
