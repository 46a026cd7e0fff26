"""Fetch photos into the raw folder by class, engine and keyword, each with where it came from."""

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, nullcontext
from dataclasses import dataclass
from functools import partial
from urllib.parse import urlsplit

from fer_pipeline.config.schema import CrawlConfig
from fer_pipeline.dataset.provenance import locked_raw, read_provenance
from fer_pipeline.dataset.rows import Row, Status
from fer_pipeline.errors import InputError
from fer_pipeline.sources.crawl.client import Answer, Fetcher
from fer_pipeline.sources.crawl.engines import ENGINES, SAMPLE, plan
from fer_pipeline.sources.crawl.host_queue import SOON, Task
from fer_pipeline.sources.crawl.host_stats import table_of, write_host_stats
from fer_pipeline.sources.crawl.ledger import Ledger, Origin
from fer_pipeline.sources.crawl.listing import Listing, answers_of
from fer_pipeline.sources.crawl.local_gallery import INDEX, read_index, serve_gallery
from fer_pipeline.sources.crawl.politeness import HostPace
from fer_pipeline.sources.crawl.pools import JobCrawler, Watch
from fer_pipeline.sources.crawl.robots import REFUSED

Tell = Callable[[str], object]
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
        lost = _counts(" (", self.reasons) + ")" if self.reasons else ""
        answers = "; ".join(f"{engine}: {answer}" for engine, answer in self.answers.items())
        rows = f"kept {self.kept}, dropped {self.dropped}, failed {self.failed}{lost}, known {self.known}"
        return f"crawl: {rows}; {answers}"


def crawl(
    config: CrawlConfig, *, force: bool = False, on_progress: Tell | None = None, progress: Progress | None = None
) -> CrawlSummary:
    """Fetch what is not yet in `config.output` and complete its manifest; `force` asks again for what failed.

    `on_progress` is told a line at a time, `progress` shows how far each listing is. A crawl that was killed goes on
    where it stopped. UsageError names a missing key; InputError if nothing that was listed is in the folder at the
    end; SetupError if the disk will not take one.
    """
    tell = on_progress or str  # str: a function that does nothing with a line
    with ExitStack() as stack:
        labels, address = _open_gallery(config, stack)
        jobs = plan(config, labels)
        watch = Watch(threading.Event())
        fetcher = stack.enter_context(closing(_fetcher(config, watch, address)))
        ledger = Ledger(config.output, stack.enter_context(locked_raw(config.output)), force=force)
        stack.callback(ledger.close)
        stack.callback(watch.stop.set)  # also on Ctrl-C: what threads still wait for then comes to nothing
        listings = [Listing(job, config, fetcher, ledger) for job in jobs]
        for listing in listings:
            with progress(_title(listing), _most(listing, config)) if progress else nullcontext(_ignore) as advance:
                _run(listing, config, fetcher, partial(_note, ledger, advance, _origin(listing, config)), watch)
            tell(_progress(listing, ledger))
        listed = {key for listing in listings for key in listing.listed()}
        known = len(listed) - ledger.outcomes(listed).total()
        found, outcomes = ledger.has_found(listed), ledger.outcomes(listed, earlier=True)
        rows, held = ledger.finish()
        for line in table_of(write_host_stats(config.output, held)):
            tell(f"crawl: {line}")
    summary = _summary(rows, known, answers_of(listings))
    if not found or not any(row.status is Status.KEPT for row in held):
        raise InputError(_explain(config, summary, outcomes))
    return summary


def _open_gallery(config: CrawlConfig, stack: ExitStack) -> tuple[Sequence[str], str]:
    """Serve the sample's gallery if it is asked for, drawn where it is missing; gives its labels and its address."""
    if "sample" not in config.engines or "sample" in config.base:
        return (), config.base.get("sample", "").rstrip("/")
    folder = config.sample.folder or config.output.parent / "gallery"
    from fer_pipeline.sources.sample import draw_gallery

    if read_provenance(folder) is not None or not (folder / INDEX).is_file():  # else it is somebody's own gallery
        draw_gallery(folder, config.sample.per_label, config.sample.seed)
    return sorted(read_index(folder)), stack.enter_context(serve_gallery(folder))


