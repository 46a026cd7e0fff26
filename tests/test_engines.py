"""What each engine is asked and how its answer is read: answers in the shape the engines were seen to give."""

import html
import json
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from support.loopback import Reply, Web, picture, settings

from fer_pipeline.dataset.rows import Row, read_rows
from fer_pipeline.errors import UsageError
from fer_pipeline.sources.crawl.crawler import MAX_PAGE_BYTES, crawl
from fer_pipeline.sources.crawl.engines import ENGINES, plan
from fer_pipeline.sources.crawl.parsers import MAX_LINKS, largest_candidate, parse_json, parse_page
from fer_pipeline.sources.crawl.urls import MAX_URL

HERE = "https://example.org/page/"


def found(folder: Path, web: Web) -> dict[str, Row]:
    return {row.source["url"].removeprefix(web.url): row for row in read_rows(folder / "raw")}


def parse(engine: Any, body: bytes) -> list[str]:
    """What an engine reads out of one page."""
    read = ENGINES[engine].parse
    assert read is not None
    return read(HERE, body)


def asked(web: Web, path: str) -> list[dict[str, list[str]]]:
    """The query of each request to a path."""
    return [parse_qs(urlsplit(line).query) for line in web.asked if urlsplit(line).path == path]


def bing_page(*urls: Any) -> bytes:
    """As `www.bing.com/images/async` answers."""
    divs = "".join(
        '<div class="imgpt"><a class="iusc" style="height:200px" m="'
        + html.escape(
            json.dumps(
                {"cid": "x", "purl": "https://a.org/page.html", "murl": url, "turl": "https://tse1.mm.bing.net/th?id=1"}
            )
        )
        + '" href="/images/search?view=detail"><div class="img_cont"><img class="mimg" src="https://tse1.mm.bing.net/th?id=1"></div></a></div>'
        for url in urls
    )
    return f'<div class="dg_b"><div class="imgpt"><a class="iusc" m="{{broken">x</a></div>{divs}</div>'.encode()


def baidu_page(*items: Any) -> bytes:
    """As `image.baidu.com/search/acjson` answers: an empty object ends the list."""
    return json.dumps({"queryEnc": "x", "displayNum": 9, "data": [*items, {}]}).encode()


def google_page(*rows: Any) -> bytes:
    """As `www.google.com/search?tbm=isch` answers where it answers with results."""
    data = json.dumps(
        [[["https://encrypted-tbn0.gstatic.com/images?q=tbn:1", 183, 275], row] for row in rows], separators=(",", ":")
    )
    data = data.replace("=", "\\u003d").replace("&", "\\u0026")
    return f"<html><script>AF_initDataCallback({{key: 'ds:1', data:{data}}});</script></html>".encode()


def flickr_page(*photos: Any, stat: str = "ok", **more: Any) -> bytes:
    """As `flickr.photos.search` answers."""
    return json.dumps({"photos": {"page": 1, "pages": 1, "photo": photos}, "stat": stat, **more}).encode()


def test_bing_gives_whole_addresses_whatever_their_suffix_and_query(tmp_path: Path) -> None:
    with Web({"/b.jpeg": Reply(picture(1)), "/c.png": Reply(picture(2)), "/d": Reply(picture(3))}) as web:
        urls = [f"{web.url}/b.jpeg", f"{web.url}/c.png?w=1&copy=2&h=3", f"{web.url}/d?id=a.jpg&amp;x=1", None, 7, ""]
        web.pages["/images/async"] = lambda number: Reply(bing_page(*urls) if number == 1 else b"")
        crawl(settings(tmp_path, engines=("bing",), keywords={"smile": ("big smile & co",)}, base={"bing": web.url}))
        rows = found(tmp_path, web)
        assert [query["q"] for query in asked(web, "/images/async")] == [["big smile & co"]] * 2
    assert sorted(rows) == ["/b.jpeg", "/c.png?w=1&copy=2&h=3", "/d?id=a.jpg&x=1"]
    assert {row.source["keyword"] for row in rows.values()} == {"big smile & co"}
    assert {row.source["engine"] for row in rows.values()} == {"bing"}


