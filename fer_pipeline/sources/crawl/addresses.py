"""Allow connections to public addresses only, so that no list of URLs reaches into the local network (SSRF)."""

import ipaddress
import socket

NAT64 = ipaddress.IPv6Network("64:ff9b::/96")  # RFC 6052: the last 32 bits are the IPv4 address that is reached
# Public for `ipaddress`, whose table is older than some of these (Python 3.11.7), but not public or not always.
DENIED = tuple(
    ipaddress.ip_network(network)
    for network in (
        "192.0.0.0/24",  # IETF protocol assignments, RFC 6890
        "192.88.99.0/24",  # relays of 6to4, deprecated, RFC 7526
        "168.63.129.16/32",  # the host of a virtual machine at Azure, which hands out secrets
        "64:ff9b:1::/48",  # NAT64 into one's own network, RFC 8215
        "100::/32",  # discard only, RFC 6666 and 9780
        "2001::/23",  # IETF protocol assignments with Teredo, which wraps IPv4
        "3fff::/20",  # documentation, RFC 9637
        "5f00::/16",  # segment routing, RFC 9602
        "fec0::/10",  # site-local, deprecated, RFC 3879
    )
)
MAX_ADDRESSES = 4  # of one host that are tried; each may cost a whole timeout


class PrivateAddress(Exception):
    """A host whose address is not public: loopback, a local network, link-local, multicast or reserved."""


def is_public(address: str) -> bool:
    """Whether an IP address is public; one that wraps an IPv4 address is public if that is."""
    try:
        found = _unwrapped(ipaddress.ip_address(address))
    except ValueError:
        return False
    is_denied = any(found in network for network in DENIED)  # False for one of the other version
    return found.is_global and not (found.is_multicast or found.is_reserved or is_denied)


def _unwrapped(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """Return the IPv4 address inside `::ffff:1.2.3.4`, 6to4 (`2002:`) and NAT64, else the address itself."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address


def resolve(host: str, port: int, *, allow_private: bool) -> list[tuple[socket.AddressFamily, tuple[str, int]]]:
    """Resolve a host to addresses to connect to; PrivateAddress if any of them is not public.

    Connecting to the name instead would resolve it again, perhaps to another address (DNS rebinding).
    Decimal, octal and hexadecimal hosts (`http://2130706433/`) are read here as the system reads them. Raises
    socket.gaierror, and UnicodeError for what is no name at all.
    """
    found = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)
    addresses = list(dict.fromkeys((family, where) for family, _, _, _, where in found))
    if not allow_private and not all(is_public(str(where[0])) for _, where in addresses):
        raise PrivateAddress(host)
    return addresses[:MAX_ADDRESSES]  # type: ignore[return-value]  # (address, port), and two numbers more in IPv6
