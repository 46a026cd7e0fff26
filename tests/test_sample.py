"""The drawn gallery: the same bytes each time, and an index that tells the truth."""

from collections import Counter
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from support.pictures import list_files, read_index

from fer_pipeline.sources.sample import LABELS, draw_gallery, draw_photo, random_face
from fer_pipeline.sources.sample.gallery import plan_gallery
from fer_pipeline.sources.sample.junk import ENCODINGS
from fer_pipeline.vision.boxes import bounding_box
from fer_pipeline.vision.image_io import BadImage, hash_image, read_image
from fer_pipeline.vision.mouth import measure_mouth


def test_the_same_arguments_give_the_same_bytes_and_progress_counts_every_file(gallery: Path, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    draw_gallery(tmp_path, per_label=4, progress=lambda done, total: told.append((done, total)))
    assert list_files(tmp_path) == list_files(gallery)
    total = len(read_index(tmp_path))
    assert told == [(done, total) for done in range(1, total + 1)]


def test_another_seed_draws_other_faces() -> None:
    first, second = (
        draw_photo([random_face(rng, "smile", 200, 240)], 200, 240, rng)[0]
        for rng in (np.random.default_rng(seed) for seed in (0, 1))
    )
    assert not np.array_equal(first, second)
    assert {entry.seeds for entry in plan_gallery(4, 0)}.isdisjoint(entry.seeds for entry in plan_gallery(4, 1))


def test_the_index_names_every_file_and_no_other(gallery: Path) -> None:
    files = set(list_files(gallery)) - {"index.json", "provenance.json"}
    assert sorted(entry["file"] for entry in read_index(gallery)) == sorted(files)


def test_every_label_has_its_photos_and_the_junk_of_a_crawl(gallery: Path) -> None:
    kinds = Counter((entry["label"], entry["kind"]) for entry in read_index(gallery))
    assert all(kinds[label, "photo"] == 4 and kinds[label, "scene"] >= 1 for label in LABELS)
    total = Counter(entry["kind"] for entry in read_index(gallery))
    assert total["encoding"] == len(ENCODINGS)
    assert total["truncated"] == total["html"] == total["empty"] == 1
    assert total["copy"] >= 4
    assert total["several"] >= 4


def test_what_the_index_calls_broken_is_broken_and_the_rest_opens(gallery: Path) -> None:
    for entry in read_index(gallery):
        if entry["kind"] in {"truncated", "html", "empty"}:
            with pytest.raises(BadImage):
                read_image(gallery / entry["file"])
        else:
            assert read_image(gallery / entry["file"]).ndim == 3


def test_landmarks_lie_inside_the_upright_picture_and_say_how_many_faces_there_are(gallery: Path) -> None:
    counts = {"photo": {1}, "encoding": {1}, "copy": {1}, "scene": {0}, "several": {2, 3}}
    for entry in read_index(gallery):
        if entry["kind"] not in counts:
            continue
        height, width = read_image(gallery / entry["file"]).shape[:2]
        assert len(entry["landmarks"]) in counts[entry["kind"]]
        for face in entry["landmarks"]:
            assert len(face) == 68
            box = bounding_box([(x, y) for x, y in face])
            assert -0.1 * width < box.left < box.right < 1.1 * width
            assert 0 < box.top < box.bottom < 1.1 * height


def test_a_copy_looks_like_what_it_copies(gallery: Path) -> None:
    entries = read_index(gallery)
    labels = {entry["file"]: entry["label"] for entry in entries}
    copies = [entry for entry in entries if entry["of"]]
    for entry in copies:
        first, second = (hash_image(read_image(gallery / name)) for name in (entry["file"], entry["of"]))
        assert (int(first, 16) ^ int(second, 16)).bit_count() <= 8
    strays = {(entry["label"], labels[entry["of"]]) for entry in copies if labels[entry["of"]] != entry["label"]}
    assert strays == {("smile", "neutral"), ("open", "pout")}


def test_the_file_behind_a_name_may_hold_another_format_turned_or_deep(gallery: Path) -> None:
    modes = set()
    for entry in read_index(gallery):
        if entry["kind"] == "encoding":
            with PIL.Image.open(gallery / entry["file"]) as image:
                modes.add(image.mode)
    assert {"CMYK", "L", "I;16", "RGBA", "RGB"} <= modes


def test_the_drawn_mouth_shows_its_label() -> None:
    means = {}
    for label in LABELS:
        rng = np.random.default_rng(0)
        faces = [random_face(rng, label, 300, 300) for _ in range(6)]
        shapes = [measure_mouth(draw_photo([face], 300, 300, rng)[1][0]) for face in faces]
        means[label] = {key: np.mean([shape[key] for shape in shapes]) for key in shapes[0]}
    assert means["smile"]["width"] > means["neutral"]["width"] > means["pout"]["width"]
    assert means["open"]["inner_height_over_width"] > means["neutral"]["inner_height_over_width"] + 0.1
