"""icrawler's feeder, parser and downloader, so that no result is skipped and no thread's error is lost."""

import logging
import queue
import threading
from collections.abc import Callable, Iterator
from typing import Any

from icrawler import Crawler, Downloader, Parser, UrlListFeeder
from icrawler.storage import BaseStorage

from fer_pipeline.sources.crawl.client import Answer, Fetcher, HostBusy, Stopped
from fer_pipeline.sources.crawl.host_queue import HostQueue, Task

POLL = 0.05  # seconds between two looks at whether the pool before has ended


class Watch:
    """Runs the body of each thread, and keeps the first error for the thread that waits."""

    def __init__(self, stop: threading.Event) -> None:
        self.stop = stop
        self.error: BaseException | None = None

    def run(self, body: Callable[[], None]) -> None:
        """Run to the end; whatever is raised stops all threads."""
        try:
            body()
        except Stopped:
            pass
        except BaseException as error:  # noqa: BLE001  a thread has no caller: `check` raises it in the main thread
            self.error = self.error or error
            self.stop.set()

    def check(self) -> None:
        """Raise the error of a thread, if there was one."""
        if self.error is not None:
            raise self.error


class ListFeeder(UrlListFeeder):  # type: ignore[misc]
    """Hands out the pages."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # icrawler's own queue, when full, takes the second attempt for a duplicate and loses the URL.
        self.out_queue: queue.SimpleQueue[Any] = queue.SimpleQueue()


class PageParser(Parser):  # type: ignore[misc]
    """Reads the pages one after another; `read` returns the URLs to fetch, or None when no more pages are wanted."""

    def __init__(self, *args: Any, watch: Watch, read: Callable[[str], list[str] | None], found: HostQueue) -> None:
        super().__init__(*args, out_queue=found)
        self.watch, self.read = watch, read

    def worker_exec(self, **_: Any) -> None:
        """The body of each thread."""
        self.watch.run(self._work)

    def _work(self) -> None:
        for page in _tasks(self, "feeder_exited"):
            urls = self.read(page)
            if urls is None:
                return
            for url in urls:
                self.output(url)


class PoliteDownloader(Downloader):  # type: ignore[misc]
    """Fetches each URL and passes it to `note` with what came of it."""

    def __init__(
        self, *args: Any, watch: Watch, fetch: Callable[[Task], Answer], note: Callable[[str, Answer], None]
    ) -> None:
        super().__init__(*args)
        self.watch, self.fetch, self.note = watch, fetch, note

    def worker_exec(self, **_: Any) -> None:
        """The body of each thread."""
        self.watch.run(self._work)

    def _work(self) -> None:
        for task in _tasks(self, "parser_exited"):
            fetched: dict[str, Any] = {"task": task}
            try:
                self.download(fetched)
            except HostBusy as later:
                self.in_queue.put_back(task._replace(attempts=later.attempts))
            else:
                self.process_meta(fetched)
            self.in_queue.done(task)

    def download(self, task: dict[str, Any], *_: Any, **__: Any) -> None:
        """Fetch one URL into its task; HostBusy if its host may be requested only later."""
        task["answer"] = self.fetch(task["task"])

    def process_meta(self, task: dict[str, Any]) -> None:
        """Pass on what came of it."""
        self.note(task["task"].url, task["answer"])


def _tasks(pool: Any, upstream: str) -> Iterator[Any]:
    """Yield all that comes in: icrawler's own loop ends at a pause, and may miss the last items of the pool before."""
    while not pool.watch.stop.is_set():
        was_last = pool.signal.get(upstream)
        task = _take(pool.in_queue)
        if task is not None:
            yield task
        elif was_last and pool.in_queue.empty():
            return


def _take(tasks: queue.SimpleQueue[Any] | HostQueue) -> Any:
    try:
        return tasks.get(timeout=POLL)
    except queue.Empty:
        return None


class JobCrawler(Crawler):  # type: ignore[misc]
    """One icrawler with these three pools and one HTTP client."""

    def __init__(self, fetcher: Fetcher, threads: int, parser: dict[str, Any], downloader: dict[str, Any]) -> None:
        self._fetcher = fetcher
        super().__init__(
            ListFeeder,
            PageParser,
            PoliteDownloader,
            downloader_threads=threads,
            storage=BaseStorage(),  # the ledger writes
            log_level=logging.CRITICAL,
            extra_parser_args={**parser, "found": HostQueue(fetcher.delay)},
            extra_downloader_args=downloader,
        )

    def set_logger(self, log_level: int) -> None:
        """Silence icrawler's loggers; the original would configure the logging of the whole program."""
        for name in ("icrawler", "feeder", "parser", "downloader"):
            logging.getLogger(name).setLevel(log_level)
        self.logger = logging.getLogger("icrawler")

    def set_session(self, headers: Any = None) -> None:  # noqa: ARG002
        """Use our HTTP client in place of icrawler's session."""
        self.session = self._fetcher

    def crawl(self, pages: list[str]) -> None:
        """Fetch what the pages list and return when all threads have ended; the original polls once a second."""
        self.signal.reset()
        self.feeder.start(url_list=pages)
        self.parser.start()
        self.downloader.start()
        for pool, event in ((self.feeder, "feeder_exited"), (self.parser, "parser_exited"), (self.downloader, "done")):
            for worker in pool.workers:
                worker.join()
            self.signal.set(**{event: True})
