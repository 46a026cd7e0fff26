"""How servers are requested: with delays, within limits, and with longer waits where they ask for it."""

import gzip
import socket
import threading
import time
import zlib
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from support.loopback import DATE, TIME, Reply, Web, settings

from fer_pipeline.sources.crawl.client import Answer, Fetcher, HostBusy
from fer_pipeline.sources.crawl.connections import Stopped
from fer_pipeline.sources.crawl.politeness import Deferred, HostPace, user_agent
from fer_pipeline.sources.crawl.urls import MAX_URL, normalise


class Clock:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now = 100.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


def fetch(url: str, folder: Path, clock: Clock | None = None, **changes: Any) -> Answer:
    """Ask once, with a pace that waits for nothing unless it is given a clock."""
    clock = clock or Clock()
    pace = HostPace(0, clock=clock, sleep=clock.sleep)
    with closing(Fetcher(settings(folder, **changes), pace, threading.Event())) as fetcher:
        return fetcher.fetch(url)


@contextmanager
def raw_server(
    said: bytes, then: bytes = b"", pause: float = 0, times: int = 10**9, asked: threading.Event | None = None
) -> Iterator[str]:
    """A server that says one thing, then another every `pause` seconds until the client has gone.

    With `asked` it tells that when it has said the first, and says no more, but stays.
    """

    def serve() -> None:
        with listener.accept()[0] as client:
            client.recv(65536)
            try:
                client.sendall(said)
                if asked is not None:
                    asked.set()
                    client.recv(65536)
                for _ in range(times if then else 0):
                    client.sendall(then)
                    time.sleep(pause)
            except OSError:
                return

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        thread.join()


def test_requests_to_one_host_are_spaced_and_other_hosts_do_not_wait() -> None:
    clock = Clock()
    pace = HostPace(0.5, clock=clock, sleep=clock.sleep)
    for url in ("http://a.org/1", "http://b.org/1", "http://a.org/2", "https://a.org/3"):
        pace.wait(url)
    assert clock.slept == [0.5, 0.5]


def test_a_slot_that_is_too_far_off_is_not_taken() -> None:
    clock = Clock()
    pace = HostPace(4, clock=clock, sleep=clock.sleep)
    assert pace.wait("http://a.org/1", max_wait=1)
    for _ in range(2):
        assert pace.delay("a.org") == 4
        with pytest.raises(Deferred):
            pace.wait("http://a.org/2", max_wait=1)
    clock.now += 3
    assert pace.wait("http://a.org/2", max_wait=1)
    assert clock.slept == [1]


def test_a_host_that_asked_for_too_long_a_pause_is_refused_at_once() -> None:
    pace = HostPace(0.5, clock=Clock())
    pace.hold("http://a.org/1", 31)
    assert pace.delay("a.org") == 0
    assert not pace.wait("http://a.org/1", max_wait=1)


def test_a_picture_put_off_is_tried_no_more_often_than_others(tmp_path: Path) -> None:
    clock = Clock()
    with Web({"/a.png": Reply(status=503, headers={"Retry-After": "20"})}) as web:
        pace = HostPace(0, clock=clock, sleep=clock.sleep)
        with closing(Fetcher(settings(tmp_path, retries=2), pace, threading.Event())) as fetcher:
            ask = partial(fetcher.fetch, f"{web.url}/a.png", max_wait=1)
            with pytest.raises(HostBusy) as later:
                ask()
            clock.now += 20
            assert ask(attempts=later.value.attempts).reason == "http_503"
        assert len(web.asked) == 2
    assert not clock.slept, "a thread has better things to do"


def test_a_host_may_ask_for_a_longer_pause_but_not_for_a_shorter_or_endless_one() -> None:
    clock = Clock()
    pace = HostPace(0.5, clock=clock, sleep=clock.sleep)
    for host, seconds in (("a", 7.0), ("b", 0.0), ("c", 86400.0)):
        pace.set_crawl_delay(f"http://{host}.org", seconds)
        pace.wait(f"http://{host}.org/1")
        pace.wait(f"http://{host}.org/2")
    assert clock.slept == [7.0, 0.5, 30.0]


