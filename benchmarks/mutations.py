"""Small valid inputs of every kind, and how they are spoilt: the same input for the same number, on any machine."""

import io
import json
import random
import tarfile
import zlib
from collections.abc import Iterable

import numpy as np
import PIL.Image

EDGES = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
WORDS = (
    *("../", "/etc/passwd", "..", "\\", "\n", "\r", "\0", "\x85", '"', "{", "}", "[", "]", ",", ":", "#", "&a", "*a"),
    *("null", "true", "-1", "1e999", "NaN", "Infinity", "0x10", "1_000", "9" * 30, "9" * 6000, "a" * 300, "١"),
    *("[" * 30, "[" * 3000, '{"a":' * 3000, "- " * 2000, "!!python/object:os.system", "\\ud800", "\\u0000", "%", "é"),
    *('"path":', '"rows":', '"item":', '"source":', '"settings":', '"upstream":', '"faces":', "<<:", "--- ", "\ufeff"),
)
MODES = {
    "JPEG": ("RGB", "L", "CMYK"),
    "PNG": ("RGB", "RGBA", "P", "1", "I;16"),
    "WEBP": ("RGB", "RGBA"),
    "GIF": ("P", "L"),
    "BMP": ("RGB", "P", "1"),
    "TIFF": ("RGB", "RGBA", "CMYK", "F", "I;16", "1"),
    "PPM": ("RGB", "L", "1"),
    "AVIF": ("RGB", "RGBA"),
    "JPEG2000": ("RGB", "RGBA", "L"),
    "ICO": ("RGBA", "RGB"),
    "TGA": ("RGB", "RGBA", "L"),
    "MPO": ("RGB",),
}
MORE: dict[str, tuple[dict[str, object], ...]] = {
    "JPEG": (
        {"progressive": True},
        {"exif": b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"},
    ),
    "TIFF": tuple({"compression": name} for name in ("tiff_lzw", "tiff_adobe_deflate", "jpeg", "packbits")),
    "WEBP": ({"lossless": True},),
    "GIF": ({"interlace": 1, "save_all": True, "append_images": [PIL.Image.new("L", (20, 30), 9)]},),
    "ICO": ({"bitmap_format": "bmp"},),
    "TGA": ({"compression": "tga_rle"},),
    "JPEG2000": ({"no_jp2": True},),
    "MPO": ({"save_all": True, "append_images": [PIL.Image.new("RGB", (20, 30), "red")]},),
}


def image_seeds(kind: str) -> list[bytes]:
    """Pictures of 16 to 48 px in one format: its modes and its ways to pack pixels."""
    noise = np.random.default_rng(0).integers(0, 256, (3, 4, 3), np.uint8)
    picture = PIL.Image.fromarray(np.asarray(noise)).resize((40, 24))
    seeds = [_save(_as(picture, mode), kind) for mode in MODES[kind]]
    return seeds + [_save(picture, kind, **options) for options in MORE.get(kind, ())]


def _as(picture: PIL.Image.Image, mode: str) -> PIL.Image.Image:
    if mode == "I;16":
        return PIL.Image.fromarray(np.asarray(picture.convert("L")).astype(np.uint16) * 257)
    return picture.convert(mode)


def _save(picture: PIL.Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def mutate(data: bytes, rng: random.Random, others: list[bytes], *, text: bool = False) -> bytes:
    """Spoil an input in one to six places."""
    spoilt = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 3, 6))):
        kind = rng.randrange(10 if text else 8)
        place = rng.randrange(len(spoilt) + 1)
        if kind < 5:
            _overwrite(spoilt, place, kind, rng)
        elif kind < 8:
            _move(spoilt, place, kind, rng.choice(others), rng)
        else:
            spoilt[place : place + rng.choice((0, 0, 1, 5))] = rng.choice(WORDS).encode()
    if data.startswith(b"\x89PNG") and rng.random() < 0.7:
        return mend_png(bytes(spoilt))
    return bytes(spoilt)


