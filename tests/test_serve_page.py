"""Promises of the page of `fer serve`, kept in a real browser against a real server."""

import io
import json
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol

import numpy as np
import PIL.Image
import pytest
from playwright.sync_api import FilePayload, Page, Route, WebSocketRoute, expect
from support.browser import check_access, chromium, fake_camera, page_of
from support.camera import HIDE_PAGE, HOLD_CAMERA, TRACK_STATES, WATCH_STREAMS, film_people
from support.pictures import draw_pair, draw_portrait, draw_view
from support.served import predict, serving, write_run

from fer_pipeline.sources.sample import LABELS
from fer_pipeline.sources.sample.junk import to_jpeg

pytestmark = pytest.mark.slow
READY = "body[data-ready]"
HOSTILE = "<img src=x onerror=alert(1)>.jpg"
NARROW = {"viewport": {"width": 360, "height": 740}, "color_scheme": "dark", "is_mobile": True, "has_touch": True}
# Object URLs the page has not let go of.
HELD = """() => {
  window.held = new Set();
  const [make, revoke] = [URL.createObjectURL, URL.revokeObjectURL];
  URL.createObjectURL = (file) => { const url = make(file); held.add(url); return url; };
  URL.revokeObjectURL = (url) => { held.delete(url); revoke(url); };
}"""
TRANSFER = """([kind, files]) => {
  const data = new DataTransfer();
  for (const [name, bytes] of files) data.items.add(new File([new Uint8Array(bytes)], name, { type: "image/jpeg" }));
  const options = { bubbles: true, cancelable: true };
  document.dispatchEvent(kind === "drop"
    ? new DragEvent("drop", { ...options, dataTransfer: data })
    : new ClipboardEvent("paste", { ...options, clipboardData: data }));
}"""


