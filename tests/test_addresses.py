"""What is never asked: the machine we run on and the networks behind it, however an address is written."""

import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from support.loopback import Reply, Web, picture, settings

from fer_pipeline.dataset.rows import read_rows
from fer_pipeline.errors import InputError, UsageError
from fer_pipeline.sources.crawl import addresses
from fer_pipeline.sources.crawl.addresses import PrivateAddress, is_public, resolve
from fer_pipeline.sources.crawl.client import Answer, Fetcher
from fer_pipeline.sources.crawl.crawler import crawl
from fer_pipeline.sources.crawl.politeness import HostPace

needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="makes the certificate")


def fetch(folder: Path, url: str, **changes: Any) -> Answer:
    """Ask once as a crawl with usual settings does."""
    config = settings(folder, **{"allow_private": False, **changes})
    with closing(Fetcher(config, HostPace(0), threading.Event())) as fetcher:
        return fetcher.fetch(url)


def answers(monkeypatch: pytest.MonkeyPatch, *found: list[str]) -> list[str]:
    """A name service that gives these addresses, one list after another; gives the names it is asked for."""
    asked: list[str] = []

    def getaddrinfo(host: str, port: int, **_: Any) -> list[Any]:
        asked.append(host)
        mine = found[min(len(asked), len(found)) - 1]
        families = [socket.AF_INET6 if ":" in one else socket.AF_INET for one in mine]
        return [(family, 1, 6, "", (one, port)) for family, one in zip(families, mine, strict=True)]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return asked


@pytest.mark.parametrize(
    "address", ["1.1.1.1", "93.184.216.34", "2606:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101"]
)
def test_public_addresses_may_be_asked(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.9.9.9",
        "0.0.0.0",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "198.18.0.1",
        "192.0.2.1",
        "::1",
        "::",
        "fe80::1",
        "fe80::1%eth0",
        "fc00::1",
        "fd00:ec2::254",
        "ff02::1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "::127.0.0.1",
        "2002:7f00:1::",
        "64:ff9b::7f00:1",
        "2001:db8::1",
        "fec0::1",
        "192.0.0.1",
        "192.0.0.9",
        "192.88.99.1",
        "3fff::1",
        "168.63.129.16",
        "::ffff:168.63.129.16",
        "64:ff9b::a83f:8110",
        "64:ff9b:1::1",
        "2001:0:7f00:1::",
        "5f00::1",
        "no address",
    ],
)
def test_private_and_reserved_addresses_may_not(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "localhost",
        "2130706433",
        "0x7f000001",
        "0x7f.1",
        "0177.0.0.1",
        "127.1",
        "[::1]",
        "[::ffff:7f00:1]",
        "0",
    ],
)
def test_however_loopback_is_written_no_request_is_sent(tmp_path: Path, host: str) -> None:
    with Web({"/a": Reply(b"secret")}) as web:
        assert fetch(tmp_path, f"http://{host}:{web.server_port}/a").reason == "private_address"
        assert web.asked == []


