"""Pages of other sites and other people of this machine neither see nor change what an application shows."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket
from support.browser import running
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from fer_pipeline.web.guard import guard, new_key
from fer_pipeline.web.server import listen, serve


@contextmanager
def guarded(host: str, *names: str, key: str = "") -> Iterator[str]:
    """A small application, bound to loopback, that believes it is bound to `host`."""

    async def show(_: Request) -> Response:
        return PlainTextResponse("a photo")

    async def talk(line: WebSocket) -> None:
        await line.accept()
        await line.send_text("a photo")

    app = Starlette(
        routes=[Route("/", show), Route("/photo", show, methods=["GET", "POST"]), WebSocketRoute("/ws", talk)]
    )
    guard(app, host, names, key)
    with running(app) as url:
        yield url


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_only_addresses_and_names_of_this_server_are_answered(host: str) -> None:
    own = [
        "127.0.0.1:80",
        "192.168.1.7",
        "[::1]:8000",
        "LocalHost:1",
        socket.gethostname(),
        "faces.example.org",
        "a.lan",
    ]
    with guarded(host, "faces.example.org", "*.lan") as url:
        for name in own:
            assert httpx.get(url, headers={"host": name}).status_code == 200, name
        for name in ("rebound.example", "127.0.0.1.rebound.example", "localhost.rebound.example", "[::1", "lan"):
            answer = httpx.get(url, headers={"host": name})
            assert answer.status_code == 400, name
            assert "--allow-host" in answer.json()["detail"]
        foreign = {
            "host": "rebound.example",
            "upgrade": "websocket",
            "connection": "upgrade",
            "sec-websocket-version": "13",
        }
        assert httpx.get(f"{url}/ws", headers={**foreign, "sec-websocket-key": "x" * 22 + "=="}).status_code == 403


def test_a_page_is_for_those_who_know_its_key() -> None:
    key = new_key()
    with guarded("127.0.0.1", key=key) as url, httpx.Client(base_url=url) as browser:
        for address in ("/", "/photo", "/?key=", "/?key=another", "/photo?key=%00"):
            answer = browser.get(address)
            assert answer.status_code == 403, address
            assert "photo" not in answer.text
        with pytest.raises(InvalidStatus, match="403"):
            connect(url.replace("http", "ws") + "/ws")

        opened = browser.get(f"/?key={key}")
        assert (opened.status_code, opened.headers["location"], opened.text) == (303, "./", "")
        cookie = opened.headers["set-cookie"].lower()
        assert "httponly" in cookie
        assert "samesite=lax" in cookie
        for address in ("/", "/photo", "/?key="):
            assert browser.get(address).text == "a photo"
        assert browser.post("/photo", headers={"origin": "http://evil.example"}).status_code == 403
        shown = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
        with connect(url.replace("http", "ws") + "/ws", additional_headers={"Cookie": shown}) as line:
            assert line.recv(timeout=60) == "a photo"
        assert httpx.get(f"{url}/photo", headers={"authorization": f"Bearer {key}"}).text == "a photo"
        assert httpx.get(f"{url}/photo?key={key}").text == "a photo"


def test_two_servers_of_one_machine_keep_a_cookie_each() -> None:
    keys = new_key(), new_key()
    with (
        guarded("127.0.0.1", key=keys[0]) as first,
        guarded("127.0.0.1", key=keys[1]) as second,
        httpx.Client() as browser,
    ):
        for url, key in zip((first, second), keys, strict=True):
            browser.get(f"{url}/?key={key}")
        assert [browser.get(url).status_code for url in (first, second)] == [200, 200]


def test_the_key_is_shown_to_the_browser_by_a_file_that_only_its_owner_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Other people of the machine see the words of a command, so that the key must not be one of them."""
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    opened: list[str] = []

    def show(url: str) -> None:
        file = Path(url.removeprefix("file://"))
        opened.extend((url, file.read_text(), oct(file.stat().st_mode & 0o777)))

    class Stopped:
        def run(self, **_: object) -> None:
            raise KeyboardInterrupt

    monkeypatch.setattr("fer_pipeline.console.show_page", show)
    monkeypatch.setattr("fer_pipeline.web.server.make_server", lambda _: Stopped())
    app, key = Starlette(), new_key()
    guard(app, "127.0.0.1", key=key)
    serve(app, listen("127.0.0.1", 0), "review", open_page=True)
    url, page, mode = opened
    assert key not in url
    assert f"/?key={key}" in page
    assert mode == "0o600" or os.name == "nt"
    assert f"/?key={key} (Ctrl-C stops it)" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
