"""What tracing promises: every prediction, crop, photo and address leads to the whole chain, and to its end."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.drawn import write_classes
from support.loopback import Reply, Web, listed, picture
from support.pictures import draw_pair, draw_portrait

from fer_pipeline.__main__ import main
from fer_pipeline.config.loader import load_config
from fer_pipeline.config.schema import Config
from fer_pipeline.dataset.experiment import of_home
from fer_pipeline.dataset.rows import Row, read_rows
from fer_pipeline.files import write_csv
from fer_pipeline.lineage.find import find_photos
from fer_pipeline.lineage.trace import Trace
from fer_pipeline.lineage.trace import trace as follow
from fer_pipeline.sources.crawl.crawler import crawl
from fer_pipeline.sources.folders import find_in_folder
from fer_pipeline.sources.importers import import_images
from fer_pipeline.stages.crop import CROP
from fer_pipeline.stages.dedupe import DEDUPE
from fer_pipeline.stages.filter import FILTER
from fer_pipeline.stages.runner import run_stage
from fer_pipeline.stages.split import SPLIT
from fer_pipeline.stages.unify import UNIFY
from fer_pipeline.vision.image_io import write_image

Capture = pytest.CaptureFixture[str]


def configure(home: Path, text: str) -> Config:
    path = home / "config.yaml"
    folders = f"name: x\nworkers: 1\ndata: {json.dumps(str(home / 'data'))}\nruns: {json.dumps(str(home / 'runs'))}\n"
    path.write_text(f"{folders}{text}\n")
    return load_config(path)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two people in one photo, some alone, a copy, a file that is no picture, one without a face; up to the split."""
    home = tmp_path_factory.mktemp("trace")
    photos = home / "photos"
    write_image(photos / "smile/pair.jpg", draw_pair(1))
    for label in ("smile", "pout"):
        for number in range(2):
            write_image(photos / label / f"{number}.jpg", draw_portrait(number + len(label), label, side=240)[0])
    twin = draw_portrait(5, "smile", side=240)[0]
    write_image(photos / "smile/twin.jpg", np.asarray(np.clip(twin * 0.9 + 9, 0, 255), np.uint8))
    write_image(photos / "smile/wall.jpg", np.full((120, 120, 3), 90, np.uint8))
    (photos / "smile/notes.jpg").write_bytes(b"no picture")
    config = configure(home, "crop: {faces: all, size: 32}\nsplit: {test_share: 0.4}\ndedupe: {group_distance: 4}")
    import_images(find_in_folder(photos), config.crawl.output, "mine")
    for stage in (UNIFY, DEDUPE, FILTER, CROP, SPLIT):
        run_stage(stage, getattr(config, stage.name))
    return home


def of(home: Path, what: str) -> Trace:
    (photo,) = find_photos(what, of_home(home / "data/x"))
    return follow(photo)


def row_of(home: Path, file: str, folder: str = "raw") -> Row:
    return next(row for row in read_rows(home / "data/x" / folder) if row.source["file"] == file)


def write_run(home: Path, name: str, stage: str = "train", **files: list[list[Any]]) -> Path:
    """A run of the split as it is now, with tables of what it saw and said."""
    from fer_pipeline.dataset.rows import MANIFEST
    from fer_pipeline.files import hash_file

    run = home / "runs" / name
    run.mkdir(parents=True)
    made = {"stage": stage, "input": hash_file(home / "data/x/split" / MANIFEST)}
    (run / "provenance.json").write_text(json.dumps(made))
    (run / "config.json").write_text(json.dumps({"train": {"input": str(home / "data/x/split")}}))
    headers = {"seen": ["path", "label", "part"], "predictions": ["path", "label", "predicted", "confidence"]}
    for table, rows in files.items():
        write_csv(run / f"{table}.csv", headers[table], rows)
    return run


@pytest.fixture
def runs(home: Path) -> Any:
    yield home / "runs"
    shutil.rmtree(home / "runs", ignore_errors=True)