@pytest.mark.parametrize(
    "url",
    [
        "https://a.org/photo.JPG",
        "https://a.org/photo.jpeg!w700",
        "https://a.org/photo.jpg?w=700&h=500&sig=a%2Fb==",
        "https://a.org/photo.jpg/thumb/700px-photo.jpg.webp",
        "https://a.org/image;id=7;v=1",
        "https://a.org/image.php?src=photo.jpg&copy=1&lt=2",
        "https://a.org/嘟嘴/a b.png?q=ä",
        "https://a.org:8443/x#.jpg",
        "http://a.org/'\"<>",
    ],
)
def test_bing_addresses_come_whole(url: str) -> None:
    assert parse("bing", bing_page(url)) == [url]


def test_baidu_prefers_the_original_and_guards_against_what_is_missing(tmp_path: Path) -> None:
    with Web({f"/{name}.png": Reply(picture(seed)) for seed, name in enumerate("pht")}) as web:
        items = [
            {"objURL": f"{web.url}/p.png", "hoverURL": f"{web.url}/x.png"},
            {"objURL": "", "hoverURL": f"{web.url}/h.png"},
            {"thumbURL": f"{web.url}/t.png"},
            {"hoverURL": None},
            "nonsense",
        ]
        web.pages["/search/acjson"] = lambda number: Reply(baidu_page(*(items if number == 1 else [])))
        crawl(settings(tmp_path, engines=("baidu",), keywords={"pout": ("嘟嘴",)}, base={"baidu": web.url}))
        assert asked(web, "/search/acjson")[0]["word"] == ["嘟嘴"]
        assert sorted(found(tmp_path, web)) == ["/h.png", "/p.png", "/t.png"]


def test_baidu_originals_are_deciphered() -> None:
    hidden = "ippr_z2C$qAzdH3FAzdH3Fjxw4rsj_z&e3B562AzdH3Fw_z&e3B3r2"
    assert parse("baidu", baidu_page({"objURL": hidden})) == ["http://example.org/a.jpg"]


def test_google_results_are_taken_where_it_gives_any_and_its_previews_are_not(tmp_path: Path) -> None:
    with Web({"/a": Reply(picture(1)), "/b.webp": Reply(picture(2))}) as web:
        page = google_page([f"{web.url}/a?x=1&y=2", 768, 1024], f"{web.url}/b.webp", f"{web.url}/about.html")
        web.pages["/search"] = Reply(page)
        crawl(settings(tmp_path, engines=("google",), keywords={"smile": ("smile",)}, base={"google": web.url}))
        assert sorted(found(tmp_path, web)) == ["/a?x=1&y=2", "/b.webp"]


def test_flickr_gives_the_largest_sensible_size_in_one_request(tmp_path: Path) -> None:
    with Web({"/l.jpg": Reply(picture(1)), "/m.jpg": Reply(picture(2))}) as web:
        page = flickr_page(
            {"id": "1", "url_m": f"{web.url}/no.jpg", "url_l": f"{web.url}/l.jpg"},
            {"id": "2"},
            {"url_m": f"{web.url}/m.jpg"},
        )
        web.pages["/services/rest/"] = lambda number: Reply(page if number == 1 else flickr_page())
        base = {"flickr": f"{web.url}/"}
        crawl(
            settings(
                tmp_path,
                engines=("flickr",),
                keywords={"smile": ("smile",)},
                base=base,
                flickr_key="k3y",
                licence="commercial",
            )
        )
        first = asked(web, "/services/rest/")[0]
        rows = found(tmp_path, web)
    assert (first["api_key"], first["text"], first["license"]) == (["k3y"], ["smile"], ["4,5,6,7,8,9,10"])
    assert sorted(rows) == ["/l.jpg", "/m.jpg"]
    assert {row.source["licence"] for row in rows.values()} == {"commercial"}
    assert b"k3y" not in (tmp_path / "raw" / "manifest.jsonl").read_bytes()


def openverse_page(*results: Any, **more: Any) -> bytes:
    """As `api.openverse.org/v1/images/` answers."""
    return json.dumps({"result_count": 9, "page_count": 1, "page_size": 20, "results": results, **more}).encode()


