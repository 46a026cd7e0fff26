"""Fetch photos into the raw folder by class, engine and keyword, each with where it came from."""

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, nullcontext
from dataclasses import dataclass
from functools import partial
from urllib.parse import quote, urlsplit

from fer_pipeline.config.schema import CrawlConfig
from fer_pipeline.dataset.provenance import locked_raw, read_provenance
from fer_pipeline.dataset.rows import Row, Status
from fer_pipeline.errors import InputError
from fer_pipeline.sources.crawl.client import Answer, Fetcher
from fer_pipeline.sources.crawl.engines import ENGINES, GALLERY, Job, find_gallery, plan
from fer_pipeline.sources.crawl.host_queue import SOON, HostQueue
from fer_pipeline.sources.crawl.host_stats import HOST_STATS, format_host_stats, owns_host_stats, write_host_stats
from fer_pipeline.sources.crawl.ledger import Key, Ledger, Origin
from fer_pipeline.sources.crawl.local_gallery import INDEX, read_index, serve_gallery
from fer_pipeline.sources.crawl.politeness import HostPace
from fer_pipeline.sources.crawl.pools import JobCrawler, Watch
from fer_pipeline.sources.crawl.robots import REFUSALS, refusal_in_page

MAX_PAGE_BYTES = 8_000_000  # of a page of results: parsing one takes many times its size
Report = Callable[[str], object]
Progress = Callable[[str, int], AbstractContextManager[Callable[[int], None]]]  # title, most results -> advance


@dataclass(frozen=True)
class CrawlSummary:
    """What a crawl added to its folder, in rows; `known` results had been fetched by an earlier one."""

    kept: int
    dropped: int
    failed: int
    known: int
    reasons: dict[str, int]  # why rows were dropped or failed
    answers: dict[str, str]  # what each engine answered

    def __str__(self) -> str:
        reasons = _format_counts(" (", self.reasons) + ")" if self.reasons else ""
        answers = "; ".join(f"{engine}: {answer}" for engine, answer in self.answers.items())
        rows = f"kept {self.kept}, dropped {self.dropped}, failed {self.failed}{reasons}, known {self.known}"
        return f"crawl: {rows}; {answers}"


class Listing:
    """The results of one job, page by page, up to `crawl.limit`."""

    def __init__(self, job: Job, config: CrawlConfig, fetcher: Fetcher, ledger: Ledger) -> None:
        self.job, self.engine = job, ENGINES[job.engine]
        self.results: int | None = None  # on the pages that could be read; None: there was none
        self.problems: dict[str, None] = {}  # of the others, each once
        self._limit, self._fetcher, self._ledger = config.limit, fetcher, ledger
        self._key = str(getattr(config, self.engine.needs_key)) if self.engine.needs_key else ""
        self._respect_robots = config.robots == "all" or (config.robots == "pictures" and self.engine.has_web_pages)
        self._urls: dict[str, None] = {}
        self._is_over = False
        self._broken = 0  # pages in a row that could not be read

    @property
    def title(self) -> str:
        return f"{self.job.query.label}: {self.job.engine}"

    @property
    def most(self) -> int:
        """The most results there can be."""
        return len(self.job.pages) if self.engine.is_url_list else self._limit

    def listed(self) -> list[Key]:
        """Return all that was listed, known or new."""
        return [(self.job.query.label, url) for url in self._urls]

    def read(self, page: str) -> list[str] | None:
        """Return the results of one page that are still to be fetched; None: no further pages are wanted."""
        if self._is_over:
            return None
        room = self._limit - len(self._urls)
        found = self._find(page)
        self._broken = 0 if found is not None else self._broken + 1
        new = [url for url in dict.fromkeys(found or ()) if url not in self._urls][:room]
        self._urls.update(dict.fromkeys(new))
        # One page that cannot be read is skipped; two in a row, or one without new results, are the end.
        is_last = self.engine.is_paged and not new and (found is not None or self._broken > 1)
        self._is_over = len(self._urls) >= self._limit or is_last
        return [url for url in new if not self._ledger.is_known(self.job.query.label, url)]

    def _find(self, page: str) -> list[str] | None:
        try:
            found = self._parse(page)
        except ValueError as error:
            self.problems[str(error) if not self._holds_key(str(error)) else "refused"] = None
            return None
        found = [url for url in found if not self._holds_key(url)]  # it is for the engine alone
        self.results = (self.results or 0) + len(found)
        return found

    def _holds_key(self, text: str) -> bool:
        return bool(self._key) and (self._key in text or quote(self._key, safe="") in text)

    def _parse(self, page: str) -> list[str]:
        """Return the URLs on a page; ValueError says why it cannot be read."""
        if self.engine.parse is None:
            return [page]
        answer = self._fetcher.fetch(
            page,
            respect_robots=self._respect_robots,
            is_local_gallery=self.engine.is_local_gallery,
            max_bytes=MAX_PAGE_BYTES,
        )
        refusal = refusal_in_page(answer.body) if self._respect_robots else ""
        if answer.reason or refusal:
            raise ValueError(answer.detail or answer.reason or refusal)
        try:
            return self.engine.parse(answer.url, answer.body)
        except ValueError as error:
            raise ValueError(f"200, {error}") from None
        except Exception as error:  # noqa: BLE001  a page that breaks its parser costs its own results, not the crawl
            raise ValueError(f"200, unreadable ({type(error).__name__})") from None


