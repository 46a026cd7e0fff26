"""Photograph the pages for the README: `PYTHONPATH=.:tests python tests/support/photograph.py RUN`.

Writes serve.png, live.png and review.png to docs/pictures. RUN is a finished run that knows drawn faces, as `make all`
leaves it in runs/sample, with its data in data/sample: the people are drawn, the pages real. Wants an idle machine,
whose frame rate will be seen, and a Chinese font (`apt-get install fonts-noto-cjk`).
"""

import io
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import PIL.Image
from playwright.sync_api import Page, expect

from fer_pipeline.review.app import make_app
from support.browser import chromium, fake_camera, page_of, running
from support.camera import film_people
from support.reviewed import open_session
from support.served import serving

PICTURES = Path(__file__).parents[2] / "docs" / "pictures"
COLOURS = 128  # a palette: a third of the bytes, and nobody sees it


def main(run: Path) -> None:
    """Both pictures, from one server and one browser."""
    with tempfile.TemporaryDirectory() as folder:
        camera = fake_camera(film_people(Path(folder) / "camera.mjpeg", 640, 480))
        with serving(run, workers=2) as url, chromium(*camera) as browser:
            for name, photograph in (("serve", photograph_photos), ("live", photograph_webcam)):
                with page_of(browser, url, viewport={"width": 900, "height": 500}) as page:
                    page.locator("body[data-ready]").wait_for()
                    photograph(page)
                    save(page.screenshot(full_page=True), PICTURES / f"{name}.png")
    photograph_review(run.parent.parent / "data" / run.name)


def photograph_review(data: Path) -> None:
    """A copy of some data under review: some kept, dropped and moved, three selected."""
    size: Any = {"viewport": {"width": 1000, "height": 640}}
    with tempfile.TemporaryDirectory() as folder:
        home = Path(
            shutil.copytree(data, Path(folder) / "data" / data.name, ignore=shutil.ignore_patterns("decisions.csv"))
        )
        with running(make_app(open_session(home))) as url, chromium() as browser, page_of(browser, url, **size) as page:
            expect(page.locator("#progress")).to_contain_text("decided")
            for key in [*"kkkdkk2kdkkk", "Shift+ArrowRight", "Shift+ArrowRight"]:
                page.keyboard.press(key)
            expect(page.locator(".waits")).to_have_count(0)
            expect(page.locator("#chosen")).to_have_text("3 selected")
            save(page.screenshot(), PICTURES / "review.png")


def photograph_photos(page: Page) -> None:
    """The example, answered."""
    page.get_by_role("button", name="Try the example").click()
    expect(page.locator(".box")).to_have_count(3)
    page.mouse.move(0, 0)


def photograph_webcam(page: Page) -> None:
    """Two drawn people who sway, once there is a frame rate to tell."""
    page.get_by_role("tab", name="Webcam").click()
    page.get_by_role("button", name="Start the camera").click()
    expect(page.locator("#seen > li")).to_have_count(2)
    expect(page.locator("#rates")).not_to_be_empty()
    page.mouse.move(0, 0)


def save(shot: bytes, path: Path) -> None:
    """A screenshot with few colours."""
    PIL.Image.open(io.BytesIO(shot)).convert("RGB").quantize(COLOURS).save(path, optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
