"""What owners of hosts may say and how it is heard: robots.txt, TDM reservations, X-Robots-Tag."""

import json
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from support.loopback import SILENCE, Reply, Script, Web, listed, picture, settings

from fer_pipeline.dataset.rows import read_rows
from fer_pipeline.errors import InputError
from fer_pipeline.sources.crawl.crawler import crawl
from fer_pipeline.sources.crawl.robots import (
    MAX_BYTES,
    MAX_RULES,
    MAX_RULES_OF_ALL,
    RobotsPolicy,
    bound_rules,
    parse_tdmrep,
    refusal_in_page,
    refusal_of,
)

ROBOTS, TDMREP = "/robots.txt", "/.well-known/tdmrep.json"
RULES = "http://a.org"


def text(*lines: str) -> Reply:
    return Reply("\n".join(lines).encode(), kind="text/plain")


def reasons(folder: Path, web: Web, *paths: str, **changes: Any) -> dict[str, str]:
    """Crawl these paths with robots.txt in force; returns the reason of each, "" where the picture was fetched."""
    with suppress(InputError):  # nothing was found
        crawl(listed(folder, web, *paths, **{"robots": "pictures", **changes}))
    return {row.source["url"].removeprefix(web.url): row.reason for row in read_rows(folder / "raw")}


def asked_of(files: dict[str, tuple[bytes, str]]) -> tuple[RobotsPolicy, list[str], dict[str, float]]:
    """Leave by some files in place of a network; what is not there is a 404."""
    asked: list[str] = []
    pauses: dict[str, float] = {}

    def read(url: str, _: int) -> tuple[bytes, str]:
        asked.append(url)
        return files.get(url, (b"", "http_404"))

    return RobotsPolicy(read, pauses.__setitem__), asked, pauses


def test_robots_txt_is_asked_once_a_host_and_kept_to(tmp_path: Path) -> None:
    pages: dict[str, Script] = {f"/{place}/{seed}.png": Reply(picture(seed)) for place in "ab" for seed in range(3)}
    pages[ROBOTS] = text("User-agent: *", "Disallow: /a/", "Allow: /a/1.png")
    with Web(pages) as web:
        told = reasons(tmp_path, web, *(path for path in pages if path != ROBOTS))
        assert web.asked.count(ROBOTS) == web.asked.count(TDMREP) == 1
        assert "/a/0.png" not in web.asked
    assert {path for path, reason in told.items() if reason == "robots_txt"} == {"/a/0.png", "/a/2.png"}


@pytest.mark.parametrize(
    ("lines", "allowed"),
    [
        (("User-agent: *", "Disallow:"), True),
        (("User-agent: *", "Disallow: /"), False),
        (("User-agent: fer-pipeline", "Disallow: /"), False),
        (("User-agent: FER-Pipeline", "Disallow: /"), False),
        (("User-agent: GPTBot", "Disallow: /"), True),
        (("User-agent: fer-pipeline", "Allow: /", "User-agent: *", "Disallow: /"), True),
        (("User-agent: *", "Disallow: /*.png$"), False),
        (("User-agent: *", "Disallow: /*.gif$"), True),
        (("<html>no such page</html>",), True),
    ],
)
def test_robots_txt_is_read_for_our_user_agent(lines: tuple[str, ...], allowed: bool) -> None:
    policy, _, _ = asked_of({f"{RULES}{ROBOTS}": ("\n".join(lines).encode(), "")})
    assert policy.refusal(f"{RULES}/x.png") == ("" if allowed else "robots_txt")


@pytest.mark.parametrize(
    ("reason", "told"),
    [
        ("http_404", ""),
        ("http_403", ""),
        ("redirects", ""),
        ("http_500", "robots_unreachable"),
        ("http_501", "robots_unreachable"),
        ("http_520", "robots_unreachable"),
        ("http_599", "robots_unreachable"),
        ("http_429", "robots_unreachable"),
        ("timeout", "timeout"),
        ("connection", "connection"),
        ("private_address", "private_address"),
    ],
)
def test_a_host_without_rules_allows_all_and_one_that_cannot_tell_them_nothing(reason: str, told: str) -> None:
    policy, asked, _ = asked_of({f"{RULES}{ROBOTS}": (b"", reason)})
    assert [policy.refusal(f"{RULES}/{name}") for name in ("x.png", "y.png")] == [told, told]
    assert asked.count(f"{RULES}{ROBOTS}") == 1