def crawl(
    config: CrawlConfig, *, force: bool = False, on_progress: Report | None = None, progress: Progress | None = None
) -> CrawlSummary:
    """Fetch what is not yet in `config.output` and complete its manifest; `force` asks again for what failed.

    `on_progress` receives a line at a time, `progress` shows how far each listing is. A crawl that was killed goes on
    where it stopped. UsageError names a missing setting; InputError if nothing that was listed is in the folder at the
    end; SetupError if the disk takes no files.
    """
    report = on_progress or str  # str: does nothing with a line
    with ExitStack() as stack:
        labels, address = _open_gallery(config, stack)
        jobs = plan(config, labels)
        watch = Watch(threading.Event())
        fetcher = stack.enter_context(closing(_make_fetcher(config, watch, address)))
        ledger = Ledger(config.output, stack.enter_context(locked_raw(config.output)), force=force)
        stack.callback(ledger.close)
        stack.callback(watch.stop.set)  # also on Ctrl-C: whatever threads still wait for is discarded
        listings = [Listing(job, config, fetcher, ledger) for job in jobs]
        for listing in listings:
            with progress(listing.title, listing.most) if progress else nullcontext(_ignore) as advance:
                _run(listing, config, fetcher, partial(_note, ledger, advance, _origin(listing, config)), watch)
            report(_format_listing(listing, ledger))
        listed = {key for listing in listings for key in listing.listed()}
        known = len(listed) - ledger.outcomes(listed).total()
        found, outcomes = ledger.has_found(listed), ledger.outcomes(listed, earlier=True)
        rows, held = ledger.finish()
        for line in format_host_stats(write_host_stats(config.output, held)):
            report(f"crawl: {line}")
        if not owns_host_stats(config.output):
            report(
                f"crawl: {config.output / HOST_STATS}: not written by fer, left as it is: rename it to get the table"
            )
    summary = _summarise(rows, known, answers_of(listings))
    if not found or not any(row.status is Status.KEPT for row in held):
        raise InputError(_explain(config, summary, outcomes))
    return summary


def _open_gallery(config: CrawlConfig, stack: ExitStack) -> tuple[Sequence[str], str]:
    """Serve the local gallery if it is asked for, drawn where it is missing; returns its classes and its address."""
    engine = find_gallery(config)
    if engine is None or engine in config.base:
        return (), config.base.get(engine, "").rstrip("/") if engine else ""
    folder = config.sample.folder or config.output.parent / "gallery"
    from fer_pipeline.sources.sample import draw_gallery

    if read_provenance(folder) is not None or not (folder / INDEX).is_file():  # else it is somebody's own gallery
        draw_gallery(folder, config.sample.per_label, config.sample.seed)
    return sorted(read_index(folder)), stack.enter_context(serve_gallery(folder))


