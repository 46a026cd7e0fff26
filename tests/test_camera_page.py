"""The page of `fer collect` in a real browser, before a camera that shows drawn people."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect
from support.browser import QUIET, check_access, chromium, fake_camera, find_browser, page_of, running
from support.webcam import draw_frame, write_video

from fer_pipeline.config.schema import Preprocessing
from fer_pipeline.dataset.rows import read_rows
from fer_pipeline.sources.camera.app import make_app
from fer_pipeline.sources.camera.capture_store import CaptureStore
from fer_pipeline.sources.camera.session import SessionOptions

pytestmark = pytest.mark.slow
PREPROCESSING = Preprocessing.model_validate(
    {"detector": {"sides": [200]}, "cut": {"scale": "eyes", "align": True, "size": 64}}
)
TARGET = 3
LONG = 60_000  # ms


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("data") / "raw"


@pytest.fixture(scope="module")
def url(raw: Path) -> Iterator[str]:
    options = SessionOptions(("smile", "pout", "neutral"), TARGET, PREPROCESSING)
    with CaptureStore(raw) as store, running(make_app(options, store)) as url:
        yield url


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    frames = [draw_frame(7, label, number) for number in range(12) for label in ("smile", "pout")]
    video = write_video(tmp_path_factory.mktemp("camera") / "person.mjpeg", frames)
    with chromium(*fake_camera(video)) as browser:
        yield browser


def start(page: Page) -> None:
    page.locator("#camera").click()
    expect(page.locator(".hold").first).to_be_enabled(timeout=LONG)
    if page.locator("#end").is_enabled():
        loaded(page)
        page.locator("#end").click()
        expect(page.locator("#end")).to_be_disabled()


def loaded(page: Page) -> None:
    """Wait for the kept pictures: the server has no longer what is taken back or of an ended session."""
    for picture in page.locator("#recent img").all():
        expect(picture).to_have_js_property("naturalWidth", 64)


def count(page: Page, label: str) -> str:
    return page.locator(f".hold[data-class={label}] .count").inner_text()


def fill(page: Page, label: str) -> None:
    """Wait until a class that is held has all it wants."""
    expect(page.locator(f".hold[data-class={label}]")).to_have_attribute("data-full", "true", timeout=LONG)


def test_a_key_that_is_held_fills_its_class_and_no_other(browser: Browser, url: str, raw: Path) -> None:
    with page_of(browser, url, locale="en-US") as page:
        start(page)
        page.keyboard.down("1")
        expect(page.locator(".hold[data-class=smile]")).to_have_attribute("aria-pressed", "true")
        fill(page, "smile")
        page.keyboard.up("1")
        expect(page.locator(".hold[data-class=smile]")).to_have_attribute("aria-pressed", "false")
        assert count(page, "smile").startswith(f"{TARGET} of {TARGET}")
        assert count(page, "pout").startswith(f"0 of {TARGET}")
        expect(page.locator("#recent img")).to_have_count(TARGET)
        loaded(page)
        name = page.locator("#session").inner_text().removeprefix("Session: ")
        page.reload()
        expect(page.locator(".hold[data-class=smile]")).to_have_attribute("data-full", "true")
        expect(page.locator("#recent img")).to_have_count(TARGET)
    rows = [row for row in read_rows(raw) if row.group == name]
    assert [row.label for row in rows] == ["smile"] * TARGET


def test_a_button_is_held_by_mouse_and_by_keyboard_and_the_last_is_taken_back(browser: Browser, url: str) -> None:
    with page_of(browser, url, locale="en-US") as page:
        start(page)
        page.locator(".hold[data-class=pout]").hover()
        page.mouse.down()
        fill(page, "pout")
        page.mouse.up()
        loaded(page)
        page.keyboard.press("z")
        expect(page.locator(".hold[data-class=pout]")).to_have_attribute("data-full", "false")
        assert count(page, "pout").startswith(f"{TARGET - 1} of {TARGET}")
        page.locator(".hold[data-class=neutral]").focus()
        page.keyboard.down(" ")
        fill(page, "neutral")
        page.keyboard.up(" ")
        loaded(page)
        page.locator("#undo").click()
        expect(page.locator(".hold[data-class=neutral]")).to_have_attribute("data-full", "false")


def test_a_key_is_let_go_whatever_it_writes_by_then(browser: Browser, url: str) -> None:
    with page_of(browser, url, locale="en-US") as page:
        button = page.locator(".hold[data-class=smile]")
        expect(button).to_have_attribute("aria-pressed", "false")
        for keys in (["Digit1", "Shift"], ["Shift", "Digit1"]):
            for key in keys:
                page.keyboard.down(key)
            expect(button).to_have_attribute("aria-pressed", "true")
            for key in keys:
                page.keyboard.up(key)
            expect(button).to_have_attribute("aria-pressed", "false")


# Holds the next picture that the page asks for back until `giveBack`, and notes what the page sends.
SLOW_PICTURES = """() => {
  const [make, send] = [HTMLCanvasElement.prototype.toBlob, WebSocket.prototype.send];
  window.sent = [];
  window.went = new Promise((resolve) => {
    WebSocket.prototype.send = function (what) {
      sent.push(what?.size ?? String(what));
      if (what?.size > 100) resolve();
      return send.call(this, what);
    };
  });
  window.asked = new Promise((resolve) => {
    HTMLCanvasElement.prototype.toBlob = (done) => {
      HTMLCanvasElement.prototype.toBlob = make;
      window.giveBack = done;
      resolve();
    };
  });
}"""


@pytest.mark.parametrize(("picture", "told"), [("new Blob(['stale'])", 5), ("null", "null")])
def test_a_picture_that_comes_late_or_not_at_all_goes_to_no_class(
    browser: Browser, url: str, picture: str, told: int | str
) -> None:
    with page_of(browser, url, locale="en-US") as page:
        start(page)
        page.evaluate(SLOW_PICTURES)
        page.keyboard.down("1")
        page.evaluate("asked")
        page.keyboard.up("1")
        page.keyboard.down("2")
        page.evaluate(f"giveBack({picture})")
        page.evaluate("went")
        page.keyboard.up("2")
        assert told not in page.evaluate("sent")


def test_the_camera_goes_out_and_nothing_is_held_then(browser: Browser, url: str) -> None:
    with page_of(browser, url) as page:
        start(page)
        assert page.evaluate("document.getElementById('video').srcObject.active")
        page.locator("#camera").click()
        assert page.evaluate("document.getElementById('video').srcObject") is None
        expect(page.locator(".hold").first).to_be_disabled()
        expect(page.locator("#dark")).to_be_visible()


def test_without_a_camera_the_reason_is_said(browser: Browser, url: str) -> None:
    blind = browser.browser_type.launch(executable_path=find_browser(), args=QUIET)
    with page_of(blind, url, locale="en-US") as page:
        page.locator("#camera").click()
        expect(page.locator("#trouble")).to_contain_text("No camera:")
    blind.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_is_usable_on_a_phone_in_both_languages_and_by_a_screen_reader(
    browser: Browser, url: str, scheme: str
) -> None:
    phone = {"width": 360, "height": 740}
    with page_of(browser, url, viewport=phone, color_scheme=scheme, locale="zh-CN", has_touch=True) as page:
        start(page)
        assert page.title() == "fer collect"
        expect(page.locator("h1")).to_have_text("用自己的摄像头收集")
        check_access(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        page.locator("[data-language]").click()
        expect(page.locator("h1")).to_have_text("Your camera as a source")
        page.keyboard.down("2")
        fill(page, "pout")
        page.keyboard.up("2")
        check_access(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
