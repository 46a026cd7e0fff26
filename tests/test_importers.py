"""Imports copy, note where each image came from, and never touch an original."""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.loopback import Reply, Web, listed, picture
from support.pictures import draw_noise, list_files

from fer_pipeline.dataset.journal import JOURNAL
from fer_pipeline.dataset.provenance import locked_raw
from fer_pipeline.dataset.rows import MANIFEST, Row, Status, read_rows
from fer_pipeline.errors import InputError, UsageError
from fer_pipeline.files import hash_file
from fer_pipeline.sources.crawl.client import Answer
from fer_pipeline.sources.crawl.crawler import crawl
from fer_pipeline.sources.crawl.ledger import Ledger, Origin
from fer_pipeline.sources.folders import find_in_folder
from fer_pipeline.sources.importers import MAX_BYTES, Found, import_images
from fer_pipeline.vision.image_io import write_image


def bring(source: Path, output: Path, group: str | None = None) -> dict[str, int]:
    return dict(import_images(find_in_folder(source, group), output, source.name))


def test_class_folders_become_labels_and_originals_stay_untouched(photos: Path, tmp_path: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in photos.rglob("*")}
    files = list_files(photos)
    assert bring(photos, tmp_path / "raw") == {"kept": 12}
    assert list_files(photos) == files
    assert {path: path.stat().st_mtime_ns for path in photos.rglob("*")} == before
    for row in read_rows(tmp_path / "raw"):
        copy, original = tmp_path / "raw" / row.path, photos / row.source["file"]
        assert row.label == original.parent.name == copy.parent.name
        assert copy.read_bytes() == original.read_bytes()
        assert not copy.samefile(original)
        assert row.sha256 == hash_file(copy)
        assert copy.name == f"{row.sha256[:12]}.jpg"
        assert row.source["name"] == "photos"


def test_a_flat_folder_stays_unlabelled(photos: Path, tmp_path: Path) -> None:
    bring(photos / "smile", tmp_path / "raw")
    rows = read_rows(tmp_path / "raw")
    assert {row.label for row in rows} == {None}
    assert {row.path.partition("/")[0] for row in rows} == {"unlabelled"}


def test_deep_files_bear_the_label_of_the_first_folder(tmp_path: Path) -> None:
    write_image(tmp_path / "in" / "smile" / "2020" / "x.png", draw_noise(0))
    bring(tmp_path / "in", tmp_path / "raw")
    assert [row.label for row in read_rows(tmp_path / "raw")] == ["smile"]


def test_a_second_import_adds_only_what_is_new(photos: Path, tmp_path: Path) -> None:
    bring(photos, tmp_path / "raw")
    first = {row.path: row for row in read_rows(tmp_path / "raw")}
    write_image(photos / "smile" / "new.png", draw_noise(9))
    assert bring(photos, tmp_path / "raw") == {"kept": 1}
    second = {row.path: row for row in read_rows(tmp_path / "raw")}
    assert len(second) == 13
    assert all(second[path] == row for path, row in first.items())


def test_an_import_with_nothing_new_says_so_and_changes_nothing(photos: Path, tmp_path: Path) -> None:
    bring(photos, tmp_path / "raw")
    files = list_files(tmp_path / "raw")
    assert bring(photos, tmp_path / "raw") == {}
    assert list_files(tmp_path / "raw") == files


def test_a_second_import_can_name_the_persons(tmp_path: Path) -> None:
    write_image(tmp_path / "in" / "a" / "anna_1.png", draw_noise(0))
    bring(tmp_path / "in", tmp_path / "raw")
    bring(tmp_path / "in", tmp_path / "raw", group="(.+)_[0-9]+")
    assert [row.group for row in read_rows(tmp_path / "raw")] == ["in:anna"]


