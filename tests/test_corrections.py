"""What people decided by eye is in effect after the split, and nothing else has changed."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from support.drawn import write_config
from support.pictures import draw_noise, draw_pair, draw_portrait, draw_view, list_files, make_folder

from fer_pipeline.__main__ import main
from fer_pipeline.config.loader import load_config
from fer_pipeline.config.schema import Config, SplitConfig
from fer_pipeline.dataset import rows as manifest
from fer_pipeline.dataset.decisions import Decision
from fer_pipeline.dataset.rows import MANIFEST, Row, Status, read_rows
from fer_pipeline.errors import InputError, UsageError
from fer_pipeline.report.funnel import find_change, places_below, places_of
from fer_pipeline.review.decision_log import Log
from fer_pipeline.stages.corrections import bring_back, correct, find_folders, format_decisions, rename_moved
from fer_pipeline.stages.crop import CROP
from fer_pipeline.stages.filter import FILTER
from fer_pipeline.stages.runner import run_stage
from fer_pipeline.stages.split import SPLIT
from fer_pipeline.stages.unify import UNIFY
from fer_pipeline.vision.boxes import Box
from fer_pipeline.vision.image_io import read_image, write_image

Capture = pytest.CaptureFixture[str]
BOX = Box(60, 50, 180, 190)  # about where portraits of 240 px have their face
SPLIT_OR_DIE = """
import os, signal, sys
from pathlib import Path
from fer_pipeline.config.schema import SplitConfig
from fer_pipeline.dataset.rows import write_rows
from fer_pipeline.stages import runner
from fer_pipeline.stages.split import SPLIT

links = []
link = runner.link_image
def link_or_die(source, target):
    if len(links) == 5:
        os.kill(os.getpid(), signal.SIGKILL)
    links.append(link(source, target))
runner.link_image = link_or_die
runner.run_stage(SPLIT, SplitConfig(input=Path(sys.argv[1]), output=Path(sys.argv[2]), test_share=0.25))
"""


@pytest.fixture(scope="module")
def drawn_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An experiment up to its crops, with photos that each stage drops. Not to be changed; see `home`."""
    folder = tmp_path_factory.mktemp("drawn")
    photos = folder / "photos"
    for place, label in enumerate(("pout", "smile")):
        for number in range(6):
            portrait = draw_portrait(10 * place + number, label, side=240)[0]
            write_image(photos / label / f"{number}.jpg", portrait)
    write_image(photos / "smile" / "view.jpg", draw_view(7))
    write_image(photos / "smile" / "pair.jpg", draw_pair(1))
    same = read_image(photos / "smile" / "0.jpg")
    write_image(photos / "pout" / "again.jpg", same, quality=60)  # the same picture under another label
    path = write_config(folder, "crop: {faces: single}\nsplit: {test_share: 0.25}\n")
    assert main(["-q", "import", "folder", str(photos), "-o", str(folder / "data" / "drawn" / "raw")]) == 0
    assert main(["-q", "run", "--config", str(path), "--until", "crop", "--workers", "1"]) == 0
    return folder


@pytest.fixture
def config(drawn_data: Path, tmp_path: Path) -> Config:
    shutil.copytree(drawn_data / "data", tmp_path / "data")
    return load_config(write_config(tmp_path, "crop: {faces: single}\nsplit: {test_share: 0.25}\n"))


def decide(config: Config, *decisions: Decision) -> None:
    Log(config.crop.output.parent).append(decisions)


def lost(config: Config, reason: str, stage: str) -> list[Row]:
    return [row for row in read_rows(getattr(config, stage).output) if row.reason == reason]


def rows_after(config: Config, *, force: bool = False) -> dict[str, Row]:
    run_stage(SPLIT, config.split, force=force)
    rows = read_rows(config.split.output)
    files = {path for path in list_files(config.split.output) if path.endswith(".png")}
    assert files == {f"{row.split}/{row.path}" for row in rows if row.status is Status.KEPT}
    return {row.path: row for row in rows}


def test_a_dropped_image_is_in_no_part(config: Config) -> None:
    first = read_rows(config.crop.output)[0]
    decide(config, Decision(first.path, "drop"))
    row = rows_after(config)[first.path]
    assert (row.status, row.reason, row.split) == (Status.DROPPED, "by_hand", None)


