"""Rows and the file that holds them."""

from pathlib import Path

import pytest

from fer_pipeline.dataset.naming import Places
from fer_pipeline.dataset.rows import MANIFEST, Row, Status, is_inside, kept_rows, parse_row, read_rows, write_rows
from fer_pipeline.errors import InputError
from fer_pipeline.files import hash_file, write_aside
from fer_pipeline.vision.boxes import Box

FULL = Row(
    path="smile/0123.jpg",
    label="smile",
    source={"url": "http://x/1", "n": 3},
    sha256="ab",
    status=Status.FAILED,
    reason="OSError",
    box=Box(1, 2, 3.5, 4),
    landmarks=((1.5, 2.0), (3.0, 4.0)),
    group="g",
    split="train",
    attributes={"width": 3, "hash": "00ff"},
)


def test_a_row_survives_writing_and_reading(tmp_path: Path) -> None:
    rows = [Row(path="a.jpg"), FULL]
    write_rows(tmp_path, rows)
    assert read_rows(tmp_path) == rows


def test_a_line_leaves_out_what_is_not_set() -> None:
    assert Row(path="a.jpg").to_line() == '{"path":"a.jpg"}\n'


def test_rows_are_sorted_by_path(tmp_path: Path) -> None:
    write_rows(tmp_path, [Row(path=name) for name in ("b.jpg", "c.jpg", "a.jpg")])
    assert [row.path for row in read_rows(tmp_path)] == ["a.jpg", "b.jpg", "c.jpg"]


def test_the_order_of_the_rows_does_not_change_the_bytes(tmp_path: Path) -> None:
    rows = [Row(path=f"{number}.jpg", attributes={"n": number}) for number in range(5)]
    write_rows(tmp_path, rows)
    first = (tmp_path / MANIFEST).read_bytes()
    write_rows(tmp_path, reversed(rows))
    assert (tmp_path / MANIFEST).read_bytes() == first


def test_only_kept_rows_go_on(tmp_path: Path) -> None:
    write_rows(tmp_path, [Row(path="a.jpg"), Row(path="b.jpg").dropped("copy"), FULL])
    assert [row.path for row in kept_rows(tmp_path)] == ["a.jpg"]


def test_a_row_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        FULL.path = "other"  # type: ignore[misc]


def test_a_dropped_row_says_why_and_keeps_what_was_measured() -> None:
    row = FULL.dropped("copy", copy_of="x.jpg")
    assert (row.status, row.reason) == (Status.DROPPED, "copy")
    assert row.attributes == {"width": 3, "hash": "00ff", "copy_of": "x.jpg"}


def test_a_folder_without_manifest_names_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no finished stage.*run the stage"):
        read_rows(tmp_path)


@pytest.mark.parametrize(
    ("line", "field"),
    [
        ('{"path": "a.jpg"', "line"),
        ('{"label": "smile"}', "path"),
        ('{"path": "a.jpg", "colour": 1}', "colour"),
        ('{"path": "a.jpg", "split": "both"}', "split"),
        ("", "line"),
    ],
)
def test_a_damaged_line_is_named_with_file_line_and_field(tmp_path: Path, line: str, field: str) -> None:
    (tmp_path / MANIFEST).write_text('{"path": "fine.jpg"}\n' + line + "\n")
    with pytest.raises(InputError) as caught:
        read_rows(tmp_path)
    assert str(caught.value).startswith(f"{tmp_path / MANIFEST}:2: {field}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("path", ["../a.jpg", "a/../../b.jpg", "/etc/passwd", "", ".", "a/\0b.jpg"])
def test_a_path_that_leads_out_of_the_folder_is_refused(path: str) -> None:
    assert not is_inside(path)
    with pytest.raises(InputError, match="leads out of its folder"):
        parse_row(Row(path=path).to_line(), "here:1")


@pytest.mark.parametrize("path", ["a.jpg", "smile/a.jpg", "..a/b.jpg", "微笑/a.jpg"])
def test_a_path_below_the_folder_is_taken(path: str) -> None:
    assert parse_row(Row(path=path).to_line(), "here:1").path == path


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_aside(path, [b"old"])

    def chunks() -> list[bytes]:
        raise OSError("no room")

    with pytest.raises(OSError, match="no room"):
        write_aside(path, (chunk for _ in "x" for chunk in chunks()))
    assert path.read_bytes() == b"old"


def test_a_write_leaves_nothing_beside_the_file(tmp_path: Path) -> None:
    write_aside(tmp_path / "file", [b"one", b"two"])
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_bytes() == b"onetwo"


def test_the_hash_is_sha256_of_the_bytes(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"abc")
    assert hash_file(tmp_path / "file") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_a_full_class_folder_goes_on_in_folders_below_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fer_pipeline.dataset.naming.FULL", 2)
    names = ["abcd.jpg", "ab12.jpg", "cd34.jpg", "cd56.jpg"]
    wanted = ["a/abcd.jpg", "a/ab12.jpg", "a/cd/cd34.jpg", "a/cd/cd56.jpg"]
    for _ in range(2):  # what is there stays where it is
        places = Places(tmp_path)
        for name, path in zip(names, wanted, strict=True):
            assert places.find("a", name) == path
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).touch()
    assert places.find("b", "ab12.jpg") == "b/ab12.jpg"