def _make_fetcher(config: CrawlConfig, watch: Watch, address: str) -> Fetcher:
    """Make the HTTP client of this crawl; only the gallery that fer itself serves is requested without a pause."""
    is_served_elsewhere = find_gallery(config) in config.base
    free = () if is_served_elsewhere else (urlsplit(GALLERY).netloc,)
    return Fetcher(config, HostPace(config.interval, free=free, sleep=watch.stop.wait), watch.stop, (GALLERY, address))


def _origin(listing: Listing, config: CrawlConfig) -> Origin:
    job = listing.job
    return Origin(job.query.label, job.engine, job.query.keyword, listing.engine.licence_in_force(config))


def _run(
    listing: Listing, config: CrawlConfig, fetcher: Fetcher, note: Callable[[str, Answer], None], watch: Watch
) -> None:
    """Fetch all that one engine lists for one class and keyword."""
    if not listing.job.pages:
        return
    is_local_gallery, respect_robots = listing.engine.is_local_gallery, config.robots != "none"
    fetch = partial(fetcher.fetch, respect_robots=respect_robots, is_local_gallery=is_local_gallery, max_wait=SOON)
    crawler = JobCrawler(watch, HostQueue(fetcher.delay), config.threads, listing.read, fetch, note)
    crawler.crawl(listing.job.pages)
    watch.check()


def _note(ledger: Ledger, advance: Callable[[int], None], origin: Origin, url: str, answer: Answer) -> None:
    ledger.note(origin, url, answer)
    advance(1)


def _ignore(_: int) -> None:
    """Show no progress."""


def answers_of(listings: Iterable[Listing]) -> dict[str, str]:
    """Return what each engine answered to all its pages: `bing: 200, 0 results parsed`."""
    by_engine: dict[str, list[Listing]] = {}
    for listing in listings:
        by_engine.setdefault(listing.job.engine, []).append(listing)
    return {engine: _format_answer(of_engine) for engine, of_engine in by_engine.items()}


def _format_answer(listings: list[Listing]) -> str:
    counts = [listing.results for listing in listings if listing.results is not None]
    is_url_list = listings[0].engine.is_url_list
    shown = f"{sum(counts)} URLs listed" if is_url_list else f"200, {sum(counts)} results parsed"
    problems = dict.fromkeys(problem for listing in listings for problem in listing.problems)
    return " / ".join([*([shown] if counts else []), *problems]) or "no page to request"


def _format_listing(listing: Listing, ledger: Ledger) -> str:
    """Describe a finished listing: `smile: bing, smiling face: 200, 35 results parsed; http_404 5, kept 30`."""
    engine, (_, keyword), _ = listing.job
    title = f"{listing.title}, {keyword}" if keyword else listing.title
    listed = listing.listed()
    outcomes = ledger.outcomes(listed)
    known = {"known": len(listed) - outcomes.total()} if len(listed) > outcomes.total() else {}
    return f"{title}: {answers_of([listing])[engine]}{_format_counts('; ', {**outcomes, **known})}"


def _summarise(rows: list[Row], known: int, answers: dict[str, str]) -> CrawlSummary:
    statuses = Counter(row.status.value for row in rows)
    reasons = Counter(row.reason for row in rows if row.reason)
    return CrawlSummary(statuses["kept"], statuses["dropped"], statuses["failed"], known, dict(reasons), answers)


def _explain(config: CrawlConfig, summary: CrawlSummary, outcomes: dict[str, int]) -> str:
    """Say why there is no picture, and what to try, in one line."""
    answers = "; ".join(f"{engine}: {answer}" for engine, answer in summary.answers.items())
    remedy = "check the network, try other keywords or crawl.engines, or request what failed again with --force"
    if "private_address" in outcomes:
        remedy = "set crawl.allow_private if these hosts are yours, and pass --force"
    elif outcomes and REFUSALS.issuperset(outcomes):
        remedy = "their robots.txt or TDM reservation forbids it (docs/crawling.md): ask the owners, or use other sites"
    return f"{config.output}: no picture found: {answers}{_format_counts('; fetching them: ', outcomes)}: {remedy}"


def _format_counts(before: str, counts: dict[str, int]) -> str:
    return before + ", ".join(f"{name} {number}" for name, number in sorted(counts.items())) if counts else ""
