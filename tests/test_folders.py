"""Folders of pictures are understood as people have them: every shape here was met in a public report."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

import pytest
from support.pictures import draw_noise, list_files

from fer_pipeline.__main__ import main
from fer_pipeline.config.loader import load_config
from fer_pipeline.dataset.class_folders import list_pictures, read_tree
from fer_pipeline.dataset.rows import read_rows
from fer_pipeline.errors import InputError, UsageError
from fer_pipeline.models.data import list_crops
from fer_pipeline.sources.folders import Reading, select
from fer_pipeline.sources.importers import Found, import_images
from fer_pipeline.sources.sample.junk import to_jpeg
from fer_pipeline.vision.image_io import write_image


def draw(folder: Path, *names: str) -> Path:
    for seed, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(to_jpeg(draw_noise(seed), 90))
    return folder


def known(folder: Path, reading: Reading | None = None) -> dict[str, tuple[str | None, str | None]]:
    """The class and part of each picture, by its name."""
    return {one.origin: (one.label, one.split) for one in select(folder, reading or Reading()).found}


# --- parts and classes by folders


@pytest.mark.parametrize("train", ["Train", "TRAIN", "train", "Training", "train_set"])
@pytest.mark.parametrize("test", ["Test", "val", "valid", "Validation", "Testing", "PublicTest", "Private Test"])
def test_folders_of_parts_are_parts_and_no_classes(tmp_path: Path, train: str, test: str) -> None:
    draw(tmp_path, f"{train}/happy/1.jpg", f"{test}/happy/2.jpg", f"{test}/sad/3.jpg")
    assert known(tmp_path) == {
        f"{train}/happy/1.jpg": ("happy", "train"),
        f"{test}/happy/2.jpg": ("happy", "test"),
        f"{test}/sad/3.jpg": ("sad", "test"),
    }


@pytest.mark.parametrize(
    ("names", "labels"),
    [
        (("archive/images/happy/1.jpg", "archive/images/sad/2.jpg"), ["happy", "sad"]),
        (("data/train/images/happy/1.jpg", "data/test/images/sad/2.jpg"), ["happy", "sad"]),
        (("happy/train/1.jpg", "sad/test/2.jpg"), ["happy", "sad"]),
        (("happy/ann/1.jpg", "sad/ben/2020/2.jpg"), ["happy", "sad"]),
        (("smile/ann/1.jpg", "smile/ben/2.jpg"), ["smile", "smile"]),
        (("FER/train/happy/1.jpg", "FER/val/happy/2.jpg", "FER/readme.txt"), ["happy", "happy"]),
        (("images/1.jpg", "images/2.jpg"), [None, None]),
        (("train/1.jpg", "test/2.jpg"), [None, None]),
        (("1.jpg", "2.jpg"), [None, None]),
    ],
)
def test_classes_are_found_at_any_depth(tmp_path: Path, names: tuple[str, ...], labels: list[str | None]) -> None:
    found = known(draw(tmp_path / "in", *names))
    assert [found[name][0] for name in names if name.endswith(".jpg")] == labels


def test_what_systems_leave_behind_is_no_picture(tmp_path: Path) -> None:
    draw(tmp_path, "happy/1.jpg", "happy/._1.jpg", "happy/Thumbs.db", "@eaDir/happy/1.jpg", "__MACOSX/happy/1.jpg")
    draw(tmp_path, ".ipynb_checkpoints/2.jpg", "sad/.DS_Store", "sad/3.jpg", "desktop.ini")
    assert set(known(tmp_path)) == {"happy/1.jpg", "sad/3.jpg"}


def test_training_on_class_folders_reads_them_as_an_import_does(tmp_path: Path) -> None:
    draw(tmp_path, "Train/happy/1.jpg", "Test/happy/2.jpg", "Train/@eaDir/1.jpg", "__MACOSX/Train/happy/._1.jpg")
    draw(tmp_path, "Train/.ipynb_checkpoints/1.jpg", "Train/sad/._4.jpg", "Train/sad/3.jpg")
    rows = [(row.path, row.label, row.split) for row in list_crops(tmp_path)]
    assert sorted(rows) == [
        ("Test/happy/2.jpg", "happy", "test"),
        ("Train/happy/1.jpg", "happy", "train"),
        ("Train/sad/3.jpg", "sad", "train"),
    ]


def test_a_letter_that_a_disk_takes_apart_is_the_one_of_the_configuration(tmp_path: Path) -> None:
    draw(tmp_path, "fro\u0308hlich/1.jpg", "sad/2.jpg")
    assert {label for label, _ in known(tmp_path).values()} == {"fr\xf6hlich", "sad"}


@pytest.mark.parametrize("name", ["manifest.jsonl", "provenance.json", "a\\b", "x" * 65, "\U0001f600" * 62])
def test_a_class_that_no_configuration_could_name_is_refused_before_anything_is_copied(
    tmp_path: Path, name: str
) -> None:
    draw(tmp_path / "in", f"{name}/1.jpg", "sad/2.jpg")
    with pytest.raises(InputError, match="rename its folder, or name it by --names"):
        select(tmp_path / "in", Reading())
    config = tmp_path / "fer.yaml"
    config.write_text(f"name: x\nsplit: {{labels: ['{name}']}}\n")
    with pytest.raises(UsageError):
        load_config(config)


# --- links


def test_links_are_followed_inside_and_beside_the_folder_and_named_elsewhere(tmp_path: Path) -> None:
    away = draw(tmp_path / "far" / "away", "3.jpg")
    home = draw(tmp_path / "home" / "in", "happy/1.jpg")
    draw(tmp_path / "home" / "beside", "2.jpg")
    (home / "happy" / "inside.jpg").symlink_to(home / "happy" / "1.jpg")
    (home / "sad").symlink_to(tmp_path / "home" / "beside")
    (home / "happy" / "away.jpg").symlink_to(away / "3.jpg")
    (home / "happy" / "broken.jpg").symlink_to(home / "none.jpg")
    (home / "happy" / "loop").symlink_to(home)
    chosen = select(home, Reading())
    assert {one.origin for one in chosen.found} == {"happy/1.jpg", "happy/inside.jpg", "sad/2.jpg"}
    told = " ".join(chosen.told)
    assert "1 links out of the folder: happy/away.jpg" in told
    assert "1 links to nothing: happy/broken.jpg" in told
    assert "1 links to a folder above: happy/loop" in told


def test_a_folder_that_may_not_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    draw(tmp_path, "happy/1.jpg", "sad/2.jpg")
    from os import scandir

    def refuse(path: Path) -> object:
        if Path(path).name == "sad":  # root may read anything
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr("os.scandir", refuse)
    assert "1 cannot be read: sad: Permission denied" in select(tmp_path, Reading()).told


# --- labels by a list


LISTS: Mapping[str, tuple[str, str]] = {
    "csv with a header": ("labels.csv", "filename,label\nimages/0.jpg,happy\nimages/1.jpg,sad\n"),
    "in another order": ("labels.csv", "emotion,note,image\nhappy,x,0.jpg\nsad,y,1.jpg\n"),
    "tabs": ("labels.tsv", "image\tclass\n0.jpg\thappy\n1.jpg\tsad\n"),
    "blanks without a header": ("list.txt", "0.jpg happy\n1.jpg sad\n"),
    "names without suffix": ("list.txt", "0 happy\n1 sad\n"),
    "semicolons": ("labels.csv", "Datei;Label\n0.jpg;happy\n1.jpg;sad\n"),
    "saved by a spreadsheet": ("labels.csv", "\ufefffile,label\r\n0.jpg,happy\r\n1.jpg,sad\r\n"),
    "paths of another machine": (
        "labels.csv",
        "path,label\nC:\\set\\images\\0.jpg,happy\nC:\\set\\images\\1.jpg,sad\n",
    ),
    "one column per class": ("truth.csv", "image,happy,sad\n0.jpg,1,0\n1.jpg,0,1\n"),
}


@pytest.mark.parametrize("name", LISTS)
def test_a_list_beside_the_pictures_names_their_classes(tmp_path: Path, name: str) -> None:
    file, text = LISTS[name]
    draw(tmp_path, "images/0.jpg", "images/1.jpg")
    (tmp_path / file).write_text(text, encoding="utf-8", newline="")
    assert known(tmp_path) == {"images/0.jpg": ("happy", None), "images/1.jpg": ("sad", None)}
    assert import_images(select(tmp_path, Reading()).found, tmp_path / "raw", "x") == {"kept": 2}


def test_lines_without_file_and_files_without_line_are_counted_and_named(tmp_path: Path) -> None:
    draw(tmp_path, "images/0.jpg", "images/1.jpg", "images/2.jpg")
    (tmp_path / "labels.csv").write_text("file,label\n0.jpg,happy\n1.jpg,sad\n9.jpg,sad\n")
    chosen = select(tmp_path, Reading())
    assert chosen.told == [
        "labels from labels.csv: path = file, label = label",
        "1 line without a file: 9.jpg",
        "1 file without a line in labels.csv: images/2.jpg",
    ]
    assert {one.origin: one.label for one in chosen.found}["images/2.jpg"] is None


def test_a_list_elsewhere_is_named_with_columns_codes_and_what_is_added_on_disk(tmp_path: Path) -> None:
    """As RAF-DB comes."""
    draw(tmp_path / "aligned", "train_0001_aligned.jpg", "test_0002_aligned.jpg")
    lines = tmp_path / "list_patition_label.txt"
    lines.write_text("train_0001.jpg 5\ntest_0002.jpg 4\n")
    reading = Reading(labels=lines, match="{stem}_aligned.jpg", names="4=happy,5=sad")
    assert known(tmp_path / "aligned", reading) == {
        "train_0001_aligned.jpg": ("sad", None),
        "test_0002_aligned.jpg": ("happy", None),
    }
    names = tmp_path / "names.txt"
    names.write_text("# codes\n4 happy\n5 sad\n")
    assert known(tmp_path / "aligned", Reading(lines, "path=1,label=2", str(names), "{stem}_aligned.jpg")) == known(
        tmp_path / "aligned", reading
    )


def test_a_list_can_give_part_and_person(tmp_path: Path) -> None:
    draw(tmp_path / "in", "0.jpg", "1.jpg")
    (tmp_path / "list.csv").write_text("0.jpg,ann,happy,Training\n1.jpg,ben,sad,PublicTest\n")
    found = select(tmp_path / "in", Reading(tmp_path / "list.csv", "path=1,group=2,label=3,split=4")).found
    assert [(one.label, one.split, one.group) for one in found] == [
        ("happy", "train", "in:ann"),
        ("sad", "test", "in:ben"),
    ]


def test_a_list_for_each_part_gives_its_part(tmp_path: Path) -> None:
    draw(tmp_path, "images/0.jpg", "images/1.jpg")
    (tmp_path / "train_labels.csv").write_text("file,label\n0.jpg,happy\n")
    (tmp_path / "test_labels.csv").write_text("file,label\n1.jpg,sad\n")
    assert known(tmp_path) == {"images/0.jpg": ("happy", "train"), "images/1.jpg": ("sad", "test")}


def test_of_several_labels_the_most_frequent_counts_and_a_tie_names_none(tmp_path: Path) -> None:
    draw(tmp_path, "images/0.jpg", "images/1.jpg", "images/2.jpg")
    votes = ["0.jpg,happy", "0.jpg,happy", "0.jpg,sad", "1.jpg,happy", "1.jpg,sad", "2.jpg,sad"]
    (tmp_path / "labels.csv").write_text("\n".join(["file,label", *votes]))
    chosen = select(tmp_path, Reading())
    assert [one.label for one in chosen.found] == ["happy", None, "sad"]
    assert "1 picture with several labels: the one given most often counts" in chosen.told
    assert "1 picture with as many votes for one class as for another: images/1.jpg" in chosen.told


def test_the_boxes_of_several_faces_are_kept_as_facts(tmp_path: Path) -> None:
    draw(tmp_path, "images/0.jpg")
    (tmp_path / "labels.csv").write_text("image,label,x,y,w,h\n0.jpg,happy,1,2,30,40\n0.jpg,happy,50,2,30,40\n")
    (one,) = select(tmp_path, Reading()).found
    assert one.label == "happy"
    assert one.attributes["facts"] == [
        {"label": "happy", "x": "1", "y": "2", "w": "30", "h": "40"},
        {"label": "happy", "x": "50", "y": "2", "w": "30", "h": "40"},
    ]
    import_images([one], tmp_path / "raw", "x")
    assert read_rows(tmp_path / "raw")[0].source["facts"] == one.attributes["facts"]


def test_class_folders_count_more_than_a_list_that_nobody_named(tmp_path: Path) -> None:
    draw(tmp_path, "happy/0.jpg", "sad/1.jpg")
    (tmp_path / "labels.csv").write_text("file,label\n0.jpg,x\n1.jpg,y\n")
    assert {label for label, _ in known(tmp_path).values() if label} == {"happy", "sad"}
    assert {label for label, _ in known(tmp_path, Reading(labels=tmp_path / "labels.csv")).values()} == {"x", "y"}


def test_names_that_mean_several_files_are_counted_and_taken_for_none(tmp_path: Path) -> None:
    draw(tmp_path, "images/a/0.jpg", "images/b/0.jpg", "images/a/1.jpg")
    (tmp_path / "list.csv").write_text("file,label\n0.jpg,x\na/1.jpg,y\n")
    chosen = select(tmp_path, Reading(labels=tmp_path / "list.csv"))
    assert "1 line with several files: 0.jpg" in chosen.told
    assert {one.label for one in chosen.found if one.origin.endswith(".jpg")} == {None, "y"}


@pytest.mark.parametrize(
    ("reading", "said"),
    [
        (Reading(columns="path"), "write as in path=1,label=2"),
        (Reading(columns="path=9"), "has 2 columns: count from 1 on"),
        (Reading(columns="path=nothing"), "has no such column"),
        (Reading(names="x"), "--names x: cannot be read"),
        (Reading(names="1=,2"), "is no code and name"),
        (Reading(label="("), "--label (: not a regular expression"),
        (Reading(label="a"), "put what names the class into parentheses"),
    ],
)
def test_options_that_do_not_fit_are_told_in_one_line(tmp_path: Path, reading: Reading, said: str) -> None:
    draw(tmp_path / "in", "0.jpg")
    (tmp_path / "list.csv").write_text("0.jpg,happy\n")
    with pytest.raises((InputError, UsageError)) as error:
        select(tmp_path / "in", Reading(tmp_path / "list.csv", reading.columns, reading.names, None, reading.label))
    assert said in str(error.value)


def test_a_list_of_other_pictures_names_its_first_line_and_the_options(tmp_path: Path) -> None:
    draw(tmp_path / "in", "0.jpg")
    (tmp_path / "list.csv").write_text("file,label\nother.jpg,happy\n")
    with pytest.raises(InputError, match=r"no line of 1 names a picture .*'other.jpg'.*--columns or --match"):
        select(tmp_path / "in", Reading(labels=tmp_path / "list.csv"))


# --- labels in file names


@pytest.mark.parametrize(
    ("files", "reading", "labels"),
    [
        (
            ("AF01HAS.JPG", "BM02NES.JPG"),
            Reading(label=r"^.{4}(..)", names="HA=happy,NE=neutral"),
            ["happy", "neutral"],
        ),
        (("KA.HA1.29.tiff", "KM.NE2.5.tiff"), Reading(label=r"\.([A-Z]{2})\d", names="HA=happy"), ["happy", "NE"]),
        (("s01/happy_1.jpg", "s02/sad_1.jpg"), Reading(label=r"/([a-z]+)_"), ["happy", "sad"]),
    ],
)
def test_labels_in_file_names_are_found_by_a_regular_expression(
    tmp_path: Path, files: tuple[str, ...], reading: Reading, labels: list[str]
) -> None:
    draw(tmp_path, *files)
    found = known(tmp_path, reading)
    assert [found[name][0] for name in files] == labels


def test_codes_that_names_do_not_translate_are_told(tmp_path: Path) -> None:
    draw(tmp_path, "1/a.jpg", "2/b.jpg")
    chosen = select(tmp_path, Reading(names="1=happy"))
    assert {one.label for one in chosen.found} == {"happy", "2"}
    assert "--names does not translate 2" in chosen.told


# --- at the prompt


def test_a_dry_import_shows_what_it_understood_and_copies_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    draw(tmp_path / "in", "Train/happy/1.jpg", "Train/happy/2.jpg", "Test/happy/3.jpg")
    command = ["import", "folder", str(tmp_path / "in"), "--output", str(tmp_path / "raw")]
    assert main([*command, "--dry"]) == 0
    told = " ".join(capsys.readouterr().err.split())
    assert "test happy 1 train happy 2" in told
    assert not (tmp_path / "raw").exists()
    assert main(command) == 0
    assert {row.split for row in read_rows(tmp_path / "raw")} == {"train", "test"}


def test_links_take_no_room_and_leave_the_originals_as_they_are(tmp_path: Path) -> None:
    draw(tmp_path / "in", "happy/1.jpg", "sad/2.jpg")
    before = list_files(tmp_path / "in")
    assert main(["import", "folder", str(tmp_path / "in"), "--output", str(tmp_path / "raw"), "--link"]) == 0
    row = next(row for row in read_rows(tmp_path / "raw") if row.label == "happy")
    assert (tmp_path / "raw" / row.path).samefile(tmp_path / "in" / "happy" / "1.jpg")
    write_image(tmp_path / "raw" / row.path, draw_noise(9))
    assert list_files(tmp_path / "in") == before


def test_a_corrected_list_gives_the_pictures_their_new_classes(tmp_path: Path) -> None:
    draw(tmp_path / "in", "AA.jpg", "AB.jpg", "BA.jpg")
    raw = tmp_path / "raw"
    import_images(select(tmp_path / "in", Reading()).found, raw, "x")
    counts = import_images(select(tmp_path / "in", Reading(label="^(.)")).found, raw, "x")
    assert counts == {"kept": 3, "of_another_class_now": 3}
    rows = read_rows(raw)
    assert sorted(str(row.label) for row in rows) == ["A", "A", "B"]
    assert {path.relative_to(raw).as_posix() for path in raw.glob("*/*")} == {row.path for row in rows}
    assert import_images(select(tmp_path / "in", Reading(label="^(.)")).found, raw, "x") == {}


def test_a_quote_that_is_never_closed_costs_its_own_line(tmp_path: Path) -> None:
    draw(tmp_path, "images/0.jpg", "images/1.jpg", "images/2.jpg")
    (tmp_path / "labels.csv").write_text('file,label\n0.jpg,"sad\n1.jpg,happy\n2.jpg,happy\n')
    assert [label for label, _ in known(tmp_path).values()] == ["sad", "happy", "happy"]


def test_what_an_option_did_not_find_is_told(tmp_path: Path) -> None:
    draw(tmp_path, "images/0.jpg", "images/1.jpg")
    (tmp_path / "list.csv").write_text("img,emo,fold\n0.jpg,happy,0\n1.jpg,sad,1\n")
    told = select(tmp_path, Reading(tmp_path / "list.csv", "path=img,label=emo,split=fold", group="XX(.+)")).told
    assert "2 words for no part (train, test, val …): 0, 1" in told
    assert "--group XX(.+) finds a person in no file name" in told
    told = select(tmp_path, Reading(tmp_path / "list.csv", "path=img")).told
    assert any("without a class" in one and "--columns label=2" in one for one in told)


def test_groups_that_official_parts_part_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    draw(tmp_path / "in", *(f"{part}/{label}/ann_{number}.jpg" for number, (part, label) in enumerate(
        (part, label) for part in ("train", "test") for label in ("a", "b"))))  # fmt: skip
    (tmp_path / "fer.yaml").write_text(
        f"name: x\ndata: {tmp_path / 'data'}\nfilter: {{detector: none}}\ncrop: {{region: whole, size: 32}}\n"
    )
    config = ["--config", str(tmp_path / "fer.yaml")]
    assert main(["import", "folder", str(tmp_path / "in"), "--group", "(.+)_", *config]) == 0
    assert main(["run", "--until", "split", *config]) == 0
    assert "in both parts: 1 group, as their source's official parts" in " ".join(capsys.readouterr().err.split())


# --- found by people who tried to break it


def test_two_folders_of_one_name_bring_all_their_pictures(tmp_path: Path) -> None:
    for day, size in (("day1", 40), ("day2", 60)):
        for label in ("a", "b"):
            write_image(tmp_path / day / "photos" / label / "1.jpg", draw_noise(size + ord(label), size, size))
    for _ in range(2):
        for day in ("day1", "day2"):
            import_images(select(tmp_path / day / "photos", Reading()).found, tmp_path / "raw", "photos")
    assert len(read_rows(tmp_path / "raw")) == 4
    assert {row.status.value for row in read_rows(tmp_path / "raw")} == {"kept"}


def test_a_line_whose_file_is_missing_labels_no_file_of_that_name_elsewhere(tmp_path: Path) -> None:
    draw(tmp_path / "a", "train/1.jpg", "train/2.jpg", "val/9.jpg")
    (tmp_path / "a.csv").write_text("file,label\ntrain/2.jpg,smile\nval/9.jpg,neutral\nval/1.jpg,neutral\n")
    chosen = select(tmp_path / "a", Reading(tmp_path / "a.csv"))
    assert {one.origin: one.label for one in chosen.found} == {
        "train/1.jpg": None,
        "train/2.jpg": "smile",
        "val/9.jpg": "neutral",
    }
    assert "1 line without a file: val/1.jpg" in chosen.told


def test_a_damaged_vote_and_odd_options_are_no_traceback(tmp_path: Path) -> None:
    draw(tmp_path / "in", *(f"{number}.jpg" for number in range(3)))
    lines = ["image,happy,sad", "0.jpg,1,0", "1.jpg,0,1", *["x.jpg,1,0"] * 400, "2.jpg,x,1"]
    (tmp_path / "list.csv").write_text("\n".join(lines))
    found = select(tmp_path / "in", Reading(tmp_path / "list.csv")).found
    assert [one.label for one in found] == ["happy", "sad", "sad"]
    with pytest.raises(UsageError, match="has no such column"):
        select(tmp_path / "in", Reading(tmp_path / "list.csv", "path=\u00b2"))
    names = ",".join(f"{number}=class_number_{number}" for number in range(30))
    assert select(tmp_path / "in", Reading(tmp_path / "list.csv", names=names)).found


def test_a_run_after_an_import_that_broke_off_asks_no_engine(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "fer.yaml").write_text(f"name: x\ndata: {tmp_path / 'data'}\n")
    found = select(draw(tmp_path / "in", "a/1.jpg", "b/2.jpg"), Reading()).found

    def broken() -> Iterator[Found]:
        yield found[0]
        raise InputError("the archive ends")

    with pytest.raises(InputError):
        import_images(broken(), tmp_path / "data" / "x" / "raw", "x")
    assert main(["run", "--until", "unify", "--config", str(tmp_path / "fer.yaml")]) == 1
    assert "holds an import that was broken off" in capsys.readouterr().err


# --- shapes of public sets


def test_a_list_of_many_columns_without_a_header_is_not_guessed_at(tmp_path: Path) -> None:
    """As ExpW has it: name, number of the face, its box, how sure, class."""
    draw(tmp_path, "images/a.jpg", "images/b.jpg")
    (tmp_path / "label.lst").write_text("a.jpg 0 10 20 90 100 50.3 3\nb.jpg 0 10 20 90 100 21.0 0\n")
    assert {label for label, _ in known(tmp_path).values()} == {None}
    assert any(
        "label.lst names pictures, but which column is the class?" in one for one in select(tmp_path, Reading()).told
    )
    told = select(tmp_path, Reading(labels=tmp_path / "label.lst")).told
    assert any("--columns label=2" in one for one in told)
    reading = Reading(tmp_path / "label.lst", "path=1,label=8", "3=happy,0=angry")
    found = known(tmp_path, reading)
    assert (found["images/a.jpg"][0], found["images/b.jpg"][0]) == ("happy", "angry")


def test_parts_that_bear_the_name_of_their_set_are_parts(tmp_path: Path) -> None:
    draw(tmp_path, "train_afew/Angry/1.jpg", "val_afew/Angry/2.jpg", "train_afew/Sad/3.jpg")
    assert set(known(tmp_path).values()) == {("Angry", "train"), ("Angry", "test"), ("Sad", "train")}


def test_a_list_with_a_header_of_its_own_words_and_paths_from_a_root_is_read(tmp_path: Path) -> None:
    draw(tmp_path, "AffectNet/basic/bb/1.jpg", "AffectNet/basic/bb/2.jpg")
    lines = ["File_Name Emotion_Label Dataset_Label", "/AffectNet/basic/bb/1.jpg 0 0", "/AffectNet/basic/bb/2.jpg 3 0"]
    (tmp_path / "meta.txt").write_text("\n".join(lines))
    assert [label for label, _ in known(tmp_path).values()] == ["0", "3"]


def test_a_single_class_that_may_be_a_folders_name_is_told(tmp_path: Path) -> None:
    """As CK+ has it: one folder, in it a folder for each person."""
    draw(tmp_path, "cohn-kanade-images/S005/001/1.png", "cohn-kanade-images/S010/001/2.png")
    (told,) = select(tmp_path, Reading()).told
    assert told.startswith("all pictures are of one class, cohn-kanade-images")


# --- read + passed over by name = all there is


def plant_everything(folder: Path) -> Path:
    """A folder with a file or folder of every kind that people's folders hold."""
    draw(folder, "train/happy/1.jpg", "train/sad/2.PNG", "val/happy/3.jpeg", "Test/sad/4", "train/happy/deep/er/5.jpg")
    draw(folder, "loose.jpg", "train/loose.bmp", "train/happy/IMG_1.HEIC", "train/sad/odd.xyz")
    draw(folder.parent, "beside/6.jpg", "apart/away/7.jpg")
    for name in ("Thumbs.db", "train/.DS_Store", "__MACOSX/._1.jpg", "@eaDir/1.jpg", ".ipynb_checkpoints/1.jpg"):
        draw(folder, name)
    for name in ("readme.txt", "train/labels.csv", "model.onnx", "train/happy/1.json"):
        (folder / name).write_text("path,label\n")
    (folder / "train" / "nothing").mkdir()
    (folder / "train" / "happy" / "link.jpg").symlink_to(folder.parent / "beside" / "6.jpg")
    (folder / "train" / "happy" / "gone.jpg").symlink_to(folder / "nowhere.jpg")
    (folder / "train" / "again").symlink_to(folder / "train")
    (folder / "train" / "away").symlink_to("/usr/share")
    os.mkfifo(folder / "train" / "sad" / "pipe.jpg")
    return folder


