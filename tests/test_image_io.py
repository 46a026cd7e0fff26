"""Every file is taken for hostile until decoded; what is decoded is upright RGB."""

import errno
import io
import os
import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np
import PIL.Image
import pillow_heif
import pytest
from support.pictures import draw_noise

from fer_pipeline.sources.sample.junk import ENCODINGS, HTML, encode, to_jpeg
from fer_pipeline.vision.image_io import (
    BadImage,
    Image,
    hash_image,
    link_image,
    measure_sharpness,
    read_image,
    read_photo,
    resize,
    shrink,
    sniff_suffix,
    write_image,
)
from fer_pipeline.vision.signatures import sniff_signature


def smooth(width: int = 96, height: int = 64) -> Image:
    """A picture that every codec keeps nearly as it is, with a bright upper left corner."""
    x, y = np.meshgrid(np.linspace(0, 1, width), np.linspace(0, 1, height))
    return np.stack((200 - 150 * x, 200 - 150 * y, 90 + 40 * x * y), axis=-1).astype(np.uint8)


def save(image: PIL.Image.Image, form: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def reason_of(data: bytes, **options: int) -> str:
    with pytest.raises(BadImage) as caught:
        read_image(data, **options)
    return caught.value.reason


@pytest.mark.parametrize("encoding", ["jpeg", *ENCODINGS])
def test_every_encoding_shows_the_same_upright_picture(encoding: str) -> None:
    photo = smooth()
    image = read_image(encode(photo, encoding))
    assert image.shape == photo.shape
    assert image.dtype == np.dtype("uint8")
    wanted = photo.astype(int)
    if encoding in {"grey", "grey16"}:
        wanted = np.repeat((photo @ np.array((0.299, 0.587, 0.114)))[:, :, None], 3, axis=2).astype(int)
    inner = np.s_[8:-8, 8:-8]  # the rims of `alpha` fade
    tolerance = 12 if encoding in {"gif", "cmyk"} else 5
    assert np.abs(image.astype(int) - wanted)[inner].mean() < tolerance


def test_exif_orientation_turns_the_picture_upright() -> None:
    stored = PIL.Image.fromarray(smooth())
    for orientation, undo in ((3, PIL.Image.Transpose.ROTATE_180), (2, PIL.Image.Transpose.FLIP_LEFT_RIGHT)):
        exif = PIL.Image.Exif()
        exif[0x0112] = orientation
        image = read_image(save(stored.transpose(undo), "PNG", exif=exif.tobytes()))
        assert np.array_equal(image, smooth())


def test_damaged_exif_does_not_cost_the_picture() -> None:
    data = save(PIL.Image.fromarray(smooth()), "JPEG", quality=95, exif=b"Exif\0\0II*\0\xff\xff\xff\xff\0\0")
    assert read_image(data).shape == smooth().shape


def test_transparency_is_laid_over_white() -> None:
    clear = PIL.Image.new("RGBA", (8, 8), (255, 0, 0, 0))
    assert (read_image(save(clear, "PNG")) == 255).all()
    half = PIL.Image.new("RGBA", (8, 8), (255, 0, 0, 128))
    assert np.abs(read_image(save(half, "PNG"))[0, 0].astype(int) - (255, 127, 127)).max() <= 1


@pytest.mark.slow
def test_a_transparent_picture_takes_less_than_three_copies_in_memory(tmp_path: Path) -> None:
    PIL.Image.new("RGBA", (6000, 6000), (255, 0, 0, 128)).save(tmp_path / "large.png", compress_level=1)
    measure = """
import resource, sys
from pathlib import Path
from fer_pipeline.vision.image_io import read_image

read_image(Path(sys.argv[1]))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(read_image(Path(sys.argv[2])).shape, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    write_image(tmp_path / "small.png", smooth())
    command = [sys.executable, "-c", measure, str(tmp_path / "small.png"), str(tmp_path / "large.png")]
    told = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout
    shape, _, kibibytes = told.rpartition(" ")
    assert shape == "(6000, 6000, 3)"
    assert int(kibibytes) * 1024 / 6000**2 < 12  # bytes a pixel; 4 of them are Pillow's, 3 ours


def test_strips_of_a_transparent_picture_meet_without_a_seam() -> None:
    photo = np.dstack((smooth(20, 700), np.linspace(0, 255, 20 * 700).astype(np.uint8).reshape(700, 20)))
    clear = PIL.Image.fromarray(photo)
    whole = PIL.Image.alpha_composite(PIL.Image.new("RGBA", clear.size, "white"), clear).convert("RGB")
    assert np.array_equal(read_image(save(clear, "PNG")), np.asarray(whole))


def test_a_transparent_palette_colour_is_laid_over_white() -> None:
    image = PIL.Image.new("P", (8, 8), 0)
    image.putpalette([10, 20, 30])
    assert (read_image(save(image, "PNG", transparency=0)) == 255).all()


def test_sixteen_bits_are_scaled_to_eight() -> None:
    deep = np.linspace(0, 65535, 64, dtype=np.uint16).reshape(8, 8)
    image = read_image(save(PIL.Image.fromarray(deep), "PNG"))
    assert (image[0, 0, 0], image[-1, -1, 0]) == (0, 255)
    assert abs(int(image[4, 0, 0]) - 130) <= 2


def test_floating_point_grey_is_read() -> None:
    values = np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8)
    values[0, 0] = np.nan
    image = read_image(save(PIL.Image.fromarray(values), "TIFF"))
    assert (image[0, 0, 0], image[-1, -1, 0]) == (0, 255)


def test_the_first_frame_of_an_animation_is_taken() -> None:
    frames = [PIL.Image.new("RGB", (8, 8), colour) for colour in ("red", "blue", "green")]
    data = save(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert read_image(data)[0, 0].tolist() == [255, 0, 0]


def test_what_is_no_image_says_so() -> None:
    assert reason_of(b"") == "empty"
    assert reason_of(HTML) == "unreadable"
    assert reason_of(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n") == "unreadable"


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "BMP"])
def test_half_a_file_is_no_picture(form: str) -> None:
    data = save(PIL.Image.fromarray(draw_noise(0, 64, 64)), form)
    assert reason_of(data[: len(data) // 2]) in {"truncated", "unreadable"}


def test_half_a_jpeg_is_called_truncated() -> None:
    data = to_jpeg(draw_noise(0, 200, 200), 90)
    assert reason_of(data[: len(data) // 2]) == "truncated"


def test_a_picture_that_claims_too_many_pixels_is_not_decoded() -> None:
    data = save(PIL.Image.new("L", (3000, 2000)), "PNG")
    assert reason_of(data, max_pixels=5_000_000) == "too_many_pixels"
    assert read_image(data, max_pixels=6_000_000).shape == (2000, 3000, 3)
    # The header alone claims 30,000 x 30,000: nothing of that size is ever allocated.
    claim = bytearray(data)
    claim[16:24] = (30_000).to_bytes(4, "big") * 2
    import zlib

    claim[29:33] = zlib.crc32(bytes(claim[12:29])).to_bytes(4, "big")
    assert reason_of(bytes(claim)) == "too_many_pixels"


@pytest.mark.parametrize("encoding", ["jpeg", *ENCODINGS])
def test_a_mangled_file_is_a_picture_or_a_bad_image_and_nothing_else(encoding: str) -> None:
    data = encode(draw_noise(1, 32, 24), encoding)
    rng = np.random.default_rng(7)
    for _ in range(40):
        mangled = bytearray(data[: rng.integers(1, len(data) + 1)])
        for place in rng.integers(0, min(len(mangled), 200), 3):
            mangled[place] = rng.integers(256)
        sniff_suffix(bytes(mangled))
        with suppress(BadImage):
            assert read_image(bytes(mangled), max_pixels=1_000_000).shape[2] == 3


def test_a_jpeg_decoded_small_is_never_smaller_than_asked() -> None:
    data = to_jpeg(smooth(1000, 800), 90)
    image = read_image(data, shrink_to=200)
    assert 200 <= max(image.shape[:2]) < 1000
    assert abs(image.shape[1] / image.shape[0] - 1.25) < 0.02


def test_the_detail_that_a_wide_jpeg_loses_anyway_is_not_decoded() -> None:
    image = read_image(to_jpeg(smooth(1600, 500), 90), shrink_to=400)
    assert image.shape == (125, 400, 3)


@pytest.mark.parametrize(
    ("encoding", "suffix"),
    [("jpeg", ".jpg"), ("png", ".png"), ("webp", ".webp"), ("gif", ".gif"), ("tiff", ".tif"), ("bmp", ".bmp")],
)
def test_the_suffix_follows_the_content(encoding: str, suffix: str) -> None:
    assert sniff_suffix(encode(smooth(), encoding)) == suffix


def test_what_is_no_image_has_no_suffix() -> None:
    assert [sniff_suffix(data) for data in (b"", HTML, b"\0" * 100)] == [None, None, None]


def test_a_missing_file_is_an_error_of_the_disk_and_not_of_the_picture(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_image(tmp_path / "none.jpg")


def test_png_keeps_every_bit_and_jpeg_nearly(tmp_path: Path) -> None:
    photo = draw_noise(3)
    write_image(tmp_path / "sub" / "a.png", photo)
    assert np.array_equal(read_image(tmp_path / "sub" / "a.png"), photo)
    write_image(tmp_path / "a.jpg", smooth())
    assert np.abs(read_image(tmp_path / "a.jpg").astype(int) - smooth()).max() <= 4


def test_writing_leaves_nothing_beside_the_picture_and_replaces_what_was_there(tmp_path: Path) -> None:
    for seed in (0, 1):
        write_image(tmp_path / "a.png", draw_noise(seed))
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]
    assert np.array_equal(read_image(tmp_path / "a.png"), draw_noise(1))


def test_writing_over_a_linked_picture_leaves_the_other_name_alone(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", draw_noise(0))
    link_image(tmp_path / "a.png", tmp_path / "out" / "a.png")
    write_image(tmp_path / "out" / "a.png", draw_noise(1))
    assert np.array_equal(read_image(tmp_path / "a.png"), draw_noise(0))


def test_an_unchanged_picture_is_handed_on_without_a_copy(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", draw_noise(0))
    for _ in "twice":
        link_image(tmp_path / "a.png", tmp_path / "out" / "a.png")
    assert (tmp_path / "a.png").samefile(tmp_path / "out" / "a.png")


def test_where_links_are_not_possible_the_picture_is_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EXDEV, "another disk")

    monkeypatch.setattr(os, "link", refuse)
    write_image(tmp_path / "a.png", draw_noise(0))
    link_image(tmp_path / "a.png", tmp_path / "out" / "a.png")
    assert not (tmp_path / "a.png").samefile(tmp_path / "out" / "a.png")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "out" / "a.png").read_bytes()
    assert len(list((tmp_path / "out").iterdir())) == 1


def test_a_missing_picture_cannot_be_handed_on(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        link_image(tmp_path / "none.png", tmp_path / "a.png")


def test_shrinking_bounds_the_longest_side_and_never_enlarges() -> None:
    assert shrink(smooth(400, 100), 200).shape == (50, 200, 3)
    assert shrink(smooth(100, 400), 200).shape == (200, 50, 3)
    assert shrink(smooth(400, 1), 20).shape == (1, 20, 3)
    small = smooth(40, 30)
    assert shrink(small, 200) is small


def test_resizing_keeps_the_mean_colour() -> None:
    photo = smooth(100, 80)
    for width, height in ((37, 21), (200, 160), (100, 80)):
        image = resize(photo, width, height)
        assert image.shape == (height, width, 3)
        assert np.abs(image.mean(axis=(0, 1)) - photo.mean(axis=(0, 1))).max() < 1


def test_a_blurred_picture_is_less_sharp() -> None:
    photo = draw_noise(0, 64, 64)
    assert measure_sharpness(resize(resize(photo, 16, 16), 64, 64)) < measure_sharpness(photo) / 2
    assert measure_sharpness(np.full((9, 9, 3), 128, np.uint8)) == 0


@pytest.mark.parametrize("kind", ["phash", "dhash", "ahash", "whash"])
def test_a_copy_has_nearly_the_same_hash_and_another_picture_has_not(kind: str) -> None:
    photo, other = resize(draw_noise(0, 16, 16), 200, 200), resize(draw_noise(1, 16, 16), 200, 200)
    first = hash_image(photo, kind)
    assert len(first) == 16
    copy = hash_image(read_image(to_jpeg(resize(photo, 150, 150), 60)), kind)
    assert (int(first, 16) ^ int(copy, 16)).bit_count() <= 4
    assert (int(first, 16) ^ int(hash_image(other, kind), 16)).bit_count() > 8


def test_threads_that_read_leave_the_limit_and_the_warnings_of_their_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", 100)
    data, filters = save(PIL.Image.fromarray(draw_noise(0, 64, 64)), "PNG"), list(warnings.filters)
    with ThreadPoolExecutor(4) as threads:
        images = list(threads.map(read_image, [data] * 200))
    assert all(image.shape == (64, 64, 3) for image in images)
    assert PIL.Image.MAX_IMAGE_PIXELS == 100
    assert list(warnings.filters) == filters


def heic(image: Image) -> bytes:
    buffer = io.BytesIO()
    pillow_heif.from_pillow(PIL.Image.fromarray(image)).save(buffer, quality=90)
    return buffer.getvalue()


def test_a_phones_heic_is_read() -> None:
    image = smooth()
    data = heic(image)
    assert sniff_signature(data) == ".heic"
    read = read_image(data)
    assert read.shape == image.shape
    assert np.abs(read.astype(int) - image).mean() < 8
    assert reason_of(data[:300]) == "unreadable"
    with pytest.raises(BadImage, match="too_many_pixels"):
        read_image(data, max_pixels=100)


def test_without_the_extra_a_heic_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    data = heic(draw_noise(1, 64, 48))
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    assert reason_of(data) == "needs_heic"


@pytest.mark.parametrize("lost", [1, 2])
def test_a_jpeg_that_lacks_its_end_marker_alone_is_kept(lost: int) -> None:
    data = to_jpeg(smooth(), 90)
    assert data.endswith(b"\xff\xd9")
    assert np.array_equal(read_image(data[:-lost]), read_image(data))


def test_a_jpeg_that_lacks_more_than_its_end_marker_is_truncated() -> None:
    data = to_jpeg(draw_noise(1, 400, 400), 90)
    for part in (0.3, 0.6, 0.9):
        assert reason_of(data[: int(len(data) * part)]) == "truncated"


def test_a_phones_largest_photo_is_decoded_small(tmp_path: Path) -> None:
    path = tmp_path / "phone.jpg"
    PIL.Image.new("RGB", (12000, 9000), (120, 90, 60)).save(path, quality=40)  # 108 megapixels
    image, factor = read_photo(path, max_pixels=50_000_000)
    assert image.shape == (4500, 6000, 3)
    assert factor == 2
    with pytest.raises(BadImage, match="too_many_pixels"):
        read_image(path, max_pixels=50_000_000)
    small, factor = read_photo(to_jpeg(smooth(), 90))
    assert (small.shape, factor) == (smooth().shape, 1)


def test_a_huge_progressive_jpeg_is_refused_since_no_decoder_reads_it_small() -> None:
    buffer = io.BytesIO()
    PIL.Image.new("L", (9000, 9000)).save(buffer, "JPEG", progressive=True)
    with pytest.raises(BadImage, match="too_many_pixels"):
        read_photo(buffer.getvalue(), max_pixels=50_000_000)
