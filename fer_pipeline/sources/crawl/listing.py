"""What the engines list: results page by page, up to the limit, and what each engine answered."""

from collections.abc import Iterable

from fer_pipeline.config.schema import CrawlConfig
from fer_pipeline.sources.crawl.client import Fetcher
from fer_pipeline.sources.crawl.engines import ENGINES, Job
from fer_pipeline.sources.crawl.ledger import Key, Ledger
from fer_pipeline.sources.crawl.robots import refusal_in_page

MOST = 8_000_000  # bytes of a page of results; reading one takes many times its size


class Listing:
    """The results of one job; `read` is called for one page after another."""

    def __init__(self, job: Job, config: CrawlConfig, fetcher: Fetcher, ledger: Ledger) -> None:
        self.job = job
        self.results: int | None = None  # on the pages that could be read; None: there was none
        self.problems: dict[str, None] = {}  # of the others, each once
        self._engine, self._limit, self._fetcher, self._ledger = ENGINES[job.engine], config.limit, fetcher, ledger
        self._respect_robots = config.robots == "all" or (config.robots == "pictures" and job.engine == "site")
        self._urls: dict[str, None] = {}
        self._is_over = False

    def listed(self) -> list[Key]:
        """All that was listed, known or new."""
        return [(self.job.query.label, url) for url in self._urls]

    def read(self, page: str) -> list[str] | None:
        """The results of one page that are still to be fetched; None: no further pages are wanted."""
        if self._is_over:
            return None
        room = self._limit - len(self._urls)
        new = [url for url in dict.fromkeys(self._find(page)) if url not in self._urls][:room]
        self._urls.update(dict.fromkeys(new))
        self._is_over = len(self._urls) >= self._limit or (self._engine.paged and not new)
        return [url for url in new if not self._ledger.is_known(self.job.query.label, url)]

    def _find(self, page: str) -> list[str]:
        try:
            found = self._ask(page)
        except ValueError as error:
            self.problems[str(error)] = None
            return []
        self.results = (self.results or 0) + len(found)
        return found

    def _ask(self, page: str) -> list[str]:
        """What a page lists; ValueError says why it cannot be read."""
        if self._engine.parse is None:
            return [page]
        answer = self._fetcher.fetch(
            page, respect_robots=self._respect_robots, is_local_gallery=self.job.engine == "sample", most=MOST
        )
        refused = refusal_in_page(answer.body) if self._respect_robots else ""
        if answer.reason or refused:
            raise ValueError(answer.detail or answer.reason or refused)
        try:
            return self._engine.parse(answer.url, answer.body)
        except ValueError as error:
            raise ValueError(f"200, {error}") from None
        except Exception as error:  # noqa: BLE001  a page no parser of ours stands costs its own results, not the crawl
            raise ValueError(f"200, unreadable ({type(error).__name__})") from None


def answers_of(listings: Iterable[Listing]) -> dict[str, str]:
    """What each engine answered to all it was asked: `bing: 200, 0 results parsed`."""
    by_engine: dict[str, list[Listing]] = {}
    for listing in listings:
        by_engine.setdefault(listing.job.engine, []).append(listing)
    return {engine: _answer(engine, asked) for engine, asked in by_engine.items()}


def _answer(engine: str, listings: list[Listing]) -> str:
    counts = [listing.results for listing in listings if listing.results is not None]
    shown = f"{sum(counts)} URLs listed" if engine == "urls" else f"200, {sum(counts)} results parsed"
    problems = dict.fromkeys(problem for listing in listings for problem in listing.problems)
    return " / ".join([*([shown] if counts else []), *problems]) or "nothing to ask"
