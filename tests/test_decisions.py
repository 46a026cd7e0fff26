"""Decisions outlive kills, edits and each other, and say which line is wrong."""

import errno
import multiprocessing
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fer_pipeline.dataset import rows as manifest
from fer_pipeline.dataset.decisions import (
    DECISIONS,
    HEADER,
    Decision,
    check,
    hash_decisions,
    parse_decisions,
    read_decisions,
    to_line,
)
from fer_pipeline.errors import InputError, SetupError
from fer_pipeline.review.decision_log import Log
from fer_pipeline.vision.boxes import Box

HEAD = ",".join(HEADER) + "\n"


def write(home: Path, *lines: str, head: str = HEAD) -> Path:
    (home / DECISIONS).write_bytes((head + "".join(lines)).encode())
    return home


def line(path: str = "a/1.png", action: str = "drop", label: str = "", box: str = "") -> str:
    return f"2026-01-01T00:00:00+00:00,{path},{action},{label},{box},\n"


def actions(home: Path) -> dict[str, str]:
    return {image: one.action for image, one in read_decisions(home).items()}


def test_a_backup_of_hard_links_keeps_the_decisions_it_holds(tmp_path: Path) -> None:
    write(tmp_path, line())
    backup = tmp_path / "backup.csv"
    backup.hardlink_to(tmp_path / DECISIONS)
    before = backup.read_bytes()
    Log(tmp_path).append(parse_decisions((HEAD + line("a/2.png")).encode(), ""))
    assert backup.read_bytes() == before


def test_without_a_file_nothing_was_decided(tmp_path: Path) -> None:
    assert read_decisions(tmp_path) == {}
    assert hash_decisions(tmp_path) == ""


def test_the_last_decision_on_an_image_counts_whatever_its_suffix(tmp_path: Path) -> None:
    write(tmp_path, line("a/1.jpg", "drop"), line("a/2.png", "keep"), line("a/1.png", "move", "b"))
    found = read_decisions(tmp_path)
    assert (found["a/1"].action, found["a/1"].label, found["a/1"].line) == ("move", "b", 4)
    assert actions(tmp_path) == {"a/1": "move", "a/2": "keep"}


def test_undo_gives_the_decision_before_it_back(tmp_path: Path) -> None:
    undo = line("a/1.png", "undo")
    write(tmp_path, line(action="keep"), line(action="drop"), undo)
    assert actions(tmp_path) == {"a/1": "keep"}
    write(tmp_path, line(action="keep"), undo, undo)
    assert actions(tmp_path) == {}


def test_faces_of_one_photo_are_images_of_their_own(tmp_path: Path) -> None:
    write(tmp_path, line("a/1-2.png", "drop"))
    assert actions(tmp_path) == {"a/1-2": "drop"}


paths = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=20).filter(manifest.is_inside)


@settings(max_examples=60, deadline=None)
@given(paths, st.sampled_from(["b", 'a "b", c', "=1+1", "微笑", "x'y;z"]), st.booleans())
def test_what_is_written_is_read_again(path: str, label: str, boxed: bool) -> None:
    box = Box(1.5, 2, 30, 40.25) if boxed else None
    told = check(Decision(path, "move", label, box, "me", "now", 2), "here")
    assert parse_decisions(HEAD.encode() + to_line(told), "x") == [told]


