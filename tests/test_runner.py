"""The promises of the runner: no image is lost, no run is lost, nothing is done twice."""

import errno
import gc
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from support.judges import BAD, BROKEN, INVERT, OR_DIE, SETTLED, lose_a_share
from support.pictures import draw_noise, list_files, make_folder, make_noise_folder

from fer_pipeline.config.schema import CropConfig, DedupeConfig, SplitConfig, StageConfig, UnifyConfig
from fer_pipeline.dataset import rows as manifest
from fer_pipeline.dataset.journal import Journal
from fer_pipeline.dataset.provenance import PROVENANCE, read_provenance, settings_of
from fer_pipeline.dataset.rows import MANIFEST, Row, Status, kept_rows, parse_row, read_rows, write_rows
from fer_pipeline.errors import FerError, InputError, SetupError, UsageError
from fer_pipeline.stages.crop import CROP
from fer_pipeline.stages.dedupe import DEDUPE, drop_copies
from fer_pipeline.stages.records import FILES, OUTCOMES, WAITING
from fer_pipeline.stages.runner import find_change, run_stage, summarise
from fer_pipeline.stages.split import assign_parts
from fer_pipeline.stages.stage import Drop, Keep, Stage
from fer_pipeline.vision.image_io import link_image, read_image

RUN_OR_DIE = """
import sys
from support import judges
from fer_pipeline.config.schema import UnifyConfig
from fer_pipeline.stages.runner import run_stage

run_stage(getattr(judges, sys.argv[2]), UnifyConfig.model_validate_json(sys.argv[1]))
"""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return make_noise_folder(tmp_path / "in", 6)


def settings(source: Path, output: str = "out", **changes: int) -> UnifyConfig:
    return UnifyConfig(input=source, output=source.parent / output, **changes)


