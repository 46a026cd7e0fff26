"""Promises of `fer export --web`: a folder for any static host, whose page answers as `fer predict` does."""

import base64
import functools
import http.server
import json
import re
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect
from support.browser import check_access, chromium, fake_camera, page_of
from support.camera import film_people
from support.pictures import draw_pair, draw_portrait, draw_view
from support.served import write_run

from fer_pipeline.__main__ import main
from fer_pipeline.config.schema import CropSettings, Detector, Preprocessing
from fer_pipeline.errors import InputError, SetupError
from fer_pipeline.export import web
from fer_pipeline.export.runtime import MODULE, WASM, read_runtime
from fer_pipeline.export.web import export_web
from fer_pipeline.models.prediction import FacePrediction
from fer_pipeline.models.predictor import Predictor
from fer_pipeline.sources.sample import LABELS
from fer_pipeline.sources.sample.junk import to_jpeg
from fer_pipeline.vision.turned import turn

BY_FIVE = Preprocessing(
    detector=Detector(second="none"), cut=CropSettings(scale="eyes", align=True, align_by="five", size=48)
)
ASK = """async (data) => {
  const { ask } = await import(new URL("own/backend.js", location.href));
  return ask(new File([Uint8Array.from(atob(data), (one) => one.charCodeAt(0))], "one.jpg"));
}"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("runs") / "mine", preprocessing=BY_FIVE)


@pytest.fixture
def no_runtime(monkeypatch: pytest.MonkeyPatch) -> None:
    """The runtime's files are empty: these tests do not run them."""
    monkeypatch.setattr(web, "read_runtime", lambda _: {MODULE: b"", WASM: b""})


def texts(folder: Path) -> dict[str, str]:
    files = [file for file in folder.rglob("*.*") if file.suffix in {".html", ".js", ".json", ".css"}]
    return {file.relative_to(folder).as_posix(): file.read_text(encoding="utf-8") for file in files}


@pytest.mark.usefixtures("no_runtime")
def test_the_folder_names_no_other_host_and_nothing_of_this_machine(run: Path, tmp_path: Path) -> None:
    export_web(run, tmp_path / "page")
    for name, text in texts(tmp_path / "page").items():
        assert not re.search(r"https?://", text.replace("http://127.0.0.1", "")), name
        assert str(tmp_path) not in text, name
        assert str(run) not in text, name


@pytest.mark.usefixtures("no_runtime")
def test_every_file_a_module_names_is_there(run: Path, tmp_path: Path) -> None:
    export_web(run, tmp_path / "page")
    for name, text in texts(tmp_path / "page").items():
        base = (tmp_path / "page" / name).parent
        if name == "offline.js":  # holds all the others
            continue
        for found in re.findall(r"""(?:from |src=|href=)["']([^"'#:]+)["']""", text):
            assert (base / found).is_file(), (name, found)


@pytest.mark.usefixtures("no_runtime")
def test_only_its_own_files_are_replaced(run: Path, tmp_path: Path) -> None:
    page, mine = tmp_path / "page", tmp_path / "page" / "mine.txt"
    export_web(run, page)
    mine.write_text("mine")
    gone = page / "own" / "gone.js"
    gone.write_text("of an older version")
    made = json.loads((page / "provenance.json").read_text())
    (page / "provenance.json").write_text(json.dumps({**made, "files": [*made["files"], "own/gone.js"]}))
    (page / "index.html").write_text("damaged")
    export_web(run, page)
    assert mine.read_text() == "mine"
    assert not gone.exists()
    assert "<title>" in (page / "index.html").read_text(encoding="utf-8")


