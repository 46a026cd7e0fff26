"""What every page must be: well-formed, self-contained, and readable without seeing its pictures."""

import re
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import lxml.html  # type: ignore[import-untyped]

VOID = {"meta", "img", "br", "hr", "link", "input"}


class Balance(HTMLParser):
    """Follows the tags of a page; `wrong` says what was closed in another order than it was opened."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.wrong: list[str] = []

    def handle_starttag(self, tag: str, _: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.wrong.append(f"</{tag}> at {self.getpos()}")


def check_page(path: Path) -> lxml.html.HtmlElement:
    """Assert all of it and return the parsed page."""
    text = path.read_text(encoding="utf-8")
    balance = Balance()
    balance.feed(text)
    assert not balance.wrong
    assert not balance.open
    page = lxml.html.document_fromstring(text)
    _check_self_contained(page, text)
    _check_readable(page)
    return page


def _check_self_contained(page: lxml.html.HtmlElement, text: str) -> None:
    assert text.startswith("<!DOCTYPE html>")
    assert not page.xpath("//script | //link | //iframe | //object | //embed | //base | //form")
    assert all(source.startswith("data:image/") for source in page.xpath("//@src"))
    assert all(link.startswith(("#", "http://", "https://", "split/")) for link in page.xpath("//@href"))
    assert not [name for one in page.iter() for name in one.attrib if str(name).startswith("on")]
    style = "".join(page.xpath("//style/text()"))
    assert "url(" not in style
    assert "@import" not in style
    (policy,) = page.xpath("//meta[@http-equiv='Content-Security-Policy']/@content")
    assert policy.startswith("default-src 'none';")


def _check_readable(page: lxml.html.HtmlElement) -> None:
    assert page.get("lang") == "en"
    assert page.xpath("//meta[@name='viewport']")
    assert len(page.xpath("//h1")) == 1
    levels = [int(one.tag[1]) for one in page.iter() if re.fullmatch("h[1-6]", str(one.tag))]
    assert all(after <= before + 1 for before, after in pairwise(levels)), levels
    assert all(text.strip() for text in page.xpath("//img/@alt"))
    assert len(page.xpath("//img")) == len(page.xpath("//img/@alt"))
    assert all(
        table.xpath(".//th[@scope='col']") and table.xpath(".//th[@scope='row']") for table in page.iter("table")
    )
    names = page.xpath("//@id")
    assert len(names) == len(set(names))
    assert {link[1:] for link in page.xpath("//a/@href") if link.startswith("#")} <= set(names)


def sections_of(page: lxml.html.HtmlElement) -> list[str]:
    """The anchors of the sections, in order."""
    return [str(name) for name in page.xpath("//section/@id")]


def text_of(page: lxml.html.HtmlElement) -> str:
    """What a reader reads, with single blanks."""
    return " ".join(page.body.text_content().split())