def test_openverse_gives_openly_licensed_originals_without_a_key(tmp_path: Path) -> None:
    with Web({f"/{seed}.jpg": Reply(picture(seed)) for seed in range(3)}) as web:
        results = [
            {"url": f"{web.url}/0.jpg", "thumbnail": f"{web.url}/1.jpg", "license": "by"},
            {"url": None},
            {"url": "data:image/png;base64,AAAA"},
            "nonsense",
            {"url": f"{web.url}/2.jpg"},
        ]
        web.pages["/v1/images/"] = lambda number: Reply(openverse_page(*(results if number == 1 else [])))
        words = {"engines": ("openverse",), "keywords": {"smile": ("big smile",)}, "base": {"openverse": f"{web.url}/"}}
        crawl(settings(tmp_path, **words, licence="commercial", limit=30))
        requests = asked(web, "/v1/images/")
        rows = found(tmp_path, web)
    assert [(one["q"], one["page"], one["page_size"], one["license_type"]) for one in requests] == [
        (["big smile"], [page], ["20"], ["commercial"]) for page in ("1", "2")
    ]
    assert sorted(rows) == ["/0.jpg", "/2.jpg"]
    assert {(row.source["engine"], row.source["licence"]) for row in rows.values()} == {("openverse", "commercial")}


def test_a_search_never_goes_beyond_what_the_engine_gives(tmp_path: Path) -> None:
    config = settings(tmp_path, engines=("openverse", "flickr"), keywords={"a": ("b",)}, flickr_key="k", limit=100_000)
    pages = {job.engine: len(job.pages) for job in plan(config)}
    assert pages == {"openverse": 20, "flickr": 8}


def test_a_site_gives_the_pictures_it_shows_and_links(tmp_path: Path) -> None:
    page = b"""<!doctype html><img src="a.png"><img src="data:image/png;base64,AAAA"><img alt=nothing>
        <picture><source srcset="/small.png 1x, /large.png?a=1,2 2x"></picture>
        <a href="../up.JPG#top">x</a><a href="other.html">no</a><a href="javascript:void(0)">no</a>
        <img src="a.png"><p"""
    names = ("/sub/a.png", "/large.png", "/up.JPG")
    with Web({name: Reply(picture(seed)) for seed, name in enumerate(names)}) as web:
        web.pages["/sub/page.html"] = Reply(page, kind="text/html")
        summary = crawl(
            settings(tmp_path, engines=("site",), sites={"smile": (f"{web.url}/gone.html", f"{web.url}/sub/page.html")})
        )
        assert sorted(found(tmp_path, web)) == ["/large.png?a=1,2", "/sub/a.png", "/up.JPG"]
    assert summary.answers == {"site": "200, 4 results parsed / 404"}


def test_links_of_a_site_that_moved_start_from_where_it_is_now(tmp_path: Path) -> None:
    with Web(
        {"/old": Reply(status=301, headers={"Location": "/new/page"}), "/new/page": Reply(b"<img src=a.png>")}
    ) as web:
        web.pages["/new/a.png"] = Reply(picture(1))
        crawl(settings(tmp_path, engines=("site",), sites={"smile": (f"{web.url}/old",)}))
        assert list(found(tmp_path, web)) == ["/new/a.png"]


