"""What a body is by its first bytes, whatever its name and its server say of it."""

import re

from fer_pipeline.crawl.parsers import url_suffix
from fer_pipeline.images import sniff_suffix

# What nearly all photos of the web begin with, known without a decoder; for the rest Pillow is asked.
SIGNATURES = (
    (b"\xff\xd8\xff", ".jpg"),
    (b"\x89PNG\r\n\x1a\n", ".png"),
    (b"GIF87a", ".gif"),
    (b"GIF89a", ".gif"),
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
    if body[:4] == b"RIFF" and body[8:12] == b"WEBP":
        return ".webp"
    return next((suffix for signature, suffix in SIGNATURES if body.startswith(signature)), "")


def file_suffix(url: str, body: bytes) -> str:
    """By content; for what is no image by the URL, if that says anything."""
    if known := sniff_signature(body):
        return known
    suffix = url_suffix(url)
    return sniff_suffix(body) or (suffix if re.fullmatch(r"\.[a-z0-9]{1,5}", suffix) else ".bin")
