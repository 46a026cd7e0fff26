"""The page of `fer review` in a real browser: mouse, keyboard, several tabs, a narrow screen, screen readers."""

import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page, Request, Route, expect
from support.browser import check_access, chromium, page_of, running
from support.pictures import draw_noise
from support.reviewed import make_home, name, open_session

from fer_pipeline.dataset.decisions import DECISIONS, Decision, read_decisions
from fer_pipeline.dataset.provenance import PROVENANCE
from fer_pipeline.dataset.rows import Row, read_rows, write_rows
from fer_pipeline.review.app import make_app
from fer_pipeline.review.decision_log import Log
from fer_pipeline.vision.image_io import write_image

pytestmark = pytest.mark.slow
NO_FACE = f"smile/{name(903)}"
NARROW: dict[str, Any] = {"viewport": {"width": 360, "height": 740}}
expect.set_options(timeout=20_000)  # a machine may be busy with something else


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return make_home(tmp_path / "data" / "mine")


@pytest.fixture
def url(home: Path) -> Iterator[str]:
    with running(make_app(open_session(home))) as url:
        yield url


@contextmanager
def opened(browser: Browser, url: str, forgiven: str = "", **options: Any) -> Iterator[Page]:
    """The page with its images; English unless told otherwise."""
    with page_of(browser, url, forgiven, **({"locale": "en-GB"} | options)) as page:
        expect(page.locator("#progress")).to_contain_text("decided")
        yield page


def cell(page: Page, image: str) -> Locator:
    """The cell of an image that is in view."""
    return page.locator(f'[role=gridcell][title^="{image}."]')


def decided(page: Page, image: str, action: str) -> None:
    """Wait until the page shows what counts and the server has it."""
    expect(cell(page, image)).to_have_attribute("data-decided", action)
    written(page)


def written(page: Page) -> None:
    """Wait until the server has what the page shows: a decision shows at once, before it is answered."""
    expect(page.locator("[role=gridcell].waits")).to_have_count(0)


def actions(home: Path) -> dict[str, str]:
    return {image: one.action for image, one in read_decisions(home).items()}


def pout(number: int) -> str:
    return f"pout/{name(number)}"


def test_the_keyboard_alone_decides(browser: Browser, url: str, home: Path) -> None:
    with opened(browser, url) as page:
        expect(cell(page, pout(0))).to_be_focused()
        for key in ("k", "d", "2", "ArrowRight", "1"):
            page.keyboard.press(key)
        decided(page, pout(4), "move")
        expect(cell(page, pout(5))).to_be_focused()
        expect(cell(page, pout(2))).to_contain_text("→ smile")
        assert actions(home) == {pout(0): "keep", pout(1): "drop", pout(2): "move", pout(4): "move"}
        assert read_decisions(home)[pout(2)].label == "smile"
        expect(page.locator("#progress")).to_contain_text("4 of 12 decided")
        expect(page.locator("#classes")).to_contain_text("pout 4/6")


def test_arrows_go_where_they_point(browser: Browser, url: str) -> None:
    with opened(browser, url, viewport={"width": 500, "height": 700}) as page:
        columns = int(page.locator("#grid").get_attribute("aria-colcount") or 0)
        assert columns == 4
        order = [one.get_attribute("title") for one in page.get_by_role("gridcell").all()]
        for key, index in (("ArrowDown", columns), ("ArrowRight", columns + 1), ("ArrowUp", 1), ("ArrowLeft", 0),
                           ("ArrowLeft", 0), ("End", len(order) - 1), ("Home", 0)):  # fmt: skip
            page.keyboard.press(key)
            expect(page.locator("[role=gridcell]:focus")).to_have_attribute("title", str(order[index]))
        expect(page.locator('[role=gridcell][tabindex="0"]')).to_have_count(1)


