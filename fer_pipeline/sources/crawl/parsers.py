"""Read JSON and HTML pages, all of which may be hostile, and the pictures a web page shows or links.

What makes no sense is skipped; ValueError with a few words says that a whole page is not what it should be.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from itertools import islice
from typing import Any, NamedTuple

from lxml import etree  # type: ignore[import-untyped]

from fer_pipeline.sources.crawl.urls import MAX_URL, is_picture, resolve_link

MAX_LINKS = 10_000  # of one page that are resolved: each may become as long as a URL may be
MAX_ELEMENTS = 100_000  # of one page that are read
MAX_ATTRIBUTES = 256  # of an element that is read
MAX_ATTRIBUTE = 65_536  # characters of an attribute that is read: no result of an engine is as long
SIZE = re.compile(r"(\d{1,9}(?:\.\d{0,9})?|\.\d{1,9})[wxh]")


class Element(NamedTuple):
    """An element of a page, with those of its attributes that were asked for."""

    tag: str
    attributes: dict[str, str]

    def get(self, name: str) -> str:
        """Return an attribute; "" if it has none."""
        return self.attributes.get(name, "")


class _Collector:
    """Notes elements as lxml comes to them: to build its tree, it goes over all attributes of an element for each."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self._names, self.found = names, list[Element]()

    def start(self, tag: str, attributes: Mapping[str, str]) -> None:
        if len(attributes) > MAX_ATTRIBUTES or len(self.found) >= MAX_ELEMENTS:
            return
        values = {name: attributes[name] for name in self._names if name in attributes}
        if values := {name: value for name, value in values.items() if len(value) <= MAX_ATTRIBUTE}:
            self.found.append(Element(tag, values))

    def close(self) -> None:
        """Do nothing: the elements are there already."""


def elements(body: bytes, *names: str) -> list[Element]:
    """Find the elements of an HTML page that have one of these attributes, in document order, within the limits."""
    collector = _Collector(names)
    with suppress(etree.LxmlError, ValueError):  # not HTML, or no more of it
        etree.HTML(body, etree.HTMLParser(encoding="utf-8", target=collector))
    return collector.found


def parse_page(url: str, body: bytes) -> list[str]:
    """Find the pictures of a web page: each `src`, the largest of each `srcset`, links that end like a picture."""
    return [found for found in clean_urls(islice(_links(url, body), MAX_LINKS)) if is_web_url(found)]


def read_metas(body: bytes) -> list[tuple[str, str]]:
    """Read name, in lower case, and content of each `meta` element of a page."""
    metas = (element for element in elements(body, "name", "content") if element.tag == "meta")
    return [(meta.get("name").strip().lower(), meta.get("content")) for meta in metas]


def _links(url: str, body: bytes) -> Iterator[str]:
    base = url
    for element in elements(body, "src", "srcset", "href"):
        if element.tag == "base" and len(element.get("href")) <= MAX_URL:
            base = resolve_link(url, element.get("href"))
        yield from (resolve_link(base, found) for found in _pictures(element) if len(found) <= MAX_URL)


def _pictures(element: Element) -> Iterator[str]:
    """Yield what one element shows or links, as it is written there."""
    if element.tag == "img" and (src := element.get("src")):
        yield src
    if element.tag in {"img", "source"}:
        yield from largest_candidate(element.get("srcset"))
    if element.tag == "a" and is_picture(element.get("href")):
        yield element.get("href")


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


def clean_urls(values: Iterable[Any]) -> Iterator[str]:
    """Yield the texts that may be URLs, made fit for a file: JSON can hold half a surrogate pair."""
    for value in values:
        if isinstance(value, str) and value.strip() and len(value) <= MAX_URL:
            yield value.strip().encode("utf-8", "replace").decode()
