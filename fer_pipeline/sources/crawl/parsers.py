"""Read JSON and HTML pages, all of which may be hostile, and the pictures a web page shows or links.

What makes no sense is skipped; ValueError with a few words says that a whole page is not what it should be.
"""

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

from lxml import etree  # type: ignore[import-untyped]

from fer_pipeline.sources.crawl.urls import is_picture, resolve_link

MAX_ATTRIBUTE = 65_536  # characters of an attribute that is read: no URL and no result of an engine is as long
SIZE = re.compile(r"(\d{1,9}(?:\.\d{0,9})?|\.\d{1,9})[wxh]")


def parse_page(url: str, body: bytes) -> list[str]:
    """Find the pictures of a web page: each `src`, the largest of each `srcset`, links that end like a picture."""
    base, urls = url, list[str]()
    for element in elements(body, "base", "img", "source", "a"):
        if element.tag == "base":
            base = resolve_link(url, attribute(element, "href"))
        urls += [resolve_link(base, found) for found in _pictures(element)]
    return [found for found in clean_texts(urls) if is_web_url(found)]


def read_metas(body: bytes) -> list[tuple[str, str]]:
    """Read name, in lower case, and content of each `meta` element of a page."""
    metas = elements(body, "meta")
    return [(attribute(meta, "name").strip().lower(), attribute(meta, "content")) for meta in metas]


def _pictures(element: Any) -> Iterator[str]:
    """Yield what one element shows or links, as it is written there."""
    if element.tag == "img" and (src := attribute(element, "src")):
        yield src
    if srcset := attribute(element, "srcset"):
        yield from largest_candidate(srcset)
    if element.tag == "a" and is_picture(href := attribute(element, "href")):
        yield href


def attribute(element: Any, name: str) -> str:
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


def is_web_url(url: str) -> bool:
    """Whether a URL is absolute and of the web."""
    return url.startswith(("http:", "https:"))


def json_object(body: bytes) -> dict[str, Any]:
    """Parse a page that is one JSON object; ValueError if it is not."""
    content = parse_json(body.decode("utf-8-sig", "ignore"))
    if not isinstance(content, dict):
        raise ValueError("not JSON")
    return content


def parse_json(text: str) -> Any:
    """Parse JSON as engines write it; None if it is not."""
    try:
        return json.loads(text, strict=False)
    except (ValueError, RecursionError):
        return None


def clean_texts(values: Iterable[Any]) -> Iterator[str]:
    """Yield the texts that are not blank, made fit for a file: JSON can hold half a surrogate pair."""
    for value in values:
        if isinstance(value, str) and value.strip():
            yield value.strip().encode("utf-8", "replace").decode()


def elements(body: bytes, *tags: str) -> Iterator[Any]:
    """Iterate over the elements of an HTML page in document order; none if there is no HTML in it."""
    try:
        root = etree.HTML(body, etree.HTMLParser(encoding="utf-8"))
    except (etree.LxmlError, ValueError):
        root = None
    return root.iter(*tags or (etree.Element,)) if root is not None else iter(())