def list_all(folder: Path) -> set[str]:
    """Every file, link and empty folder below a folder."""
    found = set()
    for above, folders, files in os.walk(folder):
        links = [name for name in folders if (Path(above) / name).is_symlink()]
        names = [*files, *links, *([""] if not folders and not files else [])]
        found |= {(Path(above) / name).relative_to(folder).as_posix() for name in names}
    return found


def test_all_that_is_in_a_folder_is_read_or_passed_over_by_name(tmp_path: Path) -> None:
    folder = plant_everything(tmp_path / "in")
    tree = read_tree(folder)
    read = {one.name for one in tree.pictures()}
    passed = {name for names in tree.passed.values() for name in names}
    assert not read & passed
    for name in list_all(folder):
        above = {name, *(parent.as_posix() for parent in PurePosixPath(name).parents)}
        assert name in read or above & passed, name


@pytest.mark.parametrize("reader", ["import", "predict", "train", "eval"])
def test_no_reader_loses_a_file_without_a_word(tmp_path: Path, capsys: pytest.CaptureFixture[str], reader: str) -> None:
    folder = plant_everything(tmp_path / "in")
    if reader == "import":
        chosen = select(folder, Reading())
        read, told = {one.origin for one in chosen.found}, " ".join(chosen.told)
    elif reader == "predict":
        read = {path.relative_to(folder).as_posix() for path in list_pictures([folder])}
        told = capsys.readouterr().err
    else:
        read = {row.path for row in list_crops(folder, "train" if reader == "train" else "test")}
        told = capsys.readouterr().err
    system = {name for names in (read_tree(folder).passed["hidden, or of the system"],) for name in names}
    other_part = {"train": ("Test/",), "eval": ("train/",)}.get(reader, ())
    for name in list_all(folder):
        above = {name, *(parent.as_posix() for parent in PurePosixPath(name).parents)}
        is_told = any(one in told for one in above - {"."})
        assert name in read or is_told or above & system or name.startswith(other_part), name