def test_a_moved_image_lies_in_the_folder_of_its_new_class(config: Config) -> None:
    first = next(row for row in read_rows(config.crop.output) if row.label == "pout")
    decide(config, Decision(first.path, "move", "smile"))
    rows = rows_after(config)
    path = first.path.replace("pout/", "smile/")
    moved = rows[path]
    assert (moved.label, moved.attributes["moved_from"], first.path in rows) == ("smile", first.path, False)
    file = config.split.output / str(moved.split) / path
    assert file.read_bytes() == (config.crop.output / first.path).read_bytes()
    assert format_decisions(config.split) == "1 moved to smile"


def test_decisions_that_change_nothing_change_no_byte(config: Config) -> None:
    rows_after(config)
    before = list_files(config.split.output)
    first, second = read_rows(config.crop.output)[:2]
    decide(config, Decision(first.path, "keep"), Decision(second.path, "drop"), Decision(second.path, "undo"))
    assert not run_stage(SPLIT, config.split).fresh
    rows_after(config)
    assert list_files(config.split.output) == before


def test_few_others_change_their_part(config: Config) -> None:
    before = rows_after(config)
    decide(config, Decision(next(iter(before)), "drop"))
    after = rows_after(config)
    assert sum(before[path].split != after[path].split for path in after) <= 3


def test_a_photo_without_a_face_comes_back_with_the_face_that_was_drawn(config: Config) -> None:
    (row,) = lost(config, "no_face", "filter")
    decide(config, Decision(row.path, "restore", box=BOX))
    path = row.path.replace(".jpg", ".png")
    back = rows_after(config)[path]
    assert (back.status, back.box, back.label) == (Status.KEPT, BOX, "smile")
    assert back.landmarks is not None
    assert {"mouth", "square", "width"} <= back.attributes.keys()
    assert back.attributes["brought_back"] == "no_face"
    assert back.source == row.source
    assert format_decisions(config.split) == "1 brought back"


def test_a_drawn_face_is_cut_as_the_crop_stage_cuts(config: Config) -> None:
    """The same photo with the box that its detector found gives the same bytes."""
    kept = next(row for row in read_rows(config.filter.output) if row.status is Status.KEPT and row.label == "smile")
    assert kept.box is not None
    rows = read_rows(config.filter.output)
    dropped = kept.replace(status=Status.DROPPED, reason="no_face", box=None, attributes={})
    manifest.write_rows(config.filter.output, [dropped if row.path == kept.path else row for row in rows])
    crops = [row for row in read_rows(config.crop.output) if Path(row.path).stem != Path(kept.path).stem]
    manifest.write_rows(config.crop.output, crops)
    decide(config, Decision(kept.path, "restore", box=kept.box))
    path = kept.path.replace(".jpg", ".png")
    row = rows_after(config)[path]
    assert (config.split.output / str(row.split) / path).read_bytes() == (config.crop.output / path).read_bytes()


def test_without_a_box_the_detector_looks_again_and_may_find_nothing(config: Config) -> None:
    (row,) = lost(config, "no_face", "filter")
    decide(config, Decision(row.path, "restore"))
    back = rows_after(config)[row.path]
    assert (back.status, back.reason) == (Status.DROPPED, "no_face")


def test_of_photos_alike_under_two_labels_the_right_one_comes_back(config: Config) -> None:
    pair = lost(config, "conflicting_labels", "dedupe")
    assert {row.label for row in pair} == {"pout", "smile"}
    smile = next(row for row in pair if row.label == "smile")
    decide(config, Decision(smile.path, "restore"))
    rows = rows_after(config)
    assert rows[smile.path.replace(".jpg", ".png")].attributes["brought_back"] == "conflicting_labels"
    assert "labels" not in rows[smile.path.replace(".jpg", ".png")].attributes


def test_copies_that_come_back_stay_in_one_part(config: Config) -> None:
    pair = lost(config, "conflicting_labels", "dedupe")
    decide(config, *(Decision(row.path, "move", "smile") for row in pair))
    rows = rows_after(config).values()
    back = [row for row in rows if "brought_back" in row.attributes]
    assert [row.label for row in back] == ["smile", "smile"]
    assert len({row.split for row in back}) == 1


