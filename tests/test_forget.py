"""What forgetting promises: folders as if the image had never been there, at whatever point it was killed."""

import io
import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from support.killed import run_until
from support.loopback import Reply, Web, listed, picture
from support.pictures import draw_noise, list_files

from fer_pipeline.__main__ import main
from fer_pipeline.config.loader import load_config
from fer_pipeline.config.schema import FOLDERS, Config
from fer_pipeline.dataset.blocklist import BLOCKLIST, Blocklist, extend_blocklist, read_blocklist
from fer_pipeline.dataset.decisions import DECISIONS, HEADER
from fer_pipeline.dataset.experiment import of_config, of_home
from fer_pipeline.dataset.naming import photo_of
from fer_pipeline.dataset.provenance import PROVENANCE
from fer_pipeline.dataset.rows import MANIFEST, Row, read_rows
from fer_pipeline.errors import InputError
from fer_pipeline.files import MARK, write_csv
from fer_pipeline.lineage.forget import Plan, forget, plan_forget
from fer_pipeline.sources.crawl.crawler import crawl
from fer_pipeline.sources.folders import find_in_folder
from fer_pipeline.sources.importers import import_images
from fer_pipeline.stages.crop import CROP
from fer_pipeline.stages.dedupe import DEDUPE
from fer_pipeline.stages.filter import FILTER
from fer_pipeline.stages.runner import run_stage
from fer_pipeline.stages.split import SPLIT
from fer_pipeline.stages.unify import UNIFY
from fer_pipeline.vision.image_io import Image, write_image

STAGES = (UNIFY, DEDUPE, FILTER, CROP, SPLIT)
BESIDE = {".lock", BLOCKLIST}
OWN_PAGE = '<meta name="generator" content="fer-pipeline 0"><img>'
SETTINGS = """
name: x
workers: 1
filter: {detector: none}
crop: {region: whole, size: 32}
split: {test_share: 0.3}
"""


def configure(home: Path, text: str = "") -> Config:
    """Settings for patterns that are crops already."""
    home.mkdir(parents=True, exist_ok=True)
    path = home / "config.yaml"
    folders = f"data: {json.dumps(str(home / 'data'))}\nruns: {json.dumps(str(home / 'runs'))}\n"
    path.write_text(f"{SETTINGS}{folders}{text}")
    return load_config(path)


def softened(image: Image) -> Image:
    """Nearly the same picture, less sharp: the copy that `dedupe` drops."""
    return np.asarray(np.clip(image.astype(np.int64) * 0.9 + 8, 0, 255), np.uint8)


def make_photos(folder: Path) -> Path:
    """Two classes of ten patterns; a/1 has two near-copies, and a/3 the same bytes twice."""
    for label in ("a", "b"):
        for number in range(10):
            write_image(folder / label / f"{number}.png", draw_noise(number + (100 if label == "b" else 0)))
    write_image(folder / "a" / "1-copy.png", softened(draw_noise(1)))
    write_image(folder / "a" / "1-other.png", softened(softened(draw_noise(1))))
    shutil.copyfile(folder / "a" / "3.png", folder / "a" / "3-again.png")
    (folder / "b" / "broken.png").write_bytes((folder / "b" / "1.png").read_bytes()[:200])
    return folder


def run_stages(config: Config) -> None:
    for stage in STAGES:
        run_stage(stage, getattr(config, stage.name))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An experiment up to its split. Not to be changed; see `home`."""
    home = tmp_path_factory.mktemp("made")
    import_images(find_in_folder(make_photos(home / "photos")), configure(home).crawl.output, "photos")
    run_stages(configure(home))
    return home


@pytest.fixture
def home(made: Path, tmp_path: Path) -> Path:
    """A copy of it for one test, its hard links kept."""
    subprocess.run(["cp", "-a", str(made), str(tmp_path / "home")], check=True)
    configure(tmp_path / "home")
    return tmp_path / "home"


def plan(home: Path, what: str, *, copies: bool = False) -> Plan:
    (found,) = plan_forget(what, of_config(configure(home)), copies=copies)
    return found


def forget_one(home: Path, what: str, *, copies: bool = False) -> list[str]:
    return forget(plan(home, what, copies=copies))


def without(made: Path, folder: Path, gone: Callable[[Row], bool]) -> dict[str, bytes]:
    """The data folder of an experiment that never had some images."""
    config = configure(folder)
    shutil.copytree(made / "data/x/raw", config.crawl.output)
    rows = read_rows(config.crawl.output)
    for row in rows:
        if gone(row):
            (config.crawl.output / row.path).unlink(missing_ok=True)
    lines = [row.to_line() for row in rows if not gone(row)]
    (config.crawl.output / MANIFEST).write_text("".join(lines))
    run_stages(config)
    return everything(folder)


def everything(home: Path) -> dict[str, bytes]:
    """All files of an experiment's folders but locks and the notes of what was forgotten."""
    return {path: data for path, data in list_files(home / "data").items() if Path(path).name not in BESIDE}