def test_many_are_selected_and_decided_at_once(browser: Browser, url: str, home: Path) -> None:
    with opened(browser, url) as page:
        page.keyboard.press("Shift+ArrowRight")
        page.keyboard.press("Shift+ArrowRight")
        expect(page.locator("#chosen")).to_have_text("3 selected")
        expect(page.locator('[aria-selected="true"]')).to_have_count(3)
        cell(page, pout(4)).click(modifiers=["Control"])
        page.keyboard.press("ArrowRight")
        page.keyboard.press("Space")
        expect(page.locator("#chosen")).to_have_text("5 selected")
        page.get_by_role("button", name="D Drop").click()
        decided(page, pout(5), "drop")
        assert actions(home) == {pout(number): "drop" for number in (0, 1, 2, 4, 5)}
        expect(page.locator("#chosen")).to_have_text("")
        cell(page, pout(0)).click()
        cell(page, pout(3)).click(modifiers=["Shift"])
        expect(page.locator("#chosen")).to_have_text("4 selected")
        page.keyboard.press("Escape")
        expect(page.locator('[aria-selected="true"]')).to_have_count(0)


def test_all_shown_are_selected_but_what_needs_a_look_is_left_alone(browser: Browser, url: str, home: Path) -> None:
    with opened(browser, url) as page:
        page.get_by_label("Show", exact=True).select_option("")
        page.get_by_role("button", name=re.compile("^smile ")).click()
        page.keyboard.press("a")
        expect(page.locator("#chosen")).to_have_text("10 selected")
        page.keyboard.press("k")
        expect(page.get_by_role("alert")).to_contain_text("1 without a face were not changed")
        expect(page.get_by_role("alert")).to_contain_text("1 cannot be brought back")
        decided(page, f"smile/{name(901)}", "restore")
        assert len(actions(home)) == 8


def test_undo_takes_back_what_this_tab_did_last(browser: Browser, url: str, home: Path) -> None:
    with opened(browser, url) as page:
        page.keyboard.press("k")
        page.keyboard.press("Shift+ArrowRight")
        page.keyboard.press("d")
        decided(page, pout(2), "drop")
        page.keyboard.press("u")
        decided(page, pout(2), "")
        expect(cell(page, pout(1))).to_be_focused()
        assert actions(home) == {pout(0): "keep"}
        page.keyboard.press("u")
        decided(page, pout(0), "")
        assert actions(home) == {}
        page.keyboard.press("u")
        expect(page.get_by_role("alert")).to_contain_text("Nothing of this tab to undo")


def test_a_reload_keeps_what_was_decided(browser: Browser, url: str, home: Path) -> None:
    with opened(browser, url) as page:
        page.keyboard.press("d")
        decided(page, pout(0), "drop")
        page.reload()
        decided(page, pout(0), "drop")
        expect(page.locator("#progress")).to_contain_text("1 of 12 decided")


def test_two_tabs_see_and_keep_what_the_other_decided(browser: Browser, url: str, home: Path) -> None:
    with opened(browser, url) as first, opened(browser, url) as second:
        first.keyboard.press("d")
        decided(first, pout(0), "drop")
        second.evaluate("dispatchEvent(new Event('focus'))")  # as when one switches to it; else it looks every 3 s
        decided(second, pout(0), "drop")
        second.keyboard.press("ArrowRight")
        second.keyboard.press("k")
        decided(second, pout(1), "keep")
        Log(home).append([Decision(f"{pout(2)}.png", "move", "smile")])  # another program
        first.evaluate("dispatchEvent(new Event('focus'))")
        decided(first, pout(1), "keep")
        decided(first, pout(2), "move")
        assert actions(home) == {pout(0): "drop", pout(1): "keep", pout(2): "move"}


