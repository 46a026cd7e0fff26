"""URLs in one spelling, by which hosts are known to the rules, to the pauses and to the request alike."""

import ipaddress
import re
import socket
from functools import lru_cache
from urllib.parse import SplitResult, urlsplit, urlunsplit

from urllib3.util import parse_url

PORTS = {"http": 80, "https": 443}
PLAIN = re.compile(r"[!#-;=?-\[\]_a-z~]*")  # what stands in a URL as it is
STEPS = re.compile(r"/\.|%2e", re.IGNORECASE)  # `/free/../art` is `/art`, also to who reads the rules
VISIBLE = re.compile(r"[!-~]*")
NUMBERS = re.compile(r"(?:0x[0-9a-f]*|[0-9]+)(?:\.(?:0x[0-9a-f]*|[0-9]+)){0,3}")


def normalise(url: str) -> str:
    """A URL as it goes over the line; ValueError if it is no address of the web.

    Without user, fragment and usual port; the host in lower case, as punycode, without a dot at its end, an IP address
    in its shortest form. Most are plain, and need no more than parting.
    """
    if not PLAIN.fullmatch(url) or STEPS.search(url):
        path, mark, query = url.partition("?")
        url = parse_url(path.replace("%2e", ".").replace("%2E", ".") + mark + query).url
        if not VISIBLE.fullmatch(url):  # what would end the line early
            raise ValueError("no address")
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, _place(parts.scheme, parts.netloc), parts.path or "/", parts.query, ""))


@lru_cache(maxsize=4096)
def _place(scheme: str, netloc: str) -> str:
    parts = SplitResult(scheme, netloc, "", "", "")
    host, port = _host((parts.hostname or "").rstrip(".")), parts.port
    if scheme not in PORTS or not host or port == 0:
        raise ValueError("no address")
    return host if port in {None, PORTS[scheme]} else f"{host}:{port}"


def _host(host: str) -> str:
    if ":" in host:
        found = ipaddress.IPv6Address(host)
        return str(found.ipv4_mapped) if found.ipv4_mapped else f"[{found}]"
    if NUMBERS.fullmatch(host):  # `2130706433`, `0x7f.1`: as the system reads them
        try:
            return socket.inet_ntoa(socket.inet_aton(host))
        except OSError:
            raise ValueError("no address") from None
    return host