def test_threads_that_wait_for_one_host_get_slots_of_their_own() -> None:
    sleeps: list[float] = []
    pace = HostPace(2, clock=lambda: 0.0, sleep=sleeps.append)
    for _ in range(3):
        pace.wait("http://a.org/")
    assert sleeps == [2, 4]


def test_a_pause_that_a_host_asks_for_binds_threads_that_already_wait() -> None:
    clock = Clock()

    def sleep(seconds: float) -> None:
        if not clock.slept:
            pace.hold("http://a.org/", 20)  # another thread hears of it meanwhile
        clock.sleep(seconds)

    pace = HostPace(2, clock=clock, sleep=sleep)
    assert [pace.wait("http://a.org/") for _ in range(3)] == [True] * 3
    assert clock.slept == [2, 18, 2]


def test_threads_give_up_a_host_that_asks_for_too_long_a_pause() -> None:
    clock = Clock()

    def sleep(seconds: float) -> None:
        clock.sleep(seconds)
        pace.hold("http://a.org/", 3600)

    pace = HostPace(2, clock=clock, sleep=sleep)
    assert [pace.wait("http://a.org/") for _ in range(3)] == [True, False, False]


def test_the_local_gallery_is_requested_without_a_pause() -> None:
    clock = Clock()
    pace = HostPace(9, free=("sample.invalid",), clock=clock, sleep=clock.sleep)
    pace.wait("http://sample.invalid/1")
    pace.wait("http://sample.invalid/2")
    assert clock.slept == []


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(
    ("header", "waited"),
    [
        ({"Retry-After": "7"}, 7.0),
        ({"Retry-After": "30"}, 30.0),
        ({"Retry-After": DATE.replace("03:04:05", "03:04:16")}, 11.0),
        ({"Retry-After": "soon"}, 1.0),
        ({}, 1.0),
    ],
)
def test_a_busy_server_gets_no_request_as_long_as_it_asks_within_bounds(
    tmp_path: Path, status: int, header: dict[str, str], waited: float
) -> None:
    clock = Clock()
    pages = {"/a": lambda number: Reply(b"x") if number > 1 else Reply(status=status, headers=header)}
    with Web(pages) as web:
        assert fetch(f"{web.url}/a", tmp_path, clock, retries=2).body == b"x"
    assert clock.slept == [waited]


@pytest.mark.parametrize("status", [429, 503])
def test_a_server_that_asks_for_a_longer_pause_gets_no_request_in_this_crawl(tmp_path: Path, status: int) -> None:
    clock = Clock()
    with Web({"/a": Reply(status=status, headers={"Retry-After": "3600"})}) as web:
        pace = HostPace(0, clock=clock, sleep=clock.sleep)
        with closing(Fetcher(settings(tmp_path, retries=3), pace, threading.Event())) as fetcher:
            assert fetcher.fetch(f"{web.url}/a").reason == f"http_{status}"
            assert fetcher.fetch(f"{web.url}/b").reason == "busy"
            assert (web.asked, clock.slept) == (["/a"], [])
            clock.now += 3600
            assert fetcher.fetch(f"{web.url}/b").reason == "http_404"


@pytest.mark.parametrize(("status", "asked"), [(500, 3), (503, 3), (429, 3), (404, 1), (403, 1)])
def test_only_what_may_pass_is_asked_again(tmp_path: Path, status: int, asked: int) -> None:
    with Web({"/a": Reply(status=status)}) as web:
        answer = fetch(f"{web.url}/a", tmp_path, retries=3)
        assert len(web.asked) == asked
    assert (answer.reason, answer.detail, answer.time) == (f"http_{status}", str(status), TIME)


