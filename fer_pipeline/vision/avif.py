"""How large the frames in an AVIF file are, which its header need not tell: the decoder goes by the frames (AV1, 5.5).

Raises ValueError or LookupError on damaged files, as Pillow's parsers do.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")
MOST = 10_000  # boxes, pieces of items, units: the largest grids have some hundreds

INSIDE = {b"moov", b"trak", b"mdia", b"minf", b"stbl", b"meta", b"iinf"}  # boxes that hold boxes we look for
SEQUENCE_HEADER = 1  # of the units of AV1


def frame_pixels(data: bytes) -> int:
    """Pixels of the largest frame that an AVIF file announces; 0 for any other file."""
    if data[4:8] != b"ftyp" or data[8:12] not in {b"avif", b"avis", b"mif1", b"msf1"}:
        return 0
    units = (unit for part in _coded(data) for unit in _few(_units(part)))
    return max((_area(bits) for kind, bits in units if kind == SEQUENCE_HEADER), default=0)


def _coded(data: bytes) -> Iterator[bytes]:
    """What is given to the decoder of AV1: the items of a still picture, the first sample of each track."""
    boxes = list(_few(_boxes(data, 0, len(data))))
    listed = (_item_kind(data[start:end]) for kind, start, end in boxes if kind == b"infe")
    coded = {item for item, kind in listed if kind == b"av01"}
    (stored,) = [start for kind, start, _ in boxes if kind == b"idat"] or [0]
    for kind, start, end in boxes:
        if kind == b"iloc":
            yield from _items(data, _few(_pieces(_Bits(data[start:end]))), coded, stored)
    counts = [start for kind, start, _ in boxes if kind == b"stsz"]
    chunks = [(start, kind) for kind, start, _ in boxes if kind in {b"stco", b"co64"}]
    for count, (start, kind) in zip(counts, chunks, strict=True):
        size = _number(data, count + 4, 4) or _number(data, count + 12, 4)  # of all samples, or of the first
        first = _number(data, start + 8, 4 if kind == b"stco" else 8)
        yield data[first : first + size]


def _items(data: bytes, pieces: Iterable[tuple[int, int, int, int]], coded: set[int], stored: int) -> Iterable[bytes]:
    items: dict[int, bytearray] = defaultdict(bytearray)
    total = 0
    for item, inside, at, length in pieces:
        if item in coded:
            first = at + inside * stored
            items[item] += data[first : first + length]
            total += length
        if total > 2 * len(data):
            raise ValueError("pieces of one place")
    return map(bytes, items.values())


def _few(things: Iterator[T]) -> Iterator[T]:
    """Refuse a file made of endless small parts: they would take longer to look at than the picture to decode."""
    for number, thing in enumerate(things):
        if number == MOST:
            raise ValueError("too many parts")
        yield thing


def _number(data: bytes, at: int, size: int) -> int:
    return int.from_bytes(data[at : at + size], "big")


def _boxes(data: bytes, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Kind, beginning and end of the boxes, also of those in boxes (ISO 14496-12, 4.2)."""
    while start + 8 <= end:
        size, kind, head = int.from_bytes(data[start : start + 4], "big"), data[start + 4 : start + 8], 8
        if size == 1:
            size, head = int.from_bytes(data[start + 8 : start + 16], "big"), 16
        size = size or end - start
        if size < head:
            raise ValueError("a box smaller than its header")
        first, last = start + head, min(start + size, end)
        yield kind, first, last
        if kind in INSIDE:  # what stands before the boxes in it: version, flags, a count
            skip = {b"meta": 4, b"iinf": 6 if data[first : first + 1] == b"\0" else 8}.get(kind, 0)
            yield from _boxes(data, first + skip, last)
        start += size


def _item_kind(box: bytes) -> tuple[int, bytes]:
    wide = 4 if box[0] >= 3 else 2
    return int.from_bytes(box[4 : 4 + wide], "big"), box[6 + wide : 10 + wide]


def _pieces(bits: "_Bits") -> Iterator[tuple[int, int, int, int]]:
    """Of each piece of an item: the item, whether it lies in `idat`, where, and how long it is (8.11.3)."""
    version = bits.read(8)
    bits.read(24)
    offset, length, base, index = (8 * bits.read(4) for _ in range(4))
    for _ in range(bits.read(32 if version == 2 else 16)):
        item = bits.read(32 if version == 2 else 16)
        inside = bits.read(16) & 15 if version else 0
        bits.read(16)
        start = bits.read(base)
        for _ in range(bits.read(16)):
            bits.read(index if version else 0)
            yield item, inside, start + bits.read(offset), bits.read(length)


def _units(data: bytes) -> Iterator[tuple[int, "_Bits"]]:
    """The units of AV1, each with its kind (5.3)."""
    at = 0
    while at < len(data):
        kind, extended, sized = data[at] >> 3 & 15, data[at] >> 2 & 1, data[at] >> 1 & 1
        at += 1 + extended
        size = len(data) - at
        if sized:
            size = shift = 0
            while shift < 56:  # leb128
                size |= (data[at] & 127) << shift
                shift += 7
                at += 1
                if data[at - 1] < 128:
                    break
        yield kind, _Bits(data[at : at + size])
        at += size


def _area(bits: "_Bits") -> int:
    """Pixels of the largest frame that a sequence header allows (AV1, 5.5.1)."""
    bits.read(4)
    reduced = bits.read(1)
    if reduced:
        bits.read(5)
    else:
        _skip_timing(bits)
    sizes = bits.read(4) + 1, bits.read(4) + 1
    area = 1
    for size in sizes:
        side = bits.read(size) + 1
        # A frame may have another size, in as many bits; encoders take no more of these than they need.
        area *= side if reduced or size <= side.bit_length() else 1 << size
    return area


def _skip_timing(bits: "_Bits") -> None:
    """What a sequence header says of time and of its operating points."""
    delay = 0
    if bits.read(1):
        bits.read(64)
        if bits.read(1):
            bits.read(next((zeros for zeros in range(32) if bits.read(1)), 0))
        if bits.read(1):
            delay = bits.read(5) + 1
            bits.read(42)
    displayed = bits.read(1)
    for _ in range(bits.read(5) + 1):
        bits.read(12)
        if bits.read(5) > 7:
            bits.read(1)
        if delay and bits.read(1):
            bits.read(2 * delay + 1)
        if displayed and bits.read(1):
            bits.read(4)


class _Bits:
    """Numbers of so many bits, one after another."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def read(self, count: int) -> int:
        first, self._at = self._at, self._at + count
        if self._at > 8 * len(self._data):
            raise ValueError("ends too early")
        part = int.from_bytes(self._data[first // 8 : -(-self._at // 8)], "big")
        return part >> -self._at % 8 & (1 << count) - 1