def test_a_list_of_urls_may_hold_comments_and_blanks(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_bytes(
        b"\xef\xbb\xbf# ours\r\n\r\n  http://a.org/1.png  \r\nhttp://a.org/1.png\r\n#http://no.org\r\nhttp://b.org/2.png"
    )
    config = settings(tmp_path, engines=("urls",), urls={"smile": tmp_path / "list.txt"})
    assert plan(config)[0].pages == ["http://a.org/1.png", "http://b.org/2.png"]


def test_pages_are_asked_until_the_limit_or_a_page_without_news(tmp_path: Path) -> None:
    with Web({f"/{seed}.png": Reply(picture(seed)) for seed in range(90)}) as web:

        def page(number: int) -> Reply:  # 30 a page though 20 are asked for, as with the real one; the third repeats
            first = 20 * min(number - 1, 1)
            return Reply(bing_page(*(f"{web.url}/{seed}.png" for seed in range(first, first + 30))))

        web.pages["/images/async"] = page
        crawl(settings(tmp_path, engines=("bing",), keywords={"a": ("x",)}, base={"bing": web.url}, limit=200))
        assert len(asked(web, "/images/async")) == 3
        assert len(found(tmp_path, web)) == 50
        crawl(settings(tmp_path / "few", engines=("bing",), keywords={"a": ("x",)}, base={"bing": web.url}, limit=25))
        assert len(asked(web, "/images/async")) == 4
        assert len(found(tmp_path / "few", web)) == 25


def test_what_an_engine_answers_instead_of_results_is_told(tmp_path: Path) -> None:
    with Web({"/0.png": Reply(picture(0)), "/images/async": Reply(status=403)}) as web:
        web.pages["/search/acjson"] = Reply(b'{"antiFlag": 1, "message": "Forbid spider access"}')
        web.pages["/services/rest/"] = Reply(flickr_page(stat="fail", code=100, message="Invalid API Key"))
        web.pages["/search"] = Reply(b"<html>please turn on JavaScript</html>")
        web.pages["/v1/images/"] = Reply(b'{"detail": "Not found."}')
        (tmp_path / "list.txt").write_text(f"{web.url}/0.png")
        engines = ("bing", "baidu", "flickr", "google", "openverse", "urls")
        base = dict.fromkeys(engines[:5], web.url)
        config = settings(tmp_path, engines=engines, keywords={"smile": ("a", "b")}, base=base, flickr_key="k")
        summary = crawl(config.model_copy(update={"urls": {"smile": tmp_path / "list.txt"}}))
    assert summary.answers == {
        "bing": "403",
        "baidu": "200, Forbid spider access",
        "flickr": "200, Invalid API Key",
        "google": "200, 0 results parsed",
        "openverse": "200, Not found.",
        "urls": "1 URLs listed",
    }


def test_everything_is_asked_class_by_class_in_the_order_of_the_configuration(tmp_path: Path) -> None:
    config = settings(tmp_path, engines=("baidu", "bing"), keywords={"pout": ("p", "q", "p"), "smile": ("s",)})
    jobs = [(job.query.label, job.engine, job.query.keyword) for job in plan(config)]
    assert jobs == [("pout", engine, word) for engine in ("baidu", "bing") for word in ("p", "q")] + [
        ("smile", "baidu", "s"),
        ("smile", "bing", "s"),
    ]


@pytest.mark.parametrize(
    ("engine", "licence", "asked_for", "in_force"),
    [
        ("bing", "commercial", "qft=+filterui:license-L2_L3_L4", "commercial"),
        ("bing", "any", "", "any"),
        ("google", "noncommercial", "tbs=sur%3Af", "noncommercial"),
        ("flickr", "share", "license=1%2C2%2C3%2C4%2C5%2C6%2C7%2C8%2C9%2C10", "share"),
        ("baidu", "commercial", "", "any"),
        ("openverse", "share", "license_type=all", "share"),
    ],
)
def test_the_licence_filter_is_asked_for_and_the_rows_claim_none_that_was_not(
    tmp_path: Path, engine: Any, licence: str, asked_for: str, in_force: str
) -> None:
    config = settings(tmp_path, engines=(engine,), keywords={"a": ("b",)}, flickr_key="k", licence=licence)
    assert all(asked_for in page for page in plan(config)[0].pages)
    assert ENGINES[engine].licence_in_force(config) == in_force


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"engines": ("bing",)}, "crawl.keywords"),
        ({"engines": ("baidu",), "keywords": {"smile": ()}}, "crawl.keywords.smile"),
        ({"engines": ("google",), "keywords": {"smile": (" ",)}}, "crawl.keywords.smile"),
        ({"engines": ("flickr",), "keywords": {"smile": ("x",)}}, "crawl.flickr_key"),
        ({"engines": ("urls",)}, "crawl.urls"),
        ({"engines": ("urls",), "urls": {"smile": Path("no/such.txt")}}, "crawl.urls.smile"),
        ({"engines": ("site",)}, "crawl.sites"),
        ({"engines": ("sample",), "base": {"sample": "http://127.0.0.1:1"}}, "crawl.keywords"),
    ],
)
def test_a_missing_setting_is_named_before_anything_is_written(
    tmp_path: Path, changes: dict[str, Any], named: str
) -> None:
    with pytest.raises(UsageError, match=named):
        crawl(settings(tmp_path, **changes))
    assert not (tmp_path / "raw").exists()


HOSTILE = [
    b"",
    b"\x00\xff\xfe" * 50,
    b"<" * 5000,
    b"<a m='" + b"[" * 100_000 + b"'>",
    b"[" * 100_000,
    b'{"data": 7}',
    b'{"data": [[], null, {"objURL": []}]}',
    b'{"stat": "ok", "photos": []}',
    b'{"stat": "ok", "photos": {"photo": [7, {"url_l": 3}]}}',
    b'"https://a.org/\\ud800",1,2 "https://a.org/\\q.jpg" "http://[half.png"',
    b'<?xml version="1.0" encoding="x"?><base href="http://[half"><img src="http://[half"><img srcset=" , ,, 1x 2..w">',
    b"<div>" * 50_000,
]