def row_of(home: Path, file: str) -> Row:
    return next(row for row in read_rows(home / "data/x/raw") if row.source["file"] == file)


# --- as if it had never been there


@pytest.mark.parametrize("file", ["a/0.png", "a/1.png", "a/1-copy.png", "a/3.png", "a/3-again.png", "b/broken.png"])
def test_the_folders_are_those_of_data_that_never_had_the_image(
    home: Path, made: Path, tmp_path: Path, file: str
) -> None:
    digest = row_of(made, file).sha256
    assert forget_one(home, file) == []
    assert everything(home) == without(made, tmp_path / "never", lambda row: row.sha256 == digest)


def test_copies_go_with_it_only_if_asked_and_are_named_else(home: Path, made: Path, tmp_path: Path) -> None:
    told = "\n".join(plan(home, "a/1.png").describe())
    copies = {row_of(made, file).path.partition(".")[0] for file in ("a/1-copy.png", "a/1-other.png")}
    assert all(f"a near-copy stays: {path}.jpg" in told for path in copies)
    assert "it stood for copies of it" in told
    digests = {row_of(made, file).sha256 for file in ("a/1.png", "a/1-copy.png", "a/1-other.png")}
    forget_one(home, "a/1.png", copies=True)
    assert everything(home) == without(made, tmp_path / "never", lambda row: row.sha256 in digests)


def test_every_link_to_the_file_is_gone(home: Path) -> None:
    row = row_of(home, "a/0.png")
    unified = home / "data/x/unified" / row.path.replace(".png", ".jpg")
    assert unified.stat().st_nlink >= 3
    held = home / "held.jpg"
    os.link(unified, held)
    forget_one(home, "a/0.png")
    assert held.stat().st_nlink == 1
    assert not list((home / "data").rglob(f"*{photo_of(row.path)[-12:]}*"))


def test_no_later_stage_asks_for_force(home: Path) -> None:
    forget_one(home, "a/0.png")
    config = configure(home)
    assert not any(run_stage(stage, getattr(config, stage.name)).fresh for stage in STAGES)


def test_other_images_are_not_judged_anew(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*_: object) -> None:
        raise AssertionError("judged")

    monkeypatch.setattr("fer_pipeline.stages.runner.process_one", forbidden)
    assert forget_one(home, "a/0.png") == []


# --- killed


FORGET = """
import fer_pipeline.lineage.forget as forgetting, fer_pipeline.stages.refresh as refreshing, fer_pipeline.files as files
from fer_pipeline.dataset.experiment import of_home
count_in(forgetting, refreshing, files)
(plan,) = forgetting.plan_forget(arguments[1], of_home(Path(arguments[0])), copies=False)
forgetting.forget(plan)
"""


@pytest.mark.slow
def test_killed_anywhere_the_same_command_finishes(made: Path, tmp_path: Path) -> None:
    digest = row_of(made, "a/1.png").sha256
    never = without(made, tmp_path / "never", lambda row: row.sha256 == digest)
    ended = False
    for step in (0, 1, 2, 4, 8, 9, 10, 12, 14, 17, 20, 23, 40, 1000):
        home = tmp_path / f"home{step}"
        subprocess.run(["cp", "-a", str(made), str(home)], check=True)
        ended = run_until(step, FORGET, home / "data/x", "a/1.png")
        assert step or not ended, "nothing counts its steps"
        configure(home)
        if not ended:
            forget_one(home, "a/1.png")
            run_stages(configure(home))  # as `fer run` does
        assert everything(home) == never, step
    assert ended


# --- what stays known


