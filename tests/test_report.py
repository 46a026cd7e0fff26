"""Promises of `fer report`, and of the pages that other commands add."""

import builtins
import shutil
from pathlib import Path
from typing import Any

import pytest
from support.drawn import write_classes, write_config
from support.pagecheck import check_page

from fer_pipeline.__main__ import main
from fer_pipeline.report.pages import load_templates

Capture = pytest.CaptureFixture[str]
TEXT = (
    "workers: 1\ndedupe: {distance: 0, group_distance: 0}\nfilter: {detector: none}\ncrop: {region: whole, size: 32}\n"
    "split: {test_share: 0.25}\n"
    "train: {network: simpleconv3, size: 32, epochs: 1, batch: 8, device: cpu, augment: none, ema: 0}\n"
)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An experiment done to its end; not to be changed. So few drawn mouths are copies of one another."""
    home = tmp_path_factory.mktemp("done")
    write_classes(home / "photos", 8)
    raw = home / "data" / "drawn" / "raw"
    assert main(["-q", "import", "folder", str(home / "photos"), "-o", str(raw)]) == 0
    assert main(["-q", "run", "-c", str(write_config(home, TEXT)), "--until", "train"]) == 0
    assert main(["-q", "eval", str(home / "runs" / "drawn"), "--allow-leakage"]) == 0
    return home


@pytest.fixture
def home(done: Path, tmp_path: Path) -> Path:
    """A copy of it, which still reads the first one's data."""
    return Path(shutil.copytree(done, tmp_path / "done"))


def test_split_and_eval_leave_their_pages(done: Path) -> None:
    check_page(done / "data" / "drawn" / "report.html")
    check_page(done / "runs" / "drawn" / "report.html")


@pytest.mark.parametrize(
    "name",
    [
        "runs/drawn",
        "data/drawn",
        *(pytest.param(one, marks=pytest.mark.slow) for one in ("runs/drawn/model.onnx", "data/drawn/crops")),
    ],
)
def test_what_a_path_holds_tells_the_page(home: Path, name: str, capsys: Capture) -> None:
    page = home / "/".join(name.split("/")[:2]) / "report.html"
    page.unlink()
    assert main(["report", str(home / name)]) == 0
    assert Path(capsys.readouterr().out.strip()).resolve() == page.resolve()
    check_page(page)


@pytest.mark.slow
def test_both_pages_open_in_the_browser_where_there_is_a_screen(
    done: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    for screen in ("", ":0"):
        monkeypatch.setenv("DISPLAY", screen)
        monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
        assert main(["report", "--config", str(done / "config.yaml"), "--open"]) == 0
    assert opened == [Path(page).resolve().as_uri() for page in capsys.readouterr().out.split()[-2:]]


def test_an_experiment_has_both_pages(done: Path, capsys: Capture) -> None:
    assert main(["report", "--config", str(done / "config.yaml")]) == 0
    assert [Path(line).parent.parent.name for line in capsys.readouterr().out.split()] == ["data", "runs"]


def test_a_path_that_holds_neither_is_told_in_one_line(tmp_path: Path, capsys: Capture) -> None:
    assert main(["report", str(tmp_path)]) == 1
    assert "neither a run (no model.onnx) nor a data folder" in capsys.readouterr().err
    assert main(["report"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_without_jinja_a_run_goes_on_and_says_what_is_missing(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    import_ = builtins.__import__

    def refuse(name: str, *rest: Any, **more: Any) -> Any:
        if name == "jinja2":
            raise ImportError(name)
        return import_(name, *rest, **more)

    load_templates.cache_clear()
    monkeypatch.setattr(builtins, "__import__", refuse)
    assert main(["split", "-c", str(write_config(home, TEXT)), "--force"]) == 0
    assert "no report.html: pages need jinja2: install it with" in capsys.readouterr().err
    load_templates.cache_clear()
