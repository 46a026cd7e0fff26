"""What all kinds of pictures that are read begin with."""

import re

# So that no decoder runs in the process of a crawl or an import: what a stranger made is opened by `fer unify`, in a
# process that may die of it. TGA alone has no such beginning.
SIGNATURES = tuple(
    (re.compile(signature, re.DOTALL), suffix)
    for signature, suffix in (
        (rb"\xff\xd8\xff", ".jpg"),
        (rb"\x89PNG\r\n\x1a\n", ".png"),
        (rb"RIFF....WEBP", ".webp"),
        (rb"GIF8[79]a", ".gif"),
        (rb"....ftyp(?:....){0,16}avi[fs]", ".avif"),  # among the brands, of which there are few
        (rb"....ftyp(?:....){0,16}(?:hei[cxms]|hev[cx]|mif1|msf1)", ".heic"),
        (rb"\0\0\0\x0cjP  \r\n\x87\n|\xff\x4f\xff\x51\0", ".jp2"),
        (rb"II[*+]\0|MM\0[*+]", ".tif"),
        (rb"BM.{12}[\x0c-\x80]\0\0\0", ".bmp"),  # the size of the second header
        (rb"\x00\x00\x01\x00", ".ico"),
        (rb"P[1-6]\s[\s\d#]", ".ppm"),
    )
)


def sniff_signature(body: bytes) -> str:
    """The file suffix that fits the first bytes; "" if they tell nothing."""
    return next((suffix for signature, suffix in SIGNATURES if signature.match(body)), "")
