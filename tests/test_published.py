"""Readers of published data sets take them as they come, hostile archives included."""

import io
import os
import tarfile
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from support.pictures import draw_noise, list_files

from fer_pipeline.dataset.rows import read_rows
from fer_pipeline.errors import InputError, UsageError
from fer_pipeline.sources.importers import import_images
from fer_pipeline.sources.published import FER_LABELS, find_celeba, find_fer2013
from fer_pipeline.sources.sample.junk import to_jpeg
from fer_pipeline.vision.image_io import read_image, write_image


def grey(seed: int) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (48, 48), np.uint8)


def csv_line(emotion: object, seed: int, usage: str) -> str:
    return f"{emotion},{' '.join(map(str, grey(seed).ravel()))},{usage}"


def write_csv(folder: Path, *lines: str, first: str = "emotion,pixels,Usage") -> Path:
    path = folder / "fer2013.csv"
    path.write_text("\n".join((first, *lines)) + "\n")
    return path


def write_tar(path: Path, members: dict[str, bytes | tarfile.TarInfo]) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, content in members.items():
            if isinstance(content, tarfile.TarInfo):
                archive.addfile(content)
                continue
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member


def photo(seed: int) -> bytes:
    return to_jpeg(draw_noise(seed), 90)


def test_the_official_csv_gives_pixels_labels_and_parts(tmp_path: Path) -> None:
    usages = ["Training"] * 5 + ["PublicTest", "PrivateTest"]
    source = write_csv(tmp_path, *(csv_line(number, number, usage) for number, usage in enumerate(usages)))
    import_images(find_fer2013(source), tmp_path / "raw", "fer2013")
    rows = {row.source["file"]: row for row in read_rows(tmp_path / "raw")}
    assert len(rows) == 7
    for number, usage in enumerate(usages):
        row = rows[f"line {number + 2}"]
        assert (row.label, row.source["usage"]) == (FER_LABELS[number], usage)
        assert row.split == ("train" if usage == "Training" else "test")
        image = read_image(tmp_path / "raw" / row.path)
        assert np.array_equal(image, np.repeat(grey(number)[:, :, None], 3, axis=2))


@pytest.mark.parametrize(
    "line",
    [
        "9,1 2 3,Training",
        csv_line("happy", 0, "Training"),
        csv_line(3, 0, "Elsewhere"),
        "3,1 2 3,Training",
        "3," + "300 " * 2304 + ",Training",
        "3",
        csv_line(-9, 0, "Training"),
    ],
)
def test_a_damaged_csv_line_is_named(tmp_path: Path, line: str) -> None:
    source = write_csv(tmp_path, csv_line(3, 0, "Training"), line)
    with pytest.raises(InputError, match=r"fer2013.csv:3: not an emotion 0-6, 2304 grey values and a Usage"):
        import_images(find_fer2013(source), tmp_path / "raw", "fer2013")


def test_another_csv_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the first line must name emotion,pixels,Usage"):
        list(find_fer2013(write_csv(tmp_path, "1,2", first="a,b")))


def test_a_folder_by_usage_and_class_is_read(tmp_path: Path) -> None:
    for seed, name in enumerate(("train/happy/1.jpg", "test/sad/2.jpg", "validation/sad/3.jpg", "other/x/4.jpg")):
        write_image(tmp_path / "in" / name, draw_noise(seed))
    import_images(find_fer2013(tmp_path / "in"), tmp_path / "raw", "fer2013")
    rows = {row.source["file"]: (row.label, row.split) for row in read_rows(tmp_path / "raw")}
    assert rows == {
        "train/happy/1.jpg": ("happy", "train"),
        "test/sad/2.jpg": ("sad", "test"),
        "validation/sad/3.jpg": ("sad", "test"),
    }


def test_an_archive_is_read_like_the_folder(tmp_path: Path) -> None:
    source = write_tar(
        tmp_path / "fer.tar.gz", {"fer/train/happy/1.jpg": photo(1), "fer/test/sad/1.jpg": photo(2), "readme": b"hi"}
    )
    import_images(find_fer2013(source), tmp_path / "raw", "fer2013")
    rows = read_rows(tmp_path / "raw")
    assert sorted((row.label, row.split) for row in rows) == [("happy", "train"), ("sad", "test")]


def test_a_hostile_archive_writes_nothing_outside_the_raw_folder(tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("dear")
    sandbox = tmp_path / "sandbox"
    source = write_tar(
        tmp_path / "evil.tar.gz",
        {
            "train/happy/fine.jpg": photo(1),
            "../../train/happy/up.jpg": photo(2),
            "/train/happy/absolute.jpg": photo(3),
            "train/../up.jpg": photo(4),
            "train/.ssh/authorized_keys": photo(5),
            "train/happy/symlink.jpg": link("train/happy/symlink.jpg", str(secret)),
            "train/happy/hard.jpg": link("train/happy/hard.jpg", str(secret), tarfile.LNKTYPE),
            "train/happy/fifo.jpg": link("train/happy/fifo.jpg", "", tarfile.FIFOTYPE),
            "train": link("train", "/tmp"),
        },
    )
    import_images(find_fer2013(source), sandbox / "raw", "fer2013")
    rows = read_rows(sandbox / "raw")
    assert {row.path.partition("/")[0] for row in rows} == {"happy"}
    assert sorted(row.source["file"] for row in rows) == [
        "train/happy/absolute.jpg", "train/happy/fine.jpg", "train/happy/up.jpg"]  # fmt: skip
    assert sorted(path.name for path in tmp_path.iterdir()) == ["evil.tar.gz", "sandbox", "secret.txt"]
    assert all(b"dear" not in content for content in list_files(sandbox).values())


def test_an_archive_with_unprintable_names_is_read(tmp_path: Path) -> None:
    source = write_tar(tmp_path / "odd.tar.gz", {"train/caf\udce9/1.jpg": photo(1), "train/a\nb/2.jpg": photo(2)})
    assert import_images(find_fer2013(source), tmp_path / "raw", "fer2013") == {"kept": 2}


@pytest.mark.parametrize("content", [b"", b"not an archive", b"\x1f\x8b\x08\0\0\0\0\0\0\0rubbish"])
def test_what_is_no_archive_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "fer.tar.gz").write_bytes(content)
    with pytest.raises(InputError, match=r"fer.tar.gz: "):
        list(find_fer2013(tmp_path / "fer.tar.gz"))