def test_a_redirect_to_a_private_address_is_not_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first host is taken for public, as one on the web would be."""
    monkeypatch.setattr(addresses, "is_public", lambda address: address == "127.0.0.2")
    with Web({"/secret": Reply(b"secret")}) as web:
        web.pages["/a"] = Reply(status=302, headers={"Location": f"{web.url}/secret"})
        answers(monkeypatch, ["127.0.0.2"], ["127.0.0.1"])
        monkeypatch.setattr(socket.socket, "connect", _to(web.server_port, socket.socket.connect))
        assert fetch(tmp_path, "http://public.example/a").reason == "private_address"
        assert web.asked == ["/a"]


def _to(port: int, connect: Any) -> Any:
    """Connects to a port of this machine, whatever address is asked for."""
    return lambda sock, _: connect(sock, ("127.0.0.1", port))


def test_the_address_that_was_checked_is_the_one_that_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = answers(monkeypatch, ["1.1.1.1"], ["127.0.0.1"])
    reached: list[Any] = []

    def connect(_: socket.socket, address: Any) -> None:
        reached.append(address)
        raise ConnectionRefusedError

    monkeypatch.setattr(socket.socket, "connect", connect)
    assert fetch(tmp_path, "http://rebind.example/a").reason == "connection"
    assert (asked, reached) == (["rebind.example"], [("1.1.1.1", 80)])


def test_a_name_with_one_private_address_among_others_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    answers(monkeypatch, ["1.1.1.1", "10.0.0.1"])
    with pytest.raises(PrivateAddress):
        resolve("mixed.example", 80, allow_private=False)
    assert len(resolve("mixed.example", 80, allow_private=True)) == 2


def test_a_host_with_many_addresses_costs_a_few_attempts(monkeypatch: pytest.MonkeyPatch) -> None:
    answers(monkeypatch, [f"1.1.1.{number}" for number in range(100)])
    assert len(resolve("many.example", 80, allow_private=False)) == addresses.MAX_ADDRESSES


def test_a_proxy_may_stand_in_our_network_but_what_is_asked_of_it_may_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Web({"http://1.1.1.1/a?b=1": Reply(b"by the proxy")}) as proxy:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "no_proxy", "NO_PROXY"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("http_proxy", proxy.url.replace("//", "//me:secret@"))
        assert fetch(tmp_path, "http://1.1.1.1/a?b=1").body == b"by the proxy"
        assert fetch(tmp_path, "http://169.254.169.254/latest/meta-data/").reason == "private_address"
        assert proxy.asked == ["http://1.1.1.1/a?b=1"]
        assert proxy.headers[0]["proxy-authorization"] == "Basic bWU6c2VjcmV0"


def test_a_proxy_of_an_unsupported_kind_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "socks5://me:secret@127.0.0.1:1080")
    with pytest.raises(UsageError, match=r"https_proxy=127.0.0.1:1080: only http://"):
        fetch(tmp_path, "http://1.1.1.1/")


def test_a_tunnel_that_a_proxy_refuses_is_a_broken_connection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Web({"/": Reply(status=403)}) as proxy:  # and 501 to CONNECT, which it does not know
        for name in ("no_proxy", "NO_PROXY"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("https_proxy", proxy.url)
        assert fetch(tmp_path, "https://1.1.1.1/").reason == "connection"
        assert (proxy.connections, proxy.asked) == (1, [])


@contextmanager
def tls_web(folder: Path, names: list[str | None]) -> Iterator[Web]:
    """A server whose certificate for `localhost` lies in `own.pem`; notes by what name it is asked."""
    make = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=x"
    files = ["-keyout", str(folder / "key.pem"), "-out", str(folder / "own.pem")]
    command = ["openssl", *make.split(), "-addext", "subjectAltName=DNS:localhost", *files]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(folder / "own.pem", folder / "key.pem")
    context.sni_callback = lambda _, name, __: names.append(name)
    with Web({"/a": Reply(b"a")}) as web:
        web.socket = context.wrap_socket(web.socket, server_side=True)
        yield web


@needs_openssl
def test_a_certificate_counts_if_it_is_trusted_and_names_the_host(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("no_proxy", "*")
    names: list[str | None] = []
    with tls_web(tmp_path, names) as web:
        url = f"https://localhost:{web.server_port}/a"
        monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
        assert fetch(tmp_path, url, allow_private=True).reason == "connection"
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "own.pem"))
        assert fetch(tmp_path, url, allow_private=True).body == b"a"
        assert fetch(tmp_path, url.replace("localhost", "127.0.0.1"), allow_private=True).reason == "connection"
    assert set(names) == {"localhost", None}, "an address is no name"


@needs_openssl
def test_through_a_proxy_a_certificate_still_has_to_name_the_host(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[bytes] = []

    def serve() -> None:
        with listener.accept()[0] as client, socket.create_connection(("127.0.0.1", web.server_port)) as server:
            told.append(client.recv(65536))
            client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            threading.Thread(target=forward, args=(server, client)).start()
            forward(client, server)

    def forward(one: socket.socket, other: socket.socket) -> None:
        with suppress(OSError):
            while piece := one.recv(65536):
                other.sendall(piece)
            other.shutdown(socket.SHUT_WR)

    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    names: list[str | None] = []
    with tls_web(tmp_path, names) as web, socket.create_server(("127.0.0.1", 0)) as listener:
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "own.pem"))
        monkeypatch.setenv("https_proxy", f"http://me:secret@127.0.0.1:{listener.getsockname()[1]}")
        thread = threading.Thread(target=serve)
        thread.start()
        assert fetch(tmp_path, "https://localhost:9/a", allow_private=True).body == b"a"
        thread.join()
    assert told[0].startswith(b"CONNECT localhost:9 HTTP/1.")
    assert b"\r\nproxy-authorization: Basic bWU6c2VjcmV0\r\n" in told[0]
    assert names == ["localhost"]


def test_a_site_on_this_machine_is_asked_only_if_the_settings_say_so(tmp_path: Path) -> None:
    with Web({"/a.png": Reply(picture(1))}) as web:
        assert fetch(tmp_path, f"{web.url}/a.png").reason == "private_address"
        assert fetch(tmp_path, f"{web.url}/a.png", allow_private=True).body == picture(1)


def test_only_what_our_gallery_lists_is_asked_of_its_address(tmp_path: Path) -> None:
    """No list or redirect leads there, since robots.txt and address checks do not apply to the local gallery."""
    with Web({"/secret.png": Reply(picture(1)), "/pout/page-1.html": Reply(b"<img src=/moved.png>")}) as mirror:
        mirror.pages["/moved.png"] = Reply(status=302, headers={"Location": "/secret.png"})
        (tmp_path / "list.txt").write_text("http://sample.invalid/secret.png")
        changes = {"engines": ("sample", "urls"), "urls": {"pout": tmp_path / "list.txt"}, "allow_private": False}
        with pytest.raises(InputError):
            crawl(settings(tmp_path, keywords={"pout": ("x",)}, base={"sample": mirror.url}, **changes))
        assert "/secret.png" not in mirror.asked
    reasons = {row.source["url"].rpartition("/")[2]: row.reason for row in read_rows(tmp_path / "raw")}
    assert reasons == {"secret.png": "connection", "moved.png": "private_address"}


def test_our_own_gallery_needs_no_such_setting(gallery: Path, tmp_path: Path) -> None:
    config = settings(tmp_path, engines=("sample",), allow_private=False, robots="all", keywords={"pout": ("x",)})
    config = config.model_copy(update={"sample": config.sample.model_copy(update={"per_label": 4, "folder": gallery})})
    assert crawl(config).kept >= 4
    assert not {row.reason for row in read_rows(tmp_path / "raw")} & {"private_address", "robots_txt"}