def test_filters_and_search_show_what_is_asked_for(browser: Browser, url: str) -> None:
    with opened(browser, url) as page:
        cells = page.get_by_role("gridcell")
        page.get_by_label("Show", exact=True).select_option("filter no_face")
        expect(cells).to_have_count(1)
        expect(cells.first).to_have_attribute("aria-label", "smile, dropped by filter: no_face")
        page.get_by_label("Show", exact=True).select_option("dropped")
        expect(cells).to_have_count(5)
        page.get_by_label("Alike", exact=True).select_option("tied")
        expect(cells).to_have_count(3)
        page.get_by_label("Show", exact=True).select_option("")
        expect(cells).to_have_count(4)
        page.get_by_label("Show", exact=True).select_option("on")
        expect(cells).to_have_count(1)
        page.get_by_label("Alike", exact=True).select_option("")
        page.get_by_label("Source", exact=True).select_option("baidu")
        page.keyboard.press("Escape")
        expect(page.locator("#progress")).to_contain_text("shown")
        page.get_by_label("Source", exact=True).select_option("")
        page.locator("#grid [tabindex='0']").focus()
        page.keyboard.press("/")
        page.keyboard.type(name(3))
        expect(cells).to_have_count(2)
        page.keyboard.press("Enter")
        page.keyboard.press("d")
        expect(page.locator("[data-decided=drop]")).to_have_count(1)
        page.get_by_label("Decided", exact=True).select_option("no")
        expect(cells).to_have_count(1)
        page.get_by_label("Decided", exact=True).select_option("")
        page.get_by_label("Search").fill("photos.example.org")
        expect(cells).to_have_count(12)
        page.get_by_label("Search").fill("nothing like that")
        expect(page.get_by_text("No image matches.")).to_be_visible()


def test_the_most_doubtful_come_first(browser: Browser, home: Path) -> None:
    runs = home.parent.parent / "runs"
    (runs / "mine-audit").mkdir(parents=True)
    lines = [f"train/{pout(4)}.png,pout,smile,0.02,1", f"train/{pout(2)}.png,pout,pout,0.8,0"]
    (runs / "mine-audit" / "audit.csv").write_text("\n".join(["path,label,suggested,quality,is_issue", *lines]))
    (runs / "mine").mkdir()
    told = f"path,predicted,confidence\ntest/{pout(1)}.png,smile,0.55\n"
    (runs / "mine" / "predictions.csv").write_text(told)
    with running(make_app(open_session(home))) as url, opened(browser, url) as page:
        page.get_by_label("Order").select_option("quality")
        expect(page.get_by_role("gridcell").first).to_have_attribute("title", f"{pout(4)}.png")
        page.get_by_label("Doubt").select_option("wrong")
        expect(page.get_by_role("gridcell")).to_have_count(1)
        page.get_by_label("Doubt").select_option("suspect")
        page.locator("#grid [tabindex='0']").press("Enter")
        expect(page.locator("#attributes")).to_contain_text("smile (pout: 2 %)")


def test_a_face_that_was_missed_is_drawn_and_brought_back(browser: Browser, url: str, home: Path) -> None:
    with opened(browser, url) as page:
        page.get_by_label("Show", exact=True).select_option("filter no_face")
        page.locator("#grid [tabindex='0']").press("k")
        expect(page.get_by_role("dialog")).to_contain_text("Draw a box around the face")
        expect(page.locator("#box")).to_be_visible()  # a first guess; from here on nothing moves
        photo = page.locator("#photo").bounding_box()
        assert photo is not None
        scale = photo["width"] / 90
        page.mouse.move(photo["x"] + 20 * scale, photo["y"] + 10 * scale)
        page.mouse.down()
        page.mouse.move(photo["x"] + 60 * scale, photo["y"] + 50 * scale, steps=3)
        page.mouse.up()
        expect(page.locator("#crop")).to_have_js_property("naturalWidth", 32)
        page.keyboard.press("Enter")
        expect(page.locator("#attributes")).to_contain_text("brought back")
        written(page)
        found = read_decisions(home)[NO_FACE]
        assert found.action == "restore"
        assert found.box == pytest.approx((20, 10, 60, 50), abs=1.5)


