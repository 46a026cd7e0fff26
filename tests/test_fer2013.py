"""FER2013 is read in every shape people have it, hostile archives included."""

import io
import os
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from support.pictures import draw_noise, list_files

from fer_pipeline.dataset.rows import read_rows
from fer_pipeline.errors import InputError
from fer_pipeline.sources.fer2013 import LABELS, find_fer2013
from fer_pipeline.sources.importers import import_images
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
        assert (row.label, row.source["usage"]) == (LABELS[number], usage)
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
    source = write_tar(tmp_path / "odd.tar.gz", {"train/caf\udce9/1.jpg": photo(1), "train/a/b\n2.jpg": photo(2)})
    assert import_images(find_fer2013(source), tmp_path / "raw", "fer2013") == {"kept": 2}


@pytest.mark.parametrize("content", [b"", b"not an archive", b"\x1f\x8b\x08\0\0\0\0\0\0\0rubbish"])
def test_what_is_no_archive_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "fer.tar.gz").write_bytes(content)
    with pytest.raises(InputError, match=r"fer.tar.gz: "):
        list(find_fer2013(tmp_path / "fer.tar.gz"))


def test_half_an_archive_is_refused(tmp_path: Path) -> None:
    source = write_tar(tmp_path / "fer.tar.gz", {f"train/happy/{seed}.jpg": photo(seed) for seed in range(9)})
    source.write_bytes(source.read_bytes()[:3000])
    with pytest.raises(InputError, match=r"no zip or tar archive|cannot be read to its end"):
        list(find_fer2013(source))


def test_sources_without_a_picture_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        find_fer2013(tmp_path / "none.csv")
    with pytest.raises(InputError, match="no USAGE/CLASS/image files"):
        list(find_fer2013(tmp_path))
    with pytest.raises(InputError, match="holds no USAGE/CLASS/image files"):
        list(find_fer2013(write_tar(tmp_path / "x.tar.gz", {"readme": b"hi"})))


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
    with pytest.raises(InputError, match=r"no zip or tar archive|cannot be read to its end"):
        list(find_fer2013(tmp_path / "long.tar"))


def test_names_in_names_without_end_are_refused(tmp_path: Path) -> None:
    info = tarfile.TarInfo("././@LongLink")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, 10
    (tmp_path / "deep.tar").write_bytes((info.tobuf() + b"x".ljust(512, b"\0")) * 3000)
    with pytest.raises(InputError, match=r"no zip or tar archive|cannot be read to its end"):
        list(find_fer2013(tmp_path / "deep.tar"))


def test_links_elsewhere_and_pipes_in_a_folder_by_usage_are_left_out(tmp_path: Path) -> None:
    away = tmp_path / "sets" / "fer"
    folder = away / "train" / "happy"
    folder.mkdir(parents=True)
    (folder / "1.jpg").write_bytes(photo(1))
    (tmp_path / "mine.jpg").write_bytes(photo(2))
    (folder / "link.jpg").symlink_to(tmp_path / "mine.jpg")
    os.mkfifo(folder / "pipe.jpg")
    assert [one.origin for one in find_fer2013(away)] == ["train/happy/1.jpg"]


# --- the shapes people have


def brought(source: Path, raw: Path, votes: Path | None = None) -> list[tuple[str | None, str | None]]:
    import_images(find_fer2013(source, votes), raw, "fer2013")
    return [(row.label, row.split) for row in sorted(read_rows(raw), key=lambda row: str(row.source["file"]))]


SHAPES = {
    "as Kaggle has it, with blanks and in another order": (
        "icml_face_data.csv", "emotion, Usage, pixels", "3,Training,{0}\n4,PublicTest,{1}\n", "\n"),
    "saved by a spreadsheet": (
        "fer2013.csv", "\ufeffemotion,pixels,Usage", "3,{0},Training\n4,{1},PublicTest\n", "\r\n"),
    "with large letters": ("FER2013.CSV", "Emotion,Pixels,Usage", "3,{0},Training\n4,{1},PrivateTest\n", "\n"),
}  # fmt: skip


def write_shape(folder: Path, name: str, first: str, body: str, newline: str) -> Path:
    lines = f"{first}\n{body.format(*(' '.join(map(str, grey(seed).ravel())) for seed in range(2)))}"
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(lines.replace("\n", newline), encoding="utf-8", newline="")
    return folder / name


