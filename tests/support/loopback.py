"""A real web server on loopback whose answers a test writes down; pictures and settings that crawl tests share."""

import io
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import numpy as np
from PIL import Image

from fer_pipeline.config.schema import CrawlConfig

DATE = "Fri, 02 Jan 2026 03:04:05 GMT"
TIME = "2026-01-02T03:04:05+00:00"


@dataclass(frozen=True)
class Reply:
    """What the server says to one path; `declared` is a Content-Length that may be a lie."""

    body: bytes = b""
    status: int = 200
    kind: str = "image/png"
    headers: Mapping[str, str] = field(default_factory=dict)
    declared: int | None = None


SILENCE = Reply(status=0)  # no answer until the server closes
Script = Reply | Callable[[int], Reply]  # the number of the request to this path, from 1


class Web(ThreadingHTTPServer):
    """Serves `pages`: a path, with its query or without, and what is said there; all else is 404."""

    daemon_threads = False
    request_queue_size = 128

    def __init__(self, pages: Mapping[str, Script] | None = None, *, stays: bool = False) -> None:
        self.pages = dict(pages or {})
        self.stays = stays  # whether connections stay open for more requests
        self.connections = 0
        self.asked: list[str] = []
        self.agents: set[str] = set()
        self.headers: list[dict[str, str]] = []  # of each request, names in lower case
        self.closing = threading.Event()
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02})

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.closing.set()
        self.shutdown()
        self._thread.join()
        self.server_close()

    def process_request(self, request: Any, client_address: Any) -> None:
        self.connections += 1
        super().process_request(request, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that hang up are part of the tests."""


class _Handler(BaseHTTPRequestHandler):
    server: Web

    def setup(self) -> None:
        self.protocol_version = "HTTP/1.1" if self.server.stays else "HTTP/1.0"
        super().setup()

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        script = self.server.pages.get(self.path, self.server.pages.get(path, Reply(status=404)))
        self.server.asked.append(self.path)
        self.server.agents.add(self.headers["User-Agent"])
        self.server.headers.append({name.lower(): value for name, value in self.headers.items()})
        same = sum(urlsplit(asked).path == path for asked in self.server.asked)
        reply = script(same) if callable(script) else script
        if reply.status == 0:
            self.server.closing.wait()
        else:
            self._say(reply)

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.do_GET()

    def _say(self, reply: Reply) -> None:
        self.send_response(reply.status)
        self.send_header("Content-Type", reply.kind)
        self.send_header("Content-Length", str(len(reply.body) if reply.declared is None else reply.declared))
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(reply.body)

    def date_time_string(self, timestamp: float | None = None) -> str:  # noqa: ARG002
        return DATE

    def log_message(self, format: str, *args: Any) -> None:
        pass


def picture(seed: int, kind: str = "PNG") -> bytes:
    """A small picture that no other seed gives."""
    pixels = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


def settings(folder: Path, **changes: Any) -> CrawlConfig:
    """Make settings for a server on loopback: no delays, and robots.txt is not read."""
    usual: dict[str, Any] = {"output": folder / "raw", "interval": 0, "retries": 1, "timeout": 30, "threads": 3}
    here = {"allow_private": True, "robots": "none"}
    return CrawlConfig(**{**usual, **here, **changes})


def listed(folder: Path, web: Web, *paths: str, label: str = "smile", **changes: Any) -> CrawlConfig:
    """Settings that fetch these paths of a server as one class, by the engine `urls`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{label}.txt").write_text("".join(f"{web.url}{path}\n" for path in paths))
    return settings(folder, engines=("urls",), urls={label: folder / f"{label}.txt"}, **changes)
