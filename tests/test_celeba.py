"""CelebA is read from the lists of its makers and from those of the competition sites."""

import os
from pathlib import Path

import pytest
from support.pictures import draw_noise

from fer_pipeline.__main__ import main
from fer_pipeline.dataset.rows import Status, read_rows
from fer_pipeline.errors import InputError, UsageError
from fer_pipeline.sources.celeba import find_celeba
from fer_pipeline.sources.importers import import_images
from fer_pipeline.vision.image_io import write_image


@pytest.fixture
def celeba(tmp_path: Path) -> tuple[Path, Path]:
    """Six images, alternately smiling and not."""
    lines = ["6", "Bald Smiling"]
    for number in range(1, 7):
        write_image(tmp_path / "images" / f"00000{number}.jpg", draw_noise(number))
        lines.append(f"00000{number}.jpg -1 {1 if number % 2 else -1:2d}")
    (tmp_path / "list.txt").write_text("\n".join(lines) + "\n")
    return tmp_path / "images", tmp_path / "list.txt"


def test_celeba_gives_the_first_images_with_and_without_an_attribute(celeba: tuple[Path, Path], tmp_path: Path) -> None:
    import_images(find_celeba(*celeba, "Smiling", 2), tmp_path / "raw", "celeba")
    files = {row.source["file"]: row.label for row in read_rows(tmp_path / "raw")}
    assert files == {
        "000001.jpg": "smiling",
        "000002.jpg": "not_smiling",
        "000003.jpg": "smiling",
        "000004.jpg": "not_smiling",
    }


def test_celeba_refuses_what_it_does_not_know(celeba: tuple[Path, Path], tmp_path: Path) -> None:
    images, attributes = celeba
    with pytest.raises(UsageError, match=r"--attribute Smilng: .* it knows Bald, Smiling"):
        list(find_celeba(images, attributes, "Smilng", 2))
    with pytest.raises(InputError, match="no such folder"):
        list(find_celeba(tmp_path / "none", attributes, "Smiling", 2))
    with pytest.raises(InputError, match=r"none.txt: No such file"):
        list(find_celeba(images, tmp_path / "none.txt", "Smiling", 2))


@pytest.mark.parametrize("line", ["../secret.jpg -1 1", "1.jpg 1", "1.jpg 0 0", ""])
def test_celeba_names_a_damaged_line(celeba: tuple[Path, Path], line: str) -> None:
    images, attributes = celeba
    attributes.write_text(f"1\nBald Smiling\n{line}\n1.jpg 1 1\n")
    with pytest.raises(InputError, match=r"list.txt:3: not a file name and 2 values"):
        list(find_celeba(images, attributes, "Smiling", 2))


def test_celeba_from_a_list_with_commas_is_the_same(celeba: tuple[Path, Path], tmp_path: Path) -> None:
    images, attributes = celeba
    lines = attributes.read_text().splitlines()
    commas = ["image_id,Bald,Smiling", *(",".join(line.split()) for line in lines[2:])]
    (tmp_path / "list.csv").write_text("\n".join(commas) + "\n")
    told = [list(find_celeba(images, path, "Smiling", 2)) for path in (attributes, tmp_path / "list.csv")]
    assert told[0] == told[1] != []


@pytest.mark.parametrize("suffix", ["txt", "csv"])
def test_celebas_official_parts_are_kept(celeba: tuple[Path, Path], tmp_path: Path, suffix: str) -> None:
    images, attributes = celeba
    sign = " " if suffix == "txt" else ","
    lines = [f"00000{number}.jpg{sign}{code}" for number, code in enumerate("000122", start=1)]
    head = ["image_id,partition"] if suffix == "csv" else []
    (tmp_path / f"list_eval_partition.{suffix}").write_text("\n".join([*head, *lines]))
    found = list(find_celeba(images, attributes, "Smiling", 3))
    assert [(one.origin, one.split) for one in found] == [
        ("000001.jpg", "train"), ("000002.jpg", "train"), ("000003.jpg", "train"), ("000004.jpg", "test"),
        ("000005.jpg", "test"),
    ]  # fmt: skip
    assert [one.attributes["usage"] for one in found] == ["train", "train", "train", "validation", "test"]


def test_what_failed_is_tried_again_once_it_is_there(celeba: tuple[Path, Path], tmp_path: Path) -> None:
    images, attributes = celeba
    away = tmp_path / "away"
    away.mkdir()
    (images / "000001.jpg").rename(away / "000001.jpg")
    import_images(find_celeba(images, attributes, "Smiling", 2), tmp_path / "raw", "celeba")
    assert sum(row.status is Status.FAILED for row in read_rows(tmp_path / "raw")) == 1
    (away / "000001.jpg").rename(images / "000001.jpg")
    counts = import_images(find_celeba(images, attributes, "Smiling", 2), tmp_path / "raw", "celeba")
    assert counts["kept"] == 1
    assert all(row.status is Status.KEPT for row in read_rows(tmp_path / "raw"))


def test_a_pipe_among_celeba_costs_a_row_and_no_time(celeba: tuple[Path, Path], tmp_path: Path) -> None:
    (celeba[0] / "000001.jpg").unlink()
    os.mkfifo(celeba[0] / "000001.jpg")
    import_images(find_celeba(*celeba, "Smiling", 3), tmp_path / "raw", "celeba")
    assert [row.reason for row in read_rows(tmp_path / "raw") if row.source["file"] == "000001.jpg"] == ["file_error"]


def test_a_name_with_a_zero_byte_is_a_damaged_line(celeba: tuple[Path, Path]) -> None:
    celeba[1].write_text(celeba[1].read_text().replace("000001.jpg", "0\00001.jpg"))
    with pytest.raises(InputError, match=r":3: not a file name"):
        list(find_celeba(*celeba, "Smiling", 3))


def test_dry_says_what_would_be_copied_and_copies_nothing(
    celeba: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images, attributes = celeba
    raw = tmp_path / "raw"
    assert main(["import", "celeba", str(images), str(attributes), "--output", str(raw), "--dry"]) == 0
    shown = capsys.readouterr()
    assert "not_smiling" in shown.out + shown.err
    assert not raw.exists()