def test_a_refusal_in_the_headers_hides_neither_retry_after_nor_the_status(tmp_path: Path) -> None:
    def busy(number: int) -> Reply:
        return Reply(b"x", 200 if number > 1 else 503, headers=refused if number == 1 else {})

    clock, refused = Clock(), {"X-Robots-Tag": "noindex", "Retry-After": "7"}
    with Web({"/a": busy, "/gone": Reply(status=404, headers=refused), "/b": Reply(b"x", headers=refused)}) as web:
        pace = HostPace(0, clock=clock, sleep=clock.sleep)
        with closing(Fetcher(settings(tmp_path, retries=2), pace, threading.Event())) as fetcher:
            told = [fetcher.fetch(f"{web.url}/{name}", respect_robots=True).reason for name in ("a", "gone", "b")]
    assert (told, clock.slept) == (["", "http_404", "noindex"], [7])


def test_the_size_is_counted_after_unpacking(tmp_path: Path) -> None:
    bomb = Reply(gzip.compress(bytes(10_000_000)), headers={"Content-Encoding": "gzip"})
    small = Reply(gzip.compress(b"text"), headers={"Content-Encoding": "gzip"})
    with Web({"/bomb": bomb, "/small": small}) as web:
        assert len(bomb.body) < 100_000
        assert fetch(f"{web.url}/bomb", tmp_path, max_bytes=1_000_000).reason == "too_large"
        assert fetch(f"{web.url}/small", tmp_path).body == b"text"


def test_a_body_without_end_is_cut_off(tmp_path: Path) -> None:
    with raw_server(b"HTTP/1.1 200 OK\r\n\r\n", then=bytes(10_000)) as url:
        assert fetch(url, tmp_path, max_bytes=100_000).reason == "too_large"


def test_a_redirect_with_a_body_without_end_is_followed_unread(tmp_path: Path) -> None:
    with Web({"/a": Reply(b"there")}) as web:
        head = f"HTTP/1.1 302 Found\r\nLocation: {web.url}/a\r\n\r\n".encode()
        with raw_server(head, then=bytes(10_000)) as url:
            assert fetch(url, tmp_path).body == b"there"


def test_a_body_that_drips_forever_is_a_timeout(tmp_path: Path) -> None:
    with raw_server(b"HTTP/1.1 200 OK\r\n\r\n", then=b".", pause=0.05) as url:
        assert fetch(url, tmp_path, timeout=0.3).reason == "timeout"


@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 200 OK\r\nX-Drip: "])
def test_an_answer_that_drips_before_it_begins_is_a_timeout(tmp_path: Path, said: bytes) -> None:
    with raw_server(said, then=b"H", pause=0.05) as url:  # a line may have 65,536 bytes: an hour, but for the deadline
        assert fetch(url, tmp_path, timeout=0.5).reason == "timeout"


@pytest.mark.parametrize("said", [b"", b"1;", b"1\r\nx\r\n0\r\nX-Drip: "])
def test_a_body_whose_frame_drips_forever_is_a_timeout(tmp_path: Path, said: bytes) -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    with raw_server(head + said, then=b"0", pause=0.05) as url:
        assert fetch(url, tmp_path, timeout=0.5).reason == "timeout"


@pytest.mark.parametrize("frame", [b"0\r\n", b"1\r\nx\r\n;", b"0\r\nX: ", b"1\r\nxy\r\n", b"-1\r\n", b"1_0\r\n"])
def test_a_frame_without_end_or_sense_is_a_broken_answer(tmp_path: Path, frame: bytes) -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    with raw_server(head + frame, then=b"X-More: trailers\r\n" if frame[:1] == b"0" else b"x" * 999) as url:
        assert fetch(url, tmp_path, max_bytes=1000).reason == "connection"


