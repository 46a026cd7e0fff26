"""A split is stratified, never parts a group, and keeps what a data set says of itself."""

import csv
import json
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.pictures import draw_noise, make_folder, make_noise_folder

from fer_pipeline.config.schema import SplitConfig
from fer_pipeline.dataset.rows import MANIFEST, Row, Status, kept_rows, read_rows
from fer_pipeline.errors import InputError, UsageError
from fer_pipeline.files import hash_file
from fer_pipeline.stages.runner import run_stage
from fer_pipeline.stages.split import SPLIT, assign_parts, group_rows

SEEDS = range(5)


def settings(**changes: Any) -> SplitConfig:
    return SplitConfig.model_validate({"input": Path("in"), "output": Path("out"), **changes})


def make_rows(count: int = 100, label: str = "a", **fields: Any) -> list[Row]:
    return [Row(path=f"{label}/{number:04d}.png", label=label, **fields) for number in range(count)]


def part(rows: list[Row], **changes: Any) -> list[Row]:
    parted = list(assign_parts(rows, settings(**changes)))
    assert [row.path for row in parted] == [row.path for row in rows]
    return parted


def count(rows: list[Row]) -> Counter[tuple[str | None, str | None]]:
    return Counter((row.label, row.split) for row in rows)


def test_each_class_is_parted_nine_to_one_in_expectation() -> None:
    found = count(part(make_rows(4000, "a") + make_rows(2000, "b")))
    assert found["a", "test"] == pytest.approx(400, abs=60)
    assert found["b", "test"] == pytest.approx(200, abs=45)


def test_images_that_come_or_go_move_no_other_image() -> None:
    rows = make_rows(300, "a") + make_rows(200, "b")
    before = {row.path: row.split for row in part(rows)}
    fewer = {row.path: row.split for row in part(rows[::3])}
    more = {row.path: row.split for row in part(sorted(rows + make_rows(900, "c"), key=lambda row: row.path))}
    assert all(before[path] == part for path, part in fewer.items())
    assert all(more[path] == part for path, part in before.items())


def test_a_copy_that_joins_a_photo_leaves_it_where_it_was() -> None:
    before = {row.path: row.split for row in part(make_rows(200))}
    tied = [row.replace(group="a/0007") if row.path in {"a/0007.png", "a/0009.png"} else row for row in make_rows(200)]
    after = {row.path: row.split for row in part(tied)}
    assert {path for path in before if before[path] != after[path]} <= {"a/0009.png"}
    assert after["a/0009.png"] == after["a/0007.png"]


