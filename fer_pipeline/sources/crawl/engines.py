"""The search engines and other sources of a crawl: for each, the pages to request and how to read them.

All that is particular to one source is a field of its `Engine`; no other module knows their names. Search engines are
requested as icrawler does it. Their pages change without notice, and some answer a plain HTTP client with little or
nothing (Google nearly always): a crawl ends with a line on what each of them answered.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from math import ceil
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode, urlsplit

from icrawler.builtin import BaiduParser

from fer_pipeline.config.schema import CrawlConfig, EngineName
from fer_pipeline.errors import UsageError
from fer_pipeline.sources.crawl.parsers import (
    clean_urls,
    elements,
    is_web_url,
    json_object,
    parse_json,
    parse_page,
)
from fer_pipeline.sources.crawl.urls import host_of, is_picture, resolve_link

GALLERY = "http://sample.invalid"  # the address of the local gallery in rows, whatever port it is served on
FLICKR_SIZES = ("url_h", "url_l", "url_o", "url_c", "url_z", "url_m")  # 1600, 1024, original, 800, 640, 500 pixels
STRAY_BACKSLASH = re.compile(rb"(\\[\"\\/bfnrt]|\\u[0-9a-fA-F]{4})|\\")
QUOTED_URL = re.compile(r'"(https?:[^"\s]{4,4000})"(,\d+,\d+)?')


class Query(NamedTuple):
    """What one engine is searched for, for one class."""

    label: str
    keyword: str = ""


class Search(NamedTuple):
    """One page of results of a search engine."""

    home: str  # base address, without a slash at its end
    keyword: str
    number: int  # of the page, from 0
    size: int  # results on a page
    licence: str  # the engine's own word for `crawl.licence`; "": any
    key: str  # API key, where one is needed
    safe: bool  # whether the engine is to leave out what it holds for unsafe

    @property
    def first(self) -> int:
        """The number of the first result on the page, from 0."""
        return self.number * self.size

    def url(self, path: str, **parameters: object) -> str:
        """The URL of a path below the base address, with its query."""
        return f"{self.home}{path}?{urlencode(parameters)}"


class Job(NamedTuple):
    """One engine searched for one class by one keyword."""

    engine: EngineName
    query: Query
    pages: list[str]


def search_pages(engine: "Engine", config: CrawlConfig, query: Query, home: str) -> Iterable[str]:
    """Yield the pages of a search engine, up to `crawl.limit` results or as many as it gives."""
    size = min(config.limit, engine.results_per_page)
    licence = engine.licence_filter.get(config.licence, "")
    key = str(getattr(config, engine.needs_key)) if engine.needs_key else ""
    for number in range(ceil(min(config.limit, engine.result_limit) / size)):
        yield engine.page_url(Search(home.rstrip("/"), query.keyword, number, size, licence, key, config.safe))


def keyword_queries(config: CrawlConfig, _: Sequence[str]) -> list[Query]:
    """List every keyword of every class once."""
    if not config.keywords:
        names = ", ".join(config.engines)
        raise UsageError(f"crawl.keywords: empty, and {names} cannot search without: add search words for each class")
    for label, words in config.keywords.items():
        if not any(word.strip() for word in words):
            raise UsageError(f"crawl.keywords.{label}: empty: add search words or remove the class")
    pairs = ((label, word.strip()) for label, words in config.keywords.items() for word in words)
    return [Query(label, word) for label, word in dict.fromkeys(pairs) if word]


def _no_page(_: Search) -> str:
    raise NotImplementedError("an engine without `page_url` lists its `pages` itself")


@dataclass(frozen=True)
class Engine:
    """All that is particular to one source. A search engine needs `home`, `page_url` and `parse`, the rest if at all.

    `parse` gets a page's URL and body and gives the picture URLs on it; it raises ValueError with a few words if the
    page is not what it should be. Without it each page is itself the URL of a picture.
    """

    parse: Callable[[str, bytes], list[str]] | None = None
    home: str = ""  # base address, which `crawl.base` may replace
    page_url: Callable[[Search], str] = _no_page  # of one page of results
    results_per_page: int = 20
    result_limit: int = 1000  # results for one search; most engines repeat themselves beyond
    licence_filter: Mapping[str, str] = field(default_factory=dict)  # `crawl.licence` -> the engine's own word for it
    needs_key: str = ""  # the setting of `crawl` that holds its API key
    key_page: str = ""  # where one gets such a key
    is_paged: bool = True  # a page without new results is the last one
    has_web_pages: bool = False  # its pages are websites, to which robots.txt applies as to pictures
    is_local_gallery: bool = False  # drawn and served by fer on loopback: no robots.txt, no pause, no address check
    queries: Callable[[CrawlConfig, Sequence[str]], list[Query]] = keyword_queries  # given the gallery's classes
    pages: Callable[["Engine", CrawlConfig, Query, str], Iterable[str]] = search_pages

    @property
    def is_url_list(self) -> bool:
        """Whether its pages are themselves the URLs of pictures."""
        return self.parse is None

    def licence_in_force(self, config: CrawlConfig) -> str:
        """Return the licence filter that was applied; `any` where the engine has none."""
        return config.licence if config.licence in self.licence_filter else "any"


def plan(config: CrawlConfig, gallery: Sequence[str] = ()) -> list[Job]:
    """List all that is to be requested, class by class, engines in the order of the configuration.

    `gallery` are the classes of the local gallery. UsageError names the setting that is missing.
    """
    queries = {name: _queries(name, config, gallery) for name in dict.fromkeys(config.engines)}
    labels = dict.fromkeys(query.label for name in queries for query in queries[name])
    return [
        Job(name, query, _pages(name, config, query))
        for label in labels
        for name in queries
        for query in queries[name]
        if query.label == label
    ]


def find_gallery(config: CrawlConfig) -> EngineName | None:
    """Return the engine that is the local gallery, if it is among those to ask."""
    return next((name for name in config.engines if ENGINES[name].is_local_gallery), None)


def web_engines(config: CrawlConfig) -> list[EngineName]:
    """List the engines of a configuration that send requests to the web."""
    return [name for name in config.engines if not ENGINES[name].is_local_gallery]


def _queries(name: EngineName, config: CrawlConfig, gallery: Sequence[str]) -> list[Query]:
    engine = ENGINES[name]
    if engine.needs_key and not getattr(config, engine.needs_key):
        remedy = f"get one at {engine.key_page}, or drop `{name}` from crawl.engines"
        raise UsageError(f"crawl.{engine.needs_key}: missing: {remedy}")
    return engine.queries(config, gallery)


def _pages(name: EngineName, config: CrawlConfig, query: Query) -> list[str]:
    engine = ENGINES[name]
    home = engine.home if engine.is_local_gallery else config.base.get(name, engine.home)
    return list(engine.pages(engine, config, query, home))


def _bing_page(search: Search) -> str:
    licence = f"&qft=+filterui:{search.licence}" if search.licence else ""  # `+` is Bing's syntax and stays unquoted
    safe = {"adlt": "strict" if search.safe else "off"}
    return search.url("/images/async", q=search.keyword, first=search.first, **safe) + licence


def _parse_bing(page: str, body: bytes) -> list[str]:
    """Read the `murl` of the JSON in each result's attribute `m`, with any suffix and query string."""
    results = (parse_json(element.get("m")) for element in elements(body, "m"))
    urls = clean_urls(result.get("murl") for result in results if isinstance(result, dict))
    # Some are escaped twice. Only `&amp;` is undone: in a query string `&copy=` is no copyright sign.
    whole = (f"{urlsplit(page).scheme}:{url}" if url.startswith("//") else url for url in urls)
    return [url.replace("&amp;", "&") for url in whole]


