"""Run icrawler's feeder, parser and downloader threads over a queue by host, so that no result and no error is lost.

icrawler starts the threads, feeds the pages, takes URLs from the queue one after another and hands each to `download`.
"""

import logging
import queue
import threading
from collections.abc import Callable
from typing import Any

from icrawler import Crawler, Downloader, Parser, UrlListFeeder
from icrawler.storage import BaseStorage
from icrawler.utils import ThreadPool

from fer_pipeline.sources.crawl.client import Answer, HostBusy
from fer_pipeline.sources.crawl.connections import Stopped
from fer_pipeline.sources.crawl.host_queue import HostQueue, Task

POLL = 0.05  # seconds between two looks of a thread at whether there is more to come
Read = Callable[[str], list[str] | None]  # a page -> the URLs to fetch, or None when no more pages are wanted
Fetch = Callable[..., Answer]  # of `Fetcher`, with a URL and its `attempts`
Note = Callable[[str, Answer], None]


class Watch:
    """Runs the body of each thread, and keeps the first error for the thread that waits."""

    def __init__(self, stop: threading.Event) -> None:
        self.stop = stop
        self.error: BaseException | None = None

    def run(self, body: Callable[..., None], **arguments: Any) -> None:
        """Run to the end; whatever is raised stops all threads."""
        try:
            body(**arguments)
        except Stopped:
            pass
        except BaseException as error:  # noqa: BLE001  a thread has no caller: `check` raises it in the main thread
            self.error = self.error or error
            self.stop.set()

    def check(self) -> None:
        """Raise the error of a thread, if there was one."""
        if self.error is not None:
            raise self.error


class PageParser(Parser):  # type: ignore[misc]
    """Reads the pages one after another; icrawler's own would request each by itself, without robots.txt and pauses."""

    def __init__(self, *args: Any, watch: Watch, read: Read, found: HostQueue) -> None:
        super().__init__(*args, out_queue=found)
        self.watch, self.read = watch, read

    def worker_exec(self, **_: Any) -> None:
        """The body of the thread; all pages were fed before it."""
        self.watch.run(self._read_pages)

    def _read_pages(self) -> None:
        while not self.in_queue.empty() and (urls := self.read(self.in_queue.get())) is not None:
            for url in urls:
                self.output(url)


class PoliteDownloader(Downloader):  # type: ignore[misc]
    """Fetches each URL and passes it to `note` with what came of it."""

    def __init__(self, *args: Any, watch: Watch, fetch: Fetch, note: Note) -> None:
        super().__init__(*args)
        self.watch, self.fetch, self.note = watch, fetch, note

    def worker_exec(self, **arguments: Any) -> None:
        """The body of each thread: icrawler's own loop."""
        self.watch.run(super().worker_exec, **arguments)

    def download(self, task: Task, *_: Any, **__: Any) -> None:
        """Fetch one URL, or put it back if its host may be requested only later."""
        try:
            answer = self.fetch(task.url, attempts=task.attempts)
        except HostBusy as later:
            self.in_queue.put_back(task._replace(attempts=later.attempts))
        else:
            self.note(task.url, answer)
        self.in_queue.done(task)


class JobCrawler(Crawler):  # type: ignore[misc]
    """One icrawler with these pools, for the pages of one search."""

    def __init__(self, watch: Watch, found: HostQueue, threads: int, read: Read, fetch: Fetch, note: Note) -> None:
        super().__init__(
            UrlListFeeder,
            PageParser,
            PoliteDownloader,
            downloader_threads=threads,
            storage=BaseStorage(),  # the ledger writes
            log_level=logging.CRITICAL,
            extra_parser_args={"watch": watch, "read": read, "found": found},
            extra_downloader_args={"watch": watch, "fetch": fetch, "note": note},
        )
        # icrawler's own queue holds five pages and would keep the feeder waiting when no more are wanted.
        self.feeder.out_queue = self.parser.in_queue = queue.SimpleQueue()

    def set_logger(self, log_level: int) -> None:
        """Silence icrawler's loggers; the original would configure the logging of the whole program."""
        for name in ("icrawler", "feeder", "parser", "downloader"):
            logging.getLogger(name).setLevel(log_level)
        self.logger = logging.getLogger("icrawler")

    def crawl(self, pages: list[str]) -> None:
        """Fetch what the pages list; the original looks once a second, and may miss what is listed or put back last."""
        self.signal.reset()
        _run(self.feeder, url_list=pages)
        self.downloader.start(max_num=0, queue_timeout=POLL)
        _run(self.parser)
        self.downloader.in_queue.join(self.downloader.watch.stop)
        self.signal.set(parser_exited=True)
        _join(self.downloader)


def _run(pool: ThreadPool, **arguments: Any) -> None:
    pool.start(**arguments)
    _join(pool)


def _join(pool: ThreadPool) -> None:
    for worker in pool.workers:
        worker.join()