@pytest.mark.parametrize("seed", SEEDS)
def test_a_group_stays_in_one_split(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows = [row.replace(group=f"g{rng.integers(60)}") for row in make_rows(150, "a") + make_rows(80, "b")]
    parts = defaultdict(set)
    for row in part(rows, seed=seed, test_share=0.2):
        parts[row.group].add(row.split)
    assert {len(splits) for splits in parts.values()} == {1}


@pytest.mark.parametrize("seed", SEEDS)
def test_the_faces_of_one_photo_stay_in_one_split(seed: int) -> None:
    paths = [f"a/{number:04d}{end}.png" for number in range(40) for end in ("", "-2", "-3")]
    parts = defaultdict(set)
    for row in part([Row(path=path, label="a") for path in paths], seed=seed):
        parts[row.path[:6]].add(row.split)
    assert {len(splits) for splits in parts.values()} == {1}


@pytest.mark.parametrize("seed", SEEDS)
def test_people_alike_stay_in_one_split_when_asked(seed: int) -> None:
    rng = np.random.default_rng(seed)
    people = rng.normal(0, 1, (20, 16))
    rows = [
        row.replace(attributes={"embedding": (people[number % 20] + rng.normal(0, 0.01, 16)).tolist()})
        for number, row in enumerate(make_rows(100))
    ]
    parted = part(rows, seed=seed, same_person=0.5, test_share=0.2)
    for person in range(20):
        assert len({row.split for row in parted[person::20]}) == 1
    assert {row.split for row in parted} == {"train", "test"}


def test_people_cannot_be_told_apart_without_embeddings() -> None:
    with pytest.raises(UsageError, match=r"set crop.embedding to true"):
        part(make_rows(), same_person=0.5)


def test_official_splits_are_kept_and_the_rest_is_parted() -> None:
    official = make_rows(20, "a", split="train") + make_rows(7, "b", split="test")
    official += [Row(path="a/x.png", label="a", split="test")]
    free = make_rows(20, "c") + [row.replace(path=f"b/x{row.path[2:]}") for row in make_rows(20, "b")]
    rows = part(official + free)
    assert count(rows[:20]) == {("a", "train"): 20}
    assert count(rows[20:27]) == {("b", "test"): 7}
    assert {row.split for row in rows[28:48]} == {"train", "test"}


def test_an_image_tied_to_an_official_one_goes_with_it() -> None:
    official = [Row(path=f"a/{number:04d}.png", label="a", group=f"g{number}", split=split)
                for number, split in enumerate(["train"] * 30 + ["test"] * 10)]  # fmt: skip
    free = [Row(path=f"a/x{number:04d}.png", label="a", group=f"g{number}") for number in range(40)]
    rows = part(official + free)
    assert [row.split for row in rows[40:]] == [row.split for row in rows[:40]]


def test_an_image_tied_to_both_official_parts_makes_the_test_no_easier() -> None:
    official = [Row(path="a/1.png", label="a", group="g", split="train"), Row(path="a/2.png", label="a", group="g",
                                                                                split="test")]  # fmt: skip
    rows = part([*official, Row(path="a/3.png", label="a", group="g")])
    assert [row.split for row in rows] == ["train", "test", "train"]


def test_the_unlabelled_are_dropped_and_tell_why() -> None:
    rows = part([*make_rows(20), Row(path="unlabelled/1.png")])
    assert (rows[-1].status, rows[-1].reason, rows[-1].split) == (Status.DROPPED, "unlabelled", None)


def test_only_the_wanted_classes_go_on() -> None:
    rows = part(make_rows(20, "a") + make_rows(20, "b") + make_rows(1, "c"), labels=["b", "a"])
    assert (rows[-1].status, rows[-1].reason) == (Status.DROPPED, "label_not_wanted")
    assert {row.label for row in rows if row.status is Status.KEPT} == {"a", "b"}


def test_an_unknown_class_is_refused_with_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"split.labels: no image has the label 'smle': use smile"):
        part(make_rows(20, "smile") + make_rows(20, "pout"), labels=["smle", "pout"])


def test_no_label_at_all_is_refused() -> None:
    with pytest.raises(InputError, match="no image has a label"):
        part([Row(path="unlabelled/1.png")])


def test_a_class_of_one_group_is_refused_by_name() -> None:
    rows = make_rows(20, "a") + [row.replace(group="one person") for row in make_rows(20, "b")]
    with pytest.raises(InputError, match=r"class 'b' has too few images .* for a test part"):
        part(rows)


def test_a_class_of_one_image_is_refused_by_name() -> None:
    with pytest.raises(InputError, match="class 'b' has too few images"):
        part(make_rows(20, "a") + make_rows(1, "b"))


def test_a_class_of_two_images_has_one_in_each_part() -> None:
    assert count(part(make_rows(2)))[("a", "test")] == 1


def test_the_same_seed_gives_the_same_split_and_another_another() -> None:
    rows = make_rows(200)
    assert part(rows, seed=1) == part(rows, seed=1)
    assert part(rows, seed=1) != part(rows, seed=2)


def test_a_group_is_named_by_its_first_member() -> None:
    rows = [Row(path="a/1.png", group="g"), Row(path="a/2-2.png"), Row(path="a/2.png"), Row(path="a/3.png", group="g")]
    assert group_rows(rows, None) == ["g", "a/2", "a/2", "g"]