@pytest.mark.parametrize("engine", [name for name, engine in ENGINES.items() if engine.parse])
def test_no_page_breaks_a_parser(engine: Any) -> None:
    for body in HOSTILE:
        with suppress(ValueError):  # the one error that a crawl expects
            assert all(url.encode() and url.startswith("http") for url in parse(engine, body))


def test_addresses_can_be_written_to_a_file_even_if_json_held_half_a_character() -> None:
    page = b'{"data": [{"thumbURL": "http://a.org/\\ud83d.png"}]}'
    assert parse("baidu", page) == ["http://a.org/?.png"]


@pytest.mark.parametrize(
    ("srcset", "largest"),
    [
        ("a.png", "a.png"),
        ("a.png 1x, b.png 2x", "b.png"),
        ("a.png 300w,b.png 100w", "a.png"),
        ("a,b.png 1.5x, c.png", "a,b.png"),
        ("  ", ""),
        ("a.png, b.png 2x", "b.png"),
        ("a.png 1x,, b.png .5x ,c.png", "a.png"),
        ("a.png 2..w, b.png 2w", "b.png"),
        ("a.png 100w 50h, b.png 90w", "a.png"),
    ],
)
def test_a_srcset_is_one_picture_in_several_sizes(srcset: str, largest: str) -> None:
    assert largest_candidate(srcset) == ([largest] if largest else [])


@pytest.mark.parametrize("part", ["a,", ", ", "a", " ", "a 1", "a b ", ",", "1x,"])
def test_a_srcset_costs_no_more_than_its_length(part: str) -> None:
    """What takes the square of it would take minutes, and of a real page hours, and the whole program with it."""
    assert len(largest_candidate(part * 300_000)) <= 1


def test_an_attribute_longer_than_anything_sensible_is_passed_over() -> None:
    page = f'<img src="/a.png?{"x" * 70_000}" srcset="b.png 1x, {"y" * 70_000} 2x"><img src=c.png>'
    assert parse_page(HERE, page.encode()) == [f"{HERE}c.png"]


def test_a_base_longer_than_any_address_multiplies_nothing() -> None:
    """Of 0.7 MB it once made 4.6 GB."""
    page = b'<base href="/' + b"x" * 60_000 + b'/">' + b"<img src=a.png>" * 45_000
    assert parse_page(HERE, page) == [f"{HERE}a.png"] * MAX_LINKS


def test_a_page_gives_so_many_links_and_none_longer_than_an_address_may_be() -> None:
    base = f"https://example.org/{'x' * (MAX_URL - 26)}/"
    page = f"<base href={base}>" + "".join(f"<img src={number}>" for number in range(99_990, 99_990 + MAX_LINKS + 50))
    assert parse_page(HERE, page.encode()) == [f"{base}{number}" for number in range(99_990, 100_000)]


def test_an_element_with_more_attributes_than_any_needs_is_passed_over_and_the_page_read_on() -> None:
    """The square of their number once took minutes."""
    names = " ".join(f"a{number}=1" for number in range(90_000))
    page = f"<img {names} src=many.png><img src=one.png>"
    assert parse_page(HERE, page.encode()) == [f"{HERE}one.png"]