@pytest.mark.parametrize(
    ("body", "reason", "told"),
    [
        (b"", "http_404", ""),
        (b"", "http_410", ""),
        (b"", "redirects", ""),
        (b"", "http_429", "tdm_unreachable"),
        (b"", "http_503", "tdm_unreachable"),
        (b"", "http_521", "tdm_unreachable"),
        (b"", "timeout", "timeout"),
        (b"", "connection", "connection"),
        (b'[{"location": "/", ', "too_large", "tdm_unreachable"),
        (b"\n<!doctype html>", "too_large", ""),
    ],
)
def test_a_host_that_cannot_tell_its_reservations_allows_nothing(body: bytes, reason: str, told: str) -> None:
    policy, _, _ = asked_of({f"{RULES}{TDMREP}": (body, reason)})
    assert policy.refusal(f"{RULES}/x.png") == told


def test_each_scheme_host_and_port_has_rules_of_its_own() -> None:
    policy, _, _ = asked_of({f"{RULES}{ROBOTS}": (b"User-agent: *\nDisallow: /", "")})
    told = [policy.refusal(f"{home}/x") for home in (RULES, f"{RULES}:81", "https://a.org", "http://b.org")]
    assert told == ["robots_txt", "", "", ""]


@pytest.mark.parametrize(
    ("lines", "pause"), [("Crawl-delay: 7", 7), ("Request-rate: 1/5", 5), ("Crawl-delay: soon", 0), ("Disallow: /x", 0)]
)
def test_a_longer_pause_is_taken_from_robots_txt(lines: str, pause: float) -> None:
    policy, _, pauses = asked_of({f"{RULES}{ROBOTS}": (f"User-agent: *\n{lines}".encode(), "")})
    policy.refusal(f"{RULES}/x.png")
    assert pauses == {RULES: pause}


def test_robots_txt_with_more_than_is_read_still_counts(tmp_path: Path) -> None:
    rules = b"User-agent: *\nDisallow: /a.png\n#" + b"x" * MAX_BYTES
    with Web({"/a.png": Reply(picture(1)), "/b.png": Reply(picture(2)), ROBOTS: Reply(rules)}) as web:
        assert reasons(tmp_path, web, "/a.png", "/b.png") == {"/a.png": "robots_txt", "/b.png": ""}


def test_of_more_rules_than_are_read_the_first_count() -> None:
    lines = ["User-agent: *", *(f"Disallow: /{number}.png" for number in range(36_000))]
    policy, _, _ = asked_of({f"{RULES}{ROBOTS}": ("\n".join(lines).encode(), "")})
    told = [policy.refusal(f"{RULES}/{number}.png") for number in (0, MAX_RULES - 2, MAX_RULES - 1)]
    assert told == ["robots_txt", "robots_txt", ""]


def test_rules_are_not_multiplied_by_user_agents() -> None:
    agents, rules = [f"User-agent: x{number}" for number in range(9000)], ["Disallow: /"] * 9000
    lines = bound_rules("\n".join([*agents, *rules])).splitlines()
    assert sum(line in agents for line in lines) * len(lines) <= 2 * MAX_RULES_OF_ALL


def test_of_more_reservations_than_are_read_the_first_count() -> None:
    rules = [{"location": f"/{number}", "tdm-reservation": 1} for number in range(MAX_RULES + 1)]
    found = parse_tdmrep(json.dumps(rules).encode())
    assert found is not None
    told = [found.can_fetch(f"{RULES}/{number}", "fer-pipeline") for number in ("x", 0, MAX_RULES - 1)]
    assert told == [True, False, False]