def test_a_split_folder_is_what_any_image_folder_reader_opens(tmp_path: Path) -> None:
    source = make_folder(tmp_path / "in", {f"{label}/{n}.png": draw_noise(n) for label in "ab" for n in range(10)})
    summary = run_stage(SPLIT, SplitConfig(input=source, output=tmp_path / "out"))
    assert summary.kept == 20
    files = {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.png")}
    assert files == {f"{row.split}/{row.path}" for row in read_rows(tmp_path / "out")}
    assert {name.partition("/")[0] for name in files} == {"train", "test"}


def test_a_split_that_cannot_be_made_leaves_no_manifest(tmp_path: Path) -> None:
    source = make_folder(tmp_path / "in", {"a/1.png": draw_noise(1)})
    with pytest.raises(InputError, match="too few images"):
        run_stage(SPLIT, SplitConfig(input=source, output=tmp_path / "out"))
    assert not (tmp_path / "out" / MANIFEST).exists()


def make_session(day: int, label: str = "a", count: int = 20, **fields: Any) -> list[Row]:
    name = f"webcam:2026-11-{day}"
    rows = make_rows(count, label, source={"name": name, "engine": "webcam"}, group=name, **fields)
    return [row.replace(path=f"{label}/{day}{row.path[2:]}") for row in rows]


def test_of_two_sessions_one_is_tested_on_and_no_other_image_moves() -> None:
    before = part(make_rows(100, "a") + make_rows(30, "b"))
    after = part(make_rows(100, "a") + make_rows(30, "b") + make_session(20) + make_session(21))
    assert [row.split for row in after[:130]] == [row.split for row in before]
    assert {(row.group, row.split) for row in after[130:]} == {
        ("webcam:2026-11-20", "train"),
        ("webcam:2026-11-21", "test"),
    }


def test_a_persons_other_session_may_be_tested_on_where_people_are_kept_together() -> None:
    own: dict[str, Any] = {"attributes": {"embedding": [1.0, 0.0]}}
    rows = make_session(20, **own) + make_session(21, **own) + make_rows(20, attributes={"embedding": [9.0, 0.0]})
    parts = {row.group: row.split for row in part(rows, same_person=0.5) if "webcam" in str(row.group)}
    assert parts == {"webcam:2026-11-20": "train", "webcam:2026-11-21": "test"}


def test_where_there_is_nothing_but_one_session_another_is_asked_for() -> None:
    with pytest.raises(InputError, match="add another session"):
        part(make_session(20))


def test_a_split_describes_itself_to_other_tools(tmp_path: Path) -> None:
    source = make_noise_folder(tmp_path / "in", 6)
    config = SplitConfig(input=source, output=tmp_path / "set" / "split", test_share=0.5)
    run_stage(SPLIT, config)
    with (config.output / "metadata.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    rows = list(kept_rows(config.output))
    assert [line["file_name"] for line in lines] == [f"{row.split}/{row.path}" for row in rows]
    assert all((config.output / line["file_name"]).is_file() for line in lines)
    assert [line["label"] for line in lines] == [row.label for row in rows]
    croissant = json.loads((config.output / "croissant.json").read_bytes())
    assert croissant["name"] == "set"
    assert croissant["distribution"][0]["sha256"] == hash_file(config.output / "metadata.csv")


@pytest.mark.parametrize("name", ["metadata.csv", "croissant.json"])
def test_a_description_that_somebody_else_wrote_is_not_replaced(tmp_path: Path, name: str) -> None:
    source = make_noise_folder(tmp_path / "in", 6)
    config = SplitConfig(input=source, output=tmp_path / "split", test_share=0.5)
    run_stage(SPLIT, config)
    (config.output / name).write_text("mine")
    with pytest.raises(InputError, match=f"{name}: fer did not write it"):
        run_stage(SPLIT, config, force=True)
    assert (config.output / name).read_text() == "mine"
