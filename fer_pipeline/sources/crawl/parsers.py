"""Read the addresses of pictures out of what search engines and web pages answer; every page is taken for hostile.

Each parser takes the page's URL and body and gives URLs in the order of the page. It raises ValueError with a few words
if the page is not what it should be; a result that makes no sense is passed over.
"""

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import urldefrag, urljoin, urlsplit

from icrawler.builtin import BaiduParser
from lxml import etree  # type: ignore[import-untyped]

PICTURES = {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif", ".jp2", ".ppm"}
FLICKR_SIZES = ("url_h", "url_l", "url_o", "url_c", "url_z", "url_m")  # 1600, 1024, original, 800, 640, 500 pixels
LONGEST = 65_536  # characters of an attribute that is read: no address and no result of an engine is as long
SIZE = re.compile(r"(\d{1,9}(?:\.\d{0,9})?|\.\d{1,9})[wxh]")
QUOTED_URL = re.compile(r'"(https?:[^"\s]{4,4000})"(,\d+,\d+)?')


def parse_bing(_: str, body: bytes) -> list[str]:
    """The whole `murl` of the JSON each result carries in its attribute `m`: any suffix, with its query string."""
    results = (_json(text) for element in _elements(body) if (text := _attribute(element, "m")))
    urls = _texts(result.get("murl") for result in results if isinstance(result, dict))
    # Some are escaped twice. Only this is undone, since in a query string `&copy=` is no copyright sign.
    return [url.replace("&amp;", "&") for url in urls]


def parse_baidu(_: str, body: bytes) -> list[str]:
    """The original of each result where Baidu tells it, else its preview."""
    content = _json(body.decode("utf-8", "ignore").replace("\\'", "'"))
    if not isinstance(content, dict):
        raise ValueError("not JSON")
    items = content.get("data")
    if not isinstance(items, list):
        raise ValueError(str(content.get("message") or "no data")[:80])
    return list(_texts(_baidu_url(item) for item in items if isinstance(item, dict)))


def _baidu_url(item: dict[str, Any]) -> str:
    """Originals come enciphered, at times in plain."""
    hidden = str(item.get("objURL") or "")
    plain = hidden if hidden.startswith("http") else str(BaiduParser._decode_url(None, hidden))
    previews = (item.get(key) for key in ("hoverURL", "middleURL", "thumbURL"))
    return plain if plain.startswith("http") else next(_texts(previews), "")


def parse_google(_: str, body: bytes) -> list[str]:
    """Best effort: Google often answers plain HTTP with a page that only JavaScript fills; then this finds nothing.

    Takes the quoted URLs that are followed by a height and a width, or end like a picture, but not Google's previews.
    """
    text = body.decode("utf-8", "ignore").replace("\\x22", '"')
    urls: list[str] = []
    for quoted, size in QUOTED_URL.findall(text):
        url = _json(f'"{quoted}"')
        if (
            isinstance(url, str)
            and (size or is_picture(url))
            and not _host(url).endswith(("gstatic.com", "google.com"))
        ):
            urls.append(url)
    return list(_texts(urls))


def parse_flickr(_: str, body: bytes) -> list[str]:
    """The largest size up to 1600 pixels of each photo."""
    content = _json(body.decode("utf-8", "ignore"))
    if not isinstance(content, dict):
        raise ValueError("not JSON")
    if content.get("stat") != "ok":
        raise ValueError(str(content.get("message") or "refused")[:80])
    photos = content.get("photos")
    items = photos.get("photo") if isinstance(photos, dict) else None
    found = (
        next(_texts(item.get(size) for size in FLICKR_SIZES), "") for item in items or () if isinstance(item, dict)
    )
    return list(_texts(found))


def parse_page(url: str, body: bytes) -> list[str]:
    """Pictures a web page shows or links: `src`, the largest of each `srcset`, and links that end like a picture."""
    base, urls = url, list[str]()
    for element in _elements(body, "base", "img", "source", "a"):
        if element.tag == "base":
            base = resolve(url, _attribute(element, "href"))
        urls += [resolve(base, found) for found in _pictures(element)]
    return [found for found in _texts(urls) if found.startswith(("http:", "https:"))]


def read_metas(body: bytes) -> list[tuple[str, str]]:
    """Name, in lower case, and content of each `meta` of a page."""
    metas = _elements(body, "meta")
    return [(_attribute(meta, "name").strip().lower(), _attribute(meta, "content")) for meta in metas]


def _pictures(element: Any) -> Iterator[str]:
    """What one element shows or links, as it is written there."""
    if element.tag == "img" and (src := _attribute(element, "src")):
        yield src
    if srcset := _attribute(element, "srcset"):
        yield from largest_candidate(srcset)
    if element.tag == "a" and is_picture(href := _attribute(element, "href")):
        yield href


def _attribute(element: Any, name: str) -> str:
    """An attribute; "" if there is none, or more of it than anyone needs."""
    value = element.get(name) or ""
    return value if len(value) <= LONGEST else ""


def largest_candidate(srcset: str) -> list[str]:
    """A `srcset` is one picture in several sizes: the largest of them."""
    candidates = list(_candidates(srcset))
    return [max(candidates, key=lambda candidate: candidate[0])[1]] if candidates else []


def _candidates(srcset: str) -> Iterator[tuple[float, str]]:
    """Size and address of each picture of a `srcset`, in one pass: a regular expression may take for ever."""
    url = ""
    for word in srcset.split():
        size, comma, following = word.partition(",") if url else ("", ",", word)
        if url and (comma or SIZE.fullmatch(size)):
            found = SIZE.fullmatch(size)
            yield float(found[1]) if found else 1.0, url
            url = ""
        if comma and (following := following.lstrip(",")):
            url = following.rstrip(",")
            if url != following:  # nothing is said of its size
                yield 1.0, url
                url = ""
    if url:
        yield 1.0, url


def is_picture(url: str) -> bool:
    """Whether a URL's path ends like a picture's."""
    return url_suffix(url) in PICTURES


def url_suffix(url: str) -> str:
    """The suffix of a URL's path in lower case, with its dot; "" if it has none."""
    try:
        return PurePosixPath(urlsplit(url).path).suffix.lower()
    except ValueError:
        return ""


def resolve(base: str, url: str) -> str:
    """A link as an absolute URL without fragment; as it is if it makes no sense."""
    try:
        return urldefrag(urljoin(base, url.strip())).url
    except ValueError:
        return url


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _json(text: str) -> Any:
    """JSON as engines write it, or None."""
    try:
        return json.loads(text, strict=False)
    except (ValueError, RecursionError):
        return None


def _texts(values: Iterable[Any]) -> Iterator[str]:
    """The texts among the values that are not blank, made fit for a file: JSON can hold halves of a character."""
    for value in values:
        if isinstance(value, str) and value.strip():
            yield value.strip().encode("utf-8", "replace").decode()


def _elements(body: bytes, *tags: str) -> Iterator[Any]:
    """The elements of an HTML page in document order; none if there is no HTML in it."""
    try:
        root = etree.HTML(body, etree.HTMLParser(encoding="utf-8"))
    except (etree.LxmlError, ValueError):
        root = None
    return root.iter(*tags or (etree.Element,)) if root is not None else iter(())