def test_the_chain_goes_from_the_split_back_to_the_source(home: Path) -> None:
    row = row_of(home, "pout/0.jpg", "split")
    found = of(home, str(home / "data/x/split" / str(row.split) / row.path))
    assert [step.stage for step in found.steps] == ["crawl", "unify", "dedupe", "filter", "crop", "split"]
    assert found.source["file"] == "pout/0.jpg"
    assert found.ended == ""
    assert all(step.exists for step in found.steps)
    assert found.steps[3].attributes(found.steps[2]).keys() == {"box", "faces"}
    assert "hash" in found.steps[2].attributes(found.steps[1])


@pytest.mark.parametrize("folder", ["raw", "unified", "unique", "faces", "crops"])
def test_a_file_of_any_stage_leads_to_the_same_chain(home: Path, folder: str) -> None:
    row = row_of(home, "pout/0.jpg", folder)
    by_path = of(home, str(home / "data/x" / folder / row.path))
    assert by_path.as_dict() == of(home, "pout/0.jpg").as_dict()


def test_a_photo_is_known_by_its_name_its_stem_and_its_bytes(home: Path, tmp_path: Path) -> None:
    row = row_of(home, "smile/pair.jpg")
    elsewhere = Path(shutil.copy(home / "photos/smile/pair.jpg", tmp_path / "renamed.jpg"))
    names = ["pair.jpg", "smile/pair.jpg", row.path, row.path.partition(".")[0], row.sha256[:12], str(elsewhere)]
    assert {of(home, name).photo for name in names} == {row.path.partition(".")[0]}


def test_a_second_face_shows_its_own_crop_and_the_photo_of_both(home: Path) -> None:
    pair = row_of(home, "smile/pair.jpg").path.partition(".")[0]
    whole, second = of(home, "smile/pair.jpg"), of(home, str(home / "data/x/crops" / f"{pair}-2.png"))
    assert [step.row.path for step in whole.steps if step.stage == "crop"] == [f"{pair}-2.png", f"{pair}.png"]
    assert [step.row.path for step in second.steps if step.stage == "crop"] == [f"{pair}-2.png"]
    assert second.steps[0].row.source["file"] == "smile/pair.jpg"


@pytest.mark.parametrize(
    ("file", "ended"),
    [
        ("smile/notes.jpg", "dropped by crawl: not_an_image"),
        ("smile/wall.jpg", "dropped by filter: no_face"),
    ],
)
def test_a_photo_that_was_dropped_says_where_and_why(home: Path, file: str, ended: str) -> None:
    assert of(home, file).ended == ended


def test_copies_name_each_other(home: Path) -> None:
    pairs = [
        (row, str(row.attributes["copy_of"]))
        for row in read_rows(home / "data/x/unique")
        if "copy_of" in row.attributes
    ]
    ((copy, kept),) = pairs
    assert of(home, copy.path).ended == "dropped by dedupe: copy"
    assert of(home, copy.path).steps[-1].attributes(None)["copy_of"] == kept
    assert of(home, kept).copies == [f"dedupe: {copy.path}"]


def test_an_address_leads_to_the_photo_fetched_from_it_and_its_copy(tmp_path: Path, capsys: Capture) -> None:
    pages = {"/a.png?x=1&y=ü": Reply(picture(1)), "/b.png": Reply(picture(1))}
    with Web({"/a.png": Reply(picture(1)), "/b.png": Reply(picture(1))}) as web:
        crawl(listed(tmp_path / "data/x", web, *pages))
        urls = [row.source["url"] for row in read_rows(tmp_path / "data/x/raw")]
        for url in urls:
            assert of(tmp_path, url).source["url"] == url
            assert of(tmp_path, url).source["engine"] == "urls"
    assert sorted(of(tmp_path, url).ended for url in urls) == ["", "dropped by crawl: same_bytes"]


# --- runs


def test_runs_say_how_they_saw_it(home: Path, runs: Path) -> None:
    row = row_of(home, "pout/0.jpg", "split")
    path = f"{row.split}/{row.path}"
    write_run(home, "a", seen=[[path, "pout", "validation"]])
    write_run(home, "b", predictions=[[path, "pout", "smile", "0.7"]])
    write_run(home, "c", seen=[["train/pout/ffffffffffff.png", "pout", "training"]])
    write_run(home, "d", stage="folds", predictions=[[path, "pout", "pout", "0.9"]])
    seen = [(one.run, one.part, one.predicted, one.stale) for one in of(home, path).runs]
    assert seen == [("a", "validation", "", False), ("b", "test", "smile", False), ("d", "folds", "pout", False)]


