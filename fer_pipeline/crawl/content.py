"""What a body is by its first bytes, whatever its name and its server say of it."""

import re

from fer_pipeline.crawl.parsers import url_suffix

# By what all kinds of pictures that are read begin with, so that no decoder runs in the crawl's own process: what a
# stranger sends is opened by `fer unify`, in a process that may die of it. TGA alone has no such beginning.
SIGNATURES = tuple(
    (re.compile(signature, re.DOTALL), suffix)
    for signature, suffix in (
        (rb"\xff\xd8\xff", ".jpg"),
        (rb"\x89PNG\r\n\x1a\n", ".png"),
        (rb"RIFF....WEBP", ".webp"),
        (rb"GIF8[79]a", ".gif"),
        (rb"....ftyp(?:....){0,16}avi[fs]", ".avif"),  # among the brands, of which there are few
        (rb"\0\0\0\x0cjP  \r\n\x87\n|\xff\x4f\xff\x51\0", ".jp2"),
        (rb"II[*+]\0|MM\0[*+]", ".tif"),
        (rb"BM.{12}[\x0c-\x80]\0\0\0", ".bmp"),  # the size of the second header
        (rb"\x00\x00\x01\x00", ".ico"),
        (rb"P[1-6]\s[\s\d#]", ".ppm"),
    )
)
BINARY = frozenset(range(32)) - frozenset(b"\t\n\x0c\r\x1b")  # bytes no text has (WHATWG MIME Sniffing, 7.2)
LOOKED_AT = 512  # bytes; a page shows itself sooner
PLAIN_PIXELS = re.compile(rb"P[1-3][\s#]")  # the one kind of picture that is written as text


def name_problem(body: bytes) -> str:
    """Why a body is certainly no picture: `empty` or, for a page or other text, `not_an_image`; else ""."""
    if not body:
        return "empty"
    head = body[:LOOKED_AT]
    is_text = BINARY.isdisjoint(head) and not PLAIN_PIXELS.match(head) and not sniff_signature(head)
    return "not_an_image" if is_text else ""


def sniff_signature(body: bytes) -> str:
    """The file suffix that fits the first bytes; "" if they tell nothing."""
    return next((suffix for signature, suffix in SIGNATURES if signature.match(body)), "")


def file_suffix(url: str, body: bytes) -> str:
    """By content; for what is no image by the URL, if that says anything."""
    if known := sniff_signature(body):
        return known
    suffix = url_suffix(url)
    return suffix if re.fullmatch(r"\.[a-z0-9]{1,5}", suffix) else ".bin"
