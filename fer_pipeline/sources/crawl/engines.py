"""Where pictures are looked for: for each engine the pages to ask and how to read them.

Search engines are asked as icrawler asks them. Their pages change without notice, and some answer a plain HTTP client
with little or nothing (Google nearly always): what each answered is told at the end of a crawl.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from math import ceil
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote, urlencode

from fer_pipeline.config.schema import CrawlConfig, EngineName
from fer_pipeline.errors import UsageError
from fer_pipeline.sources.crawl import parsers

SAMPLE = "http://sample.invalid"  # what rows call the gallery, whatever port it is served on
MOST = 1000  # results an engine gives for one search; it repeats itself beyond

# `crawl.licence` -> the engine's own word. Flickr: 1-3 not for sale, 4-6 for any use, 7-10 no rights reserved.
BING = {"commercial": "license-L2_L3_L4", "noncommercial": "license-L2_L3_L4_L5_L6_L7", "share": "licenseType-Any"}
GOOGLE = {"commercial": "sur:fc", "noncommercial": "sur:f", "share": "sur:cl"}
FLICKR = {"commercial": "4,5,6,7,8,9,10", "noncommercial": "1,2,3,4,5,6,7,8,9,10", "share": "1,2,3,4,5,6,7,8,9,10"}


class Query(NamedTuple):
    """What one engine is asked for one class."""

    label: str
    keyword: str = ""


@dataclass(frozen=True)
class Engine:
    """How one source is asked."""

    queries: Callable[[CrawlConfig, Sequence[str]], list[Query]]  # given the labels of the gallery; UsageError
    pages: Callable[[CrawlConfig, Query], Iterable[str]]  # URLs of the pages that list results
    parse: Callable[[str, bytes], list[str]] | None = None  # URLs on a page; None: the page is itself the picture
    paged: bool = True  # a page without results is the last one
    licences: dict[str, str] = field(default_factory=dict)  # `crawl.licence` -> the engine's word for it

    def licence(self, config: CrawlConfig) -> str:
        """The licence filter that was in force; `any` where the engine has none."""
        return config.licence if config.licence in self.licences else "any"


class Job(NamedTuple):
    """One engine asked for one class by one keyword."""

    engine: EngineName
    query: Query
    pages: list[str]


def plan(config: CrawlConfig, gallery: Sequence[str] = ()) -> list[Job]:
    """All that is asked, in the order of the configuration; UsageError names the key that is missing."""
    queries = {name: ENGINES[name].queries(config, gallery) for name in dict.fromkeys(config.engines)}
    labels = dict.fromkeys(query.label for name in queries for query in queries[name])
    return [
        Job(name, query, list(ENGINES[name].pages(config, query)))
        for label in labels
        for name in queries
        for query in queries[name]
        if query.label == label
    ]


def _by_keywords(config: CrawlConfig, _: Sequence[str]) -> list[Query]:
    if not config.keywords:
        names = ", ".join(config.engines)
        raise UsageError(f"crawl.keywords: empty, and {names} cannot search without: add search words for each class")
    for label, words in config.keywords.items():
        if not any(word.strip() for word in words):
            raise UsageError(f"crawl.keywords.{label}: empty: add search words or remove the class")
    pairs = ((label, word.strip()) for label, words in config.keywords.items() for word in words)
    return [Query(label, word) for label, word in dict.fromkeys(pairs) if word]


def _by_flickr_key(config: CrawlConfig, gallery: Sequence[str]) -> list[Query]:
    if not config.flickr_key:
        raise UsageError(
            "crawl.flickr_key: missing: get one at flickr.com/services/api, or drop `flickr` from crawl.engines"
        )
    return _by_keywords(config, gallery)


def _by_urls(config: CrawlConfig, _: Sequence[str]) -> list[Query]:
    if not config.urls:
        raise UsageError(
            "crawl.urls: empty: name a text file of URLs for each class, or drop `urls` from crawl.engines"
        )
    return [Query(label) for label in config.urls]


def _by_sites(config: CrawlConfig, _: Sequence[str]) -> list[Query]:
    if not config.sites:
        raise UsageError("crawl.sites: empty: list web pages for each class, or drop `site` from crawl.engines")
    return [Query(label) for label in config.sites]


def _by_gallery(config: CrawlConfig, gallery: Sequence[str]) -> list[Query]:
    if not config.keywords and not gallery:
        raise UsageError("crawl.keywords: empty, and the gallery names no classes: add them as keys")
    return [Query(label) for label in config.keywords or gallery]


def _home(config: CrawlConfig, name: EngineName, usual: str) -> str:
    return config.base.get(name, usual).rstrip("/")


def _firsts(config: CrawlConfig, step: int, most: int = MOST) -> range:
    """The running numbers of the first result of each page."""
    return range(0, min(config.limit, most), step)


def _bing_pages(config: CrawlConfig, query: Query) -> Iterable[str]:
    home, word = _home(config, "bing", "https://www.bing.com"), BING.get(config.licence)
    licence = f"&qft=+filterui:{word}" if word else ""  # the `+` is Bing's own syntax and stays as it is
    for first in _firsts(config, 20):
        yield f"{home}/images/async?{urlencode({'q': query.keyword, 'first': first})}{licence}"


def _baidu_pages(config: CrawlConfig, query: Query) -> Iterable[str]:
    home = _home(config, "baidu", "https://image.baidu.com")
    for first in _firsts(config, 30):
        words = {"tn": "resultjson_com", "ipn": "rj", "word": query.keyword, "pn": first, "rn": 30}
        yield f"{home}/search/acjson?{urlencode(words)}"


def _google_pages(config: CrawlConfig, query: Query) -> Iterable[str]:
    home, licence = _home(config, "google", "https://www.google.com"), GOOGLE.get(config.licence, "")
    for number, first in enumerate(_firsts(config, 100)):
        words = {"q": query.keyword, "ijn": number, "start": first, "tbs": licence, "tbm": "isch"}
        yield f"{home}/search?{urlencode(words)}"


def _flickr_pages(config: CrawlConfig, query: Query) -> Iterable[str]:
    home, size = _home(config, "flickr", "https://api.flickr.com"), min(config.limit, 500)
    words = {
        "method": "flickr.photos.search",
        "api_key": config.flickr_key,
        "text": query.keyword,
        "license": FLICKR.get(config.licence, ""),
        "extras": ",".join(parsers.FLICKR_SIZES),  # so that no photo costs a request of its own
        "media": "photos",
        "sort": "relevance",
        "format": "json",
        "nojsoncallback": 1,
        "per_page": size,
    }
    for number, _ in enumerate(_firsts(config, size, most=4000), start=1):
        yield f"{home}/services/rest/?{urlencode({**words, 'page': number})}"


def _site_pages(config: CrawlConfig, query: Query) -> Iterable[str]:
    return (parsers.resolve(config.base.get("site", ""), page) for page in config.sites[query.label])


def _listed_urls(config: CrawlConfig, query: Query) -> Iterable[str]:
    path = config.urls[query.label]
    lines = (line.strip() for line in _read_list(path, query.label).splitlines())
    urls = dict.fromkeys(
        parsers.resolve(config.base.get("urls", ""), line) for line in lines if line and line[0] != "#"
    )
    return islice(urls, config.limit)


def _read_list(path: Path, label: str) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        problem = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise UsageError(f"crawl.urls.{label}: {path}: {problem}: name a text file with one URL a line") from None


def _sample_pages(config: CrawlConfig, query: Query) -> Iterable[str]:
    for number in range(1, ceil(config.limit / 20) + 1):
        yield f"{SAMPLE}/{quote(query.label, safe='')}/page-{number}.html"


ENGINES: dict[EngineName, Engine] = {
    "sample": Engine(_by_gallery, _sample_pages, parsers.parse_page),
    "urls": Engine(_by_urls, _listed_urls, paged=False),
    "site": Engine(_by_sites, _site_pages, parsers.parse_page, paged=False),
    "bing": Engine(_by_keywords, _bing_pages, parsers.parse_bing, licences=BING),
    "baidu": Engine(_by_keywords, _baidu_pages, parsers.parse_baidu),
    "google": Engine(_by_keywords, _google_pages, parsers.parse_google, licences=GOOGLE),
    "flickr": Engine(_by_flickr_key, _flickr_pages, parsers.parse_flickr, licences=FLICKR),
}
