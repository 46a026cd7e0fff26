"""Readers of what strangers made read it or refuse it in a documented way, and the fuzzer sees those that do not."""

import io
import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import PIL.Image
import pytest

from fer_pipeline.vision.image_io import BadImage, read_header, read_image, sniff_suffix

ROOT = Path(__file__).parent.parent
MISBEHAVE = """
import sys
from pathlib import Path
from benchmarks import fuzz
from benchmarks.fuzz_targets import KINDS, Kind

held = []

def misbehave(data, home):
    kind = data[:1]
    if kind == b"e":
        raise ZeroDivisionError("an input of bad luck")
    if kind == b"o":
        (home.parent / "outside").write_text("x")
    if kind == b"m":
        held.append(b"x" * 400_000_000)

seeds = [b"fine", b"e", b"o", b"m"]
KINDS["odd"] = Kind(lambda: seeds, misbehave, 1)
record = fuzz.fuzz_here("odd", 4, 0)
print("\\n".join(record.findings))
"""


def run_python(*arguments: str) -> "subprocess.CompletedProcess[str]":
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=300)


def test_five_hundred_spoilt_inputs_are_read_or_refused() -> None:
    ended = run_python("-m", "benchmarks.fuzz", "--inputs", "500", "--seed", "1", "--here")
    assert ended.returncode == 0, ended.stdout + ended.stderr


@pytest.mark.slow
def test_the_fuzzer_sees_what_no_reader_may_do() -> None:
    ended = run_python("-c", MISBEHAVE)
    assert ended.returncode == 0, ended.stderr
    told = [line.partition("/tmp")[0].strip() for line in ended.stdout.splitlines()]
    assert told[0].startswith("odd: ZeroDivisionError in")
    assert told[1].startswith("odd: wrote outside:")
    assert told[2:] == ["odd: more than 300 MB"]


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def claim_png(side: int) -> bytes:
    """The head of a PNG of that size, and nothing of its pixels."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(1000)))


def make_icon(picture: bytes) -> bytes:
    """An icon whose directory says 16 x 16, whatever is in it."""
    return b"\0\0\1\0\1\0" + struct.pack("<BBBBHHII", 16, 16, 0, 0, 1, 32, len(picture), 22) + picture


@pytest.mark.parametrize(
    "picture", [claim_png(30_000), struct.pack("<IiiHHI24x", 40, 30_000, 60_000, 1, 8, 1)], ids=["png", "dib"]
)
def test_an_icon_is_judged_by_the_picture_in_it_before_that_is_decoded(picture: bytes) -> None:
    data = make_icon(picture)
    with pytest.raises(BadImage, match="too_many_pixels"):
        read_image(data)
    assert read_header(data) is None
    assert sniff_suffix(data) is None


def test_an_honest_icon_is_read() -> None:
    buffer = io.BytesIO()
    PIL.Image.new("RGBA", (32, 32), "red").save(buffer, "ICO")
    assert read_image(buffer.getvalue(), max_pixels=1024).shape == (32, 32, 3)