def test_an_api_key_reaches_no_row_and_no_message(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Not even if the server says it again."""
    caplog.set_level("DEBUG")
    lines: list[str] = []
    with Web({"/a.jpg": Reply(picture(1))}) as web:
        pages = {
            1: flickr_page({"url_l": f"{web.url}/a.jpg"}, {"url_l": f"{web.url}/b.jpg?by=k3%2Fy"}),
            2: flickr_page(stat="fail", message="Key k3/y has expired"),
        }
        web.pages["/services/rest/"] = lambda number: Reply(pages[number]) if number < 3 else Reply(status=302)
        words = {"engines": ("flickr",), "keywords": {"smile": ("a", "b", "c")}, "base": {"flickr": web.url}}
        summary = crawl(settings(tmp_path, **words, flickr_key="k3/y", limit=1), on_progress=lines.append)
        assert [query["api_key"] for query in asked(web, "/services/rest/")] == [["k3/y"]] * 3
    kept = [path.read_text("latin-1") for path in (tmp_path / "raw").rglob("*") if path.is_file()]
    for key in ("k3/y", "k3%2Fy"):
        assert not [text for text in (*kept, *lines, str(summary), repr(summary), caplog.text) if key in text]
    assert summary.answers["flickr"] == "200, 1 results parsed / refused / 302"


def test_a_page_too_large_to_be_read_is_told_and_costs_only_itself(tmp_path: Path) -> None:
    pages = {"/large": Reply(b"<img src=a.png>" + bytes(MAX_PAGE_BYTES)), "/small": Reply(b"<img src=b.png>")}
    with Web({**pages, "/b.png": Reply(picture(1))}) as web:
        sites = {"smile": (f"{web.url}/large", f"{web.url}/small")}
        assert crawl(settings(tmp_path, engines=("site",), sites=sites)).answers == {
            "site": "200, 1 results parsed / too_large"
        }


def test_a_base_element_moves_the_links_of_a_page() -> None:
    page = b'<base href="/files/"><img src="a.png"><a href="https://b.org/c.webp?x=1">c</a>'
    assert parse_page(HERE, page) == ["https://example.org/files/a.png", "https://b.org/c.webp?x=1"]


BACKSLASHES = [
    (b"a\\\\'b", True),  # valid JSON: an escaped backslash before an apostrophe
    (b"a\\db", False),
    (b"a\\x27b", False),
    (b"a\\u12b", False),
    (b"a\\'b", False),
]


@pytest.mark.parametrize(("title", "is_valid"), BACKSLASHES)
def test_baidus_titles_with_backslashes_cost_no_page(title: bytes, is_valid: bool) -> None:
    page = b'{"data":[{"thumbURL":"http://a.test/1.jpg","fromPageTitle":"' + title + b'"}]}'
    assert parse("baidu", page) == ["http://a.test/1.jpg"]
    assert (parse_json(page.decode()) is not None) == is_valid
    assert parse("baidu", b"\xef\xbb\xbf" + page) == ["http://a.test/1.jpg"]


def test_baidu_gives_the_original_that_stands_in_another_place() -> None:
    item = {"thumbURL": "http://a.test/small.jpg", "replaceUrl": [{"ObjURL": "http://a.test/large.jpg"}]}
    assert parse("baidu", baidu_page(item)) == ["http://a.test/large.jpg"]


def test_bing_addresses_without_a_scheme_have_that_of_the_page() -> None:
    assert parse("bing", bing_page("//host.test/9.jpg")) == ["https://host.test/9.jpg"]


def test_a_page_that_cannot_be_read_is_skipped_and_told_and_the_rest_asked(tmp_path: Path) -> None:
    with Web({f"/{number}.png": Reply(picture(number)) for number in range(60)}) as web:
        first = [{"objURL": f"{web.url}/{number}.png"} for number in range(30)]
        third = [{"objURL": f"{web.url}/{number}.png"} for number in range(30, 60)]
        pages = {1: baidu_page(*first), 2: b'{"data": [', 3: baidu_page(*third)}
        web.pages["/search/acjson"] = lambda number: Reply(pages.get(number, baidu_page()))
        summary = crawl(
            settings(tmp_path, engines=("baidu",), keywords={"pout": ("x",)}, base={"baidu": web.url}, limit=200)
        )
        assert len(found(tmp_path, web)) == 60
    assert "not JSON" in summary.answers["baidu"]


SAFE = {
    "bing": ("adlt", "strict", "off"),
    "google": ("safe", "active", "off"),
    "flickr": ("safe_search", "1", "3"),
    "openverse": ("unstable__include_sensitive_results", "false", "true"),
}


@pytest.mark.parametrize("engine", SAFE)
@pytest.mark.parametrize("safe", [True, False])
def test_safe_search_is_asked_of_every_engine_that_has_it(tmp_path: Path, engine: Any, safe: bool) -> None:
    name, on, off = SAFE[engine]
    config = settings(tmp_path, engines=(engine,), keywords={"smile": ("x",)}, flickr_key="k", safe=safe)
    assert parse_qs(urlsplit(plan(config)[0].pages[0]).query)[name] == [on if safe else off]