def _baidu_page(search: Search) -> str:
    words = {"tn": "resultjson_com", "ipn": "rj", "word": search.keyword, "pn": search.first, "rn": 30}
    return search.url("/search/acjson", **words)


def _parse_baidu(_: str, body: bytes) -> list[str]:
    """Read the original of each result where Baidu gives it, else its preview."""
    try:
        content = json_object(body)
    except ValueError:  # its titles may hold backslashes that JSON has no meaning for
        content = json_object(STRAY_BACKSLASH.sub(rb"\1", body))
    items = content.get("data")
    if not isinstance(items, list):
        raise ValueError(str(content.get("message") or "no data")[:80])
    return list(clean_urls(_baidu_url(item) for item in items if isinstance(item, dict)))


def _baidu_url(item: dict[str, Any]) -> str:
    """Return the URL of one result: originals come enciphered, at times in plain."""
    hidden = str(item.get("objURL") or "")
    plain = hidden if hidden.startswith("http") else str(BaiduParser._decode_url(None, hidden))
    if plain.startswith("http"):
        return plain
    others = item.get("replaceUrl")
    first = others[0] if isinstance(others, list) and others and isinstance(others[0], dict) else {}
    other = next(clean_urls((first.get("ObjURL"), first.get("ObjUrl"))), "")
    previews = (item.get(key) for key in ("hoverURL", "middleURL", "thumbURL"))
    return other if other.startswith("http") else next(clean_urls(previews), "")