class Visit(Protocol):
    """Opens the page in a fresh profile."""

    def __call__(self, forgiven: str = "", **options: Any) -> AbstractContextManager[Page]: ...


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server with three models; the second never commits itself, to the third everything is unknown."""
    folder = tmp_path_factory.mktemp("runs")
    runs = [write_run(folder / "plain"), write_run(folder / "cautious", uncertain=1.0)]
    runs.append(write_run(folder / "strange", known=0.95))
    with serving(*runs, max_bytes=500_000, max_pixels=2_000_000) as url:
        yield url


@pytest.fixture(scope="module")
def visit(url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Visit]:
    @contextmanager
    def open_page(forgiven: str = "", **options: Any) -> Iterator[Page]:
        with page_of(browser, url, forgiven, **options) as page:
            page.locator(READY).wait_for()
            yield page

    with chromium(*fake_camera(film_people(tmp_path_factory.mktemp("camera") / "camera.mjpeg"))) as browser:
        yield open_page


def jpeg(picture: Any) -> bytes:
    return to_jpeg(picture, 90)


PAIR = jpeg(draw_pair(3))


def give(page: Page, **files: bytes) -> None:
    """Choose files; their names are the keywords."""
    payload: list[FilePayload] = [{"name": name, "mimeType": "image/*", "buffer": data} for name, data in files.items()]
    page.set_input_files("#files", payload)
    expect(page.locator(".card[aria-busy=true]")).to_have_count(0)


def card(page: Page, name: str) -> Any:
    return page.locator(".card").filter(has=page.get_by_role("heading", name=name, exact=True))


def width_of(page: Page) -> int:
    return int(page.evaluate("document.documentElement.scrollWidth"))


def test_every_face_of_a_chosen_photo_is_boxed_and_named(visit: Visit, url: str) -> None:
    answer = predict(url, PAIR).json()["results"][0]
    with visit() as page:
        give(page, **{"pair.jpg": PAIR})
        one = card(page, "pair.jpg")
        expect(one.locator(".verdict")).to_have_text("2 faces")
        expect(one.locator(".faces strong")).to_have_text([face["guess"] for face in answer["faces"]])
        expect(one.locator(".number")).to_have_text(["1", "2"])
        expect(one.locator(".tag b")).to_have_text(["1", "2"])
        expect(one.locator(".bars").first.locator(".name")).to_have_text(list(LABELS))
        photo, box = one.locator("img").bounding_box(), one.locator(".box").first.bounding_box()
        left, top = answer["faces"][0]["box"][:2]
        assert box["x"] - photo["x"] == pytest.approx(left * photo["width"] / 480, abs=1.5)
        assert box["y"] - photo["y"] == pytest.approx(top * photo["height"] / 320, abs=1.5)
        expect(page.locator("#said")).to_contain_text("pair.jpg: 2 faces, ")
        check_access(page)


def test_what_cannot_be_answered_is_said_file_by_file(visit: Visit) -> None:
    bomb = io.BytesIO()
    PIL.Image.new("1", (4000, 4000)).save(bomb, "PNG")
    files = {HOSTILE: b"no picture", "empty.png": b"", "heavy.jpg": bytes(500_001), "bomb.png": bomb.getvalue()}
    with visit(forgiven="422") as page:
        give(page, **files, **{"view.jpg": jpeg(draw_view(4)), "pair.jpg": PAIR})
        expect(card(page, HOSTILE)).to_contain_text("cannot be read as a picture")
        expect(card(page, "empty.png")).to_contain_text("This file is empty.")
        expect(card(page, "heavy.jpg")).to_contain_text("larger than the 0.5 MB")
        expect(card(page, "bomb.png")).to_contain_text("more pixels than the 2 million")
        expect(card(page, "view.jpg")).to_contain_text("No face found.It helps when")
        expect(card(page, "pair.jpg")).to_contain_text("2 faces")
        assert page.locator("img[src=x]").count() == 0
        check_access(page)


def test_boxes_lie_on_the_upright_photo(visit: Visit) -> None:
    """The camera held upright: the file lies on its side and says so."""
    photo, points = draw_portrait(2, side=320)
    tall, exif = PIL.Image.fromarray(photo).crop((0, 0, 280, 320)), PIL.Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees clockwise to see it upright
    lying = io.BytesIO()
    tall.rotate(90, expand=True).save(lying, "JPEG", exif=exif)
    with visit() as page:
        give(page, **{"lying.jpg": lying.getvalue()})
        image, box = page.locator(".card img").bounding_box(), page.locator(".box").bounding_box()
    assert image
    assert box
    assert image["height"] / image["width"] == pytest.approx(320 / 280, rel=0.02)
    x, y = points[:, 0].mean() / 280, points[:, 1].mean() / 320
    assert box["x"] < image["x"] + x * image["width"] < box["x"] + box["width"]
    assert box["y"] < image["y"] + y * image["height"] < box["y"] + box["height"]


def test_a_format_the_browser_cannot_show_is_answered_in_words(visit: Visit) -> None:
    tiff = io.BytesIO()
    PIL.Image.fromarray(draw_portrait(2, side=240)[0]).save(tiff, "TIFF", compression="jpeg")
    with visit() as page:
        give(page, **{"scan.tif": tiff.getvalue()})
        expect(page.locator(".card")).to_contain_text("Your browser cannot show this kind of picture.")
        expect(page.locator(".faces > li")).to_have_count(1)
        expect(page.locator(".card img")).to_have_count(0)


@pytest.mark.parametrize("way", ["paste", "drop"])
def test_pictures_can_be_pasted_and_dropped_anywhere(visit: Visit, way: str) -> None:
    with visit() as page:
        page.evaluate(TRANSFER, [way, [["one.jpg", list(PAIR)], ["two.jpg", list(PAIR)]]])
        expect(page.locator(".card h3")).to_have_text(["one.jpg", "two.jpg"])
        expect(page.locator(".box")).to_have_count(4)
        page.evaluate(TRANSFER, [way, []])
        expect(page.get_by_role("alert")).to_contain_text("no picture file in that")


def test_the_example_is_reached_by_keyboard_and_focus_is_never_lost(visit: Visit) -> None:
    with visit() as page:
        for name in ("plain", "中文", "Photos", "Choose pictures", "Take a photo", "Try the example"):
            page.keyboard.press("Tab")
            expect(page.locator(":focus")).to_contain_text(name)
        page.keyboard.press("Enter")
        expect(page.locator(".box")).to_have_count(3)
        page.keyboard.press("Tab")
        page.keyboard.press("Tab")
        expect(page.locator(":focus")).to_have_accessible_name("Remove example.jpg")
        page.keyboard.press("Enter")
        expect(page.locator(".card")).to_have_count(0)
        expect(page.get_by_role("button", name="Choose pictures")).to_be_focused()


def test_another_model_is_asked_about_the_same_pictures(visit: Visit) -> None:
    with visit() as page:
        give(page, **{"pair.jpg": PAIR})
        expect(page.locator(".box.unsure")).to_have_count(0)
        page.get_by_label("Model").select_option("cautious")
        expect(page.locator(".box.unsure")).to_have_count(2)
        expect(page.locator(".faces strong").first).to_contain_text("uncertain, perhaps ")
        page.get_by_label("Model").select_option("strange")
        expect(page.locator(".faces strong").first).to_contain_text("none of these, most like ")
        expect(page.locator(".box .name").first).to_have_text("none of these")


def test_a_busy_server_is_asked_again_and_a_silent_one_when_the_user_wishes(visit: Visit) -> None:
    troubles = [lambda route: route.fulfill(status=503, headers={"Retry-After": "0.01"}), lambda route: route.abort()]
    troubles.append(lambda route: route.fulfill(status=413, json={"detail": "too large"}))

    def trouble(route: Route) -> None:
        troubles.pop(0)(route) if troubles else route.continue_()

    with visit(forgiven="Failed to load resource") as page:
        page.route("**/predict?*", trouble)
        give(page, **{"pair.jpg": PAIR})
        expect(page.locator(".verdict")).to_contain_text("Is the server still running")
        page.get_by_role("button", name="Try again").click()
        expect(page.locator(".verdict")).to_contain_text("larger than the 0.5 MB")
        page.get_by_label("Model").select_option("cautious")
        expect(page.locator(".verdict")).to_have_text("2 faces")


def test_pictures_are_let_go_and_only_this_server_is_asked(visit: Visit, url: str) -> None:
    with visit() as page:
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.reload()
        page.locator(READY).wait_for()
        page.evaluate(HELD)
        give(page, **{"secret name.jpg": PAIR})
        expect(page.locator(".box")).to_have_count(2)
        assert page.evaluate("held.size") == 0
        page.get_by_role("button", name="Clear all").click()
        expect(page.locator("#answers")).to_be_hidden()
        assert [one for one in asked if not one.startswith((f"{url}/", "blob:"))] == []
        assert len(asked) > 8, "the page was not loaded under watch"


def test_a_photo_is_taken_through_the_camera_of_a_computer_which_goes_off_again(visit: Visit) -> None:
    with visit() as page:
        page.evaluate(WATCH_STREAMS)
        for leave in ("Cancel", "Webcam"):
            page.get_by_role("button", name="Take a photo").click()
            expect(page.get_by_role("button", name="Take it")).to_be_focused()
            check_access(page)
            page.get_by_text(leave, exact=True).click()
            expect(page.locator("#shutter")).to_be_hidden()
            page.get_by_role("tab", name="Photos").click()
        page.get_by_role("button", name="Take a photo").click()
        page.get_by_role("button", name="Take it").click()
        expect(page.locator(".verdict")).to_have_text("2 faces")
        expect(page.locator(".card h3")).to_have_text("photo-1.jpg")
        assert page.evaluate(TRACK_STATES) == ["ended"] * 3


def test_a_picture_that_is_removed_is_asked_about_no_longer(visit: Visit) -> None:
    with visit() as page:
        ended: list[str | None] = []
        page.on("requestfailed", lambda request: ended.append(request.failure))
        page.route("**/predict?*", lambda _: None)  # never answered
        payload: list[FilePayload] = [{"name": name, "mimeType": "image/*", "buffer": PAIR} for name in ("one", "two")]
        for leave in ("Remove one", "Clear all"):
            with page.expect_event("requestfailed"), page.expect_request("**/predict?*"):
                page.set_input_files("#files", payload[:1])
                page.get_by_role("button", name=leave).click()
        with page.expect_event("requestfailed"):  # the model before
            page.set_input_files("#files", payload[1:])
            page.get_by_label("Model").select_option("cautious")
        assert ended == ["net::ERR_ABORTED"] * 3


def test_a_browser_that_forbids_storage_and_a_server_slow_to_tell_leave_the_page_usable(visit: Visit, url: str) -> None:
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    forbid = "Object.defineProperty(window, 'localStorage', { get() { throw new DOMException('', 'SecurityError'); } })"
    with visit() as page:
        page.add_init_script(forbid)
        page.route("**/version", hold)
        page.goto(url)
        page.get_by_role("button", name="Try the example").click()
        expect(page.locator(".verdict")).to_have_text("3 faces")
        page.get_by_role("button", name="中文").click()
        expect(page.locator(".verdict")).to_have_text("3 张人脸")
        held[0].continue_()
        page.locator(READY).wait_for()
        expect(page.locator("#about")).to_contain_text("plain")


def test_the_page_speaks_chinese_and_changes_without_a_reload(visit: Visit) -> None:
    with visit(locale="zh-CN") as page:
        page.get_by_role("button", name="试试示例").click()
        expect(page.locator(".verdict")).to_have_text("3 张人脸")
        expect(page.locator("html")).to_have_attribute("lang", "zh-Hans")
        expect(page).to_have_title("表情识别")
        expect(page.locator(".bars").first.locator(".name")).to_have_text(["平静", "微笑", "嘟嘴", "张开"])
        check_access(page)
        page.get_by_role("button", name="English").click()
        expect(page.locator(".verdict")).to_have_text("3 faces")
        expect(page.get_by_role("tab", selected=True)).to_have_text("Photos")


def test_a_narrow_dark_screen_needs_no_scrolling_sideways(visit: Visit) -> None:
    with visit(forgiven="422", **NARROW) as page:
        expect(page.get_by_role("button", name="Take a photo")).to_be_visible()
        give(page, **{"a" * 90 + ".jpg": PAIR, f"{HOSTILE} with a long name": b"no picture"})
        assert width_of(page) == 360
        check_access(page)
        page.get_by_role("tab", name="Webcam").click()
        page.get_by_role("button", name="Start the camera").click()
        expect(page.locator("#seen > li").first).to_be_visible()
        assert width_of(page) == 360
        check_access(page)


def start(page: Page) -> None:
    """Open the webcam half and wait for the first answer."""
    page.evaluate(WATCH_STREAMS)
    page.get_by_role("tab", name="Webcam").click()
    page.get_by_role("button", name="Start the camera").click()
    expect(page.locator("#seen strong")).to_have_count(2)


def test_the_webcam_is_answered_until_it_is_stopped(visit: Visit) -> None:
    with visit() as page:
        start(page)
        expect(page.locator("#rates")).to_contain_text("ms from frame to answer")
        expect(page.locator("#seen .name").first).to_have_text(LABELS[0])
        expect(page.locator("#heard")).not_to_be_empty()
        check_access(page)
        page.get_by_role("button", name="Pause").click()
        expect(page.locator("#state")).to_have_text("Paused. The camera is still on.")
        page.get_by_role("button", name="Go on").click()
        page.get_by_label("Model").select_option("cautious")
        expect(page.locator("#seen strong").first).to_contain_text("uncertain, perhaps ")
        page.get_by_label("Model").select_option("strange")
        expect(page.locator("#seen strong").first).to_contain_text("none of these, most like ")
        page.get_by_role("button", name="Stop").click()
        assert page.evaluate(TRACK_STATES) == ["ended"]
        expect(page.locator("#state")).to_have_text("The camera is off.")
        expect(page.get_by_role("button", name="Start the camera")).to_be_focused()
        check_access(page)


@pytest.mark.parametrize(
    ("leave", "words"),
    [
        (HIDE_PAGE, "because you left this page"),
        ("() => window.dispatchEvent(new Event('pagehide'))", "because you left this page"),
        ("() => document.getElementById('photos-tab').click()", "The camera is off."),
        ("() => streams[0].getTracks()[0].dispatchEvent(new Event('ended'))", "unplugged"),
    ],
    ids=["hidden", "left", "tab", "unplugged"],
)
def test_the_camera_goes_off_when_nobody_looks_and_on_again_when_asked(visit: Visit, leave: str, words: str) -> None:
    with visit() as page:
        start(page)
        page.evaluate(leave, True)
        assert page.evaluate(TRACK_STATES) == ["ended"]
        expect(page.locator("#state")).to_contain_text(words)
        page.get_by_role("tab", name="Webcam").click()
        page.get_by_role("button", name="Start the camera").click()
        expect(page.locator("#seen strong")).to_have_count(2)
        assert page.evaluate(TRACK_STATES) == ["ended", "live"]


def test_a_camera_that_opens_too_late_is_let_go(visit: Visit) -> None:
    with visit() as page:
        page.evaluate(HOLD_CAMERA)
        page.evaluate(WATCH_STREAMS)
        page.get_by_role("tab", name="Webcam").click()
        page.get_by_role("button", name="Start the camera").click()
        expect(page.locator("#state")).to_have_text("Asking for the camera …")
        page.get_by_role("button", name="Stop").click()
        page.evaluate("() => openCamera()")
        assert page.evaluate(TRACK_STATES) == ["ended"]
        expect(page.locator("#state")).to_have_text("The camera is off.")


@pytest.mark.parametrize(
    ("error", "words"),
    [("NotAllowedError", "was refused"), ("NotFoundError", "No camera found"), ("NotReadableError", "another program")],
)
def test_a_camera_that_does_not_open_is_explained(visit: Visit, error: str, words: str) -> None:
    with visit() as page:
        fail = "(name) => { navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException('', name)); }"
        page.evaluate(fail, error)
        page.get_by_role("tab", name="Webcam").click()
        page.get_by_role("button", name="Start the camera").click()
        expect(page.locator("#state")).to_contain_text(words)
        check_access(page)


def test_two_frames_are_under_way_and_a_lost_line_is_sought_again(visit: Visit) -> None:
    lines: list[WebSocketRoute] = []
    frames: list[list[bytes]] = []

    def serve(line: WebSocketRoute) -> None:
        lines.append(line)
        received: list[bytes] = []
        frames.append(received)
        line.on_message(lambda data: received.append(data if isinstance(data, bytes) else data.encode()))

    with visit() as page:
        page.route_web_socket("**/live*", serve)
        page.reload()
        page.locator(READY).wait_for()
        page.evaluate(WATCH_STREAMS)
        page.get_by_role("tab", name="Webcam").click()
        page.get_by_role("button", name="Start the camera").click()
        shown = page.locator("#video").evaluate_handle
        shown("(video) => new Promise((done) => { let left = 12; const next = () => (left -= 1) ? "
              "video.requestVideoFrameCallback(next) : done(); next(); })")  # fmt: skip
        assert len(frames[0]) == 2, "a frame too many, or too few, for a server that says nothing"
        assert PIL.Image.open(io.BytesIO(frames[0][0])).format == "JPEG"
        lines[0].send(json.dumps({"frame": 1, "model": "plain", "width": 480, "height": 360, "faces": []}))
        expect(page.get_by_text("No face in view.").first).to_be_visible()
        lines[0].close(code=1012)
        expect(page.locator("#state")).to_have_text("The connection was lost. Next try in 0.5 s.")
        expect(page.locator("#state")).to_have_text("The camera is on.")
        lines[1].send(json.dumps({"detail": "16 cameras are watched already"}))
        lines[1].close(code=1013)
        expect(page.locator("#state")).to_have_text("The server refused: 16 cameras are watched already")
        assert page.evaluate(TRACK_STATES) == ["ended"]


def test_a_place_that_was_given_away_is_asked_for_again_with_the_next_frame(visit: Visit) -> None:
    lines: list[WebSocketRoute] = []

    def pass_on(line: WebSocketRoute) -> None:
        line.connect_to_server()
        lines.append(line)

    with visit() as page:
        page.route_web_socket("**/live*", pass_on)
        page.reload()
        page.locator(READY).wait_for()
        start(page)
        page.get_by_role("button", name="Pause").click()
        lines[0].close(code=4000)
        expect(page.locator("#state")).to_have_text("Paused. The camera is still on.")
        assert len(lines) == 1
        page.locator("#seen").evaluate("(list) => list.replaceChildren()")
        page.get_by_role("button", name="Go on").click()
        expect(page.locator("#seen strong")).to_have_count(2)
        assert len(lines) == 2


def test_a_face_is_unknown_once_its_averaged_distance_is_beyond_the_limit(visit: Visit) -> None:
    script = """async () => {
      const { Tracks } = await import("/own/tracks.js");
      const tracks = new Tracks();
      const at = (distance, now, unknown) => {
        const face = { box: [0, 0, 100, 100], probabilities: { smile: 0.9, pout: 0.1 }, guess: "smile", distance };
        return tracks.follow([face], now, { unknown })[0].outcome;
      };
      return [at(0.5, 0, 1), at(3, 30, 1), at(3, 800, 1), at(3, 1600, 0), at(null, 1700, 1)];
    }"""
    with visit() as page:
        assert page.evaluate(script) == ["answered", "answered", "unknown", "answered", "unknown"]


def test_answers_are_averaged_over_half_a_second_face_by_face(visit: Visit) -> None:
    script = """async () => {
      const { Tracks } = await import("/own/tracks.js");
      const tracks = new Tracks();
      const face = (left, smile) => ({ box: [left, 0, left + 100, 100], probabilities: { smile, pout: 1 - smile } });
      tracks.follow([face(0, 1), face(300, 0)], 0);
      const [first, second] = tracks.follow([face(310, 0), face(0, 0)], 500, { uncertain: 0.99 });
      return [first, second, tracks.follow([], 800).length, tracks.follow([], 1000).length];
    }"""
    with visit() as page:
        first, second, kept, gone = page.evaluate(script)
    assert first["probabilities"]["smile"] == pytest.approx(np.exp(-1))  # what is left of an answer 500 ms old
    assert (first["guess"], first["outcome"]) == ("pout", "uncertain")
    assert (second["guess"], second["outcome"]) == ("pout", "answered")
    assert 300 < second["box"][0] < 310
    assert (kept, gone) == (2, 0)