def test_half_an_archive_is_refused(tmp_path: Path) -> None:
    source = write_tar(tmp_path / "fer.tar.gz", {f"train/happy/{seed}.jpg": photo(seed) for seed in range(9)})
    source.write_bytes(source.read_bytes()[:3000])
    with pytest.raises(InputError, match="cannot be read as an archive"):
        list(find_fer2013(source))


def test_sources_without_a_picture_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        find_fer2013(tmp_path / "none.csv")
    with pytest.raises(InputError, match="no USAGE/CLASS/image files"):
        list(find_fer2013(tmp_path))
    with pytest.raises(InputError, match="holds no USAGE/CLASS/image files"):
        list(find_fer2013(write_tar(tmp_path / "x.tar.gz", {"readme": b"hi"})))


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


@pytest.mark.parametrize(
    "text", ['0,"' + "1 " * 200_000, "0," + "1," * 200_000, "-1,PIXELS,Training", "0,a\rb\rc,Training", '0,"PIXELS']
)
def test_a_csv_line_that_is_none_is_refused_however_long(tmp_path: Path, text: str) -> None:
    pixels = " ".join(["7"] * 48 * 48)
    (tmp_path / "f.csv").write_text("emotion,pixels,Usage\n" + text.replace("PIXELS", pixels), newline="")
    with pytest.raises(InputError, match=r"f\.csv:\d+: .*fix or remove the line"):
        list(find_fer2013(tmp_path / "f.csv"))


def test_a_csv_that_is_one_line_without_end_is_refused_at_its_beginning(tmp_path: Path) -> None:
    with (tmp_path / "f.csv").open("w") as file:
        file.truncate(3_000_000_000)  # a file of zeros that takes no room on the disk
    with pytest.raises(InputError, match=r"the first line must name|fix or remove"):
        list(find_fer2013(tmp_path / "f.csv"))


@pytest.mark.parametrize("kind", [tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE, tarfile.GNUTYPE_SPARSE])
def test_an_archive_whose_names_have_no_end_is_refused_before_they_are_read(tmp_path: Path, kind: bytes) -> None:
    info = tarfile.TarInfo("train/happy/1.jpg")
    info.type, info.size = kind, 6_000_000_000
    (tmp_path / "long.tar").write_bytes(info.tobuf() + bytes(100_000))
    with pytest.raises(InputError, match="cannot be read as an archive"):
        list(find_fer2013(tmp_path / "long.tar"))


def test_names_in_names_without_end_are_refused(tmp_path: Path) -> None:
    info = tarfile.TarInfo("././@LongLink")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, 10
    (tmp_path / "deep.tar").write_bytes((info.tobuf() + b"x".ljust(512, b"\0")) * 3000)
    with pytest.raises(InputError, match="cannot be read as an archive"):
        list(find_fer2013(tmp_path / "deep.tar"))


def test_links_and_pipes_in_a_folder_by_usage_are_left_out(tmp_path: Path) -> None:
    folder = tmp_path / "fer" / "train" / "happy"
    folder.mkdir(parents=True)
    (folder / "1.jpg").write_bytes(photo(1))
    (tmp_path / "mine.jpg").write_bytes(photo(2))
    (folder / "link.jpg").symlink_to(tmp_path / "mine.jpg")
    os.mkfifo(folder / "pipe.jpg")
    assert [one.origin for one in find_fer2013(tmp_path / "fer")] == ["train/happy/1.jpg"]


def test_a_pipe_among_celeba_costs_a_row_and_no_time(celeba: tuple[Path, Path], tmp_path: Path) -> None:
    (celeba[0] / "000001.jpg").unlink()
    os.mkfifo(celeba[0] / "000001.jpg")
    import_images(find_celeba(*celeba, "Smiling", 3), tmp_path / "raw", "celeba")
    assert [row.reason for row in read_rows(tmp_path / "raw") if row.source["file"] == "000001.jpg"] == ["OSError"]


def test_a_name_with_a_zero_byte_is_a_damaged_line(celeba: tuple[Path, Path]) -> None:
    celeba[1].write_text(celeba[1].read_text().replace("000001.jpg", "0\00001.jpg"))
    with pytest.raises(InputError, match=r":3: not a file name"):
        list(find_celeba(*celeba, "Smiling", 3))