@pytest.mark.parametrize("shape", SHAPES.values(), ids=list(SHAPES))
def test_lists_of_pixels_keep_their_parts_however_they_are_written(tmp_path: Path, shape: tuple[str, ...]) -> None:
    source = write_shape(tmp_path / "in", *shape)
    assert brought(source, tmp_path / "raw") == [("happy", "train"), ("sad", "test")]
    assert brought(source.parent, tmp_path / "raw2") == [("happy", "train"), ("sad", "test")]


def test_the_competitions_own_files_have_no_parts_and_the_test_file_no_class(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    write_shape(folder, "train.csv", "emotion,pixels", "3,{0}\n4,{1}\n", "\n")
    write_shape(folder, "test.csv", "pixels", "{0}\n", "\n")
    assert brought(folder / "train.csv", tmp_path / "raw") == [("happy", None), ("sad", None)]
    assert import_images(find_fer2013(folder / "test.csv"), tmp_path / "raw", "fer2013")["kept"] == 1
    assert sum(row.label is None for row in read_rows(tmp_path / "raw")) == 1
    assert len(brought(folder, tmp_path / "raw2")) == 3


def test_a_list_in_an_archive_is_read_without_unpacking_it(tmp_path: Path) -> None:
    source = write_shape(tmp_path / "in", *SHAPES["saved by a spreadsheet"])
    tar = write_tar(tmp_path / "fer2013.tar.gz", {"fer2013/README": b"hi", "fer2013/fer2013.csv": source.read_bytes()})
    with zipfile.ZipFile(tmp_path / "fer2013.csv.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(source, "fer2013.csv")
    for number, path in enumerate((tar, tmp_path / "fer2013.csv.zip")):
        assert brought(path, tmp_path / f"raw{number}") == [("happy", "train"), ("sad", "test")]


def test_a_zip_of_class_folders_is_read_like_the_folder(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "archive.zip", "w") as archive:
        for seed, name in enumerate(("train/happy/1.jpg", "test/sad/2.jpg", "__MACOSX/train/happy/._1.jpg")):
            archive.writestr(name, photo(seed))
    assert brought(tmp_path / "archive.zip", tmp_path / "raw") == [("sad", "test"), ("happy", "train")]


@pytest.mark.parametrize("name", ["val", "valid", "Validation"])
def test_no_part_of_a_folder_is_lost_and_what_is_passed_over_is_named(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for seed, path in enumerate(("train/happy/1.jpg", f"{name}/sad/2.jpg", "extra/sad/3.jpg")):
        write_image(tmp_path / "in" / path, draw_noise(seed))
    assert sorted(brought(tmp_path / "in", tmp_path / "raw"), key=str) == [("happy", "train"), ("sad", "test")]
    assert "passed over, since they name no part: extra" in capsys.readouterr().err


def test_the_votes_of_ferplus_name_the_class_and_a_tie_names_none(tmp_path: Path) -> None:
    lines = [csv_line(6, seed, "Training") for seed in range(4)]
    source = write_csv(tmp_path, *lines)
    titles = "Usage,Image name,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF"
    polls = ["1,7,0,0,0,0,0,0,2,0", "5,5,0,0,0,0,0,0,0,0", "0,0,0,0,0,0,0,0,0,10", "0,0,0,1,8,0,0,1,0,0"]
    votes = tmp_path / "fer2013new.csv"
    votes.write_text("\n".join([titles, *(f"Training,fer.png,{poll}" for poll in polls)]) + "\n")
    assert [label for label, _ in brought(source, tmp_path / "raw")] == ["happy", None, None, "angry"]
    row = next(row for row in read_rows(tmp_path / "raw") if row.label == "happy")
    assert row.source["votes"] == {"neutral": 1, "happy": 7, "unknown": 2}
    votes.write_text(titles + "\nPublicTest,fer.png,1,0,0,0,0,0,0,0,0,0\n")
    with pytest.raises(InputError, match="is of another list than the pictures"):
        list(find_fer2013(source))


@pytest.mark.parametrize("suffix", ["zip", "tar.gz"])
def test_an_archive_that_unpacks_to_far_more_than_its_size_is_refused(tmp_path: Path, suffix: str) -> None:
    path, blank = tmp_path / f"bomb.{suffix}", bytes(20_000_000)
    names = [f"train/happy/{number}.jpg" for number in range(10)]
    if suffix == "zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name in names:
                archive.writestr(name, blank)
    else:
        write_tar(path, dict.fromkeys(names, blank))
    with pytest.raises(InputError, match="unpacks to more than 20 times its size"):
        brought(path, tmp_path / "raw")