def test_several_sources_fill_one_folder_and_each_row_keeps_its_own(tmp_path: Path) -> None:
    for number, name in enumerate(("first", "second")):
        write_image(tmp_path / name / "a" / "same name.png", draw_noise(number))
        bring(tmp_path / name, tmp_path / "raw")
    assert sorted(row.source["name"] for row in read_rows(tmp_path / "raw")) == ["first", "second"]


def test_the_same_bytes_twice_keep_the_first_and_a_row_for_the_second(tmp_path: Path) -> None:
    for name in ("1.png", "2.png"):
        write_image(tmp_path / "in" / "a" / name, draw_noise(0))
    assert bring(tmp_path / "in", tmp_path / "raw") == {"kept": 1, "same_bytes": 1}
    rows = {row.source["file"]: row for row in read_rows(tmp_path / "raw")}
    assert rows["a/1.png"].status is Status.KEPT
    assert rows["a/2.png"].attributes["copy_of"] == rows["a/1.png"].path
    assert rows["a/2.png"].path != rows["a/1.png"].path
    write_image(tmp_path / "more" / "a" / "3.png", draw_noise(0))
    assert bring(tmp_path / "more", tmp_path / "raw") == {"same_bytes": 1}


def test_two_pictures_whose_hashes_begin_alike_are_both_imported(tmp_path: Path) -> None:
    data = [b"P6 2 2 255\n%012d" % number for number in (3232149, 14949484)]  # found among some millions
    digests = [hashlib.sha256(one).hexdigest() for one in data]
    assert digests[0][:12] == digests[1][:12] != digests[0][:13]
    found = [Found(f"a/{number}", one, "a") for number, one in enumerate(data)]
    assert import_images(found, tmp_path / "raw", "x") == {"kept": 2}
    assert {row.path: row.sha256 for row in read_rows(tmp_path / "raw")} == {
        f"a/{digests[0][:12]}.ppm": digests[0],
        f"a/{digests[1]}.ppm": digests[1],
    }
    assert all(hash_file(tmp_path / "raw" / row.path) == row.sha256 for row in read_rows(tmp_path / "raw"))
    assert import_images(found[::-1], tmp_path / "raw", "again") == {"same_bytes": 2}
    assert import_images(found, tmp_path / "raw", "x") == {}


def test_the_suffix_follows_the_content_and_what_is_no_image_has_a_row(tmp_path: Path) -> None:
    folder = tmp_path / "in" / "a"
    write_image(folder / "photo.png", draw_noise(0))
    (folder / "photo.png").rename(folder / "photo.jpg")
    (folder / "readme.txt").write_text("hello")
    (folder / "empty.jpg").write_bytes(b"")
    assert bring(tmp_path / "in", tmp_path / "raw") == {"kept": 1, "empty": 1, "not_an_image": 1}
    assert [path.suffix for path in (tmp_path / "raw" / "a").iterdir()] == [".png"]


def test_hidden_files_are_left_out(tmp_path: Path) -> None:
    folder = tmp_path / "in" / "a"
    write_image(folder / "photo.png", draw_noise(0))
    write_image(folder / ".hidden.png", draw_noise(1))
    write_image(tmp_path / "in" / ".git" / "x.png", draw_noise(2))
    assert bring(tmp_path / "in", tmp_path / "raw") == {"kept": 1}


