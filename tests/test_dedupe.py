"""Of near-copies the best stays; what is alike is tied, so that a split never parts it."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from support.pictures import draw_noise, draw_portrait, draw_view, facing, make_folder

from fer_pipeline.config.schema import DedupeConfig
from fer_pipeline.dataset.rows import Row, Status, read_rows
from fer_pipeline.sources.sample import draw_photo, random_face
from fer_pipeline.sources.sample.faces import random_mouth
from fer_pipeline.sources.sample.junk import to_jpeg
from fer_pipeline.stages.dedupe import DEDUPE, drop_copies, warn_of_copies
from fer_pipeline.stages.runner import run_stage
from fer_pipeline.vision.image_io import Image, read_image, resize
from fer_pipeline.vision.same_picture import are_one_picture, look_at


def row(name: str, bits: int, width: int = 100, sharpness: float = 1.0, label: str = "a", group: str = "") -> Row:
    """A measured row whose hash has as many bits set as told, from the lowest."""
    attributes = {"hash": f"{(1 << bits) - 1:016x}", "sharpness": sharpness, "width": width, "height": 100}
    return Row(path=f"{label}/{name}.jpg", label=label, group=group or None, attributes=attributes)


def dedupe(rows: list[Row], **changes: Any) -> dict[str, Row]:
    config = DedupeConfig.model_validate({"input": Path("in"), "output": Path("out"), "check": "hash", **changes})
    final = list(drop_copies(sorted(rows, key=lambda one: one.path), config))
    assert len(final) == len(rows)
    return {one.path: one for one in final}


def kept(rows: dict[str, Row]) -> list[str]:
    return sorted(path for path, one in rows.items() if one.status is Status.KEPT)


def test_the_largest_of_some_copies_stays() -> None:
    rows = dedupe([row("1", 0, width=100, sharpness=9), row("2", 1, width=300), row("3", 2, width=200)])
    assert kept(rows) == ["a/2.jpg"]
    assert (rows["a/1.jpg"].reason, rows["a/1.jpg"].attributes["copy_of"]) == ("copy", "a/2.jpg")


def test_the_sharpest_of_some_copies_of_one_size_stays() -> None:
    assert kept(dedupe([row("1", 0, sharpness=5), row("2", 1, sharpness=7), row("3", 2, sharpness=6)])) == ["a/2.jpg"]


def test_equal_copies_end_the_same_whatever_their_order() -> None:
    rows = [row(str(number), 0) for number in range(4)]
    assert kept(dedupe(rows)) == kept(dedupe(rows[::-1]))
    assert len(kept(dedupe(rows))) == 1


def test_a_hash_one_bit_beyond_the_distance_is_no_copy() -> None:
    assert len(kept(dedupe([row("1", 0), row("2", 4)], distance=4))) == 1
    assert len(kept(dedupe([row("1", 0), row("2", 5)], distance=4))) == 2


def test_photos_within_the_group_distance_are_tied_and_both_stay() -> None:
    rows = dedupe([row("1", 0), row("2", 8), row("3", 40)], distance=4, group_distance=8)
    assert len(kept(rows)) == 3
    assert rows["a/1.jpg"].group == rows["a/2.jpg"].group == "a/1"
    assert rows["a/3.jpg"].group is None


def test_a_photo_beyond_the_group_distance_is_not_tied() -> None:
    rows = dedupe([row("1", 0), row("2", 9)], distance=4, group_distance=8)
    assert {one.group for one in rows.values()} == {None}


def test_a_chain_of_likenesses_is_one_group() -> None:
    rows = dedupe([row(str(number), 8 * number) for number in range(5)], distance=2, group_distance=8)
    assert {one.group for one in rows.values()} == {"a/0"}


def test_a_distance_above_the_group_distance_ties_the_copies_too() -> None:
    rows = dedupe([row("1", 0), row("2", 6)], distance=8, group_distance=0)
    assert len(kept(rows)) == 1
    assert rows["a/1.jpg"].group == rows["a/2.jpg"].group is not None


def test_copies_with_conflicting_labels_are_all_dropped() -> None:
    rows = dedupe([row("1", 0), row("1", 0, label="b"), row("2", 1), row("3", 60)])
    assert kept(rows) == ["a/3.jpg"]
    assert {one.reason for path, one in rows.items() if path != "a/3.jpg"} == {"conflicting_labels"}
    assert rows["b/1.jpg"].attributes["labels"] == ["a", "b"]


def test_conflicting_labels_can_be_kept_the_best_of_each() -> None:
    rows = dedupe([row("1", 0), row("2", 0, width=200), row("1", 0, label="b")], conflicts="keep")
    assert kept(rows) == ["a/2.jpg", "b/1.jpg"]
    assert rows["a/2.jpg"].group == rows["b/1.jpg"].group is not None


def test_likeness_never_ties_two_groups_that_an_import_named() -> None:
    rows = dedupe([row("1", 0, group="p:anna"), row("2", 6, group="p:ben"), row("3", 3), row("4", 12)], distance=0)
    groups = {path: one.group for path, one in rows.items()}
    assert groups == {"a/1.jpg": "p:anna", "a/2.jpg": "p:ben", "a/3.jpg": "p:anna", "a/4.jpg": "p:ben"}


def test_images_of_one_person_stay_tied_together_with_what_is_like_them() -> None:
    rows = dedupe([row("1", 0, group="p:anna"), row("2", 30, group="p:anna"), row("3", 37), row("4", 60)])
    assert rows["a/1.jpg"].group == rows["a/2.jpg"].group == rows["a/3.jpg"].group == "p:anna"
    assert rows["a/4.jpg"].group is None


def test_a_person_with_one_image_keeps_their_name() -> None:
    assert dedupe([row("1", 0, group="p:anna"), row("2", 60)])["a/1.jpg"].group == "p:anna"


@pytest.mark.parametrize("kind", ["phash", "dhash"])
def test_a_recompressed_and_resized_copy_is_found_and_other_photos_stay(tmp_path: Path, kind: str) -> None:
    photo, other = draw_portrait(1, side=200)[0], draw_portrait(2, side=200)[0]
    pictures: dict[str, Image | bytes] = {
        "a/1.jpg": photo,
        "a/2.jpg": to_jpeg(resize(photo, 150, 150), 50),
        "a/3.jpg": other,
    }
    source = make_folder(tmp_path / "in", {**pictures, "a/4.jpg": draw_noise(5, 200, 200)}, attributes={"width": 1})
    config = DedupeConfig.model_validate({"input": source, "output": tmp_path / "out", "hash": kind})
    run_stage(DEDUPE, config)
    rows = {one.path: one for one in read_rows(config.output)}
    assert sum(rows[path].status is Status.KEPT for path in ("a/1.jpg", "a/2.jpg")) == 1
    assert rows["a/3.jpg"].status is rows["a/4.jpg"].status is Status.KEPT
    assert len(rows["a/3.jpg"].attributes["hash"]) == 16
    assert (config.output / "a/3.jpg").samefile(source / "a/3.jpg")


def test_a_dropped_copy_is_not_handed_on(tmp_path: Path) -> None:
    source = make_folder(tmp_path / "in", {"a/1.jpg": draw_noise(1), "a/2.jpg": draw_noise(1)})
    run_stage(DEDUPE, DedupeConfig(input=source, output=tmp_path / "out"))
    assert len(list((tmp_path / "out" / "a").iterdir())) == 1
    assert len(read_rows(tmp_path / "out")) == 2


def test_frames_before_one_camera_look_alike_and_all_stay_each_session_by_itself() -> None:
    def frame(name: str, label: str, session: str) -> Row:
        return row(name, 0, label=label, group=session).replace(source={"name": session, "engine": "webcam"})

    frames = [frame("1", "a", "webcam:1"), frame("2", "b", "webcam:1"), frame("3", "a", "webcam:2")]
    rows = dedupe([*frames, row("4", 60, label="a")])
    assert len(kept(rows)) == 4
    assert [rows[path].group for path in ("a/1.jpg", "b/2.jpg", "a/3.jpg")] == ["webcam:1", "webcam:1", "webcam:2"]


# --- the pixels decide


def portraits(folder: Path, pictures: dict[str, Image]) -> dict[str, Row]:
    """The rows of photos that all look alike to a hash, after the pixels were asked."""
    source = make_folder(folder / "in", dict(pictures), attributes={"width": 1})
    config = DedupeConfig(input=source, output=folder / "out", distance=16, group_distance=20)
    run_stage(DEDUPE, config)
    return {one.path: one for one in read_rows(config.output)}


def sitter(label: str) -> Image:
    """One person before one wall, in one light, with some expression."""
    rng = np.random.default_rng(5)
    face = random_face(rng, "neutral", 320, 320, (160, 134), 150)
    rng = np.random.default_rng(6)
    mouth = replace(random_mouth(rng, label), slant=0.0)
    face = replace(facing(face), label=label, mouth=mouth, tilt=0.0)
    return draw_photo([face], 320, 320, np.random.default_rng(7))[0]


def test_the_expressions_of_a_sitter_are_pictures_of_their_own_tied_together(tmp_path: Path) -> None:
    rows = portraits(tmp_path, {f"{label}/1.jpg": sitter(label) for label in ("neutral", "smile", "open")})
    assert len(kept(rows)) == 3
    assert len({one.group for one in rows.values()}) == 1
    assert None not in {one.group for one in rows.values()}


def encode(image: Image, quality: int) -> Image:
    return read_image(to_jpeg(image, quality))


COPIES: dict[str, Callable[[Image], Image]] = {
    "encoded again": lambda image: encode(image, 30),
    "half as large": lambda image: resize(image, 160, 160),
    "cut at the edges": lambda image: image[8:-8, 8:-8],
    "with a frame": lambda image: np.pad(image, ((8, 8), (8, 8), (0, 0))),
    "in a wide black frame": lambda image: np.pad(image, ((60, 80), (40, 40), (0, 0))),
    "mirrored": lambda image: np.ascontiguousarray(image[:, ::-1]),
    "brighter": lambda image: np.clip(image * 0.8 + 40, 0, 255).astype(np.uint8),
    "blurred": lambda image: np.asarray(cv2.GaussianBlur(image, (0, 0), 1.5), np.uint8),
}


@pytest.mark.parametrize("kind", COPIES)
def test_one_picture_is_a_copy_however_it_was_changed(tmp_path: Path, kind: str) -> None:
    photo = draw_portrait(1)[0]
    rows = portraits(tmp_path, {"a/1.jpg": photo, "a/2.jpg": COPIES[kind](photo), "a/3.jpg": draw_portrait(2)[0]})
    assert sum(rows[path].status is Status.KEPT for path in ("a/1.jpg", "a/2.jpg")) == 1
    assert rows["a/3.jpg"].status is Status.KEPT


@pytest.mark.parametrize("kind", ["encoded again", "half as large", "with a frame", "brighter", "blurred"])
def test_so_is_a_picture_without_a_face(kind: str) -> None:
    scene, other = draw_view(3), draw_view(4)
    assert are_one_picture(look_at(scene), look_at(COPIES[kind](scene)))
    assert not are_one_picture(look_at(other), look_at(COPIES[kind](scene)))


def test_small_faces_on_one_plain_ground_are_compared_where_they_are() -> None:
    def far_away(seed: int) -> Image:
        ground = np.full((1500, 2000, 3), (200, 198, 190), np.uint8)
        ground[700:740, 900:940] = resize(draw_portrait(seed)[0][40:230, 65:255], 40, 40)  # a face of 40 pixels
        return encode(ground, 92)

    looks = [look_at(far_away(seed)) for seed in range(6)]
    pairs = [(one, two) for one in range(6) for two in range(one)]
    assert not [pair for pair in pairs if are_one_picture(looks[pair[0]], looks[pair[1]])]
    assert are_one_picture(looks[0], look_at(encode(far_away(0), 92)))


def test_much_lost_to_copies_and_one_large_group_are_told_with_a_remedy(tmp_path: Path) -> None:
    photo = draw_portrait(1)[0]
    pictures = {f"a/{number}.jpg": encode(photo, 40 + 10 * number) for number in range(4)}
    portraits(tmp_path, pictures | {"b/9.jpg": sitter("smile"), "b/8.jpg": sitter("open")})
    copies, group = warn_of_copies(tmp_path / "out")
    assert copies.startswith("50% of the photos went (3 as copy): look at them in report.html")
    assert "dedupe.distance" in copies
    assert "are one group" in group
    assert "--group" in group


def test_group_photos_of_which_one_face_differs_and_blanks_of_other_colours_are_pictures_of_their_own() -> None:
    def pair(label: str) -> Image:
        return np.concatenate((draw_portrait(3)[0], sitter(label)), axis=1)

    assert are_one_picture(look_at(pair("smile")), look_at(encode(pair("smile"), 60)))
    assert not are_one_picture(look_at(pair("smile")), look_at(pair("open")))
    black, white = (np.full((60, 60, 3), level, np.uint8) for level in (0, 255))
    assert are_one_picture(look_at(black), look_at(black))
    assert not are_one_picture(look_at(black), look_at(white))
