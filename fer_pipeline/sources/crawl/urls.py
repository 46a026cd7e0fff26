"""URLs: one spelling for all, by which robots.txt, pauses, requests and statistics know a host; links and suffixes."""

import ipaddress
import re
import socket
from functools import lru_cache
from pathlib import PurePosixPath
from urllib.parse import urldefrag, urljoin, urlsplit

from urllib3.util import Url, parse_url

MAX_URL = 4_096  # characters; servers take up to 8,000 or fewer
PORTS = {"http": 80, "https": 443}
PICTURES = {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif", ".jp2", ".ppm"}
VISIBLE = re.compile(r"[!-~]*")
NUMBERS = re.compile(r"(?:0x[0-9a-f]*|[0-9]+)(?:\.(?:0x[0-9a-f]*|[0-9]+)){0,3}")


@lru_cache(maxsize=4096)
def normalise(url: str) -> str:
    """Return a URL as it is requested; ValueError if it is no http or https URL, or has more than MAX_URL characters.

    Without user, fragment and usual port; the host in lower case, as punycode, without a dot at its end, an IP address
    in its shortest form; `/free/../art` is `/art`, also to robots.txt.
    """
    if len(url) > MAX_URL:
        raise ValueError("too long")
    path, mark, query = url.partition("?")
    parts = parse_url(path.replace("%2e", ".").replace("%2E", ".") + mark + query)
    host = _normalise_host((parts.host or "").rstrip("."))
    if parts.scheme not in PORTS or not host or parts.port == 0 or not VISIBLE.fullmatch(parts.url):
        raise ValueError("no address")  # the last of it would end the line of the request early
    port = None if parts.port == PORTS[parts.scheme] else parts.port
    return Url(parts.scheme, None, host, port, parts.path or "/", parts.query or None).url


def host_of(url: str) -> str:
    """Return the host of a URL in the spelling of `normalise`, with a port that is not the usual one; "" for no URL."""
    try:
        return urlsplit(normalise(url)).netloc
    except ValueError:
        return ""


def resolve_link(base: str, url: str) -> str:
    """Return a link as an absolute URL without fragment; a link that cannot be read is returned as it is."""
    try:
        return urldefrag(urljoin(base, url.strip())).url
    except ValueError:
        return url


def url_suffix(url: str) -> str:
    """Return the suffix of a URL's path in lower case, with its dot; "" if it has none."""
    try:
        return PurePosixPath(urlsplit(url).path).suffix.lower()
    except ValueError:
        return ""


def is_picture(url: str) -> bool:
    """Whether a URL's path ends like a picture's."""
    return url_suffix(url) in PICTURES


def _normalise_host(host: str) -> str:
    if ":" in host:
        found = ipaddress.IPv6Address(host.strip("[]"))
        return str(found.ipv4_mapped) if found.ipv4_mapped else f"[{found}]"
    if NUMBERS.fullmatch(host):  # `2130706433`, `0x7f.1`: as the system reads them
        try:
            return socket.inet_ntoa(socket.inet_aton(host))
        except OSError:
            raise ValueError("no address") from None
    return host
