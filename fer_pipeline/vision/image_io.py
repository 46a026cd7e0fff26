"""The only module that opens, saves or hashes image files. Every file is taken for hostile until decoded.

An image is an array of shape (height, width, 3), uint8, upright RGB.
"""

import errno
import io
import math
import os
import shutil
import struct
import threading
import warnings
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import numpy as np
import PIL.Image
from numpy.typing import NDArray
from PIL.PngImagePlugin import PngInfo

from fer_pipeline.files import aside_of, write_aside
from fer_pipeline.vision.decoding import icon_pixels, to_rgb, upright
from fer_pipeline.vision.limits import bounded_decoder
from fer_pipeline.vision.signatures import sniff_signature

Image = NDArray[np.uint8]

# Decoders that read pixels and nothing else: no EPS or PDF, which would start other programs.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF", "JPEG2000", "ICO", "TGA", "MPO")
SUFFIXES = {"JPEG": ".jpg", "MPO": ".jpg", "JPEG2000": ".jp2", "TIFF": ".tif"}
HEIC = ".heic"  # by the standard HEIF too: ISO/IEC 23008-12
NEEDS_HEIC = "needs_heic"  # the reason where the extra is missing
MAX_PIXELS = 100_000_000
LARGE_SIDE = 4000  # pixels, from twice which on a photo is decoded smaller
JPEG, END_OF_JPEG = b"\xff\xd8\xff", b"\xff\xd9"


class _PillowState:
    """Pillow without its own size limit and its warnings, as long as any thread is inside; then as it was before.

    The limit of this package is a setting, and checked before any pixel is decoded. What is left to Pillow and to
    `warnings` is global to the process, which may be a host's: it is changed by the first thread that enters and
    restored by the last one that leaves.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._before = ExitStack()

    def __enter__(self) -> None:
        with self._lock:
            if not self._inside:
                self._before.callback(setattr, PIL.Image, "MAX_IMAGE_PIXELS", PIL.Image.MAX_IMAGE_PIXELS)
                self._before.enter_context(warnings.catch_warnings())
                warnings.simplefilter("ignore")  # damaged metadata does not matter if the pixels decode
                PIL.Image.MAX_IMAGE_PIXELS = None
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                self._before.close()


_pillow = _PillowState()


class BadImage(Exception):
    """An image that cannot be used; `reason` is a short code for its row."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def read_image(source: Path | bytes, *, max_pixels: int = MAX_PIXELS, shrink_to: int | None = None) -> Image:
    """Decode the first frame of any image file as upright RGB.

    `shrink_to` lets the JPEG decoder skip detail that a later shrink to that longest side would lose anyway (the result
    is never smaller than that). Raises BadImage with `empty`, `unreadable`, `truncated`, `too_many_pixels`,
    `too_much_memory` or `needs_heic`; OSError only if the file itself cannot be read.
    """
    data = source.read_bytes() if isinstance(source, Path) else source
    if not data:
        raise BadImage("empty")
    try:
        with _pillow, bounded_decoder(max_pixels, len(data)):
            return _decode(data, max_pixels, shrink_to)
    except MemoryError:
        raise BadImage("too_much_memory") from None


def read_photo(source: Path | bytes, *, max_pixels: int = MAX_PIXELS) -> tuple[Image, float]:
    """Decode a photo as `read_image` does, a huge JPEG at a half, a quarter or an eighth of its size.

    Returns the pixels and how many times larger the photo is: faces are found on small copies anyway, and a phone's
    200 megapixels would take 600 MB.
    """
    data = source.read_bytes() if isinstance(source, Path) else source
    image = read_image(data, max_pixels=max_pixels, shrink_to=LARGE_SIDE)
    header = read_header(data) if max(image.shape[:2]) >= LARGE_SIDE else None
    full = max(header.width, header.height) if header is not None else 0
    return image, max(1.0, full / max(image.shape[:2]))


def _decode(data: bytes, max_pixels: int, shrink_to: int | None) -> Image:
    try:
        if sniff_signature(data) == HEIC:
            return to_rgb(_open_heic(data, max_pixels))
        with _open(data, max_pixels, shrink_to) as image:
            if shrink_to is not None and image.format in {"JPEG", "MPO"}:
                factor = shrink_to / max(image.size)  # draft leaves both sides at least as large as it is told
                image.draft("RGB", (math.ceil(image.width * factor), math.ceil(image.height * factor)))
            image.load()
            return to_rgb(upright(image))
    except (OSError, EOFError) as error:  # PIL.UnidentifiedImageError among them
        is_cut = "truncated" in str(error)
        if is_cut and data.startswith(JPEG) and not data.endswith(END_OF_JPEG):
            return _decode_without_end(data, max_pixels, shrink_to)
        raise BadImage("truncated" if is_cut else "unreadable") from None
    except (
        ValueError,
        SyntaxError,
        TypeError,
        LookupError,
        ArithmeticError,
        AttributeError,
        RuntimeError,
        struct.error,
    ):
        raise BadImage("unreadable") from None  # what Pillow's parsers raise on mangled headers


