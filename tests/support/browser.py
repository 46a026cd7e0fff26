"""A real Chromium on a real server: what the tests of our pages share."""

import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from fer_pipeline.web.server import address, listen, make_server

QUIET = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
QUIET += ["--disable-component-update", "--disable-sync"]


@contextmanager
def running(app: Any) -> Iterator[str]:
    """The application on a free port of loopback, in a thread of its own; the value is its URL."""
    bound = listen("127.0.0.1", 0)
    server = make_server(app, "error")
    thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]})
    thread.start()
    try:
        yield address(bound)  # bound already: the first request waits until the application is up
    finally:
        server.should_exit = True
        thread.join()
        bound.close()


def find_browser() -> str:
    """The system's Chromium; where there is none, a failure if FER_BROWSER=required (CI), else a skip."""
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None and os.environ.get("FER_BROWSER") == "required":
        pytest.fail("no Chromium: `apt-get install chromium`")
    if found is None:
        pytest.skip("no Chromium on this machine: `apt-get install chromium` to test the pages")
    return found


@contextmanager
def chromium(*flags: str) -> Iterator[Browser]:
    """A headless browser; with flags such as those of a fake camera."""
    path = find_browser()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=[*QUIET, *flags])
        try:
            yield browser
        finally:
            browser.close()


def fake_camera(video: Path) -> list[str]:
    """Flags that make a .mjpeg or .y4m file the browser's camera, allowed without asking."""
    return [
        "--use-fake-ui-for-media-stream",
        "--use-fake-device-for-media-stream",
        f"--use-file-for-fake-video-capture={video}",
    ]


@contextmanager
def page_of(browser: Browser, url: str, forgiven: str = "", **options: Any) -> Iterator[Page]:
    """A page in a fresh profile; an error in its console or a request that fails makes the test fail.

    `forgiven` is a part of the message of errors that the test causes itself.
    """
    context = browser.new_context(**options)
    context.set_default_timeout(30_000)
    expect.set_options(timeout=30_000)  # a machine with other things to do is slow, not wrong
    page = context.new_page()
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
    page.goto(url)
    try:
        yield page
    finally:
        context.close()
    left = [one for one in wrong if not forgiven or forgiven not in one]
    assert not left, left


def check_access(page: Page) -> None:
    """Assert that axe-core finds no accessibility violation."""
    from axe_playwright_python.sync_playwright import Axe

    results = Axe().run(page)
    assert results.violations_count == 0, results.generate_report()
