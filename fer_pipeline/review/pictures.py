"""The pictures of the page: thumbnails, cached in memory, photos, and the crop of a box drawn by hand."""

import io
from collections import OrderedDict
from collections.abc import Callable, Hashable
from functools import partial
from pathlib import Path
from threading import Lock

import PIL.Image

from fer_pipeline.config.schema import Detector, FilterConfig
from fer_pipeline.dataset.provenance import settings_of
from fer_pipeline.review.catalogue import Catalogue, Item
from fer_pipeline.stages.corrections import find_cut
from fer_pipeline.stages.crop import crop_faces
from fer_pipeline.stages.stage import Drop, Keep
from fer_pipeline.vision.boxes import Box
from fer_pipeline.vision.image_io import BadImage, Image, read_header, read_image, shrink
from fer_pipeline.vision.landmarks import detect_faces
from fer_pipeline.workers.stage_workers import WorkerCrash, work

MIN_SIDE = 8  # of a box, in pixels
THUMBNAIL_SIDE, PHOTO_SIDE = 160, 1600  # longest sides in pixels
CACHE_BYTES = 128_000_000  # of thumbnails in memory, about 6 kB each
SMALL_CROP = 40_000  # bytes up to which a crop is its own thumbnail
_models = Lock()  # dlib's models are shared by all threads
_workers = Lock()  # and so are worker processes


class Memory:
    """A cache of the pictures used last, in at most `most` bytes; safe to use from many threads."""

    def __init__(self, most: int) -> None:
        self.most, self.size = most, 0
        self._held: OrderedDict[Hashable, tuple[bytes, str]] = OrderedDict()
        self._lock = Lock()

    def get(self, key: Hashable, make: Callable[[], tuple[bytes, str]]) -> tuple[bytes, str]:
        """Return the picture of a key, made if it is not cached."""
        with self._lock:
            if key in self._held:
                self._held.move_to_end(key)
                return self._held[key]
        made = make()
        with self._lock:
            self.size += len(made[0]) - len(self._held.pop(key, (b"", ""))[0])
            self._held[key] = made
            while self.size > self.most:
                self.size -= len(self._held.popitem(last=False)[1][0])
        return made


_thumbnails = Memory(CACHE_BYTES)


def make_thumbnail(path: Path, safe: bool, token: str) -> tuple[bytes, str]:
    """Make a small picture and its media type; a grey one for a file that cannot be shown. Raises OSError.

    It is cached for as long as `token`, which names the state of the data, stays the same.
    """
    return _thumbnails.get((path, safe, token), lambda: _make_thumbnail(path, safe=safe))


def _make_thumbnail(path: Path, *, safe: bool) -> tuple[bytes, str]:
    if safe and path.suffix == ".png" and path.stat().st_size <= SMALL_CROP:
        return path.read_bytes(), "image/png"
    return encode(open_photo(path, THUMBNAIL_SIDE, safe=safe), 80), "image/jpeg"


def make_photo(item: Item) -> tuple[bytes, str]:
    """Return the photo as a stage wrote it, or a raw file decoded and encoded again. Raises OSError."""
    if item.safe and item.photo.suffix == ".jpg":
        return item.photo.read_bytes(), "image/jpeg"
    return encode(open_photo(item.photo, PHOTO_SIDE, safe=item.safe), 90), "image/jpeg"


def open_photo(path: Path, longest: int, *, safe: bool) -> Image:
    """Read a picture, shrunk to a longest side in pixels; a grey square for one that does not decode.

    One that no stage wrote is read in a process of its own, which bounds what it takes.
    """
    if safe:
        return read_small(path, longest)
    with _workers:
        ((_, image),) = work(partial(read_small, longest=longest), [path], 2, expected=1)
    return read_image(encode_blank()) if isinstance(image, WorkerCrash) else image


def read_small(path: Path, longest: int) -> Image:
    """Read a picture, shrunk; a grey square for one that does not decode."""
    try:
        return shrink(read_image(path, shrink_to=longest), longest)
    except BadImage:
        return read_image(encode_blank())


def encode_blank() -> bytes:
    """Make the grey square that stands for a file that is no picture."""
    buffer = io.BytesIO()
    PIL.Image.new("RGB", (THUMBNAIL_SIDE, THUMBNAIL_SIDE), (128, 128, 128)).save(buffer, "PNG")
    return buffer.getvalue()


def encode(image: Image, quality: int) -> bytes:
    """Encode a picture as JPEG."""
    buffer = io.BytesIO()
    PIL.Image.fromarray(image).save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def fit_box(item: Item, box: Box) -> Box | None:
    """Round a box drawn by hand; None unless more than a quarter of it lies on the photo, as with a face."""
    header = read_header(item.photo.read_bytes())
    if header is None:
        return None
    fitted = box.scaled(1)
    seen = Box(max(box.left, 0), max(box.top, 0), min(box.right, header.width), min(box.bottom, header.height))
    inside = max(seen.width, 0) * max(seen.height, 0)
    return fitted if min(fitted.width, fitted.height) >= MIN_SIDE and inside > fitted.area / 4 else None


def guess_face(item: Item, catalogue: Catalogue) -> Box | None:
    """Find a face that the filter missed, on larger copies and with a lower threshold; None if there is none."""
    settings = settings_of(catalogue.folders["filter"], "filter") if "filter" in catalogue.folders else None
    known = FilterConfig.model_validate((settings or {}) | {"input": Path(), "output": Path()})
    if known.detector == "none":
        known = known.model_copy(update={"detector": "hog"})
    lenient = {"sides": (400, 800), "enlarge": True, "threshold": known.least_score - 0.4, "min_neighbors": 2}
    detector = Detector.model_validate(known.model_dump(exclude={"input", "output", "every"}) | lenient)
    with _models:
        found = detect_faces(read_image(item.photo), detector)
    return found[0].box if found else None


def cut_preview(item: Item, box: Box, catalogue: Catalogue) -> bytes | None:
    """Cut the crop of a box drawn by hand, as PNG; None where there is no crop stage, or no crop comes out."""
    if "crop" not in catalogue.folders:
        return None
    cut = find_cut(catalogue.folders["crop"], catalogue.folders["crop"]).model_copy(update={"mouth_check": False})
    row = item.row.replace(attributes={"faces": [[*box, 1.0]]})
    with _models:
        result = crop_faces(read_image(item.photo), row, cut)
    keep = result if isinstance(result, Keep | Drop) else result[0]
    if isinstance(keep, Drop) or keep.image is None:
        return None
    buffer = io.BytesIO()
    PIL.Image.fromarray(keep.image).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()