def test_no_spelling_of_a_url_gets_around_the_rules(tmp_path: Path) -> None:
    with Web({"/a.png": Reply(picture(1)), ROBOTS: text("User-agent: *", "Disallow: /a.png")}) as web:
        (tmp_path / "more.txt").write_text(
            f"http://me@127.1:{web.server_port}/b/../a.png\nHTTP://0x7f.1:{web.server_port}/%2E/a.png#x\n"
        )
        with pytest.raises(InputError):
            crawl(settings(tmp_path, engines=("urls",), urls={"smile": tmp_path / "more.txt"}, robots="pictures"))
        assert web.asked == [ROBOTS, TDMREP]
    assert {row.reason for row in read_rows(tmp_path / "raw")} == {"robots_txt"}


def test_a_dead_host_is_waited_for_once_not_once_a_picture(tmp_path: Path) -> None:
    with Web({ROBOTS: SILENCE}) as web:
        told = reasons(tmp_path, web, *(f"/{seed}.png" for seed in range(20)), timeout=0.3)
        assert web.asked == [ROBOTS]
    assert set(told.values()) == {"timeout"}


def test_robots_txt_of_the_host_a_redirect_leads_to_counts_too(tmp_path: Path) -> None:
    with Web({ROBOTS: text("User-agent: *", "Disallow: /"), "/b.png": Reply(picture(1))}) as other:
        with Web({"/a.png": Reply(status=302, headers={"Location": f"{other.url}/b.png"})}) as web:
            assert reasons(tmp_path, web, "/a.png") == {"/a.png": "robots_txt"}
        assert other.asked == [ROBOTS, TDMREP]