def test_a_run_that_noted_nothing_is_known_by_the_split_it_was_made_from(home: Path, runs: Path) -> None:
    row = next(row for row in read_rows(home / "data/x/split") if row.split == "train")
    write_run(home, "old")
    assert [(one.run, one.part) for one in of(home, row.path).runs] == [("old", "train")]


def test_a_run_before_the_data_changed_says_so(home: Path, runs: Path) -> None:
    row = row_of(home, "pout/0.jpg", "split")
    run = write_run(home, "a", seen=[[f"{row.split}/{row.path}", "pout", "training"]])
    (run / "provenance.json").write_text('{"stage": "train", "input": "of before"}')
    assert [one.stale for one in of(home, row.path).runs] == [True]


def test_a_row_of_predictions_is_enough_with_its_run(home: Path, runs: Path, capsys: Capture) -> None:
    row = row_of(home, "pout/0.jpg", "split")
    path = f"{row.split}/{row.path}"
    run = write_run(home, "a", predictions=[[path, "pout", "smile", "0.7"]])
    write_run(home, "b", predictions=[[path, "pout", "smile", "0.7"]])
    assert main(["trace", path, "--run", str(run), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["source"]["file"] == "pout/0.jpg"
    assert told["runs"] == [
        {"run": "a", "path": path, "part": "test", "label": "pout", "predicted": "smile", "confidence": 0.7}
        | {"stale": False}
    ]
    assert main(["trace", path, "--run", str(run)]) == 0
    tree = capsys.readouterr().out
    assert "a: test, pout predicted as smile (70%)" in tree
    assert tree.index("split:") < tree.index("crop:") < tree.index("raw:") < tree.index("source")


def test_a_run_on_class_folders_leads_to_the_file(tmp_path: Path, capsys: Capture) -> None:
    photos = write_classes(tmp_path / "mine")
    run = tmp_path / "runs/a"
    run.mkdir(parents=True)
    (run / "provenance.json").write_text('{"stage": "train"}')
    (run / "config.json").write_text(json.dumps({"train": {"input": str(photos)}}))
    write_csv(run / "seen.csv", ["path", "label", "part"], [["open/1.png", "open", "training"]])
    assert main(["trace", "open/1.png", "--run", str(run)]) == 0
    told = capsys.readouterr().out
    assert f"no stage made {photos}/open/1.png" in told
    assert "a: training" in told


# --- rubbish


@pytest.mark.parametrize("what", ["nothing", "", "\0", "/", "..", "http://", "smile/", "[red]", "x" * 5000])
def test_what_nobody_knows_is_an_error_of_one_line(home: Path, what: str, capsys: Capture) -> None:
    assert main(["trace", what, "--config", str(home / "config.yaml")]) == 1
    told = capsys.readouterr().err
    assert told.startswith("fer: ")
    assert told.count("\n") == 1


@pytest.mark.parametrize("table", [b"\xff\xfe\x00", b'path\n"', b"nothing,here\n1,2\n", b""])
def test_a_mangled_table_of_a_run_is_told_in_one_line_or_ignored(
    home: Path, runs: Path, capsys: Capture, table: bytes
) -> None:
    run = write_run(home, "a")
    (run / "seen.csv").write_bytes(table)
    assert main(["trace", "pout/0.jpg", "--config", str(home / "config.yaml")]) in {0, 1}
    assert capsys.readouterr().err.count("\n") <= 1


def test_names_with_markup_are_shown_as_they_are(tmp_path: Path, capsys: Capture) -> None:
    write_image(tmp_path / "photos/[red]a/[bold]1.jpg", draw_portrait(1, "smile", side=120)[0])
    config = configure(tmp_path, "")
    import_images(find_in_folder(tmp_path / "photos"), config.crawl.output, "[link]")
    assert main(["trace", "[bold]1.jpg", "--config", str(tmp_path / "config.yaml")]) == 0
    assert "[red]a/[bold]1.jpg" in capsys.readouterr().out