def run_killed(config: UnifyConfig, item: str, stage: str = "OR_DIE") -> None:
    """Run in a process of its own, killed with SIGKILL while it judges an item."""
    folders = [str(Path(__file__).parent), str(Path(manifest.__file__).parent.parent)]
    environment = os.environ | {
        "DIE_LINKING" if stage == "LINKED" else "DIE_AT": item,
        "PYTHONPATH": os.pathsep.join(folders),
    }
    command = [sys.executable, "-c", RUN_OR_DIE, config.model_dump_json(), stage]
    killed = subprocess.run(command, env=environment, capture_output=True, timeout=60, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr


def refuse_writing(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    """Every file takes part of what it is given and then no more."""

    def fsync(_: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", fsync)


# 1. every item ends in a row


def test_every_item_ends_in_a_row(tmp_path: Path) -> None:
    pictures = {f"a/{name}.jpg": draw_noise(3) for name in ("fine", "raise", "disk", "drop", "twice")}
    source = make_folder(tmp_path / "in", {**pictures, "a/empty.jpg": b"", "a/html.jpg": b"<html>"})
    write_rows(source, [*read_rows(source), Row(path="a/missing.jpg"), Row(path="a/gone.jpg").dropped("copy")])
    summary = run_stage(BAD, settings(source))
    rows = {row.path: (row.status, row.reason) for row in read_rows(tmp_path / "out")}
    assert rows == {
        "a/disk.jpg": (Status.FAILED, "file_error"),
        "a/drop.jpg": (Status.DROPPED, "not_wanted"),
        "a/empty.jpg": (Status.DROPPED, "empty"),
        "a/fine.jpg": (Status.KEPT, ""),
        "a/html.jpg": (Status.DROPPED, "unreadable"),
        "a/missing.jpg": (Status.FAILED, "file_missing"),
        "a/raise.jpg": (Status.FAILED, "internal_error"),
        "a/twice.jpg": (Status.KEPT, ""),
        "a/twice-2.jpg": (Status.KEPT, ""),
    }
    assert len(rows) >= len(list(kept_rows(source)))
    assert (summary.kept, summary.total) == (3, 9)
    assert summary.reasons["internal_error"] == 1


def test_only_kept_images_have_a_file(tmp_path: Path) -> None:
    pictures = {f"a/{name}.jpg": draw_noise(3) for name in ("fine", "raise", "drop", "twice")}
    run_stage(BAD, settings(make_folder(tmp_path / "in", pictures)))
    images = sorted(path.name for path in (tmp_path / "out" / "a").iterdir())
    assert images == ["fine.jpg", "twice-2.jpg", "twice.jpg"]


def test_what_was_known_of_an_image_goes_on_with_it(tmp_path: Path) -> None:
    source = make_folder(
        tmp_path / "in", {"a/1.jpg": draw_noise(1)}, source={"url": "u"}, group="g", attributes={"x": 1}
    )
    run_stage(INVERT, settings(source))
    (row,) = read_rows(tmp_path / "out")
    assert (row.source, row.group, row.label, row.attributes["x"]) == ({"url": "u"}, "g", "a", 1)
    assert "mean" in row.attributes


def test_an_untouched_image_is_linked_and_a_changed_one_written_anew(source: Path) -> None:
    config = CropConfig(input=source, output=source.parent / "linked")
    run_stage(Stage("crop", process_image=lambda *_: Keep()), config)
    assert (source / "a/00.jpg").samefile(config.output / "a/00.jpg")
    run_stage(INVERT, settings(source))
    assert not (source / "a/00.jpg").samefile(source.parent / "out/a/00.jpg")


def test_the_input_folder_is_not_changed(source: Path) -> None:
    before = list_files(source)
    run_stage(INVERT, settings(source), workers=1)
    assert list_files(source) == before


# 2. a killed run goes on where it stopped


@pytest.mark.slow
def test_a_killed_run_ends_with_the_same_bytes_as_one_that_was_not(source: Path) -> None:
    killed, whole = settings(source, "killed"), settings(source, "whole")
    run_stage(OR_DIE, whole)
    run_killed(killed, "a/03.jpg")
    assert not (killed.output / MANIFEST).exists()
    with Journal(killed.output, OUTCOMES) as journal:
        assert [entry.item for entry in journal.entries()] == ["a/00.jpg", "a/01.jpg", "a/02.jpg"]
    done = (killed.output / "a/00.jpg").stat().st_mtime_ns
    assert run_stage(OR_DIE, killed).fresh
    assert list_files(killed.output) == list_files(whole.output)
    assert (killed.output / "a/00.jpg").stat().st_mtime_ns == done  # it was not judged again


@pytest.mark.slow
@pytest.mark.parametrize("torn", [1, 30])
def test_a_torn_last_line_changes_nothing_in_the_end(source: Path, torn: int) -> None:
    killed, whole = settings(source, "killed"), settings(source, "whole")
    run_stage(OR_DIE, whole)
    run_killed(killed, "a/04.jpg")
    journal = killed.output / OUTCOMES
    os.truncate(journal, journal.stat().st_size - torn)
    run_stage(OR_DIE, killed)
    assert list_files(killed.output) == list_files(whole.output)


@pytest.mark.slow
@pytest.mark.parametrize("name", [".00.jpg.part", ".00.jpg.0123abcd.part"])
def test_half_a_file_that_a_killed_process_left_does_not_stay(source: Path, name: str) -> None:
    killed, whole = settings(source, "killed"), settings(source, "whole")
    run_killed(killed, "a/03.jpg")
    (killed.output / "a" / name).write_bytes(b"half a photo")
    for config in (killed, whole):
        run_stage(OR_DIE, config)
    assert list_files(killed.output) == list_files(whole.output)


@pytest.mark.slow
def test_a_run_killed_twice_and_then_settled_ends_the_same(source: Path) -> None:
    killed, whole = settings(source, "killed"), settings(source, "whole")
    run_killed(killed, "a/01.jpg", "SETTLED")
    run_killed(killed, "a/05.jpg", "SETTLED")
    for config in (killed, whole):
        run_stage(SETTLED, config)
    assert list_files(killed.output) == list_files(whole.output)


def test_a_run_killed_between_manifest_and_notes_is_finished(source: Path) -> None:
    config = settings(source)
    run_stage(INVERT, config)
    before = list_files(config.output)
    (config.output / FILES).write_bytes(b'"a/00.jpg"\n')
    assert not run_stage(INVERT, config).fresh
    assert list_files(config.output) == before


def test_a_run_killed_while_it_wrote_its_provenance_can_go_on(source: Path) -> None:
    config = settings(source)
    config.output.mkdir()
    (config.output / f".{PROVENANCE}.part").write_bytes(b'{"sta')
    assert run_stage(INVERT, config).kept == 6


# 3. a finished stage is a no-op


def test_a_finished_stage_is_left_alone(source: Path) -> None:
    first = run_stage(INVERT, settings(source))
    files = {path: path.stat().st_mtime_ns for path in (source.parent / "out").rglob("*.jp*")}
    second = run_stage(BROKEN, settings(source))  # not even its models are looked for
    assert (first.fresh, second.fresh) == (True, False)
    assert (first.kept, first.reasons) == (second.kept, second.reasons)
    assert files == {path: path.stat().st_mtime_ns for path in (source.parent / "out").rglob("*.jp*")}


def test_the_manifest_is_sorted_by_path(tmp_path: Path) -> None:
    names = ["b/2.jpg", "a/twice.jpg", "a/10.jpg", "B/1.jpg", "a/9.jpg"]
    run_stage(BAD, settings(make_folder(tmp_path / "in", {name: draw_noise(1) for name in names})))
    paths = [row.path for row in read_rows(tmp_path / "out")]
    assert paths == sorted(paths)


def test_a_finished_folder_holds_images_and_records_only(source: Path) -> None:
    run_stage(INVERT, settings(source))
    assert sorted(list_files(source.parent / "out")) == [
        *(f"a/{number:02d}.jpg" for number in range(6)), MANIFEST, OUTCOMES, PROVENANCE]  # fmt: skip


# 4. what changed is brought up to date, and nothing else is done again


def is_clean_start(config: UnifyConfig, stage: Stage[Any] = INVERT) -> bool:
    """Whether a folder is, byte for byte, that of a clean start on the same input."""
    clean = config.model_copy(update={"output": config.output.with_name("clean")})
    run_stage(stage, clean, force=True)
    return list_files(clean.output) == list_files(config.output)


def test_more_images_are_processed_and_the_others_are_not_again(source: Path) -> None:
    config, rows = settings(source), read_rows(source)
    write_rows(source, rows[:4])
    run_stage(INVERT, config)
    times = {path: path.stat().st_mtime_ns for path in (config.output / "a").iterdir()}
    write_rows(source, rows)
    summary = run_stage(INVERT, config)
    assert (summary.fresh, summary.counts, summary.kept) == (True, (4, 2, 0), 6)
    assert all(path.stat().st_mtime_ns == time for path, time in times.items())
    assert is_clean_start(config)


def test_images_that_went_take_their_files_along(source: Path) -> None:
    config = settings(source)
    run_stage(INVERT, config)
    write_rows(source, read_rows(source)[1:])
    summary = run_stage(INVERT, config)
    assert (summary.counts, summary.kept) == ((5, 0, 1), 5)
    assert not (config.output / "a/00.jpg").exists()
    assert is_clean_start(config)


def test_another_label_or_group_costs_no_image(source: Path) -> None:
    config = settings(source)
    run_stage(OR_DIE, config)
    write_rows(source, [row.replace(group="g", source={"url": "u"}) for row in read_rows(source)])
    assert run_stage(replace(INVERT, process_image=forbidden), config).counts == (6, 0, 0)
    assert {row.group for row in read_rows(config.output)} == {"g"}


def forbidden(*_: object) -> Keep:
    raise AssertionError("processed again")


def test_changed_settings_are_named_and_every_image_is_processed_again(source: Path) -> None:
    config = settings(source, quality=90)
    run_stage(INVERT, config)
    changed = config.model_copy(update={"quality": 80})
    assert "unify.quality 90 → 80" in find_change(INVERT, changed)
    summary = run_stage(INVERT, changed)
    assert (summary.changes, summary.counts) == (("unify.quality 90 → 80",), (0, 6, 0))
    assert find_change(INVERT, changed) == ""
    assert is_clean_start(changed)


def test_settings_that_no_image_depends_on_process_none_again(source: Path) -> None:
    first = DedupeConfig(input=source, output=source.parent / "dedupe")
    run_stage(DEDUPE, first)
    second = first.model_copy(update={"distance": 0})
    summary = run_stage(replace(DEDUPE, process_image=forbidden), second)
    assert (summary.changes, summary.counts) == (("dedupe.distance 4 → 0",), (6, 0, 0))


def test_a_stage_after_a_changed_one_reuses_what_does_not_depend_on_it(source: Path) -> None:
    first = DedupeConfig(input=source, output=source.parent / "dedupe")
    second = StageConfig(input=first.output, output=source.parent / "second")
    stage: Stage[StageConfig] = Stage("filter", process_image=keep)
    run_stage(DEDUPE, first)
    run_stage(stage, second)
    run_stage(DEDUPE, first.model_copy(update={"distance": 0}))
    assert run_stage(replace(stage, process_image=forbidden), second).counts == (6, 0, 0)
    run_stage(DEDUPE, first.model_copy(update={"hash": "dhash"}))
    assert run_stage(stage, second).counts == (0, 6, 0)


def keep(*_: object) -> Keep:
    return Keep(attributes={"seen": True})


def test_what_failed_is_tried_again_once_anything_changed(source: Path) -> None:
    config, photo = settings(source), (source / "a/03.jpg").read_bytes()
    (source / "a/03.jpg").unlink()
    assert run_stage(INVERT, config).reasons == {"file_missing": 1}
    (source / "a/03.jpg").write_bytes(photo)
    write_rows(source, read_rows(source)[1:])
    assert run_stage(INVERT, config).counts == (4, 1, 1)
    assert is_clean_start(config)


def test_force_processes_every_image_again(source: Path) -> None:
    config = settings(source)
    run_stage(INVERT, config)
    assert run_stage(INVERT, config, force=True).counts == (0, 6, 0)
    assert is_clean_start(config)


@pytest.mark.slow
def test_a_folder_killed_while_it_was_brought_up_to_date_ends_as_a_clean_start(source: Path) -> None:
    config = settings(source)
    run_stage(OR_DIE, config)
    rows = read_rows(source)
    write_rows(source, rows[2:])
    changed = config.model_copy(update={"quality": 80})
    run_killed(changed, "a/04.jpg")
    assert not (config.output / MANIFEST).exists()
    write_rows(source, rows[1:5])
    run_stage(OR_DIE, changed)
    assert is_clean_start(changed, OR_DIE)
    assert not (config.output / FILES).exists()


@pytest.mark.slow
def test_a_folder_killed_while_files_were_put_in_place_ends_as_a_clean_start(source: Path) -> None:
    config = settings(source)
    run_killed(config, "a/02.jpg", "LINKED")
    assert (config.output / WAITING).is_file()
    write_rows(source, read_rows(source)[3:])
    run_stage(SETTLED, config)
    assert is_clean_start(config, SETTLED)


def test_files_of_other_people_stay_whatever_changes(source: Path) -> None:
    config = settings(source)
    run_stage(INVERT, config)
    own = {"a/thesis.txt": b"dear", "notes.md": b"notes", "b/.x.jpg.part": b"half", "a/zz.jpg": b"photo"}
    for name, data in own.items():
        (config.output / name).parent.mkdir(exist_ok=True)
        (config.output / name).write_bytes(data)
    inodes = {name: (config.output / name).stat().st_ino for name in own}
    write_rows(source, [])
    write_rows(source, [Row(path="a/00.jpg", label="a")])
    run_stage(INVERT, config, force=True)
    run_stage(INVERT, config.model_copy(update={"quality": 60}))
    assert {name: (config.output / name).read_bytes() for name in own} == own
    assert {name: (config.output / name).stat().st_ino for name in own} == inodes
    assert not (config.output / "a/01.jpg").exists()


def test_force_gives_up_nothing_for_a_set_up_that_cannot_work(source: Path) -> None:
    run_stage(INVERT, settings(source))
    with pytest.raises(SetupError):
        run_stage(BROKEN, settings(source), force=True)
    assert not run_stage(INVERT, settings(source)).fresh


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize("name", ["thesis.txt", PROVENANCE])
def test_a_folder_not_made_by_fer_is_never_emptied(source: Path, name: str, force: bool) -> None:
    folder = source.parent / "out"
    (folder / "deep").mkdir(parents=True)
    (folder / name).write_text('{"cake": "three eggs"}')
    (folder / "deep" / "photo.jpg").write_text("dear")
    before = list_files(folder)
    with pytest.raises(InputError, match="name another output folder"):
        run_stage(INVERT, settings(source), force=force)
    assert list_files(folder) == before


@pytest.mark.parametrize("force", [False, True])
def test_a_folder_made_by_another_stage_is_never_emptied(source: Path, force: bool) -> None:
    run_stage(INVERT, settings(source))
    folder = source.parent / "out"
    before = list_files(folder)
    with pytest.raises(InputError, match="was made by `fer unify`: name another output folder"):
        run_stage(CROP, CropConfig(input=source, output=folder), force=force)
    with pytest.raises(UsageError, match=r"crop.output is its input folder"):
        run_stage(CROP, CropConfig(input=folder, output=folder), force=force)
    assert list_files(folder) == before


@pytest.mark.parametrize("stage", [INVERT, DEDUPE])
def test_a_file_that_somebody_deleted_is_made_again(source: Path, stage: Stage[Any]) -> None:
    kind = UnifyConfig if stage is INVERT else DedupeConfig
    config = kind(input=source, output=source.parent / "out")
    run_stage(stage, config)
    before = list_files(config.output)
    row = next(iter(kept_rows(config.output)))
    (config.output / row.path).unlink()
    run_stage(stage, config)
    assert list_files(config.output) == before


def test_an_unreadable_provenance_is_told_in_one_line(source: Path) -> None:
    run_stage(INVERT, settings(source))
    (source.parent / "out" / PROVENANCE).write_text("{")
    with pytest.raises(InputError, match=r"provenance.json: unreadable .* delete it and run"):
        run_stage(INVERT, settings(source), force=True)


def test_provenance_are_nested_so_that_the_way_to_a_folder_is_known(source: Path) -> None:
    run_stage(INVERT, settings(source, quality=77))
    second = CropConfig(input=source.parent / "out", output=source.parent / "second")
    run_stage(Stage("crop", process_image=lambda *_: Drop("no")), second)
    assert (settings_of(second.output, "unify") or {})["quality"] == 77
    assert (settings_of(second.output, "crop") or {})["size"] == 96
    assert settings_of(second.output, "filter") is None
    assert read_provenance(source) is None


# 5. a broken set-up is not taken for a broken image


def test_a_broken_set_up_stops_the_stage_before_a_manifest_exists(source: Path) -> None:
    with pytest.raises(SetupError, match=r"model.dat is missing"):
        run_stage(BROKEN, settings(source))
    assert not (source.parent / "out" / MANIFEST).exists()
    assert run_stage(INVERT, settings(source)).kept == 6  # once fixed, it goes on


@pytest.mark.parametrize("workers", [1, 2])
def test_a_set_up_that_breaks_on_the_way_stops_the_stage(tmp_path: Path, workers: int) -> None:
    source = make_folder(tmp_path / "in", {f"a/{name}.jpg": draw_noise(1) for name in ("fine", "setup")})
    with pytest.raises(SetupError, match="the model went away"):
        run_stage(BAD, settings(source), workers=workers)
    assert not (tmp_path / "out" / MANIFEST).exists()


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("share", ["in", "in/a"])
def test_an_input_that_is_no_longer_mounted_stops_the_stage(source: Path, share: str, workers: int) -> None:
    config, folder = settings(source), source.parent / share
    losing = replace(INVERT, process_image=partial(lose_a_share, folder))
    with pytest.raises(SetupError, match=r"in/a/0\d.jpg: cannot be read \(No such file or directory\): mount its"):
        run_stage(losing, config, workers=workers)
    assert not (config.output / MANIFEST).exists()
    folder.with_name("unmounted").rename(folder)
    assert run_stage(INVERT, config).kept == 6


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="needs a file whose reading fails")
def test_a_disk_that_cannot_read_a_file_stops_the_stage_and_without_the_file_it_goes_on(source: Path) -> None:
    config, broken = settings(source), source / "a" / "03.jpg"
    broken.unlink()
    broken.symlink_to("/proc/self/mem")
    with pytest.raises(SetupError, match=r"in/a/03.jpg: cannot be read \(Input/output error\): .* or delete the file"):
        run_stage(INVERT, config)
    assert not (config.output / MANIFEST).exists()
    broken.unlink()
    assert run_stage(INVERT, config).reasons == {"file_missing": 1}


def test_missing_landmark_weights_stop_the_crop_stage(source: Path) -> None:
    config = CropConfig(input=source, output=source.parent / "crops", landmarks=source / "none.dat")
    with pytest.raises(SetupError, match=r"crop.landmarks"):
        run_stage(CROP, config)
    assert not (config.output / MANIFEST).exists()


def test_an_output_below_a_file_is_told_in_one_line(source: Path) -> None:
    (source.parent / "file").write_text("in the way")
    with pytest.raises(SetupError, match="cannot write") as caught:
        run_stage(INVERT, settings(source, "file/out"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS])
def test_a_disk_that_takes_no_more_is_told_in_one_line(
    source: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    with monkeypatch.context() as full:
        refuse_writing(full, code)
        with pytest.raises(SetupError, match=f"cannot write: {os.strerror(code)}"):
            run_stage(INVERT, settings(source))
    assert run_stage(INVERT, settings(source)).kept == 6


@pytest.mark.slow
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_journal_that_takes_no_more_stops_the_stage_in_one_line(source: Path) -> None:
    config = settings(source)
    run_killed(config, "a/03.jpg")
    (config.output / OUTCOMES).unlink()
    (config.output / OUTCOMES).symlink_to("/dev/full")
    with pytest.raises(SetupError, match="No space left on device"):
        run_stage(INVERT, config)
    assert not (config.output / MANIFEST).exists()
    (config.output / OUTCOMES).unlink()
    assert run_stage(INVERT, config).kept == 6


def test_a_full_disk_while_an_image_is_written_is_not_that_images_fault(
    source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as full:
        full.setattr("fer_pipeline.vision.image_io.write_aside", refuse)
        with pytest.raises(SetupError, match="No space left"):
            run_stage(INVERT, settings(source))
    assert run_stage(INVERT, settings(source)).reasons == {}


def test_an_input_without_a_manifest_or_an_image_names_the_stage_to_run(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="run `fer crawl` or `fer import` first"):
        run_stage(INVERT, settings(tmp_path / "none"))
    empty = make_folder(tmp_path / "in", {})
    with pytest.raises(InputError, match="has no image left for `fer unify`"):
        run_stage(INVERT, settings(empty))
    assert not (tmp_path / "out" / MANIFEST).exists()


# 6. the same rows in this process and in others


def test_one_worker_and_two_write_the_same_bytes(tmp_path: Path) -> None:
    source = make_noise_folder(tmp_path / "in", 20)
    for workers in (1, 2):
        run_stage(INVERT, settings(source, f"by{workers}"), workers=workers)
    assert list_files(tmp_path / "by1") == list_files(tmp_path / "by2")


@pytest.mark.slow
def test_a_worker_that_dies_costs_one_image(tmp_path: Path) -> None:
    pictures = {f"a/{name}.jpg": draw_noise(1) for name in ("1", "2", "die", "exit", "fine")}
    summary = run_stage(BAD, settings(make_folder(tmp_path / "in", pictures)), workers=2)
    rows = {row.path: (row.status, row.reason) for row in read_rows(tmp_path / "out")}
    assert {path for path, row in rows.items() if row == (Status.FAILED, "crash")} == {"a/die.jpg", "a/exit.jpg"}
    assert (summary.kept, summary.reasons) == (3, {"crash": 2})


def test_a_second_command_on_a_folder_is_refused(source: Path) -> None:
    config = settings(source)
    with Journal(config.output), pytest.raises(InputError, match="another fer command is writing here"):
        run_stage(INVERT, config, force=True)
    assert run_stage(INVERT, config).kept == 6


# settle


def test_what_settle_drops_has_a_row_and_no_file(source: Path) -> None:
    config = settings(source)
    summary = run_stage(SETTLED, config)
    assert (summary.kept, summary.reasons) == (5, {"last": 1})
    assert not (config.output / "a/05.jpg").exists()
    assert (config.output / "a/04.jpg").samefile(source / "a/04.jpg")
    assert {row.group for row in kept_rows(config.output)} == {"g"}


def test_a_settle_that_loses_a_row_is_a_bug_and_no_result(source: Path) -> None:
    stage: Stage[StageConfig] = Stage("dedupe", finalize_rows=lambda rows, _: list(rows)[1:])
    with pytest.raises(AssertionError, match="finalize_rows lost rows"):
        run_stage(stage, StageConfig(input=source, output=source.parent / "out"))
    assert not (source.parent / "out" / MANIFEST).exists()


def test_a_kept_row_lands_where_the_stage_says(source: Path) -> None:
    stage: Stage[StageConfig] = Stage("split", finalize_rows=lambda rows, _: rows, locate=lambda row: f"sub/{row.path}")
    config = StageConfig(input=source, output=source.parent / "out")
    run_stage(stage, config)
    assert (config.output / "sub/a/00.jpg").samefile(source / "a/00.jpg")


def test_stages_run_in_order_and_each_is_summarised(source: Path) -> None:
    first: Stage[StageConfig] = Stage("dedupe", finalize_rows=lambda rows, _: rows)
    second = replace(first, name="filter")
    middle = StageConfig(input=source, output=source.parent / "one")
    last = StageConfig(input=middle.output, output=source.parent / "two")
    summaries = [run_stage(first, middle), run_stage(second, last)]
    assert [(one.stage, one.kept, one.fresh) for one in summaries] == [("dedupe", 6, True), ("filter", 6, True)]
    assert summarise("filter", last.output).kept == 6


def test_every_refusal_is_an_error_of_ours() -> None:
    assert all(issubclass(kind, FerError) for kind in (InputError, SetupError, UsageError))


def test_a_finished_folder_can_be_moved(source: Path) -> None:
    config = settings(source)
    run_stage(INVERT, config)
    moved = Path(shutil.move(config.output, source.parent / "moved"))
    assert not run_stage(INVERT, settings(source, "moved")).fresh
    assert read_image(moved / "a/00.jpg").shape == (40, 40, 3)
    link_image(moved / "a/00.jpg", moved / "a/copy.jpg")


class Watched:
    """Rows read one after another, that note how many of them were alive at a time."""

    def __init__(self, rows: Iterable[Row]) -> None:
        self.lines = [row.to_line() for row in rows]
        self.most = 0

    def __iter__(self) -> Iterator[Row]:
        for number, line in enumerate(self.lines):
            if number % 50 == 0:
                self.most = max(self.most, sum(type(one) is Row for one in gc.get_objects()))
            yield parse_row(line, "test")


@pytest.mark.parametrize("settle", [drop_copies, assign_parts])
def test_settling_holds_no_rows(settle: Callable[[Iterable[Row], Any], Iterable[Row]], tmp_path: Path) -> None:
    attributes = {"sharpness": 1.0, "width": 9, "height": 9}
    rows = Watched(
        Row(path=f"a/{number:04d}.png", label="a", attributes={**attributes, "hash": f"{number:016x}"})
        for number in range(400)
    )
    kind = DedupeConfig if settle is drop_copies else SplitConfig
    gc.freeze()  # `get_objects` names what is made from here on, and not the millions of other modules
    try:
        assert sum(1 for _ in settle(rows, kind(input=tmp_path, output=tmp_path / "out"))) == 400
    finally:
        gc.unfreeze()
    assert rows.most < 10