def _overwrite(spoilt: bytearray, place: int, kind: int, rng: random.Random) -> None:
    """A bit, a byte, or a number of two or four bytes that programs stumble over."""
    place = min(place, max(0, len(spoilt) - 1)) if rng.random() < 0.5 else rng.randrange(min(len(spoilt), 120) + 1)
    if kind == 0 and place < len(spoilt):
        spoilt[place] ^= 1 << rng.randrange(8)
    elif kind == 1:
        spoilt[place : place + 1] = bytes([rng.randrange(256)])
    else:
        width = (1, 2, 4)[kind - 2]
        number = rng.choice((*EDGES, rng.getrandbits(32))) & ((1 << 8 * width) - 1)
        spoilt[place : place + width] = number.to_bytes(width, rng.choice(("big", "little")))


def _move(spoilt: bytearray, place: int, kind: int, other: bytes, rng: random.Random) -> None:
    """Cut off, cut out, double, or put in a piece of another input."""
    end = min(len(spoilt), place + rng.choice((1, 4, 16, 200)))
    if kind == 5:
        if rng.random() < 0.3:
            del spoilt[place:]
        else:
            del spoilt[place:end]
    elif kind == 6:
        spoilt[place:place] = spoilt[place:end] * rng.choice((1, 2, 40))
    else:
        start = rng.randrange(len(other) + 1)
        spoilt[place:end] = other[start : start + rng.choice((4, 16, 200, 5000))]


def mend_png(data: bytes) -> bytes:
    """Right checksums for the chunks of a spoilt PNG, so that what is spoilt is looked at."""
    fixed, place = bytearray(data[:8]), 8
    while place + 12 <= len(data):
        end = place + 8 + int.from_bytes(data[place : place + 4], "big")
        if end + 4 > len(data):
            break
        fixed += data[place:end] + zlib.crc32(data[place + 4 : end]).to_bytes(4, "big")
        place = end + 4
    return bytes(fixed + data[place:])


def tar(members: Iterable[tuple[str, bytes, bytes]], mode: str = "w") -> bytes:
    """An archive of (name, type, content); the content of a link is where it points."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:  # type: ignore[call-overload]
        for name, kind, content in members:
            info = tarfile.TarInfo(name)
            info.type = kind
            if kind in {tarfile.SYMTYPE, tarfile.LNKTYPE}:
                info.linkname = content.decode()
                archive.addfile(info)
            else:
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def tar_seeds() -> list[bytes]:
    """Archives of pictures, links, devices, names too long for a header, and names that lead elsewhere."""
    photo, file = image_seeds("PNG")[0], tarfile.REGTYPE
    members = [
        ("train/happy/1.png", file, photo),
        ("test/sad/" + "n" * 150 + ".png", file, photo),
        ("../../train/happy/up.png", file, photo),
        ("/train/happy/absolute.png", file, photo),
        ("train/happy/new\nline.png", file, photo),
        ("train/happy/link.png", tarfile.SYMTYPE, b"/etc/passwd"),
        ("train/happy/hard.png", tarfile.LNKTYPE, b"train/happy/1.png"),
        ("train/happy/device.png", tarfile.CHRTYPE, b""),
        ("train/happy/pipe.png", tarfile.FIFOTYPE, b""),
    ]
    return [tar(members), tar(members[:3]), tar(members[:3], "w:gz"), tar(members[3:5], "w:bz2"), tar(members, "w:xz")]


def csv_seeds() -> list[bytes]:
    """Tables as FER2013 has them."""
    pixels = " ".join(str(number % 256) for number in range(48 * 48))
    lines = [f'{number},"{pixels}",{usage}' for number, usage in enumerate(("Training", "PublicTest", "PrivateTest"))]
    return ["\n".join(["emotion,pixels,Usage", *lines]).encode(), b"emotion,pixels,Usage\r\n" + lines[0].encode()]


def json_lines(*values: object) -> bytes:
    """One line of JSON each."""
    return "".join(json.dumps(value) + "\n" for value in values).encode()