def _decode_without_end(data: bytes, max_pixels: int, shrink_to: int | None) -> Image:
    """A JPEG that lacks no more than its end marker, as every viewer shows it.

    What is missing of a picture comes out in one colour: then it was more than the marker.
    """
    image = _decode(data + END_OF_JPEG, max_pixels, shrink_to)
    last = image[-max(8, image.shape[0] // 50) :]
    if b"\xff\xc2" in data or np.ptp(last.reshape(-1, 3), axis=0).max() == 0:  # C2: of progressive ones none can tell
        raise BadImage("truncated")
    return image


def _open(data: bytes, max_pixels: int, shrink_to: int | None = None) -> PIL.Image.Image:
    """Read the header, and refuse what would take more room than that many pixels do."""
    if icon_pixels(data) <= max_pixels:
        image = PIL.Image.open(io.BytesIO(data), formats=FORMATS)
        pixels = image.width * image.height
        if shrink_to is not None and image.format in {"JPEG", "MPO"} and not image.info.get("progressive"):
            # A decoder that skips detail holds no more than what is left; of a progressive one it holds all.
            skipped = max(scale for scale in (1, 2, 4, 8) if scale == 1 or max(image.size) >= scale * shrink_to)
            pixels //= skipped**2
        if pixels <= max_pixels:
            return image
    raise BadImage("too_many_pixels")


def _open_heic(data: bytes, max_pixels: int) -> PIL.Image.Image:
    """Decode what phones store, by the extra `heic`; libheif turns it upright itself."""
    try:
        import pillow_heif
    except ImportError:
        raise BadImage(NEEDS_HEIC) from None
    file = pillow_heif.open_heif(io.BytesIO(data))
    if file.size[0] * file.size[1] > max_pixels:
        raise BadImage("too_many_pixels")
    picture: PIL.Image.Image = file.to_pillow()
    return picture


class Header(NamedTuple):
    """What a file says of itself before its pixels; `quality` is that of a JPEG by libjpeg's scale, else None."""

    width: int
    height: int
    format: str
    quality: float | None


def read_header(data: bytes) -> Header | None:
    """Size, format and compression of an image file; None if it is no image we read."""
    try:
        with _pillow, bounded_decoder(MAX_PIXELS, len(data)):
            if icon_pixels(data) > MAX_PIXELS:
                return None
            with PIL.Image.open(io.BytesIO(data), formats=FORMATS) as image:
                tables = getattr(image, "quantization", {})
                quality = _quality(tables[0]) if 0 in tables else None
                return Header(image.width, image.height, str(image.format), quality)
    except Exception:  # noqa: BLE001  any error of any parser means the same here
        return None


def _quality(table: list[int]) -> float:
    """The setting of libjpeg that makes such a luminance table; the standard's (ITU T.81, K.1) sums up to 3,688."""
    scale = 100 * sum(table) / 3688
    return round(100 - scale / 2 if scale <= 100 else 5000 / scale, 1)


def sniff_suffix(data: bytes) -> str | None:
    """The file suffix that fits the content, whatever its name says; None if it is no image we read."""
    header = read_header(data)
    return None if header is None else SUFFIXES.get(header.format, f".{header.format.lower()}")


def shrink(image: Image, longest: int) -> Image:
    """Shrink to a longest side in pixels, in colour or grey; smaller images are returned as they are."""
    height, width = image.shape[:2]
    factor = longest / max(height, width)
    if factor >= 1:
        return image
    return resize(image, max(1, round(width * factor)), max(1, round(height * factor)))


def resize(image: Image, width: int, height: int) -> Image:
    """Resample: by area when shrinking, which does not alias, else linearly."""
    import cv2

    if image.shape[:2] == (height, width):
        return image
    smaller = width * height < image.shape[0] * image.shape[1]
    resized = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR)
    return np.asarray(resized, dtype=np.uint8)


def write_image(path: Path, image: Image, quality: int = 95, made_by: str = "") -> None:
    """Save as the suffix says (.jpg with 4:4:4 colour, .png lossless), aside and then renamed.

    `made_by` is written into the file, so that its writer knows it again.
    """
    buffer = io.BytesIO()
    if path.suffix == ".png":
        notes = PngInfo()
        if made_by:
            notes.add_text("Software", made_by)
        PIL.Image.fromarray(image).save(buffer, "PNG", compress_level=1, pnginfo=notes)
    else:
        PIL.Image.fromarray(image).save(
            buffer, "JPEG", quality=quality, subsampling=0, comment=made_by.encode() or None
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    write_aside(path, [buffer.getvalue()], sync=False)


def link_image(source: Path, target: Path) -> None:
    """Hand an unchanged file onward: a hard link where the file system has them, else a copy."""
    target.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(aside_of(target))
    aside.unlink(missing_ok=True)
    try:
        os.link(source, aside)
    except OSError as error:
        if error.errno not in {errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP, errno.EACCES}:
            raise
        shutil.copyfile(source, aside)
    aside.replace(target)
    aside.unlink(
        missing_ok=True
    )  # still there if the target was linked already: renaming a file to itself does nothing


def to_grey(image: Image) -> Image:
    """Luma of an RGB image, shape (height, width)."""
    import cv2

    return np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), dtype=np.uint8)


def measure_sharpness(image: Image) -> float:
    """Variance of the Laplacian of the grey image; the usual measure of focus (Pech-Pacheco et al. 2000)."""
    import cv2

    return float(cv2.Laplacian(to_grey(image), cv2.CV_64F).var())


def hash_image(image: Image, kind: str = "phash") -> str:
    """A 64-bit perceptual hash as 16 hex digits, by the imagehash library."""
    import imagehash

    # The hashes look at 8 to 32 grey pixels a side: a grey copy, shrunk by area, tells them the same in less time.
    small = PIL.Image.fromarray(shrink(to_grey(image), 128))
    hashers = {
        "phash": imagehash.phash,
        "dhash": imagehash.dhash,
        "ahash": imagehash.average_hash,
        "whash": imagehash.whash,
    }
    return str(hashers[kind](small))