def test_the_box_is_moved_and_resized_by_keys(browser: Browser, url: str, home: Path) -> None:
    with opened(browser, url) as page:
        page.get_by_label("Show", exact=True).select_option("filter no_face")
        page.locator("#grid [tabindex='0']").press("Enter")
        box = page.get_by_role("button", name="Face: arrow keys move it")
        expect(box).to_be_enabled()
        for key in ("ArrowRight", "ArrowRight", "ArrowDown", "Shift+ArrowLeft", "2"):
            box.press(key)
        expect(page.locator("#attributes")).to_contain_text("moved to smile")
        written(page)
        found = read_decisions(home)[NO_FACE]
        assert found.box == pytest.approx((31, 14, 65, 50), abs=0.5)  # from 27, 12, 63, 48, by steps of 2 pixels


def test_the_details_show_photo_and_source_and_step_on(browser: Browser, url: str, home: Path) -> None:
    with opened(browser, url) as page:
        page.keyboard.press("Enter")
        link = page.get_by_role("link")
        expect(link).to_have_attribute("rel", "noreferrer noopener")
        assert re.match(r"https://photos\.example\.org/pout/\w+\.jpg\?<b>&q=1", link.inner_text())
        expect(page.locator("#attributes")).to_contain_text("<img src=x onerror=alert(1)>")
        expect(page.locator("#photo")).to_have_js_property("naturalWidth", 90)
        page.keyboard.press("d")
        page.keyboard.press("ArrowRight")
        expect(page.locator("#attributes")).to_contain_text(pout(2))
        page.keyboard.press("Escape")
        expect(cell(page, pout(2))).to_be_focused()
        decided(page, pout(0), "drop")
        cell(page, f"smile/{name(5)}").dblclick()
        page.locator("#siblings button").click()
        expect(page.locator("#attributes")).to_contain_text(name(901))


def test_what_is_told_of_one_image_never_stands_beside_another(browser: Browser, url: str) -> None:
    with opened(browser, url, "Failed to load resource") as page:
        page.keyboard.press("Enter")
        expect(page.locator("#attributes")).to_contain_text(f"{pout(0)}.png")
        page.route("**/api/images/**", lambda route: route.abort())
        page.keyboard.press("ArrowRight")
        expect(page.locator("#photo")).to_have_attribute("src", re.compile("/1$"))
        expect(page.locator("#attributes")).to_be_empty()
        page.keyboard.press("k")
        expect(page.locator("#attributes")).to_be_empty()


def test_an_address_that_is_none_is_no_link(browser: Browser, url: str) -> None:
    with opened(browser, url) as page:
        page.get_by_label("Show", exact=True).select_option("filter no_face")
        page.locator("#grid [tabindex='0']").press("Enter")
        expect(page.locator("#attributes")).to_contain_text("javascript:alert(1)")
        expect(page.locator("#attributes a")).to_have_count(0)


def test_what_the_server_refuses_is_rolled_back_and_told(browser: Browser, url: str, home: Path) -> None:
    context = browser.new_context(locale="en-GB")
    page = context.new_page()
    page.goto(url)
    expect(cell(page, pout(0))).to_be_focused()
    page.keyboard.press("k")
    decided(page, pout(0), "keep")
    full = json.dumps({"detail": "cannot write: No space left on device"})
    page.route("**/api/decisions*", lambda route: route.fulfill(status=507, body=full))
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("d")
    expect(page.get_by_role("alert")).to_contain_text("Not saved: cannot write: No space left")
    decided(page, pout(0), "keep")
    page.unroute("**/api/decisions*")
    context.set_offline(True)
    page.evaluate("dispatchEvent(new Event('focus'))")
    expect(page.get_by_role("alert")).to_contain_text("No answer from `fer review`")
    page.keyboard.press("d")
    decided(page, pout(1), "")
    context.set_offline(False)
    page.evaluate("dispatchEvent(new Event('focus'))")
    expect(page.get_by_role("alert")).to_be_hidden()
    page.keyboard.press("d")
    decided(page, pout(2), "drop")
    assert actions(home) == {pout(0): "keep", pout(2): "drop"}
    context.close()