def _google_page(search: Search) -> str:
    safe = "active" if search.safe else "off"
    words = {"ijn": search.number, "start": search.first, "tbs": search.licence, "tbm": "isch", "safe": safe}
    return search.url("/search", q=search.keyword, **words)


def _parse_google(_: str, body: bytes) -> list[str]:
    """Find picture URLs in Google's page where it has any: often only JavaScript would fill it.

    Takes the quoted URLs that are followed by a height and a width, or end like a picture, but not Google's previews.
    """
    text = body.decode("utf-8", "ignore").replace("\\x22", '"')
    urls: list[str] = []
    for quoted, size in QUOTED_URL.findall(text):
        url = parse_json(f'"{quoted}"')
        if (
            isinstance(url, str)
            and (size or is_picture(url))
            and not host_of(url).endswith(("gstatic.com", "google.com"))
        ):
            urls.append(url)
    return list(clean_urls(urls))


def _flickr_page(search: Search) -> str:
    return search.url(
        "/services/rest/",
        method="flickr.photos.search",
        api_key=search.key,
        text=search.keyword,
        license=search.licence,
        extras=",".join(FLICKR_SIZES),  # so that no photo costs a request of its own
        media="photos",
        safe_search=1 if search.safe else 3,
        sort="relevance",
        format="json",
        nojsoncallback=1,
        per_page=search.size,
        page=search.number + 1,
    )


def _parse_flickr(_: str, body: bytes) -> list[str]:
    """Read the largest size up to 1600 pixels of each photo."""
    content = json_object(body)
    if content.get("stat") != "ok":
        raise ValueError(str(content.get("message") or "refused")[:80])
    photos = content.get("photos")
    items = photos.get("photo") if isinstance(photos, dict) else None
    found = (
        next(clean_urls(item.get(size) for size in FLICKR_SIZES), "") for item in items or () if isinstance(item, dict)
    )
    return list(clean_urls(found))


def _openverse_page(search: Search) -> str:
    licence = {"license_type": search.licence} if search.licence else {}
    words = {"page": search.number + 1, "page_size": search.size, "format": "json"}
    words["unstable__include_sensitive_results"] = "false" if search.safe else "true"
    return search.url("/v1/images/", q=search.keyword, **words, **licence)


def _parse_openverse(_: str, body: bytes) -> list[str]:
    """Read the original of each result; Openverse also finds what other sites host."""
    content = json_object(body)
    items = content.get("results")
    if not isinstance(items, list):
        raise ValueError(str(content.get("detail") or "no results")[:80])
    return [url for url in clean_urls(item.get("url") for item in items if isinstance(item, dict)) if is_web_url(url)]


