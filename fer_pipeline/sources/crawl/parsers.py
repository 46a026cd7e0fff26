"""Read picture URLs out of result pages and web pages, all of which may be hostile.

Each parser takes the page's URL and body and returns URLs in the order of the page. It raises ValueError with a few
words if the page is not what it should be; a result that makes no sense is skipped.
"""

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

from icrawler.builtin import BaiduParser
from lxml import etree  # type: ignore[import-untyped]

from fer_pipeline.sources.crawl.urls import host_of, is_picture, resolve_link

FLICKR_SIZES = ("url_h", "url_l", "url_o", "url_c", "url_z", "url_m")  # 1600, 1024, original, 800, 640, 500 pixels
MAX_ATTRIBUTE = 65_536  # characters of an attribute that is read: no URL and no result of an engine is as long
SIZE = re.compile(r"(\d{1,9}(?:\.\d{0,9})?|\.\d{1,9})[wxh]")
QUOTED_URL = re.compile(r'"(https?:[^"\s]{4,4000})"(,\d+,\d+)?')


def parse_bing(_: str, body: bytes) -> list[str]:
    """Read the `murl` of the JSON in each result's attribute `m`, with any suffix and query string."""
    results = (_json(text) for element in _elements(body) if (text := _attribute(element, "m")))
    urls = _texts(result.get("murl") for result in results if isinstance(result, dict))
    # Some are escaped twice. Only `&amp;` is undone: in a query string `&copy=` is no copyright sign.
    return [url.replace("&amp;", "&") for url in urls]


def parse_baidu(_: str, body: bytes) -> list[str]:
    """Read the original of each result where Baidu gives it, else its preview."""
    content = _json_object(body.replace(b"\\'", b"'"))
    items = content.get("data")
    if not isinstance(items, list):
        raise ValueError(str(content.get("message") or "no data")[:80])
    return list(_texts(_baidu_url(item) for item in items if isinstance(item, dict)))


def _baidu_url(item: dict[str, Any]) -> str:
    """Return the URL of one result: originals come enciphered, at times in plain."""
    hidden = str(item.get("objURL") or "")
    plain = hidden if hidden.startswith("http") else str(BaiduParser._decode_url(None, hidden))
    previews = (item.get(key) for key in ("hoverURL", "middleURL", "thumbURL"))
    return plain if plain.startswith("http") else next(_texts(previews), "")


def parse_google(_: str, body: bytes) -> list[str]:
    """Find picture URLs in Google's page where it has any: often only JavaScript would fill it.

    Takes the quoted URLs that are followed by a height and a width, or end like a picture, but not Google's previews.
    """
    text = body.decode("utf-8", "ignore").replace("\\x22", '"')
    urls: list[str] = []
    for quoted, size in QUOTED_URL.findall(text):
        url = _json(f'"{quoted}"')
        if (
            isinstance(url, str)
            and (size or is_picture(url))
            and not host_of(url).endswith(("gstatic.com", "google.com"))
        ):
            urls.append(url)
    return list(_texts(urls))


def parse_flickr(_: str, body: bytes) -> list[str]:
    """Read the largest size up to 1600 pixels of each photo."""
    content = _json_object(body)
    if content.get("stat") != "ok":
        raise ValueError(str(content.get("message") or "refused")[:80])
    photos = content.get("photos")
    items = photos.get("photo") if isinstance(photos, dict) else None
    found = (
        next(_texts(item.get(size) for size in FLICKR_SIZES), "") for item in items or () if isinstance(item, dict)
    )
    return list(_texts(found))


def parse_openverse(_: str, body: bytes) -> list[str]:
    """Read the original of each result; Openverse also finds what other sites host."""
    content = _json_object(body)
    items = content.get("results")
    if not isinstance(items, list):
        raise ValueError(str(content.get("detail") or "no results")[:80])
    return [url for url in _texts(item.get("url") for item in items if isinstance(item, dict)) if _is_web(url)]


def parse_page(url: str, body: bytes) -> list[str]:
    """Find the pictures of a web page: each `src`, the largest of each `srcset`, links that end like a picture."""
    base, urls = url, list[str]()
    for element in _elements(body, "base", "img", "source", "a"):
        if element.tag == "base":
            base = resolve_link(url, _attribute(element, "href"))
        urls += [resolve_link(base, found) for found in _pictures(element)]
    return [found for found in _texts(urls) if _is_web(found)]


def read_metas(body: bytes) -> list[tuple[str, str]]:
    """Read name, in lower case, and content of each `meta` element of a page."""
    metas = _elements(body, "meta")
    return [(_attribute(meta, "name").strip().lower(), _attribute(meta, "content")) for meta in metas]


def _pictures(element: Any) -> Iterator[str]:
    """Yield what one element shows or links, as it is written there."""
    if element.tag == "img" and (src := _attribute(element, "src")):
        yield src
    if srcset := _attribute(element, "srcset"):
        yield from largest_candidate(srcset)
    if element.tag == "a" and is_picture(href := _attribute(element, "href")):
        yield href


def _attribute(element: Any, name: str) -> str:
    """Return an attribute; "" if there is none, or it is too long to be a URL."""
    value = element.get(name) or ""
    return value if len(value) <= MAX_ATTRIBUTE else ""


def largest_candidate(srcset: str) -> list[str]:
    """Return the largest picture of a `srcset`, which is one picture in several sizes; nothing if it has none."""
    candidates = list(_candidates(srcset))
    return [max(candidates, key=lambda candidate: candidate[0])[1]] if candidates else []


def _candidates(srcset: str) -> Iterator[tuple[float, str]]:
    """Yield size and URL of each picture of a `srcset`, in one pass: a regular expression may take quadratic time."""
    url = ""
    for word in srcset.split():
        size, comma, following = word.partition(",") if url else ("", ",", word)
        if url and (comma or SIZE.fullmatch(size)):
            found = SIZE.fullmatch(size)
            yield float(found[1]) if found else 1.0, url
            url = ""
        if comma and (following := following.lstrip(",")):
            url = following.rstrip(",")
            if url != following:  # without a size
                yield 1.0, url
                url = ""
    if url:
        yield 1.0, url


def _is_web(url: str) -> bool:
    return url.startswith(("http:", "https:"))


def _json_object(body: bytes) -> dict[str, Any]:
    """Parse a page that is one JSON object; ValueError if it is not."""
    content = _json(body.decode("utf-8", "ignore"))
    if not isinstance(content, dict):
        raise ValueError("not JSON")
    return content


def _json(text: str) -> Any:
    """Parse JSON as engines write it; None if it is not."""
    try:
        return json.loads(text, strict=False)
    except (ValueError, RecursionError):
        return None


def _texts(values: Iterable[Any]) -> Iterator[str]:
    """Yield the texts that are not blank, made fit for a file: JSON can hold half a surrogate pair."""
    for value in values:
        if isinstance(value, str) and value.strip():
            yield value.strip().encode("utf-8", "replace").decode()


def _elements(body: bytes, *tags: str) -> Iterator[Any]:
    """Iterate over the elements of an HTML page in document order; none if there is no HTML in it."""
    try:
        root = etree.HTML(body, etree.HTMLParser(encoding="utf-8"))
    except (etree.LxmlError, ValueError):
        root = None
    return root.iter(*tags or (etree.Element,)) if root is not None else iter(())