def test_of_several_faces_the_largest_comes_back(config: Config) -> None:
    (row,) = lost(config, "several_faces", "crop")
    decide(config, Decision(row.path, "restore"))
    back = rows_after(config)[row.path.replace(".jpg", ".png")]
    assert back.box is not None
    assert back.box.left < 240  # the left one of two is the larger


def test_all_faces_of_a_photo_that_is_moved_join_its_new_class(config: Config) -> None:
    (row,) = lost(config, "several_faces", "crop")
    crop = config.crop.model_copy(update={"faces": "all"})
    run_stage(CROP, crop)
    files = [one for one in read_rows(crop.output) if Path(one.path).stem.startswith(Path(row.path).stem)]
    assert len(files) == 2
    # As if another stage had dropped the photo before.
    rows = read_rows(config.filter.output)
    gone = [one.dropped("no_face") if one.path == row.path else one for one in rows]
    manifest.write_rows(config.filter.output, gone)
    manifest.write_rows(crop.output, [one for one in read_rows(crop.output) if one not in files])
    decide(config, Decision(row.path, "move", "pout"))
    rows_after(config)
    back = [one for one in read_rows(config.split.output) if "brought_back" in one.attributes]
    assert [(one.label, one.path.partition("/")[0]) for one in back] == [("pout", "pout")] * 2


def test_photos_come_back_through_the_folders_that_the_crops_came_through(config: Config) -> None:
    (row,) = lost(config, "no_face", "filter")
    other = config.unify.model_copy(update={"output": config.unify.output.with_name("unified-small"), "longest": 100})
    run_stage(UNIFY, other)
    filtered = config.filter.model_copy(update={"output": config.filter.output.with_name("zfaces"), "threshold": 0.5})
    run_stage(FILTER, filtered)
    folders = find_folders(config.crop.output)
    assert (folders["unify"], folders["filter"]) == (config.unify.output, config.filter.output)
    decide(config, Decision(row.path, "restore", box=BOX))
    assert rows_after(config)[row.path.replace(".jpg", ".png")].box == BOX


def test_wishes_that_could_not_be_granted_are_told(config: Config) -> None:
    (row,) = lost(config, "no_face", "filter")
    decide(config, Decision(row.path, "restore"), Decision("smile/000000000000.png", "restore"))
    rows_after(config)
    assert format_decisions(config.split) == "2 without effect (no_face 1, no such image 1)"


def test_a_photo_that_is_gone_ends_in_a_row(config: Config) -> None:
    (row,) = lost(config, "no_face", "filter")
    (config.unify.output / row.path).unlink()
    decide(config, Decision(row.path, "restore", box=BOX), Decision("smile/000000000000.png", "restore"))
    back = rows_after(config)[row.path]
    assert (back.status, back.reason) == (Status.FAILED, "file_missing")


def test_without_photos_nothing_can_be_brought_back(config: Config) -> None:
    (row,) = lost(config, "no_face", "filter")
    shutil.rmtree(config.unify.output)
    decide(config, Decision(row.path, "restore", box=BOX))
    with pytest.raises(InputError, match="has no finished `unify`"):
        bring_back(config.split, config.split.output)


def test_new_decisions_are_put_into_effect_by_the_next_split(config: Config, capsys: Capture) -> None:
    rows_after(config)
    first = read_rows(config.crop.output)[0]
    decide(config, Decision(first.path, "drop"))
    changes = [find_change(place, settings) for settings in (config, None)
               for place in (places_of(config) if settings else places_below(config.crop.output.parent))]  # fmt: skip
    assert [change for change in changes if change] == ["made before the last decisions in decisions.csv"] * 2
    assert rows_after(config)[first.path].reason == "by_hand"
    assert not any(find_change(place) for place in places_below(config.crop.output.parent))