def test_an_undo_that_did_not_come_about_can_be_tried_again(browser: Browser, url: str, home: Path) -> None:
    with opened(browser, url, "Failed to load resource") as page:
        page.keyboard.press("d")
        page.keyboard.press("k")
        decided(page, pout(1), "keep")
        page.context.set_offline(True)
        for _ in range(2):
            page.keyboard.press("u")
            expect(page.get_by_role("alert")).to_contain_text("No answer from `fer review`")
            decided(page, pout(1), "keep")
        page.context.set_offline(False)
        page.keyboard.press("u")
        decided(page, pout(1), "")
        page.keyboard.press("u")
        decided(page, pout(0), "")
    assert actions(home) == {}


def test_an_undo_leaves_to_others_what_they_decided_since_and_takes_back_the_rest(
    browser: Browser, url: str, home: Path
) -> None:
    with opened(browser, url, "Failed to load resource") as page:
        page.keyboard.press("Shift+ArrowRight")
        page.keyboard.press("d")
        decided(page, pout(1), "drop")
        Log(home).append([Decision(f"{pout(0)}.png", "keep")])
        page.keyboard.press("u")
        expect(page.get_by_role("alert")).to_contain_text("another decision was made since")
        page.keyboard.press("u")
        decided(page, pout(1), "")
        page.keyboard.press("u")
        expect(page.get_by_role("alert")).to_contain_text("Nothing of this tab to undo")
    assert actions(home) == {pout(0): "keep"}


def test_what_another_tab_decides_in_the_same_moment_is_not_taken_for_ours(
    browser: Browser, url: str, home: Path
) -> None:
    def answer(route: Route) -> None:
        told = route.fetch()
        Log(home).append([Decision(f"{pout(0)}.png", "move", "smile")])  # after ours is written, before the page hears
        news = page.request.get(f"{url}/api/news?since=0").json()
        route.fulfill(json=told.json() | news)

    with opened(browser, url, "Failed to load resource") as page:
        page.route("**/api/decisions*", answer, times=1)
        page.keyboard.press("d")
        decided(page, pout(0), "move")
        page.keyboard.press("u")
        expect(page.get_by_role("alert")).to_contain_text("another decision was made since")
        decided(page, pout(0), "move")
    assert actions(home) == {pout(0): "move"}


def test_data_made_anew_offers_a_reload(browser: Browser, url: str, home: Path) -> None:
    with opened(browser, url) as page:
        expect(page.locator("[role=gridcell] img").last).to_have_js_property("complete", True)
        write_rows(home / "crops", read_rows(home / "crops")[1:])
        page.evaluate("dispatchEvent(new Event('focus'))")
        page.get_by_role("button", name="Reload").click()
        expect(page.locator("#progress")).to_contain_text("11 shown")


def make_many(home: Path, count: int) -> Path:
    """So many crops that are all one picture."""
    write_image(home / "crops" / "a" / "one.png", draw_noise(1, 32, 32))
    rows = [Row(path=f"a/{name(number)}.png", label="a") for number in range(count)]
    for row in rows:
        os.link(home / "crops" / "a" / "one.png", home / "crops" / row.path)
    write_rows(home / "crops", rows)
    (home / "crops" / PROVENANCE).write_text(json.dumps({"stage": "crop", "settings": {}}))
    return home


def test_more_images_than_one_request_should_hold_are_decided_and_undone_at_once(
    browser: Browser, tmp_path: Path
) -> None:
    home = make_many(tmp_path / "data" / "many", 10)
    sent: list[int] = []

    def count(request: Request) -> None:
        if request.post_data_json:
            sent.append(len(request.post_data_json["places"]))

    write_rows(home / "crops", [Row(path=f"a/{name(number)}.png", label="a") for number in range(4_010)])
    with running(make_app(open_session(home))) as url, opened(browser, url, "Failed to load resource") as page:
        expect(page.locator("#progress")).to_contain_text("4,010 shown")
        page.on("request", count)
        page.keyboard.press("a")
        page.keyboard.press("d")
        decided(page, f"a/{name(4_009)}", "drop")
        assert len(actions(home)) == 4_010
        page.keyboard.press("u")
        decided(page, f"a/{name(0)}", "")
        assert actions(home) == {}
    assert sent == [4_000, 10, 4_000, 10]