def _fetcher(config: CrawlConfig, watch: Watch, address: str) -> Fetcher:
    """The session of this crawl; only the gallery we serve ourselves is asked without a pause."""
    free = () if "sample" in config.base else (urlsplit(SAMPLE).netloc,)
    return Fetcher(config, HostPace(config.interval, free=free, sleep=watch.stop.wait), watch.stop, (SAMPLE, address))


def _origin(listing: Listing, config: CrawlConfig) -> Origin:
    job = listing.job
    return Origin(job.query.label, job.engine, job.query.keyword, ENGINES[job.engine].licence(config))


def _run(
    listing: Listing, config: CrawlConfig, fetcher: Fetcher, note: Callable[[str, Answer], None], watch: Watch
) -> None:
    """Fetch all that one engine lists for one class and keyword."""
    if not listing.job.pages:
        return
    respect_robots, is_local_gallery = config.robots != "none", listing.job.engine == "sample"

    def fetch(task: Task) -> Answer:
        return fetcher.fetch_soon(
            task.url, task.attempts, SOON, respect_robots=respect_robots, is_local_gallery=is_local_gallery
        )

    crawler = JobCrawler(
        fetcher,
        config.threads,
        parser={"watch": watch, "read": listing.read},
        downloader={"watch": watch, "fetch": fetch, "note": note},
    )
    crawler.crawl(listing.job.pages)
    watch.check()


def _note(ledger: Ledger, advance: Callable[[int], None], origin: Origin, url: str, answer: Answer) -> None:
    ledger.note(origin, url, answer)
    advance(1)


def _ignore(_: int) -> None:
    """Show nothing."""


def _title(listing: Listing) -> str:
    return f"{listing.job.query.label}: {listing.job.engine}"


def _most(listing: Listing, config: CrawlConfig) -> int:
    """The most results a listing may have."""
    return len(listing.job.pages) if listing.job.engine == "urls" else config.limit


def _progress(listing: Listing, ledger: Ledger) -> str:
    """One line on a finished listing: `smile: bing, smiling face: 200, 35 results parsed; kept 30, http_404 5`."""
    engine, (label, keyword), _ = listing.job
    asked = f"{engine}, {keyword}" if keyword else engine
    listed = listing.listed()
    outcomes = ledger.outcomes(listed)
    known = {"known": len(listed) - outcomes.total()} if len(listed) > outcomes.total() else {}
    return f"{label}: {asked}: {answers_of([listing])[engine]}{_counts('; ', {**outcomes, **known})}"


def _summary(rows: list[Row], known: int, answers: dict[str, str]) -> CrawlSummary:
    statuses = Counter(row.status.value for row in rows)
    reasons = Counter(row.reason for row in rows if row.reason)
    return CrawlSummary(statuses["kept"], statuses["dropped"], statuses["failed"], known, dict(reasons), answers)


def _explain(config: CrawlConfig, summary: CrawlSummary, outcomes: dict[str, int]) -> str:
    """Why there is nothing, and what to try, in one line."""
    answers = "; ".join(f"{engine}: {answer}" for engine, answer in summary.answers.items())
    remedy = "check the network, try other keywords or crawl.engines, or ask again for what failed with --force"
    if "private_address" in outcomes:
        remedy = "set crawl.allow_private if these hosts are yours, and say --force"
    elif outcomes and REFUSED.issuperset(outcomes):
        remedy = "their owners do not allow it (docs/crawling.md): ask them, or name other sites"
    return f"{config.output}: no picture found: {answers}{_counts('; fetching them: ', outcomes)}: {remedy}"


def _counts(before: str, counts: dict[str, int]) -> str:
    return before + ", ".join(f"{name} {number}" for name, number in sorted(counts.items())) if counts else ""