@pytest.mark.parametrize(
    ("bad", "told"),
    [
        ("garbage\n", "not a line of time,path,action,label,box,by"),
        ("1,2,3,4,5,6,7,8\n", "not a line of"),
        ('t,"a/1.png,drop,,,\n', "not a line of"),
        (line(action="delete"), "action 'delete' is none of keep, drop, move, restore, undo"),
        (line("../../etc/passwd"), "path '../../etc/passwd' is not one below a folder"),
        (line("/etc/passwd"), "path '/etc/passwd' is not one below a folder"),
        (line("a/\x00.png"), "is not one below a folder"),
        (line(action="move"), "label '' is none that a folder can have"),
        (line(action="move", label="../b"), "label '../b' is none"),
        (line(action="move", label="b/c"), "label 'b/c' is none"),
        (line(action="move", label="x" * 65), "is none that a folder can have"),
        (line(action="move", label="a\u202eb"), "is none that a folder can have"),
        (line(action="drop", label="b"), "a label belongs to `move` alone"),
        (line(action="drop", box="1 2 3 4"), "a box belongs to `restore` and `move` alone"),
        (line(action="restore", box="1 2 3"), "not a line of"),
        (line(action="restore", box="3 2 1 4"), "box is not `left top right bottom` in pixels"),
        (line(action="restore", box="nan 0 nan 1"), "box is not"),
        (line(action="restore", box="0 0 1e9 1"), "box is not"),
    ],
)  # fmt: skip
def test_garbage_is_refused_by_its_line(tmp_path: Path, bad: str, told: str) -> None:
    write(tmp_path, line("a/0.png", "keep"), bad, line("a/2.png", "keep"))
    with pytest.raises(InputError, match=r"decisions\.csv:3: ") as caught:
        read_decisions(tmp_path)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_something_else_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"decisions\.csv:1: does not begin with time,path"):
        read_decisions(write(tmp_path, head="name;age\n"))
    (tmp_path / DECISIONS).unlink()
    (tmp_path / DECISIONS).mkdir()
    with pytest.raises(InputError, match="cannot be read"):
        read_decisions(tmp_path)


def test_bytes_that_are_no_text_are_refused_by_their_line(tmp_path: Path) -> None:
    (tmp_path / DECISIONS).write_bytes(HEAD.encode() + b"\xff\xfe,\x80\n")
    with pytest.raises(InputError, match=r"decisions\.csv:2: not a line"):
        read_decisions(tmp_path)


def test_what_a_spreadsheet_makes_of_the_file_is_read(tmp_path: Path) -> None:
    text = "\ufeff" + (HEAD + line("a/1.png", "move", "b") + "\n").replace("\n", "\r\n")
    (tmp_path / DECISIONS).write_bytes(text.encode())
    assert actions(tmp_path) == {"a/1": "move"}


@pytest.mark.parametrize("end", ["\r", "\r\n"])
def test_whatever_ends_the_lines_a_new_one_is_added_to_them(tmp_path: Path, end: str) -> None:
    text = (HEAD + line("a/1.png", "move", "b") + line("a/2.png")).replace("\n", end)
    (tmp_path / DECISIONS).write_bytes(text.encode())
    log = Log(tmp_path)
    assert actions(tmp_path) == {"a/1": "move", "a/2": "drop"}
    assert log.append([Decision("a/3.png", "keep")]) == [4]
    assert log.append([Decision("a/4.png", "keep")]) == [5]
    assert (tmp_path / DECISIONS).read_bytes().startswith(text.encode())
    assert actions(tmp_path) == {"a/1": "move", "a/2": "drop", "a/3": "keep", "a/4": "keep"}


def test_a_line_torn_anywhere_at_the_end_is_ignored_and_repaired(tmp_path: Path) -> None:
    whole = line("a/2.png", "move", "b")
    for torn in range(1, len(whole) - 2):
        home = tmp_path / str(torn)
        home.mkdir()
        write(home, line(action="keep"), whole[:torn])
        assert actions(home) == {"a/1": "keep"}, whole[:torn]
        Log(home).append([Decision("a/3.png", "drop")])
        assert actions(home) == {"a/1": "keep", "a/3": "drop"}, whole[:torn]


def test_a_torn_header_is_repaired(tmp_path: Path) -> None:
    write(tmp_path, head=HEAD[:9])
    Log(tmp_path).append([Decision("a/3.png", "drop")])
    assert actions(tmp_path) == {"a/3": "drop"}


@pytest.mark.parametrize(
    "content",
    [
        "my notes",
        "name,photo\n1,a.jpg\n",
        HEAD + line(action="keep") + line("a/2.png", "dorp").rstrip("\n"),
        HEAD + line(action="keep") + "1,2,3,4,5,6,7",
    ],
)
def test_what_a_person_wrote_is_never_cut_off(tmp_path: Path, content: str) -> None:
    path = tmp_path / DECISIONS
    path.write_text(content)
    before = path.stat()
    with pytest.raises(InputError, match=DECISIONS):
        Log(tmp_path).append([Decision("a/3.png", "drop")])
    assert path.read_text() == content
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_a_last_line_that_an_editor_left_open_stays(tmp_path: Path) -> None:
    write(tmp_path, line(action="keep"), line("a/2.png").rstrip("\n"))
    assert actions(tmp_path) == {"a/1": "keep", "a/2": "drop"}
    Log(tmp_path).append([Decision("a/3.png", "keep")])
    assert actions(tmp_path) == {"a/1": "keep", "a/2": "drop", "a/3": "keep"}


