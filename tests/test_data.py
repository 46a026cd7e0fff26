"""Promises of `fer_pipeline.models.data`."""

from pathlib import Path

import numpy as np
import pytest
from support.drawn import draw_mouth, write_classes, write_png, write_split

from fer_pipeline.dataset.rows import Row, write_rows
from fer_pipeline.errors import InputError
from fer_pipeline.models.data import check_classes, hash_data, list_crops, load_crops


def test_a_split_folder_lists_only_the_part_that_is_asked_for(tmp_path: Path) -> None:
    data = write_split(tmp_path / "split", train=3, test=2)
    assert {row.split for row in list_crops(data, "train")} == {"train"}
    assert len(list_crops(data, "train")) == 6
    assert len(list_crops(data, "test")) == 4
    assert len(list_crops(data)) == 10
    assert all((data / row.path).is_file() for row in list_crops(data))


def test_plain_class_folders_are_a_data_set_too(tmp_path: Path) -> None:
    data = write_classes(tmp_path / "mine", count=3)
    rows = list_crops(data, "test")
    assert [row.label for row in rows] == ["closed"] * 3 + ["open"] * 3
    assert all((data / row.path).is_file() for row in rows)


def test_class_folders_below_test_are_its_test_part(tmp_path: Path) -> None:
    write_classes(tmp_path / "mine" / "test", count=1)
    write_classes(tmp_path / "mine" / "train", count=4)
    rows = list_crops(tmp_path / "mine", "test")
    assert [(row.path, row.label) for row in rows] == [("test/closed/0.png", "closed"), ("test/open/0.png", "open")]


def test_rows_that_were_dropped_are_not_listed(tmp_path: Path) -> None:
    write_split(tmp_path, train=2, test=1)
    rows = [Row(path="open/x.png", label="open", split="train").dropped("copy")]
    write_rows(tmp_path, [*rows, Row(path="open/000.png", label="open", split="train")])
    assert [row.path for row in list_crops(tmp_path)] == ["train/open/000.png"]


def test_a_folder_without_images_names_itself_and_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"holds no labelled images for train: run `fer split`"):
        list_crops(tmp_path, "train")
    with pytest.raises(InputError, match=r"nowhere holds no finished stage"):
        list_crops(tmp_path / "nowhere")


def test_pixels_and_targets_belong_to_their_rows(tmp_path: Path) -> None:
    data = write_split(tmp_path / "split", train=2, test=1)
    crops = load_crops(data, list_crops(data, "train"), ["closed", "open"], 48, tmp_path / "cache")
    assert crops.images.shape == (4, 48, 48, 3)
    assert crops.images.dtype == np.uint8
    assert crops.targets.tolist() == [0, 0, 1, 1]
    for image, row in zip(crops.images, crops.rows, strict=True):
        np.testing.assert_array_equal(image, draw_mouth(str(row.label), int(Path(row.path).stem)))


def test_the_order_of_the_labels_given_is_the_order_of_the_targets(tmp_path: Path) -> None:
    data = write_split(tmp_path / "split", train=1, test=1)
    crops = load_crops(data, list_crops(data, "train"), ["open", "closed"], 16, tmp_path / "cache")
    assert crops.targets.tolist() == [1, 0]


def test_crops_stay_on_disk_until_a_part_is_taken(tmp_path: Path) -> None:
    data = write_split(tmp_path / "split", train=2, test=1)
    crops = load_crops(data, list_crops(data, "train"), ["closed", "open"], 16, tmp_path / "cache")
    assert isinstance(crops.images, np.memmap)
    part = crops.part([3, 0])
    assert part.targets.tolist() == [1, 0]
    np.testing.assert_array_equal(part.images[1], crops.images[0])
    assert [row.path for row in part.rows] == [crops.rows[3].path, crops.rows[0].path]


def test_what_was_decoded_once_is_not_decoded_again(tmp_path: Path) -> None:
    data = write_split(tmp_path / "split", train=2, test=1)
    rows = list_crops(data, "train")
    load_crops(data, rows, ["closed", "open"], 16, tmp_path / "cache")
    (cached,) = (tmp_path / "cache").iterdir()
    made = cached.stat().st_ino, cached.stat().st_mtime_ns
    load_crops(data, rows, ["closed", "open"], 16, tmp_path / "cache")
    assert [(path.stat().st_ino, path.stat().st_mtime_ns) for path in (tmp_path / "cache").iterdir()] == [made]