def test_thousands_are_shown_by_few_elements(browser: Browser, tmp_path: Path) -> None:
    home = make_many(tmp_path / "data" / "many", 6000)
    with running(make_app(open_session(home))) as url, opened(browser, url) as page:
        expect(page.locator("#progress")).to_contain_text("6,000 shown")
        last, cells = cell(page, f"a/{name(5999)}"), page.get_by_role("gridcell")
        page.keyboard.press("End")
        expect(last).to_be_focused()
        expect(last).to_be_in_viewport(ratio=1)
        assert cells.count() < 200
        rows = [int(row.get_attribute("aria-rowindex") or 0) for row in page.get_by_role("row").all()]
        assert rows == sorted(rows)
        page.locator("#scroller").evaluate("one => { one.scrollTop = one.scrollHeight / 2; }")
        expect(cells.nth(60).locator("img")).to_have_js_property("naturalWidth", 32)
        page.keyboard.press("Home")
        page.keyboard.press("a")
        expect(page.locator("#chosen")).to_have_text("6,000 selected")
        page.keyboard.press("d")
        expect(page.locator("#progress")).to_contain_text("6,000 of 6,000 decided")
        decided(page, f"a/{name(5999)}", "drop")
        assert len(read_decisions(home)) == 6000
        assert (home / DECISIONS).stat().st_size < 1_000_000


def test_the_language_is_switched_and_kept(browser: Browser, url: str) -> None:
    with opened(browser, url) as page:
        page.get_by_role("button", name="中文").click()
        expect(page.locator("html")).to_have_attribute("lang", "zh-Hans")
        expect(page.locator("#progress")).to_contain_text("已定 0 / 12")
        page.reload()
        expect(cell(page, pout(0))).to_be_focused()
        page.keyboard.press("Shift+ArrowRight")
        expect(page.locator("#chosen")).to_have_text("已选 2")


def test_both_languages_say_everything() -> None:
    text = (Path(make_app.__code__.co_filename).parent / "static" / "words.js").read_text(encoding="utf-8")
    english, chinese = (set(re.findall(r"(\w+): \"", part)) for part in text.split("zh: {"))
    assert english == chinese


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_screen_readers_can_use_it(browser: Browser, url: str, scheme: str) -> None:
    with opened(browser, url, color_scheme=scheme) as page:
        for key in ("d", "k", "2", "Shift+ArrowRight"):
            page.keyboard.press(key)
        decided(page, pout(2), "move")
        check_access(page)
        page.keyboard.press("Enter")
        expect(page.get_by_role("dialog")).to_be_visible()
        check_access(page)
        page.keyboard.press("Escape")
        page.keyboard.press("?")
        expect(page.get_by_role("dialog")).to_contain_text("undo my last decision")
        check_access(page)


def test_a_narrow_screen_shows_everything(browser: Browser, url: str, home: Path) -> None:
    with opened(browser, url, **NARROW, has_touch=True) as page:
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        page.get_by_role("button", name="Filters").tap()
        page.get_by_label("Show", exact=True).select_option("on")
        page.get_by_role("button", name="Filters").tap()
        page.get_by_role("button", name="Select").tap()
        cell(page, pout(0)).tap()
        cell(page, pout(1)).tap()
        expect(page.locator("#chosen")).to_have_text("2 selected")
        page.get_by_role("button", name="Drop").tap()
        decided(page, pout(1), "drop")
        assert actions(home) == {pout(0): "drop", pout(1): "drop"}
        page.get_by_role("button", name="Select").tap()
        cell(page, pout(1)).tap()
        page.get_by_role("button", name="Look").tap()
        expect(page.get_by_role("dialog")).to_be_visible()
        dialog = page.get_by_role("dialog").bounding_box()
        assert dialog is not None
        assert dialog["x"] >= 0
        assert dialog["x"] + dialog["width"] <= 360
        check_access(page)