@pytest.mark.usefixtures("no_runtime")
def test_a_folder_of_another_is_refused(run: Path, tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("somebody's")
    with pytest.raises(InputError, match="is not empty and was not made by fer"):
        export_web(run, tmp_path)
    (tmp_path / "provenance.json").write_text('{"stage": "crop"}')
    with pytest.raises(InputError, match="was made by `fer"):
        export_web(run, tmp_path)
    assert (tmp_path / "index.html").read_text() == "somebody's"
    assert len(list(tmp_path.iterdir())) == 2


def test_a_run_by_landmarks_says_what_to_set(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = write_run(
        tmp_path / "run", preprocessing=Preprocessing(detector=Detector(detector="hog"), cut=CropSettings())
    )
    assert main(["export", str(run), "--web", str(tmp_path / "page")]) == 1
    told = capsys.readouterr().err
    assert "--set crop.align_by=five --set filter.detector=yunet" in told
    assert told.count("\n") == 1
    assert not (tmp_path / "page").exists()


def test_without_npm_the_remedy_is_a_folder(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SetupError, match=r"npm is not installed.*--runtime"):
        export_web(run, tmp_path / "page")


def test_a_runtime_of_another_version_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"holds no {MODULE}"):
        read_runtime(tmp_path)
    (tmp_path / MODULE).write_text("alert(1)")
    with pytest.raises(InputError, match=r"not that of onnxruntime-web 1\.30\.0"):
        read_runtime(tmp_path)


# In a browser


@contextmanager
def hosted(folder: Path) -> Iterator[str]:
    """The folder on a plain file server."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(scope="module")
def page(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("npm") is None:
        pytest.skip("no npm on this machine, which fetches the runtime")
    folder = tmp_path_factory.mktemp("page")
    written = export_web(run, folder)
    assert written.size < 20_000_000
    return folder


@pytest.fixture(scope="module")
def url(page: Path) -> Iterator[str]:
    with hosted(page) as url:
        yield url


def drawn() -> list[bytes]:
    """Portraits of every class, pairs, one on its side, one cut through the mouth, a view without anyone."""
    photos = [draw_portrait(seed, LABELS[seed % len(LABELS)])[0] for seed in range(19)]
    cut, points = draw_portrait(30)
    photos += [draw_pair(3), draw_pair(9), turn(photos[0], 90), cut[: int(points[62, 1])], draw_view(2)]
    return [to_jpeg(photo, 90) for photo in photos]


def check_same(got: dict[str, Any], expected: FacePrediction) -> None:
    assert (got["outcome"], got["label"], got["turned"]) == (expected.outcome, expected.label, expected.turned)
    assert got["box"] == pytest.approx(expected.box, abs=1)
    assert got["probabilities"] == pytest.approx(expected.probabilities, abs=0.02)


@pytest.mark.slow
def test_the_page_answers_as_fer_predict_does(run: Path, url: str) -> None:
    predictor, photos = Predictor(run), drawn()
    with chromium() as browser, page_of(browser, url) as page:
        page.locator("body[data-ready]").wait_for()
        for photo in photos:
            got, expected = page.evaluate(ASK, base64.b64encode(photo).decode()), predictor.predict(photo)
            faces = got["result"]["faces"] if "result" in got else []
            assert len(faces) == len(expected.faces)
            for one, other in zip(faces, expected.faces, strict=True):
                check_same(one, other)


@pytest.mark.slow
@pytest.mark.parametrize(
    "options", [{}, {"viewport": {"width": 360, "height": 740}, "locale": "zh-CN"}], ids=["wide", "narrow"]
)
def test_photos_and_camera_work_without_a_server(url: str, tmp_path: Path, options: dict[str, Any]) -> None:
    camera, asked = fake_camera(film_people(tmp_path / "camera.mjpeg")), list[str]()
    with chromium(*camera) as browser, page_of(browser, url, **options) as page:
        page.on("request", lambda request: asked.append(request.url))
        page.locator("body[data-ready]").wait_for()
        show_example(page)
        page.locator("summary").click()
        check_access(page)
        page.get_by_role("tab").nth(1).click()
        page.locator("#start").click()
        page.locator("#seen li").first.wait_for()
        check_access(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= page.evaluate("innerWidth")
        assert not [one for one in asked if not one.startswith((url, "blob:"))]


def show_example(page: Page) -> None:
    page.locator("#example").click()
    expect(page.locator(".card[aria-busy=true]")).to_have_count(0)
    expect(page.locator(".card .faces > li")).to_have_count(3)


@pytest.mark.slow
def test_the_page_works_when_opened_as_a_file(page: Path) -> None:
    with chromium() as browser, page_of(browser, (page / "index.html").as_uri()) as opened:
        opened.locator("body[data-ready]").wait_for()
        show_example(opened)


@pytest.mark.slow
def test_what_is_no_picture_is_said(url: str) -> None:
    with chromium() as browser, page_of(browser, url) as page:
        page.locator("body[data-ready]").wait_for()
        for data, problem in ((b"", "empty"), (b"no picture", "bad_image"), (to_jpeg(draw_view(2), 90), "no_face")):
            assert page.evaluate(ASK, base64.b64encode(data).decode())["problem"] == problem