@pytest.mark.parametrize(
    ("said", "body"),
    [
        (
            b"Transfer-Encoding: chunked\r\n\r\n2;a=b\r\nab\r\n0C\r\ncdefghijklmn\r\n0\r\nX: y\r\n\r\n",
            b"abcdefghijklmn",
        ),
        (b"content-length : 2\r\n\r\nab", b"ab"),
        (b"X: y\r\n\t z\r\n\r\nab", b"ab"),
        (b"Content-Length: many\n\nab", b"ab"),
        (b"\r\n", b""),
    ],
)
def test_bodies_come_whole_however_they_are_framed(tmp_path: Path, said: bytes, body: bytes) -> None:
    with raw_server(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\n" + said) as url:
        answer = fetch(url, tmp_path)
    assert (answer.body, answer.reason) == (body, "")


@pytest.mark.parametrize(
    ("said", "then"),
    [
        (b"HTTP/1.1 200 OK\r\n", b"X-More: headers\r\n"),
        (b"HTTP/1.1 200 OK\r\nX-Long: ", b"x" * 999),
        (b"HTTP/1.1 200 ", b"O" * 999),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (b"", b"HTTP/1.1 103 Early Hints\r\n\r\n"),
    ],
)
def test_a_head_without_end_is_a_broken_answer(tmp_path: Path, said: bytes, then: bytes) -> None:
    with raw_server(said, then=then) as url:
        assert fetch(url, tmp_path).reason == "connection"


def test_no_more_comes_in_than_about_twice_what_a_body_may_have(tmp_path: Path) -> None:
    """The chunks of one byte each, sent without end, are mostly frame."""
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    with raw_server(head, then=b"1;" + b"x" * 1000 + b"\r\na\r\n") as url:
        assert fetch(url, tmp_path, max_bytes=10_000).reason == "connection"


def test_a_body_has_as_much_time_as_the_answer_before_it(tmp_path: Path) -> None:
    with raw_server(b"HTTP/1.0 200 OK", then=b"\r\n", pause=2, times=2) as url:  # head and body take 2 s each
        assert fetch(url, tmp_path, timeout=3).reason == ""


def test_a_handshake_that_drips_is_a_timeout(tmp_path: Path) -> None:
    with raw_server(b"\x16\x03\x03\x40\x00", then=b"\x02", pause=0.05) as url:
        assert fetch(url.replace("http", "https"), tmp_path, timeout=0.5).reason == "timeout"


@pytest.mark.parametrize(
    ("scheme", "said"), [("http", b""), ("http", b"HTTP/1.1 200 OK\r\n\r\nsome"), ("https", b"\x16\x03")]
)
def test_a_crawl_that_stops_waits_for_no_server(tmp_path: Path, scheme: str, said: bytes) -> None:
    stop, asked, told = threading.Event(), threading.Event(), list[type[BaseException]]()

    def wait() -> None:
        try:
            fetcher.fetch(url.replace("http", scheme))
        except Stopped as stopped:
            told.append(type(stopped))

    with (
        raw_server(said, asked=asked) as url,
        closing(Fetcher(settings(tmp_path, timeout=600, retries=2), HostPace(0, sleep=stop.wait), stop)) as fetcher,
    ):
        thread = threading.Thread(target=wait)
        thread.start()
        assert asked.wait(60)
        stop.set()
        thread.join(60)  # a tenth of what the server may take
    assert told == [Stopped]


@pytest.mark.parametrize(
    "said", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", b"\x00\xff nonsense\r\n\r\n"]
)
def test_an_answer_that_breaks_off_is_a_broken_connection(tmp_path: Path, said: bytes) -> None:
    with raw_server(said) as url:
        assert fetch(url, tmp_path).reason == "connection"


@pytest.mark.parametrize(
    ("packed", "encoding", "reason"),
    [
        (b"no gzip at all", "gzip", "connection"),
        (gzip.compress(b"text", mtime=0)[:-9], "gzip", "connection"),
        (gzip.compress(b"text", mtime=0), "br", "connection"),
        (b"text", "identity", ""),
        (zlib.compress(b"text"), "deflate", ""),
        (gzip.compress(b"text", mtime=0), "X-GZIP", ""),
    ],
)
def test_what_cannot_be_unpacked_is_a_broken_answer(tmp_path: Path, packed: bytes, encoding: str, reason: str) -> None:
    with Web({"/a": Reply(packed, headers={"Content-Encoding": encoding})}) as web:
        answer = fetch(f"{web.url}/a", tmp_path)
    assert (answer.reason, answer.body) == (reason, b"" if reason else b"text")


def test_a_connection_is_used_again_until_the_server_closes_it(tmp_path: Path) -> None:
    pages = {"/a": Reply(b"a"), "/bye": Reply(b"b", headers={"Connection": "close"}), "/gone": Reply(status=404)}
    with Web(pages, stays=True) as web, closing(Fetcher(settings(tmp_path), HostPace(0), threading.Event())) as fetcher:
        told = [fetcher.fetch(f"{web.url}/{name}").body for name in ("a", "a", "bye", "a", "a")]
        fetcher.close()
        assert told == [b"a", b"a", b"b", b"a", b"a"]
        assert web.connections == 2


def test_a_connection_that_was_closed_meanwhile_is_no_failure(tmp_path: Path) -> None:
    def serve() -> None:
        for _ in range(2):
            with listener.accept()[0] as client:
                client.recv(65536)
                client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        with closing(Fetcher(settings(tmp_path), HostPace(0), threading.Event())) as fetcher:
            url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
            assert [fetcher.fetch(url).body for _ in range(2)] == [b"a", b"a"]
        thread.join()


def test_many_threads_share_few_connections(tmp_path: Path) -> None:
    with (
        Web({"/a": Reply(b"a")}, stays=True) as web,
        closing(Fetcher(settings(tmp_path), HostPace(0), threading.Event())) as fetcher,
    ):
        told: list[bytes] = []
        threads = [
            threading.Thread(target=lambda: told.extend(fetcher.fetch(f"{web.url}/a").body for _ in range(25)))
            for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        fetcher.close()
        assert (told, web.connections <= 4) == ([b"a"] * 100, True)


def test_a_url_is_asked_as_it_is_meant(tmp_path: Path) -> None:
    with Web({"/%E5%98%9F%20x.png?q=%C3%A4": Reply(b"a")}) as web:
        assert fetch(f"{web.url}/嘟 x.png?q=ä#part", tmp_path).body == b"a"


def test_an_address_longer_than_any_server_takes_is_not_asked(tmp_path: Path) -> None:
    with Web({"/a": Reply(status=302, headers={"Location": f"/{'x' * MAX_URL}"})}) as web:
        assert fetch(f"{web.url}/{'x' * MAX_URL}", tmp_path).reason == "bad_url"
        assert fetch(f"{web.url}/a", tmp_path).reason == "bad_url"
        assert web.asked == ["/a"]


def test_what_one_server_is_told_goes_to_no_other_and_what_it_hands_out_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password secret")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    with Web({"/b": Reply(b"b")}) as other, Web() as web:
        location = f"{other.url.replace('//', '//me:secret@')}/b"
        web.pages["/a"] = Reply(status=302, headers={"Location": location, "Set-Cookie": "who=me; Path=/"})
        with closing(Fetcher(settings(tmp_path), HostPace(0), threading.Event())) as fetcher:
            for _ in range(2):
                assert fetcher.fetch(f"{web.url.replace('//', '//me:secret@')}/a").body == b"b"
        heads = [*web.headers, *other.headers]
    assert [set(head) for head in heads] == [{"host", "user-agent", "accept-encoding"}] * 4


def test_a_failure_without_an_answer_has_no_time_so_that_runs_repeat(tmp_path: Path) -> None:
    answer = fetch("http://127.0.0.1:1/", tmp_path)
    assert (answer.reason, answer.detail) == ("connection", "connection refused")
    assert answer.time == ""


def test_an_unforeseen_error_costs_its_own_url_alone(tmp_path: Path) -> None:
    clock = Clock()
    clock.sleep = [].__getitem__  # type: ignore[assignment,method-assign]
    pace = HostPace(1, clock=clock, sleep=clock.sleep)
    with Web({"/a": Reply(b"a")}) as web, closing(Fetcher(settings(tmp_path), pace, threading.Event())) as fetcher:
        assert [fetcher.fetch(f"{web.url}/a").reason for _ in range(2)] == ["", "TypeError"]


def test_nothing_is_asked_once_the_crawl_stops(tmp_path: Path) -> None:
    stop = threading.Event()
    stop.set()
    with Web() as web, closing(Fetcher(settings(tmp_path), HostPace(0), stop)) as fetcher:
        with pytest.raises(Stopped):
            fetcher.fetch(web.url)
        assert web.asked == []


@pytest.mark.parametrize(
    "url", ["", "x", "ftp://a.org/x", "http://", "http://a.org:x/", "http://a.org:0/", "http://[half", "data:,x"]
)
def test_what_is_no_web_address_is_not_asked(url: str, tmp_path: Path) -> None:
    assert fetch(url, tmp_path).reason == "bad_url"


@pytest.mark.parametrize(
    ("url", "one"),
    [
        ("http://A.org", "http://a.org/"),
        ("HTTP://me:secret@a.org:80/x?#y", "http://a.org/x"),
        ("https://a.org.:443/x?y=%2E", "https://a.org/x?y=%2E"),
        ("http://a.org:443/x", "http://a.org:443/x"),
        ("http://BÜCHER.example/嘟?ä", "http://xn--bcher-kva.example/%E5%98%9F?%C3%A4"),
        ("http://a.org/free/../art/./x.png", "http://a.org/art/x.png"),
        ("http://a.org/free/%2e%2E/art/x.png", "http://a.org/art/x.png"),
        ("http://16843009/", "http://1.1.1.1/"),
        ("http://0x1.1/x", "http://1.0.0.1/x"),
        ("http://[::FFFF:1.1.1.1]:8080/", "http://1.1.1.1:8080/"),
        ("http://[2606:4700:0::1111]/", "http://[2606:4700::1111]/"),
        ("http://a.org/x y\r\nHost: b.org", "http://a.org/x%20y%0D%0AHost:%20b.org"),
        ("http://a.org//x", "http://a.org//x"),
    ],
)
def test_a_url_has_one_spelling(url: str, one: str) -> None:
    assert normalise(url) == normalise(one) == one


def test_another_spelling_of_a_host_shortens_no_pause(tmp_path: Path) -> None:
    clock = Clock()
    pace = HostPace(5, clock=clock, sleep=clock.sleep)
    with Web({"/a": Reply(b"a")}) as web, closing(Fetcher(settings(tmp_path), pace, threading.Event())) as fetcher:
        hosts = ("127.0.0.1", "me@127.0.0.1", "127.1", "0x7f000001", "[::ffff:127.0.0.1]", "127.0.0.1.")
        assert [fetcher.fetch(f"http://{host}:{web.server_port}/a").body for host in hosts] == [b"a"] * 6
    assert clock.slept == [5] * 5


def test_a_name_that_no_resolver_takes_is_no_address(tmp_path: Path) -> None:
    assert fetch(f"http://{'a' * 70}.org/", tmp_path).reason in {"bad_url", "connection"}
    assert fetch("http://.example.org/", tmp_path).reason == "bad_url"


def test_the_user_agent_has_the_contact_if_there_is_one() -> None:
    assert "(" not in user_agent("")
    assert user_agent("https://example.org").endswith("(+https://example.org)")
