"""What a body is by its first bytes, whatever its name and its server say of it."""

import re

from fer_pipeline.sources.crawl.parsers import url_suffix
from fer_pipeline.vision.signatures import sniff_signature

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


def file_suffix(url: str, body: bytes) -> str:
    """By content; for what is no image by the URL, if that says anything."""
    if known := sniff_signature(body):
        return known
    suffix = url_suffix(url)
    return suffix if re.fullmatch(r"\.[a-z0-9]{1,5}", suffix) else ".bin"
