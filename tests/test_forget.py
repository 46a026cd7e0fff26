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
from fer_pipeline.dataset.experiment import of_config, of_home
from fer_pipeline.dataset.naming import GIVEN_NAME, photo_of
from fer_pipeline.dataset.provenance import PROVENANCE
from fer_pipeline.dataset.rows import MANIFEST, Row, read_rows
from fer_pipeline.errors import InputError
from fer_pipeline.files import write_csv
from fer_pipeline.lineage.forget import PENDING, forget
from fer_pipeline.lineage.leavings import find_leavings
from fer_pipeline.lineage.plan import Plan, prepare
from fer_pipeline.sources.crawl.crawler import crawl
from fer_pipeline.sources.importers import find_in_folder, import_images
from fer_pipeline.stages.crop import CROP
from fer_pipeline.stages.dedupe import DEDUPE
from fer_pipeline.stages.filter import FILTER
from fer_pipeline.stages.runner import run_stage
from fer_pipeline.stages.split import SPLIT
from fer_pipeline.stages.unify import UNIFY
from fer_pipeline.vision.image_io import Image, write_image

STAGES = (UNIFY, DEDUPE, FILTER, CROP, SPLIT)
BESIDE = {".lock", BLOCKLIST, PENDING}
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
    (found,) = prepare(what, of_config(configure(home)), None, copies=copies)
    return found


def forget_one(home: Path, what: str, *, copies: bool = False) -> list[str]:
    chosen = plan(home, what, copies=copies)
    return forget(chosen.experiment, chosen.rows, chosen.leavings)


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
import fer_pipeline.lineage.forget as forgetting, fer_pipeline.lineage.replay as replaying
from fer_pipeline.dataset.experiment import of_home
from fer_pipeline.lineage.plan import prepare
count_in(forgetting, replaying)
(plan,) = prepare(arguments[1], of_home(Path(arguments[0])), None, copies=False)
forgetting.forget(plan.experiment, plan.rows, plan.leavings)
"""


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
        assert everything(home) == never, step
        assert not (home / "data/x/raw" / PENDING).exists()
    assert ended


# --- what stays known


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
        (plan,) = prepare(f"{web.url}/0.png", of_home(tmp_path / "data/x"), None, copies=False)
        forget(plan.experiment, plan.rows, plan.leavings)
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
        np.save(folder / "cache/crops-32-0.npy", np.zeros(3, np.uint8))
        (folder / "report.html").write_text("<img>")
        (folder / "model.onnx").write_bytes(b"model")
        (folder / PROVENANCE).write_text('{"stage": "train", "input": "old"}')
        write_csv(folder / "seen.csv", ["path", "label", "part"], [[path, "a", "validation"]])
    (home / "data/x/report.html").write_text("<img>")
    arguments = ["forget", split.path, "--config", str(home / "config.yaml")]
    assert main([*arguments, "--dry-run"]) == 0
    assert (run / "report.html").is_file()
    assert main([*arguments, "--yes"]) == 0
    told = capsys.readouterr().out
    assert "run x saw it (validation): its model holds what it learned: train it again with --force" in told
    assert "run other" not in told
    assert sorted(path.name for path in run.iterdir()) == ["cache", "model.onnx", "provenance.json", "seen.csv"]
    assert not list((run / "cache").iterdir())
    assert not (home / "data/x/report.html").exists()
    assert (other / "report.html").is_file()
    assert list((other / "cache").iterdir())


@pytest.mark.parametrize(
    ("answer", "code", "told"),
    [("n\n", 1, "nothing was removed"), ("", 2, "nothing was removed: say --yes"), ("y\n", 0, "forget: done")],
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


def test_a_folder_that_was_out_of_date_stays_so_and_loses_the_image_all_the_same(home: Path) -> None:
    provenance = home / "data/x/faces" / PROVENANCE
    made = json.loads(provenance.read_text()) | {"input": "of another time"}
    provenance.write_text(json.dumps(made))
    digest = row_of(home, "a/0.png").sha256
    forget_one(home, "a/0.png")
    assert all(digest not in (home / "data/x" / name / MANIFEST).read_text() for _, name in FOLDERS.values())
    assert json.loads(provenance.read_text())["input"] == "of another time"
    assert not run_stage(CROP, configure(home).crop).fresh


def test_a_split_that_would_lack_a_class_says_so_and_loses_the_image_all_the_same(tmp_path: Path) -> None:
    for label, count in (("a", 6), ("b", 2)):
        for number in range(count):
            write_image(tmp_path / "photos" / label / f"{number}.png", draw_noise(number + 50 * ord(label)))
    import_images(find_in_folder(tmp_path / "photos"), configure(tmp_path).crawl.output, "photos")
    run_stages(configure(tmp_path))
    digest = row_of(tmp_path, "b/0.png").sha256
    (trouble,) = forget_one(tmp_path, "b/0.png")
    assert "cannot be rebuilt" in trouble
    assert "class 'b'" in trouble
    assert digest not in (tmp_path / "data/x/split" / MANIFEST).read_text()
    assert not list((tmp_path / "data/x/split").rglob(f"{digest[:12]}*"))


def test_an_unfinished_stage_forgets_it_too_and_goes_on(home: Path, made: Path, tmp_path: Path) -> None:
    crops = home / "data/x/crops"
    row = next(row for row in read_rows(crops) if row.source["file"] == "a/0.png")
    line = f'{{"item":{json.dumps(row.path.replace(".png", ".jpg"))},"rows":[{row.to_line().strip()}]}}\n'
    (crops / "journal.jsonl").write_text(line)
    (crops / MANIFEST).unlink()
    forget_one(home, "a/0.png")
    assert (crops / "journal.jsonl").read_text() == ""


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
    (found,) = prepare("a/0.png", experiment, None, copies=False)
    assert forget(experiment, found.rows, find_leavings(experiment, found.forgotten)) == []
    assert all(row.source["file"] != "a/0.png" for row in read_rows(tmp_path / "data/x/raw"))


def test_a_note_nested_without_end_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / BLOCKLIST).write_text("[" * 100_000)
    with pytest.raises(InputError, match=r"blocklist.jsonl:1: not a line of"):
        read_blocklist(tmp_path)


@pytest.mark.parametrize(("stem", "is_ours"), [("0" * 12, True), ("0" * 64 + "-2", True), ("face", False)])
def test_names_of_every_length_that_folders_give_are_known(stem: str, is_ours: bool) -> None:
    assert (GIVEN_NAME.fullmatch(stem) is not None) is is_ours