def test_a_crop_made_anew_under_its_old_name_is_decoded_anew(tmp_path: Path) -> None:
    data = write_split(tmp_path / "split", train=2, test=1)
    rows = list_crops(data, "train")
    before = np.array(load_crops(data, rows, ["closed", "open"], 16, tmp_path / "cache").images)
    write_png(data / rows[0].path, draw_mouth("open", 77)[:, ::-1])
    after = load_crops(data, rows, ["closed", "open"], 16, tmp_path / "cache").images
    assert not np.array_equal(before[0], after[0])
    np.testing.assert_array_equal(before[1:], after[1:])
    assert load_crops(data, rows, ["closed", "open"], 24, tmp_path / "cache").images.shape == (4, 24, 24, 3)


def test_a_class_the_model_does_not_know_is_named(tmp_path: Path) -> None:
    data = write_split(tmp_path / "split", train=1, test=1)
    with pytest.raises(InputError, match=r"class 'open' is unknown to the model, which knows closed, pout"):
        load_crops(data, list_crops(data), ["closed", "pout"], 16, tmp_path / "cache")


def test_an_unreadable_crop_is_named_and_leaves_no_array(tmp_path: Path) -> None:
    data = write_split(tmp_path / "split", train=2, test=1)
    (data / "train/open/001.png").write_bytes(b"\x89PNG and then nothing")
    for _ in range(2):  # the half-made array of the first attempt is no cache for the second
        with pytest.raises(InputError, match=r"train/open/001\.png: cannot be read .*: fix or remove it"):
            load_crops(data, list_crops(data, "train"), ["closed", "open"], 16, tmp_path / "cache")
    assert not list((tmp_path / "cache").glob("*.npy"))


def test_a_crop_that_is_gone_is_named(tmp_path: Path) -> None:
    data = write_split(tmp_path / "split", train=2, test=1)
    (data / "train/open/001.png").unlink()
    with pytest.raises(InputError, match=r"train/open/001\.png: cannot be read"):
        load_crops(data, list_crops(data, "train"), ["closed", "open"], 16, tmp_path / "cache")


def test_nothing_can_be_learned_from_one_class_or_one_image() -> None:
    one, two = Row(path="a", label="open"), Row(path="b", label="closed")
    with pytest.raises(InputError, match="only the class 'open'"):
        check_classes([one, one], Path("data"))
    with pytest.raises(InputError, match="class 'closed' has one image only"):
        check_classes([one, one, two], Path("data"))
    assert check_classes([one, one, two, two], Path("data")) == ["closed", "open"]


@pytest.mark.parametrize("training", ["train", "training"])
@pytest.mark.parametrize("testing", ["test", "validation", "val", "valid"])
def test_parts_go_by_the_names_people_give_them(tmp_path: Path, training: str, testing: str) -> None:
    write_classes(tmp_path / training, count=3)
    write_classes(tmp_path / testing, count=1)
    assert {row.path.split("/")[0] for row in list_crops(tmp_path, "train")} == {training}
    assert {row.path.split("/")[0] for row in list_crops(tmp_path, "test")} == {testing}
    rows = list_crops(tmp_path)
    assert sorted({(row.split, row.label) for row in rows}) == [
        ("test", "closed"), ("test", "open"), ("train", "closed"), ("train", "open"),
    ]  # fmt: skip
    assert all((tmp_path / row.path).is_file() for row in rows)


def test_beside_test_validation_is_no_test_part(tmp_path: Path) -> None:
    for part in ("train", "validation", "test"):
        write_classes(tmp_path / part, count=1)
    assert {row.path.split("/")[0] for row in list_crops(tmp_path)} == {"train", "test"}


def test_classes_beside_a_test_folder_are_not_taken_for_parts(tmp_path: Path) -> None:
    write_classes(tmp_path, count=2)
    assert {row.split for row in list_crops(tmp_path)} == {None}
    assert {row.label for row in list_crops(tmp_path, "train")} == {"closed", "open"}


def test_the_hash_of_a_folder_changes_with_its_images_alone(tmp_path: Path) -> None:
    write_classes(tmp_path, count=2)
    before = hash_data(tmp_path)
    (tmp_path / "notes.txt").write_text("no image")
    assert hash_data(tmp_path) == before
    write_png(tmp_path / "open" / "more.png", draw_mouth("open", 5))
    assert hash_data(tmp_path) != before
    (tmp_path / "open" / "more.png").unlink()
    assert hash_data(tmp_path) == before
    (tmp_path / "open" / "0.png").rename(tmp_path / "closed" / "moved.png")
    assert hash_data(tmp_path) != before


def test_the_hash_of_a_stages_folder_is_that_of_its_manifest(tmp_path: Path) -> None:
    data = write_split(tmp_path, train=1, test=1)
    before = hash_data(data)
    (data / "manifest.jsonl").write_text((data / "manifest.jsonl").read_text().replace("even", "other"))
    assert hash_data(data) != before