def test_the_next_run_finishes_what_was_killed_after_its_first_line(
    home: Path, made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gone = row_of(home, "a/1.png")
    page, sheet = home / "data/x/report.html", home / "data/x/sheet.png"
    page.write_text(OWN_PAGE)
    write_image(sheet, draw_noise(1), made_by=MARK)
    extend_blocklist(home / "data/x/raw", plan(home, "a/1.png").blocklist)
    config = ["--config", str(home / "config.yaml"), "--until", "split"]
    assert main(["run", *config, "--dry"]) == 0
    assert "crawl: will finish an interrupted `fer forget`: 1 image" in capsys.readouterr().out
    assert page.is_file()
    assert main(["run", *config]) == 0
    assert "finished what was interrupted" in capsys.readouterr().err
    assert not sheet.exists()
    page.unlink()  # written anew by the split
    clean = without(made, tmp_path / "clean", lambda row: row.sha256 == gone.sha256)
    assert everything(home) == clean


def test_the_note_holds_hashes_and_neither_image_nor_name(home: Path) -> None:
    row = row_of(home, "a/0.png")
    forget_one(home, "a/0.png")
    note = (home / "data/x/raw" / BLOCKLIST).read_text()
    assert row.sha256 in note
    assert "0.png" not in note
    assert read_blocklist(home / "data/x/raw").knows_origin("photos a/0.png")


def test_an_import_does_not_bring_it_back_under_any_name(home: Path) -> None:
    forget_one(home, "a/0.png")
    raw = home / "data/x/raw"
    before = list_files(raw)
    assert import_images(find_in_folder(home / "photos"), raw, "photos") == {"forgotten": 1}
    assert list_files(raw) == before
    (home / "other/a").mkdir(parents=True)
    shutil.copyfile(home / "photos/a/0.png", home / "other/a/renamed.png")
    assert import_images(find_in_folder(home / "other"), raw, "other") == {"forgotten": 1}
    (row,) = [row for row in read_rows(raw) if row.reason == "forgotten"]
    assert not (raw / row.path).exists()


def test_a_crawl_does_not_bring_it_back_from_any_address(tmp_path: Path) -> None:
    with Web({"/0.png": Reply(picture(0)), "/1.png": Reply(picture(1)), "/mirror.png": Reply(picture(0))}) as web:
        config = listed(tmp_path / "data/x", web, "/0.png", "/1.png")
        crawl(config)
        (plan,) = plan_forget(f"{web.url}/0.png", of_home(tmp_path / "data/x"), copies=False)
        forget(plan)
        asked = len(web.asked)
        crawl(config)
        assert len(web.asked) == asked
        assert len(read_rows(config.output)) == 1
        crawl(listed(tmp_path / "data/x", web, "/0.png", "/1.png", "/mirror.png"), force=True)
    rows = {row.source["url"].removeprefix(web.url): row for row in read_rows(config.output)}
    assert {path: row.reason for path, row in rows.items()} == {"/1.png": "", "/mirror.png": "forgotten"}
    assert len(list((config.output / "smile").iterdir())) == 1


def test_forgetting_twice_says_so_and_changes_nothing(home: Path) -> None:
    forget_one(home, "a/0.png")
    before = list_files(home / "data")
    assert next(plan(home, "a/0.png").describe()).startswith("forgotten already")
    forget_one(home, "a/0.png")
    assert list_files(home / "data") == before


# --- who saw it, and what else holds it


def test_runs_that_saw_it_are_told_and_their_pages_and_arrays_go(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    split = next(row for row in read_rows(home / "data/x/split") if row.source["file"] == "a/0.png")
    run, other = home / "runs/x", home / "runs/other"
    for folder, path in ((run, f"{split.split}/{split.path}"), (other, "train/a/ffffffffffff.png")):
        (folder / "cache").mkdir(parents=True)
        np.save(folder / "cache/crops-32-0123456789abcdef.npy", np.zeros(3, np.uint8))
        (folder / "report.html").write_text(OWN_PAGE)
        (folder / "notes.html").write_text("<img>")
        (folder / "model.onnx").write_bytes(b"model")
        (folder / PROVENANCE).write_text('{"stage": "train", "input": "old"}')
        write_csv(folder / "seen.csv", ["path", "label", "part"], [[path, "a", "validation"]])
    (home / "data/x/report.html").write_text(OWN_PAGE)
    arguments = ["forget", split.path, "--config", str(home / "config.yaml")]
    assert main([*arguments, "--dry-run"]) == 0
    assert (run / "report.html").is_file()
    assert main([*arguments, "--yes"]) == 0
    told = capsys.readouterr().out
    assert "run x saw it (validation): its model holds what it learned: train again, and delete it" in told
    assert "run other" not in told
    assert sorted(path.name for path in run.iterdir()) == [
        "cache",
        "model.onnx",
        "notes.html",
        "provenance.json",
        "seen.csv",
    ]
    assert not list((run / "cache").iterdir())
    assert not (home / "data/x/report.html").exists()
    assert (other / "report.html").is_file()
    assert list((other / "cache").iterdir())


@pytest.mark.parametrize(
    ("answer", "code", "told"),
    [("n\n", 1, "nothing was removed"), ("", 2, "nothing was removed: pass --yes"), ("y\n", 0, "forget: done")],
)
def test_without_yes_it_asks_whoever_is_there(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], answer: str, code: int, told: str
) -> None:
    before = list_files(home / "data")
    monkeypatch.setattr("sys.stdin", io.StringIO(answer))
    assert main(["forget", "a/0.png", "--config", str(home / "config.yaml")]) == code
    assert told in capsys.readouterr().err
    assert (list_files(home / "data") == before) == (code != 0)


def test_another_experiment_that_has_it_is_named(home: Path) -> None:
    shutil.copytree(home / "data/x/raw", home / "data/y/raw")
    assert any(line.startswith(f"also in {home}/data/y") for line in plan(home, "a/0.png").describe())


# --- what cannot be rebuilt


def test_a_folder_that_was_out_of_date_loses_the_image_and_is_left_to_the_next_run(home: Path) -> None:
    write_image(home / "more/a/new.png", draw_noise(77))
    import_images(find_in_folder(home / "more"), home / "data/x/raw", "more")
    digest = row_of(home, "a/0.png").sha256
    (trouble,) = forget_one(home, "a/0.png")
    assert "unified was not up to date: `fer run`" in trouble
    assert not list((home / "data/x").rglob(f"{digest[:12]}*"))
    run_stages(configure(home))
    assert all(digest not in (home / "data/x" / name / MANIFEST).read_text() for _, name in FOLDERS.values())


def test_a_split_that_would_lack_a_class_says_so_and_loses_the_image_all_the_same(tmp_path: Path) -> None:
    for label, count in (("a", 6), ("b", 2)):
        for number in range(count):
            write_image(tmp_path / "photos" / label / f"{number}.png", draw_noise(number + 50 * ord(label)))
    import_images(find_in_folder(tmp_path / "photos"), configure(tmp_path).crawl.output, "photos")
    run_stages(configure(tmp_path))
    digest = row_of(tmp_path, "b/0.png").sha256
    (trouble,) = forget_one(tmp_path, "b/0.png")
    assert "split cannot be brought up to date" in trouble
    assert "class 'b'" in trouble
    assert not (tmp_path / "data/x/split" / MANIFEST).exists()
    assert not list((tmp_path / "data/x/split").rglob(f"{digest[:12]}*"))


def test_an_unfinished_stage_loses_its_file_too(home: Path) -> None:
    crops = home / "data/x/crops"
    row = next(row for row in read_rows(crops) if row.source["file"] == "a/0.png")
    (crops / MANIFEST).unlink()
    forget_one(home, "a/0.png")
    assert not (crops / row.path).exists()
    run_stages(configure(home))
    assert row.sha256 not in (crops / MANIFEST).read_text()


def test_a_split_killed_while_its_files_were_put_in_place_loses_them_too(home: Path) -> None:
    split = home / "data/x/split"
    row = next(row for row in read_rows(split) if row.source["file"] == "a/0.png")
    (split / MANIFEST).rename(split / f".{MANIFEST}.part")
    forget_one(home, "a/0.png")
    assert not (split / str(row.split) / row.path).exists()


# --- whose word is matched to which image


@pytest.mark.parametrize("what", ["a/", "photos/a/", "x/raw/a", "a"])
def test_a_folder_means_what_lies_in_it_and_takes_more_than_a_yes(
    home: Path, what: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = list_files(home / "data")
    assert main(["forget", what, "--config", str(home / "config.yaml"), "--yes"]) != 0
    assert list_files(home / "data") == before
    assert capsys.readouterr().err.count("\n") <= 1


def test_with_all_a_folder_of_images_goes(home: Path) -> None:
    assert main(["forget", "a/", "--config", str(home / "config.yaml"), "--all"]) == 0
    assert {row.label for row in read_rows(home / "data/x/raw")} == {"b"}


def test_a_class_of_the_test_part_means_its_test_images_alone_also_those_moved_there(home: Path) -> None:
    config = configure(home)
    moved = next(row for row in read_rows(config.split.output) if row.split == "test" and row.label == "b")
    (home / "data/x" / DECISIONS).write_text(f"{','.join(HEADER)}\n2026-01-01T00:00:00,{moved.path},move,a,,me\n")
    run_stages(config)
    test = {row.sha256 for row in read_rows(config.split.output) if row.split == "test" and row.path.startswith("a/")}
    assert len(test) > 1
    before = read_rows(config.crawl.output)
    place = str(config.split.output / "test" / "a")
    assert main(["forget", place, "--config", str(home / "config.yaml"), "--all"]) == 0
    assert {row.sha256 for row in before} - {row.sha256 for row in read_rows(config.crawl.output)} == test


@pytest.mark.parametrize(("answer", "code"), [("12\n", 0), ("y\n", 1), ("13\n", 1), ("", 2)])
def test_many_images_go_by_their_typed_count(
    home: Path, monkeypatch: pytest.MonkeyPatch, answer: str, code: int
) -> None:
    before = list_files(home / "data")
    monkeypatch.setattr("sys.stdin", io.StringIO(answer))
    assert main(["forget", "a/", "--config", str(home / "config.yaml")]) == code
    assert (list_files(home / "data") == before) == (code != 0)


def test_rows_without_a_file_match_no_word(tmp_path: Path) -> None:
    with Web({f"/{number}.png": Reply(picture(number)) for number in range(3)}) as web:
        crawl(listed(tmp_path / "data/x", web, *(f"/{number}.png" for number in range(3))))
    for what in ("photos/me/", "smile.png", "png", "0", "x/0"):
        with pytest.raises(InputError):
            plan_forget(what, of_home(tmp_path / "data/x"), copies=False)


def test_files_of_other_people_in_the_folders_stay(home: Path) -> None:
    row = row_of(home, "a/0.png")
    own = home / "data/x/raw/a" / f"{Path(row.path).stem}-mine.txt"
    own.write_text("dear")
    (home / "data/x/empty").mkdir()
    forget_one(home, "a/0.png")
    assert own.read_text() == "dear"
    assert (home / "data/x/empty").is_dir()


def test_an_unfinished_import_is_finished_first(home: Path) -> None:
    (home / "data/x/raw/journal.jsonl").write_text("")
    with pytest.raises(InputError, match="unfinished crawl or import"):
        plan(home, "a/0.png")


@pytest.mark.parametrize(
    "what", ["nothing.png", "http://nowhere.example/x.jpg", "", "../../etc/passwd", "\0", "/", "."]
)
def test_what_nobody_knows_is_an_error_of_one_line(home: Path, what: str, capsys: pytest.CaptureFixture[str]) -> None:
    before = list_files(home / "data")
    assert main(["forget", what, "--config", str(home / "config.yaml"), "--yes"]) == 1
    told = capsys.readouterr().err
    assert told.startswith("fer: ")
    assert told.count("\n") == 1
    assert list_files(home / "data") == before


@pytest.mark.parametrize("line", ["no json", "[]", '{"origins": 1}', '{"origins": [], "contents": [1], "photos": []}'])
def test_a_mangled_note_is_an_error_that_names_the_line(tmp_path: Path, line: str) -> None:
    extend_blocklist(tmp_path, Blocklist(origins=frozenset({"00"})))
    with (tmp_path / BLOCKLIST).open("a") as file:
        file.write(f"{line}\n")
    with pytest.raises(InputError, match=f"{BLOCKLIST}:2"):
        read_blocklist(tmp_path)


def test_an_experiment_of_a_raw_folder_alone_is_enough(tmp_path: Path) -> None:
    import_images(find_in_folder(make_photos(tmp_path / "photos")), tmp_path / "data/x/raw", "photos")
    experiment = of_home(tmp_path / "data/x")
    (found,) = plan_forget("a/0.png", experiment, copies=False)
    assert forget(found) == []
    assert all(row.source["file"] != "a/0.png" for row in read_rows(tmp_path / "data/x/raw"))


def test_a_note_nested_without_end_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / BLOCKLIST).write_text("[" * 100_000)
    with pytest.raises(InputError, match=r"blocklist.jsonl:1: not a line of"):
        read_blocklist(tmp_path)