def _url_list_queries(config: CrawlConfig, _: Sequence[str]) -> list[Query]:
    if not config.urls:
        raise UsageError(
            "crawl.urls: empty: name a text file of URLs for each class, or drop `urls` from crawl.engines"
        )
    return [Query(label) for label in config.urls]


def _listed_urls(_: Engine, config: CrawlConfig, query: Query, home: str) -> Iterable[str]:
    lines = (line.strip() for line in _read_list(config.urls[query.label], query.label).splitlines())
    urls = dict.fromkeys(resolve_link(home, line) for line in lines if line and line[0] != "#")
    return islice(urls, config.limit)


def _read_list(path: Path, label: str) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        problem = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise UsageError(f"crawl.urls.{label}: {path}: {problem}: name a text file with one URL a line") from None


def _site_queries(config: CrawlConfig, _: Sequence[str]) -> list[Query]:
    if not config.sites:
        raise UsageError("crawl.sites: empty: list web pages for each class, or drop `site` from crawl.engines")
    return [Query(label) for label in config.sites]


def _site_pages(_: Engine, config: CrawlConfig, query: Query, home: str) -> Iterable[str]:
    return (resolve_link(home, page) for page in config.sites[query.label])


def _gallery_queries(config: CrawlConfig, gallery: Sequence[str]) -> list[Query]:
    if not config.keywords and not gallery:
        raise UsageError("crawl.keywords: empty, and the gallery names no classes: add them as keys")
    return [Query(label) for label in config.keywords or gallery]


def _gallery_pages(engine: Engine, config: CrawlConfig, query: Query, home: str) -> Iterable[str]:
    for number in range(1, ceil(config.limit / engine.results_per_page) + 1):
        yield f"{home}/{quote(query.label, safe='')}/page-{number}.html"


ENGINES: dict[EngineName, Engine] = {
    "sample": Engine(parse_page, home=GALLERY, is_local_gallery=True, queries=_gallery_queries, pages=_gallery_pages),
    "urls": Engine(is_paged=False, queries=_url_list_queries, pages=_listed_urls),
    "site": Engine(parse_page, is_paged=False, has_web_pages=True, queries=_site_queries, pages=_site_pages),
    "bing": Engine(
        _parse_bing,
        home="https://www.bing.com",
        page_url=_bing_page,
        licence_filter={
            "commercial": "license-L2_L3_L4",
            "noncommercial": "license-L2_L3_L4_L5_L6_L7",
            "share": "licenseType-Any",
        },
    ),
    "baidu": Engine(_parse_baidu, home="https://image.baidu.com", page_url=_baidu_page, results_per_page=30),
    "google": Engine(
        _parse_google,
        home="https://www.google.com",
        page_url=_google_page,
        results_per_page=100,
        licence_filter={"commercial": "sur:fc", "noncommercial": "sur:f", "share": "sur:cl"},
    ),
    "flickr": Engine(
        _parse_flickr,
        home="https://api.flickr.com",
        page_url=_flickr_page,
        results_per_page=500,
        result_limit=4000,
        licence_filter={  # 1-3 not for sale, 4-6 for any use, 7-10 no rights reserved
            "commercial": "4,5,6,7,8,9,10",
            "noncommercial": "1,2,3,4,5,6,7,8,9,10",
            "share": "1,2,3,4,5,6,7,8,9,10",
        },
        needs_key="flickr_key",
        key_page="flickr.com/services/api",
    ),
    "openverse": Engine(
        _parse_openverse,
        home="https://api.openverse.org",
        page_url=_openverse_page,
        result_limit=400,  # without a key: 20 pages of 20 results
        licence_filter={"commercial": "commercial", "noncommercial": "all", "share": "all"},  # all of it may be shared
    ),
}
