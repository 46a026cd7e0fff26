"""Serve the drawn gallery on loopback like a small search engine, so that a crawl can be tried offline."""

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from fer_pipeline.dataset.rows import is_inside
from fer_pipeline.errors import InputError

INDEX = "index.json"
PER_PAGE = 20
DATE = "Thu, 01 Jan 2026 00:00:00 GMT"  # the same rows whenever the sample is crawled
DEAD, SLOW = "gone.jpg", "slow.jpg"  # as on the web: a dead link, and a URL that is never answered
TYPES = {".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".png": "image/png", ".gif": "image/gif", ".bmp": "image/bmp"}
TYPES |= {".webp": "image/webp", ".tif": "image/tiff", ".txt": "text/plain", ".html": "text/html; charset=utf-8"}


def read_index(folder: Path) -> dict[str, list[str]]:
    """Read the files of each label from the gallery's index; InputError if there is none."""
    path = folder / INDEX
    try:
        entries = json.loads(path.read_bytes())
        files: dict[str, list[str]] = {}
        for entry in entries:
            files.setdefault(str(entry["label"]), []).append(str(entry["file"]))
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise InputError(f"{path}: no gallery ({type(error).__name__}): remove the folder, it is drawn again") from None
    return files


@contextmanager
def serve_gallery(folder: Path) -> Iterator[str]:
    """Serve a gallery while the context lasts; yields its base address, `http://127.0.0.1:PORT`."""
    with _Server(folder) as server:
        thread = threading.Thread(
            target=server.serve_forever, kwargs={"poll_interval": 0.05}, name="gallery", daemon=True
        )
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.closing.set()
            server.shutdown()
            thread.join()


def lay_out(files: Mapping[str, list[str]]) -> dict[str, bytes]:
    """Make the result pages of each label, by path; the last is empty, as with a search engine that has no more."""
    pages: dict[str, bytes] = {}
    for number, label in enumerate(sorted(files)):
        shown = ([DEAD, SLOW] if number == 0 else []) + files[label]
        for first in range(0, len(shown) + PER_PAGE, PER_PAGE):
            images = "".join(f'<img src="/{quote(file)}">\n' for file in shown[first : first + PER_PAGE])
            pages[f"/{label}/page-{first // PER_PAGE + 1}.html"] = f"<!doctype html>\n{images}".encode()
    return pages


class _Server(ThreadingHTTPServer):
    """A server that waits for its threads when it closes, so that none outlives the crawl."""

    daemon_threads = False
    request_queue_size = 128  # with the usual 5, more threads than that wait a second to connect

    def __init__(self, folder: Path) -> None:
        files = read_index(folder)
        self.closing = threading.Event()
        self.pages = lay_out(files)
        self.files = {f"/{file}": folder / file for names in files.values() for file in names if is_inside(file)}
        super().__init__(("127.0.0.1", 0), _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print nothing: the only errors are clients that close the connection."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = 10  # seconds to wait for a request

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        if path == f"/{SLOW}":
            self.server.closing.wait()
            self.close_connection = True
        elif path in self.server.pages:
            self._answer(self.server.pages[path], ".html")
        elif path in self.server.files:
            self._answer(self.server.files[path].read_bytes(), self.server.files[path].suffix)
        else:
            self._answer(b"", ".txt", status=404)

    def _answer(self, body: bytes, suffix: str, status: int = 200) -> None:
        self.send_response(status)
        self.send_header("Content-Type", TYPES.get(suffix.lower(), "application/octet-stream"))
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def date_time_string(self, timestamp: float | None = None) -> str:  # noqa: ARG002
        """The `Date` header."""
        return DATE

    def log_message(self, format: str, *args: Any) -> None:
        """Print nothing: the crawl reports what came of each URL."""