def test_threads_that_want_the_same_host_wait_for_its_rules() -> None:
    asked: list[str] = []

    def read(url: str, _: int) -> tuple[bytes, str]:
        asked.append(url)
        return b"User-agent: *\nDisallow: /", ""

    policy = RobotsPolicy(read, lambda *_: None)
    told: list[str] = []
    threads = [threading.Thread(target=lambda: told.append(policy.refusal(f"{RULES}/x"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (told, len(asked)) == (["robots_txt"] * 8, 2)


def test_a_reserved_location_is_not_fetched_and_the_longest_rule_counts(tmp_path: Path) -> None:
    rules = [
        {"location": "/art/", "tdm-reservation": 1, "tdm-policy": "https://a.org/policy.json"},
        {"location": "/art/free/*.png", "tdm-reservation": 0},
        {"location": "/only.png$", "tdm-reservation": "1"},
    ]
    paths = ("/art/a.png", "/art/free/b.png", "/only.png", "/only.png.png", "/c.png")
    pages = {path: Reply(picture(seed)) for seed, path in enumerate(paths)}
    with Web({**pages, TDMREP: Reply(json.dumps(rules).encode(), kind="application/json")}) as web:
        told = reasons(tmp_path, web, *paths)
        assert "/art/a.png" not in web.asked
    assert {path for path, reason in told.items() if reason == "tdm_reserved"} == {"/art/a.png", "/only.png"}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"7",
        b"null",
        b'{"location": "/", "tdm-reservation": 1}',
        b"[1, [], {}]",
        b'[{"location": 7, "tdm-reservation": 1}]',
        b'[{"location": "/", "tdm-reservation": 2}]',
        b'[{"location": "/\\nDisallow: /", "tdm-reservation": 1}]',
        b"[" * 100_000,
    ],
)
def test_a_file_of_reservations_that_makes_no_sense_reserves_nothing(body: bytes) -> None:
    assert parse_tdmrep(body) is None


@pytest.mark.parametrize(
    ("tags", "told"),
    [
        ([], ""),
        (["all"], ""),
        (["noai"], "noai"),
        (["nofollow, NoImageAI"], "noimageai"),
        (["noindex"], "noindex"),
        (["none"], "noindex"),
        (["noimageindex"], "noimageindex"),
        (["googlebot: noindex"], ""),
        (["googlebot: nofollow", "fer-pipeline: noai"], "noai"),
        (["Fer-Pipeline: noindex, nofollow"], "noindex"),
        (["*: noai"], "noai"),
        (["unavailable_after: 25 Jun 2010 15:00:00 PST"], ""),
        (["noarchive, max-image-preview: large, noai"], "noai"),
        (["max-image-preview:large, noai"], "noai"),
        (["max-snippet: -1, max-video-preview: 7, noimageindex"], "noimageindex"),
        (["unavailable_after: Friday, 25-Jun-10 15:00:00 PST, noai"], "noai"),
        (["unavailable_after: 2010-06-25T15:00:00, noindex"], "noindex"),
        (["indexifembedded, noindex"], "noindex"),
        (["noarchive: , noai"], "noai"),
        (["googlebot: max-image-preview: large, noai"], ""),
        (["googlebot: max-snippet:3, nofollow, *: noai"], "noai"),
        (["fer-pipeline: max-image-preview: large, noai, otherbot: noindex"], "noai"),
    ],
)
def test_a_tag_counts_if_it_is_for_everyone_or_for_us(tags: list[str], told: str) -> None:
    assert refusal_of(tags, "") == told


@pytest.mark.parametrize(
    ("headers", "told"),
    [
        ({"X-Robots-Tag": "noai, noimageai"}, "noai"),
        ({"x-robots-tag": "noindex"}, "noindex"),
        ({"X-Robots-Tag": "otherbot: noai"}, ""),
        ({"tdm-reservation": "1"}, "tdm_reserved"),
        ({"TDM-Reservation": "0"}, ""),
    ],
)
def test_headers_that_refuse_leave_no_file(tmp_path: Path, headers: dict[str, str], told: str) -> None:
    with Web({"/a.png": Reply(picture(1), headers=headers)}) as web:
        assert reasons(tmp_path, web, "/a.png") == {"/a.png": told}
    assert (tmp_path / "raw" / "smile").exists() == (told == "")


@pytest.mark.parametrize(
    ("page", "told"),
    [
        (b'<meta name="robots" content="noai, noimageai">', "noai"),
        (b'<META NAME="Robots" CONTENT="index">', ""),
        (b'<meta name="fer-pipeline" content="noindex">', "noindex"),
        (b'<meta name="googlebot" content="noindex">', ""),
        (b'<meta name="tdm-reservation" content="1">', "tdm_reserved"),
        (b'<meta name="robots" content="max-image-preview:large, noai">', "noai"),
        (b'<meta name="robots" content="max-later: 1, unavailable_after: 2010-06-25T15:00:00, NOINDEX">', "noindex"),
        (b'{"no": "page"}', ""),
    ],
)
def test_a_page_may_refuse_for_the_pictures_on_it(page: bytes, told: str) -> None:
    assert refusal_in_page(page) == told


def test_a_site_that_refuses_by_its_page_gives_no_pictures(tmp_path: Path) -> None:
    page = b'<meta name="robots" content="noai"><img src="a.png">'
    with Web({"/page": Reply(page, kind="text/html"), "/a.png": Reply(picture(1))}) as web:
        sites = {"smile": (f"{web.url}/page",)}
        with pytest.raises(InputError, match="site: noai"):
            crawl(settings(tmp_path, engines=("site",), sites=sites, robots="pictures"))
        assert "/a.png" not in web.asked


@pytest.mark.parametrize(("robots", "found"), [("none", True), ("pictures", True), ("all", False)])
def test_robots_txt_applies_to_result_pages_only_with_robots_all(tmp_path: Path, robots: str, found: bool) -> None:
    with Web({"/search/acjson": Reply(b'{"data": []}'), ROBOTS: text("User-agent: *", "Disallow: /search")}) as web:
        base, words = {"baidu": web.url}, {"smile": ("smile",)}
        with pytest.raises(InputError, match="200, 0 results parsed" if found else "baidu: robots_txt"):
            crawl(settings(tmp_path, engines=("baidu",), keywords=words, base=base, robots=robots))
        assert ("/search/acjson" in {path.partition("?")[0] for path in web.asked}) == found
        assert (ROBOTS in web.asked) == (robots == "all")


def test_robots_none_reads_no_robots_txt(tmp_path: Path) -> None:
    pages = {
        "/a.png": Reply(picture(1), headers={"X-Robots-Tag": "noai"}),
        ROBOTS: text("User-agent: *", "Disallow: /"),
    }
    with Web(pages) as web:
        assert reasons(tmp_path, web, "/a.png", robots="none") == {"/a.png": ""}
        assert web.asked == ["/a.png"]
