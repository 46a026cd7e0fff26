"""Everything readable becomes upright RGB JPEG; the rest ends as a row with its reason."""

import io
from collections import Counter
from pathlib import Path

import PIL.Image
import pytest
from support.pictures import draw_noise, make_folder, read_index

from fer_pipeline.config.schema import UnifyConfig
from fer_pipeline.dataset.rows import Row, Status, read_rows
from fer_pipeline.sources.folders import find_in_folder
from fer_pipeline.sources.importers import import_images
from fer_pipeline.sources.sample.junk import ENCODINGS, HTML, encode, to_jpeg
from fer_pipeline.stages.runner import run_stage
from fer_pipeline.stages.unify import UNIFY
from fer_pipeline.vision.image_io import Image, read_image


def unify(folder: Path, pictures: dict[str, Image | bytes], **changes: int) -> dict[str, Row]:
    config = UnifyConfig(input=make_folder(folder / "raw", pictures), output=folder / "out", **changes)
    run_stage(UNIFY, config)
    return {row.path: row for row in read_rows(config.output)}


def test_every_encoding_becomes_an_upright_jpeg_of_the_same_size(tmp_path: Path) -> None:
    photo = draw_noise(0, 96, 64)
    rows = unify(tmp_path, {f"a/{name}.{suffix}": encode(photo, name) for name, suffix in ENCODINGS.items()})
    assert set(rows) == {f"a/{name}.jpg" for name in ENCODINGS}
    for path, row in rows.items():
        with PIL.Image.open(tmp_path / "out" / path) as image:
            assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (96, 64))
        assert row.status is Status.KEPT
        assert (row.attributes["width"], row.attributes["height"]) == (96, 64)


def test_no_metadata_goes_on(tmp_path: Path) -> None:
    unify(tmp_path, {"a/rotated.jpg": encode(draw_noise(0, 96, 64), "rotated")})
    with PIL.Image.open(tmp_path / "out" / "a" / "rotated.jpg") as image:
        assert not image.getexif()
        assert "exif" not in image.info


def test_what_is_no_picture_says_why(tmp_path: Path) -> None:
    photo = to_jpeg(draw_noise(0, 200, 200), 90)
    rows = unify(
        tmp_path, {"a/empty.jpg": b"", "a/html.jpg": HTML, "a/half.jpg": photo[: len(photo) // 2], "a/fine.jpg": photo}
    )
    assert {path: (row.status, row.reason) for path, row in rows.items()} == {
        "a/empty.jpg": (Status.DROPPED, "empty"),
        "a/html.jpg": (Status.DROPPED, "unreadable"),
        "a/half.jpg": (Status.DROPPED, "truncated"),
        "a/fine.jpg": (Status.KEPT, ""),
    }


def test_a_large_photo_is_shrunk_and_a_small_one_dropped_with_its_size(tmp_path: Path) -> None:
    rows = unify(tmp_path, {"a/large.png": draw_noise(0, 400, 200), "a/small.png": draw_noise(1, 300, 30)}, longest=100)
    assert read_image(tmp_path / "out" / "a" / "large.jpg").shape == (50, 100, 3)
    assert rows["a/large.jpg"].attributes == {"width": 400, "height": 200}
    assert (rows["a/small.png"].reason, rows["a/small.png"].attributes) == ("too_small", {"width": 300, "height": 30})


def test_a_photo_that_claims_too_many_pixels_is_dropped(tmp_path: Path) -> None:
    rows = unify(tmp_path, {"a/bomb.png": draw_noise(0, 60, 60), "a/fine.png": draw_noise(0, 50, 50)}, max_pixels=3000)
    assert rows["a/bomb.png"].reason == "too_many_pixels"
    assert rows["a/fine.jpg"].status is Status.KEPT


@pytest.mark.parametrize("quality", [95, 50])
def test_the_quality_is_the_one_asked_for(tmp_path: Path, quality: int) -> None:
    photo = draw_noise(0, 96, 64)
    unify(tmp_path, {"a/photo.png": photo}, quality=quality)
    wanted = io.BytesIO()
    PIL.Image.fromarray(photo).save(wanted, "JPEG", quality=quality, subsampling=0)
    assert (tmp_path / "out" / "a" / "photo.jpg").read_bytes() == wanted.getvalue()


def test_a_crawled_gallery_loses_only_what_is_broken(gallery: Path, tmp_path: Path) -> None:
    import_images(find_in_folder(gallery), tmp_path / "raw", "gallery")
    run_stage(UNIFY, UnifyConfig(input=tmp_path / "raw", output=tmp_path / "out"))
    rows = read_rows(tmp_path / "raw") + read_rows(tmp_path / "out")
    reasons = Counter(row.reason for row in rows if row.status is not Status.KEPT)
    reasons.pop("not_an_image")  # index.json and the page of an error
    assert reasons == {"empty": 1, "truncated": 1}
    kinds = Counter(entry["kind"] for entry in read_index(gallery))
    kept = [row for row in rows if row.status is Status.KEPT and "width" in row.attributes]
    assert len(kept) == kinds.total() - kinds["html"] - kinds["empty"] - kinds["truncated"]
