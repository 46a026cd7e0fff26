"""Attributes of a picture other than the expression: its file, its source, its light.

Attributes of the file (size, format, JPEG quality, sharpness of the photo, source) cannot come from a face: where they
tell the label, the classes were gathered in different ways. Attributes of the light (brightness, colour, grain, bytes
per pixel) can: an open mouth is dark, a smile shows teeth, and either takes more bytes. They are measured on the rim of
the picture where that is possible, since the mouth is not there, and still are a hint only.
"""

from collections import Counter
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np

from fer_pipeline.console import progress
from fer_pipeline.dataset.rows import Row
from fer_pipeline.errors import InputError
from fer_pipeline.models.data import source_of
from fer_pipeline.vision.image_io import BadImage, Header, Image, measure_sharpness, read_header, read_image, shrink

Value = float | str | None  # a number, a name, or unknown

# The plainest first: of attributes that tell the same, the first is named.
FILE_ATTRIBUTES = {
    "source": "source",
    "host": "web host",
    "format": "file format",
    "width": "image width",
    "height": "image height",
    "aspect": "aspect ratio",
    "pixels": "pixel count",
    "quality": "JPEG quality",
    "sharpness": "sharpness of the photo",
    "face": "width of the face in pixels",
    "grey": "grey or colour",
}
LIGHT_ATTRIBUTES = {
    "brightness": "brightness of the rim",
    "contrast": "contrast of the rim",
    "saturation": "colourfulness of the rim",
    "red": "redness of the rim",
    "blue": "blueness of the rim",
    "grain": "grain of the rim",
    "bytes_per_pixel": "file bytes per pixel",
}
RIM = 8  # the rim is an eighth of the side wide


def measure_attributes(folder: Path, rows: list[Row], originals: Path | None = None) -> dict[str, list[Value]]:
    """Measure every attribute of every image of a folder; attributes with one value for all are left out.

    `originals` is the raw folder: the file as found is there under the name that the image still has. Without one, the
    attributes of the file are those of the folder's own.
    """
    found = _index(originals) if originals is not None else {}
    table = []
    with progress("attributes", len(rows)) as advance:
        for row in rows:
            table.append(_measure(folder / row.path, row, found.get(_stem(row))))
            advance(1)
    columns = {name: [attributes.get(name) for attributes in table] for name in {**FILE_ATTRIBUTES, **LIGHT_ATTRIBUTES}}
    columns["host"] = _common(columns["host"])
    return {name: values for name, values in columns.items() if len(set(values)) > 1}


def _index(folder: Path) -> dict[tuple[str, str], Path]:
    """The files of a raw folder by class and stem; later stages keep both."""
    return {(path.parent.name, path.stem): path for path in folder.glob("*/**/*") if path.is_file()}


def _stem(row: Row) -> tuple[str, str]:
    """Class folder and stem of the photo; the second face of a photo has the suffix `-2`."""
    path = Path(row.path)
    return path.parent.name, path.stem.partition("-")[0]


def _measure(path: Path, row: Row, original: Path | None) -> dict[str, Value]:
    try:
        image, data = read_image(path), (original or path).read_bytes()
    except (BadImage, OSError) as error:
        raise InputError(f"{path}: cannot be read ({error}): fix or remove it") from None
    header = read_header(data) or Header(image.shape[1], image.shape[0], "unknown", None)
    is_stage = "width" in row.attributes  # a stage has measured the photo; else the file at hand is all there is
    width, height = (float(row.attributes[name]) if is_stage else float(value) for name, value in _sides(header))
    attributes: dict[str, Value] = {"source": source_of(row), "host": _host(row), "width": width, "height": height}
    attributes |= {"aspect": round(width / height, 3), "pixels": width * height}
    if original is not None or not is_stage:  # a crop of ours is PNG, whatever the photo was
        attributes |= {
            "format": header.format,
            "quality": header.quality,
            "bytes_per_pixel": len(data) / (header.width * header.height),
        }
    attributes["sharpness"] = row.attributes.get("sharpness")
    attributes["face"] = row.box.width if row.box is not None and row.landmarks is not None else None
    return attributes | _light(image)


def _sides(header: Header) -> tuple[tuple[str, int], tuple[str, int]]:
    return ("width", header.width), ("height", header.height)


def _host(row: Row) -> str | None:
    return urlsplit(str(row.source.get("url") or "")).hostname


def _common(hosts: list[Value]) -> list[Value]:
    """Replace hosts of less than one image in fifty by `rare`."""
    counts = Counter(hosts)
    return [host if counts[host] * 50 >= len(hosts) else "rare" for host in hosts]


def _light(image: Image) -> dict[str, Value]:
    """Means over the rim of the picture, on a scale of 0 to 1 but for the grain."""
    small = shrink(image, 512)
    height, width = small.shape[:2]
    inner = np.zeros((height, width), bool)
    inner[height // RIM : height - height // RIM, width // RIM : width - width // RIM] = True
    rim = small[~inner].astype(np.float64) / 255
    red, _, blue = rim.mean(axis=0) / max(float(rim.mean()) * 3, 1e-9)
    light = rim.mean(axis=1)
    return {
        "grey": "grey" if bool((np.ptp(image, axis=2) <= 8).mean() > 0.99) else "colour",
        "brightness": float(light.mean()),
        "contrast": float(light.std()),
        "saturation": float(np.ptp(rim, axis=1).mean()),
        "red": float(red),
        "blue": float(blue),
        "grain": measure_sharpness(small),
    }