@pytest.mark.parametrize("name", ["微笑 1.png", "a\nb.png", 'q"uote.png', os.fsdecode(b"caf\xe9.png")])
def test_a_file_of_any_name_can_be_imported(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "in" / "a"
    folder.mkdir(parents=True)
    try:
        write_image(folder / name, draw_noise(0))
    except OSError:
        pytest.skip("this file system refuses the name")
    assert bring(tmp_path / "in", tmp_path / "raw") == {"kept": 1}
    assert bring(tmp_path / "in", tmp_path / "raw") == {}


def test_a_group_ties_one_persons_images(tmp_path: Path) -> None:
    for number, name in enumerate(("anna_1.png", "anna_2.png", "ben_1.png", "other.png")):
        write_image(tmp_path / "in" / "a" / name, draw_noise(number))
    bring(tmp_path / "in", tmp_path / "raw", group="(.+)_[0-9]+")
    groups = {row.source["file"]: row.group for row in read_rows(tmp_path / "raw")}
    assert groups == {
        "a/anna_1.png": "in:anna",
        "a/anna_2.png": "in:anna",
        "a/ben_1.png": "in:ben",
        "a/other.png": None,
    }


@pytest.mark.parametrize(("group", "said"), [("(", "not a regular expression"), ("a+", "put what names the person")])
def test_a_wrong_group_is_refused_in_one_line(tmp_path: Path, group: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        bring(tmp_path, tmp_path / "raw", group=group)


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        bring(tmp_path / "none", tmp_path / "raw")


def test_a_broken_off_import_goes_on_and_ends_the_same(tmp_path: Path) -> None:
    everything = [Found(f"a/{number}", write_and_read(tmp_path, number), "a") for number in range(5)]

    def break_off() -> Iterator[Found]:
        yield from everything[:3]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        import_images(break_off(), tmp_path / "raw", "x")
    assert not (tmp_path / "raw" / MANIFEST).exists()
    assert len((tmp_path / "raw" / JOURNAL).read_bytes().splitlines()) == 3
    assert import_images(everything, tmp_path / "raw", "x") == {"kept": 5}
    assert len(read_rows(tmp_path / "raw")) == 5
    assert not (tmp_path / "raw" / JOURNAL).exists()


def write_and_read(folder: Path, number: int) -> bytes:
    path = folder / "drawn" / f"{number}.png"
    write_image(path, draw_noise(number))
    return path.read_bytes()


def test_a_file_that_cannot_be_read_has_a_row(tmp_path: Path) -> None:
    found = [Found("a/gone.png", tmp_path / "gone.png", "a"), Found("a/1", write_and_read(tmp_path, 1), "a")]
    assert import_images(found, tmp_path / "raw", "x") == {"file_missing": 1, "kept": 1}
    assert sum(row.status is Status.FAILED for row in read_rows(tmp_path / "raw")) == 1


def test_what_a_killed_crawl_finished_is_not_lost(tmp_path: Path) -> None:
    data = write_and_read(tmp_path, 1)
    digest = hashlib.sha256(data).hexdigest()
    with locked_raw(tmp_path / "raw") as journal:
        (tmp_path / "raw" / "a").mkdir(parents=True)
        (tmp_path / "raw" / "a" / f"{digest[:12]}.png").write_bytes(data)
        for name in "xyz":  # three addresses of the same bytes
            row = Row(path=f"a/{digest[:12]}.png", label="a", sha256=digest, source={"url": f"http://{name}/1.png"})
            journal.append(f"a http://{name}/1.png", [row])
    import_images(
        [Found("a/1.png", data, "a"), Found("a/2.png", write_and_read(tmp_path, 2), "a")], tmp_path / "raw", "x"
    )
    rows = read_rows(tmp_path / "raw")
    assert len({row.path for row in rows}) == len(rows) == 5
    assert sorted(row.reason for row in rows) == ["", "", "same_bytes", "same_bytes", "same_bytes"]
    assert {row.source["url"] for row in rows if "url" in row.source} == {f"http://{name}/1.png" for name in "xyz"}


def test_a_file_too_large_for_a_picture_has_a_row_and_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    with (tmp_path / "in" / "endless.jpg").open("wb") as file:
        file.truncate(MAX_BYTES + 1)  # takes no room on the disk
    assert bring(tmp_path / "in", tmp_path / "raw") == {"too_large": 1}
    assert read_rows(tmp_path / "raw")[0].status is Status.FAILED


# --- an import and a crawl in one folder


def begin_import(raw: Path, *images: Found) -> None:
    """An import that is killed before it has a manifest."""

    def cut_off() -> Iterator[Found]:
        yield from images
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        import_images(cut_off(), raw, "mine")


def kept_in(raw: Path) -> list[bytes]:
    """The kept rows' files; no two have one name, also without its suffix, and no other file is there."""
    rows = [row for row in read_rows(raw) if row.status is Status.KEPT]
    assert len({Path(row.path).with_suffix("") for row in rows}) == len(rows)
    files = {path.relative_to(raw).as_posix() for path in raw.glob("*/*")}
    assert files == {row.path for row in rows}
    return [(raw / row.path).read_bytes() for row in rows]


def test_a_crawl_after_a_killed_import_of_the_same_bytes_twice_keeps_them_once(tmp_path: Path) -> None:
    begin_import(tmp_path / "raw", *(Found(f"smile/{number}.png", picture(1), "smile") for number in range(2)))
    with Web({"/0.png": Reply(picture(2))}) as web:
        crawl(listed(tmp_path, web, "/0.png"))
    assert sorted(kept_in(tmp_path / "raw")) == sorted([picture(1), picture(2)])
    assert [row.reason for row in read_rows(tmp_path / "raw") if row.reason] == ["same_bytes"]


def test_bytes_that_a_crawl_named_after_their_url_are_not_imported_once_more(tmp_path: Path) -> None:
    tga = picture(1, "TGA")  # a format without a signature
    with Web({"/0.php": Reply(tga)}) as web:
        crawl(listed(tmp_path, web, "/0.php"))
    import_images([Found("smile/x.tga", tga, "smile")], tmp_path / "raw", "mine")
    assert kept_in(tmp_path / "raw") == [tga]


def test_an_import_that_finishes_a_killed_crawl_keeps_the_same_bytes_once(tmp_path: Path) -> None:
    tga, raw = picture(1, "TGA"), tmp_path / "raw"
    with locked_raw(raw) as journal:
        ledger = Ledger(raw, journal)
        for url in ("http://x/1.php", "http://x/1.aspx"):
            ledger.note(Origin("smile", "urls", "", "any"), url, Answer(url, tga))
    import_images([Found("smile/2.png", picture(2), "smile")], raw, "mine")
    assert sorted(kept_in(raw)) == sorted([tga, picture(2)])


@pytest.mark.parametrize("remains", [b"", None])
def test_an_image_that_a_power_cut_took_is_imported_again(tmp_path: Path, remains: bytes | None) -> None:
    raw, image = tmp_path / "raw", Found("smile/1.png", picture(1), "smile")
    begin_import(raw, image)
    (path,) = (raw / "smile").iterdir()
    path.unlink() if remains is None else path.write_bytes(remains)
    import_images([image, Found("smile/2.png", picture(2), "smile")], raw, "mine")
    assert sorted(kept_in(raw)) == sorted([picture(1), picture(2)])


def test_a_kill_between_manifest_and_journal_leaves_no_image_twice(tmp_path: Path) -> None:
    raw, images = tmp_path / "raw", [Found(f"smile/{number}.png", picture(number), "smile") for number in range(2)]
    begin_import(raw, *images)
    journal = (raw / JOURNAL).read_bytes()
    import_images(images, raw, "mine")
    manifest = (raw / MANIFEST).read_bytes()
    (raw / JOURNAL).write_bytes(journal)
    import_images(images, raw, "mine")
    assert (raw / MANIFEST).read_bytes() == manifest


def test_no_decoder_sees_a_picture_in_the_process_of_an_import(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Native libraries read headers too, and an import that died of one would die each time."""
    kinds = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "ICO", "JPEG2000")
    images = [Found(f"smile/{kind}", picture(number, kind), "smile") for number, kind in enumerate(kinds)]
    monkeypatch.setattr("PIL.Image.open", lambda *_, **__: pytest.fail("a decoder was asked"))
    import_images(images, tmp_path / "raw", "mine")
    assert len(kept_in(tmp_path / "raw")) == len(kinds)
