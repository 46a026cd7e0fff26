"""A small file that claims much costs its picture: decoders are bounded in memory and time where fer works."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from support.hostile import slow_jpeg

from fer_pipeline.sources.sample.junk import to_jpeg
from fer_pipeline.vision import limits
from fer_pipeline.vision.image_io import MAX_PIXELS, BadImage, read_header, read_image
from fer_pipeline.vision.limits import FILE_BYTES, PIXEL_BYTES, SPARE
from fer_pipeline.workers.stage_workers import WorkerCrash, work

resource = pytest.importorskip("resource")
pytestmark = pytest.mark.skipif(not Path("/proc/self/statm").is_file(), reason="this system does not count memory")


def read_and_measure(data: bytes) -> tuple[str, float]:
    """What became of a picture, and by how many MB the process has grown at most."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        became = str(read_image(data).shape)
        read_header(data)
    except BadImage as error:
        became = error.reason
    return became, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1000


def save(image: PIL.Image.Image, form: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def jpeg2000(side: int) -> bytes:
    """A codestream of 91 bytes without any data (ISO 15444-1, annex A)."""
    size = struct.pack(">HHIIIIIIIIH", 47, 0, side, side, 0, 0, side, side, 0, 0, 3) + b"\x07\x01\x01" * 3
    coding = (
        struct.pack(">HBBHBBBBBB", 12, 0, 0, 1, 0, 0, 4, 4, 0, 1) + b"\xff\x5c" + struct.pack(">HBB", 4, 0x40, 0x48)
    )
    tile = struct.pack(">HHIBB", 10, 0, 0, 0, 1)
    return b"\xff\x4f\xff\x51" + size + b"\xff\x52" + coding + b"\xff\x90" + tile + b"\xff\x93" + bytes(4) + b"\xff\xd9"


def tiff_with_a_tile(side: int) -> bytes:
    """A TIFF of 16 x 16 whose one tile is as large, and blank."""
    tile = zlib.compress(bytes(side * side))
    tags = [(256, 3, 16), (257, 3, 16), (258, 3, 8), (259, 3, 8), (262, 3, 1), (277, 3, 1)]
    tags += [(322, 4, side), (323, 4, side), (324, 4, 146), (325, 4, len(tile))]
    data = b"II*\0" + struct.pack("<IH", 8, len(tags))
    return data + b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in tags) + bytes(16) + tile


def lying_avif(side: int) -> bytes:
    """An AVIF that says 16 x 16, with blank frames that are larger."""
    told = side.to_bytes(4, "big") * 2
    data = save(PIL.Image.new("RGB", (side, side)), "AVIF", speed=10)
    assert told in data
    return data.replace(told, (16).to_bytes(4, "big") * 2)


def test_bombs_of_all_kinds_cost_their_pictures_and_little_memory() -> None:
    photo = to_jpeg(np.full((1200, 1600, 3), 90, np.uint8), 90)
    bombs = [
        jpeg2000(9900),
        tiff_with_a_tile(20_480),
        lying_avif(8000),
        save(PIL.Image.new("L", (9900, 9900)), "GIF"),
        save(PIL.Image.new("P", (9900, 9900)), "PNG", transparency=0),
    ]
    items = [part for bomb in bombs for part in (bomb, photo)]
    results = [result for _, result in work(read_and_measure, items, 2)]
    assert [result[0] for result in results[1::2] if isinstance(result, tuple)] == ["(1200, 1600, 3)"] * len(bombs)
    for size, result in zip(map(len, bombs), results[::2], strict=True):
        if isinstance(result, tuple):
            assert result[1] < 1.1 * (SPARE + min(PIXEL_BYTES * MAX_PIXELS, FILE_BYTES * size)) / 1e6, size
            assert result[0] in {"too_much_memory", "unreadable", "(16, 16, 3)"}, size


def test_a_photo_of_the_largest_size_is_within_the_bounds() -> None:
    photo = PIL.Image.effect_noise((250, 250), 90).resize((10_000, 10_000), PIL.Image.Resampling.NEAREST)
    pictures = [save(photo.convert("RGB"), "JPEG"), save(photo.convert("RGBA"), "PNG", compress_level=1)]
    results = [result for _, result in work(read_and_measure, pictures, 2)]
    assert [result[0] for result in results if isinstance(result, tuple)] == ["(10000, 10000, 3)"] * 2


def read_for_a_second(data: bytes) -> str:
    limits.SECONDS = 1
    return str(read_image(data, max_pixels=50_000_000).shape)


@pytest.mark.slow
def test_a_picture_that_takes_too_long_ends_its_process_alone() -> None:
    items = [slow_jpeg(), to_jpeg(np.full((90, 120, 3), 90, np.uint8), 90)]
    first, second = (result for _, result in work(read_for_a_second, items, 2))
    assert isinstance(first, WorkerCrash)
    assert second == "(90, 120, 3)"


def test_a_host_of_the_library_is_not_bounded() -> None:
    before = resource.getrlimit(resource.RLIMIT_DATA)
    assert read_image(jpeg2000(4000)).shape == (4000, 4000, 3)
    assert resource.getrlimit(resource.RLIMIT_DATA) == before