def test_the_command_says_what_changed_and_status_what_is_next(tmp_path: Path, config: Config, capsys: Capture) -> None:
    pout = [row for row in read_rows(config.crop.output) if row.label == "pout"]
    (view,) = lost(config, "no_face", "filter")
    decide(config, Decision(pout[0].path, "drop"), Decision(pout[1].path, "move", "smile"))
    decide(config, Decision(view.path, "restore", box=BOX))
    command = ["--config", str(tmp_path / "config.yaml")]
    assert main(["split", *command]) == 0
    assert "split: decisions: 1 dropped, 1 moved to smile, 1 brought back" in capsys.readouterr().err
    decide(config, Decision(pout[0].path, "undo"))
    assert main(["status", *command]) == 0
    assert f"next: fer run {' '.join(command)}" in capsys.readouterr().out
    (file,) = config.split.output.rglob(f"smile/{Path(pout[1].path).name}")
    assert main(["-q", "trace", str(file), *command]) == 0
    told = capsys.readouterr().out
    print(told)
    assert pout[1].path in told
    assert "ends here" not in told


@pytest.mark.slow
def test_a_killed_split_ends_with_the_same_bytes(config: Config) -> None:
    pout = [row for row in read_rows(config.crop.output) if row.label == "pout"]
    (view,) = lost(config, "no_face", "filter")
    decide(config, Decision(pout[0].path, "drop"), Decision(pout[1].path, "move", "smile"))
    decide(config, Decision(view.path, "move", "pout", box=BOX))
    whole = config.split.model_copy(update={"output": config.split.output.with_name("whole")})
    run_stage(SPLIT, whole)
    environment = os.environ | {"PYTHONPATH": str(Path(manifest.__file__).parent.parent)}
    command = [sys.executable, "-c", SPLIT_OR_DIE, str(config.split.input), str(config.split.output)]
    killed = subprocess.run(command, env=environment, capture_output=True, timeout=60, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert not (config.split.output / MANIFEST).exists()
    run_stage(SPLIT, config.split)
    assert list_files(config.split.output) == list_files(whole.output)


def test_a_forgotten_image_leaves_its_new_class_too(config: Config, tmp_path: Path) -> None:
    first = next(row for row in read_rows(config.crop.output) if row.label == "pout")
    decide(config, Decision(first.path, "move", "smile"))
    rows_after(config)
    assert main(["-q", "forget", first.path, "--config", str(tmp_path / "config.yaml"), "--yes"]) == 0
    assert not list(config.split.output.rglob(f"*{Path(first.path).stem}*"))


# without files


def make_rows(*paths: str) -> list[Row]:
    return [Row(path=path, label=path.partition("/")[0]) for path in paths]


def test_a_move_to_its_own_class_is_none() -> None:
    rows = make_rows("a/1.png")
    assert correct(rows, {"a/1": Decision("a/1.png", "move", "a")}) == rows


def test_a_picture_that_its_new_class_has_already_is_a_copy() -> None:
    rows = correct(make_rows("a/1.png", "b/1.png", "c/1.png", "c/2.png"), {
        "a/1": Decision("a/1.png", "move", "b"), "c/1": Decision("c/1.png", "move", "d"), })  # fmt: skip
    renamed = rename_moved(rows)
    assert [(row.path, row.reason) for row in renamed] == [
        ("a/1.png", "copy"), ("b/1.png", ""), ("d/1.png", ""), ("c/2.png", "")]  # fmt: skip


def parting(source: Path, output: Path, **changes: object) -> SplitConfig:
    return SplitConfig.model_validate({"input": source, "output": output, "test_share": 0.25, **changes})


def test_a_new_class_is_like_any_other(tmp_path: Path) -> None:
    source = make_folder(tmp_path / "crops", {f"{label}/{n}.png": draw_noise(n) for label in "ab" for n in range(8)})
    Log(tmp_path).append([Decision(f"a/{number}.png", "move", "c") for number in range(4)])
    run_stage(SPLIT, parting(source, tmp_path / "split"))
    assert {row.label for row in read_rows(tmp_path / "split")} == {"a", "b", "c"}


def test_a_class_that_was_decided_away_is_no_class(tmp_path: Path) -> None:
    source = make_folder(tmp_path / "crops", {f"{label}/{n}.png": draw_noise(n) for label in "ab" for n in range(8)})
    Log(tmp_path).append([Decision(f"a/{number}.png", "drop") for number in range(8)])
    with pytest.raises(UsageError, match=r"no image has the label 'a': use b"):
        run_stage(SPLIT, parting(source, tmp_path / "split", labels=("a", "b")))