def append_many(home: Path, name: str, count: int) -> None:
    log = Log(home)
    for number in range(count):
        log.append([Decision(f"{name}/{number}.png", "drop")])


def test_processes_and_threads_lose_nothing_of_each_other(tmp_path: Path) -> None:
    others = [
        multiprocessing.get_context("fork").Process(target=append_many, args=(tmp_path, name, 40)) for name in "ab"
    ]
    for other in others:
        other.start()
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda name: append_many(tmp_path, name, 40), "cd"))
    for other in others:
        other.join()
    assert len(read_decisions(tmp_path)) == 160
    assert [one.line for one in Log(tmp_path).read()] == list(range(2, 162))


@pytest.mark.slow
def test_a_kill_between_writing_and_syncing_costs_at_most_that_line(tmp_path: Path) -> None:
    code = """
import os, signal, sys
from pathlib import Path
from fer_pipeline.dataset.decisions import Decision
from fer_pipeline.review.decision_log import Log

log = Log(Path(sys.argv[1]))
log.append([Decision("a/1.png", "keep")])
os.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL)
log.append([Decision("a/2.png", "drop")])
"""
    environment = os.environ | {"PYTHONPATH": str(Path(manifest.__file__).parent.parent)}
    command = [sys.executable, "-c", code, str(tmp_path)]
    killed = subprocess.run(command, env=environment, capture_output=True, timeout=60, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert actions(tmp_path)["a/1"] == "keep"
    Log(tmp_path).append([Decision("a/3.png", "drop")])  # the lock died with its holder
    assert actions(tmp_path).keys() - {"a/2"} == {"a/1", "a/3"}


def test_a_full_disk_leaves_the_file_as_it_was_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = Log(tmp_path)
    log.append([Decision("a/1.png", "keep")])
    before = (tmp_path / DECISIONS).read_bytes()

    def fsync(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(SetupError, match="cannot write: No space left on device: make room"):
        log.append([Decision("a/2.png", "drop")])
    assert (tmp_path / DECISIONS).read_bytes() == before


def test_to_a_file_with_a_broken_line_nothing_is_added(tmp_path: Path) -> None:
    log = Log(tmp_path)
    write(tmp_path, line(action="keep"), "nonsense\n")
    before = (tmp_path / DECISIONS).read_bytes()
    with pytest.raises(InputError, match=r"decisions\.csv:3: not a line"):
        log.append([Decision("a/2.png", "drop")])
    assert (tmp_path / DECISIONS).read_bytes() == before


def test_a_batch_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    log = Log(tmp_path)
    with pytest.raises(InputError, match=r"\.\./x: path"):
        log.append([Decision("a/1.png", "keep"), Decision("../x", "drop")])
    assert log.read() == []


def test_what_others_write_and_edit_is_seen(tmp_path: Path) -> None:
    mine, other = Log(tmp_path), Log(tmp_path)
    mine.append([Decision("a/1.png", "keep")])
    other.append([Decision("a/2.png", "drop")])
    assert [one.path for one in mine.read()] == ["a/1.png", "a/2.png"]
    assert [one.line for one in mine.read()] == [2, 3]
    assert mine.rewritten == 0
    write(tmp_path, line("a/9.png"))
    assert [one.path for one in mine.read()] == ["a/9.png"]
    assert mine.rewritten == 1


def test_the_hash_tells_what_a_split_would_make_of_them(tmp_path: Path) -> None:
    write(tmp_path, line("a/1.png", "drop"), line("a/2.png", "keep"))
    before = hash_decisions(tmp_path)
    write(tmp_path, line("a/3.png", "keep"), line("a/1.jpg", "drop"), line("a/4.png"), line("a/4.png", "undo"))
    assert hash_decisions(tmp_path) == before != ""
    write(tmp_path, line("a/1.png", "move", "b"))
    assert hash_decisions(tmp_path) != before
