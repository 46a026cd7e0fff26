"""Pictures inside a page: thumbnails and plots as data URIs, with the text that stands for them."""

import base64
import io
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit

import PIL.Image

from fer_pipeline.dataset.rows import Row
from fer_pipeline.vision.image_io import BadImage, Image, read_image, shrink

if TYPE_CHECKING:
    from matplotlib.figure import Figure

T = TypeVar("T")
# What stands black in a figure follows the reader's scheme.
SCHEME = "<style>svg{color:#1b1f24}@media(prefers-color-scheme:dark){svg{color:#e7ebef}}text{fill:currentColor}</style>"


@dataclass(frozen=True)
class Picture:
    """A picture of a page: `uri` is None for a file that cannot be shown; `alt` stands for it, `lines` go below it."""

    uri: str | None
    alt: str
    lines: Sequence[str] = ()
    width: int = 0
    height: int = 0
    link: str = ""  # where it came from, see `link_of`


def embed_image(image: Image, alt: str, lines: Sequence[str] = (), side: int = 96, quality: int = 75) -> Picture:
    """An image as a JPEG thumbnail of at most `side` pixels."""
    small = shrink(image, side)
    buffer = io.BytesIO()
    PIL.Image.fromarray(small).save(buffer, "JPEG", quality=quality)
    return Picture(_uri("image/jpeg", buffer.getvalue()), alt, lines, small.shape[1], small.shape[0])


def embed_file(path: Path, alt: str, lines: Sequence[str] = (), side: int = 96, link: str = "") -> Picture:
    """The thumbnail of a file, or a text if it is missing or no image."""
    try:
        return replace(embed_image(read_image(path, shrink_to=2 * side), alt, lines, side), link=link)
    except BadImage as error:
        return Picture(None, f"{alt}: {error.reason}", lines, link=link)
    except (OSError, ValueError):  # a null byte in a path is a ValueError
        return Picture(None, f"{alt}: no such file", lines, link=link)


def link_of(row: Row) -> str:
    """The URL a picture came from, if it can be followed."""
    address = str(row.source.get("url", ""))
    try:
        parts = urlsplit(address)
    except ValueError:
        return ""
    reserved = (parts.hostname or ".invalid").endswith(".invalid")  # leads nowhere (RFC 2606): the drawn sample's
    return address if parts.scheme in {"http", "https"} and not reserved else ""


def some(found: Sequence[T], count: int) -> list[T]:
    """At most `count` of them, spread evenly; the same ones each time."""
    return [found[place * len(found) // count] for place in range(count)] if len(found) > count else list(found)


def embed_figure(figure: "Figure", alt: str, name: str) -> Picture:
    """A matplotlib figure as SVG, whose black turns light on a dark page; always the same bytes."""
    import matplotlib

    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": name, "svg.fonttype": "none"}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # the reader's own fonts draw the text
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = buffer.getvalue().replace("#000000", "currentColor")
    _, opening, rest = text.partition("<svg ")
    attributes, closing, body = rest.partition(">")
    svg = f"{opening}{attributes}{closing}{SCHEME}{body}"
    width, height = (round(inches * 96) for inches in figure.get_size_inches())
    return Picture(_uri("image/svg+xml", svg.encode()), alt, (), width, height)


def _uri(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"
