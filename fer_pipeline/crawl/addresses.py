"""Which addresses may be connected to: public ones, so that no list of URLs makes us ask the network we stand in."""

import ipaddress
import socket

NAT64 = ipaddress.IPv6Network("64:ff9b::/96")  # RFC 6052: the last 32 bits are the IPv4 address that is reached
MOST = 4  # addresses of one host that are tried; each may cost a whole timeout


class PrivateAddress(Exception):
    """A host whose address is not public: loopback, a local network, link-local, multicast or reserved."""


def is_public(address: str) -> bool:
    """Whether everybody can reach an IP address; one that wraps an IPv4 address is judged by that."""
    try:
        found = _unwrapped(ipaddress.ip_address(address))
    except ValueError:
        return False
    return found.is_global and not (found.is_multicast or found.is_reserved)


def _unwrapped(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """The IPv4 address inside `::ffff:1.2.3.4`, 6to4 (`2002:`) and NAT64, else the address itself."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address


def resolve(host: str, port: int, *, allow_private: bool) -> list[tuple[socket.AddressFamily, tuple[str, int]]]:
    """The addresses of a host, to be connected to as they are; PrivateAddress if any of them is not public.

    Whoever connects to the name instead asks the name service again, which may answer otherwise (DNS rebinding).
    Decimal, octal and hexadecimal hosts (`http://2130706433/`) are read here as the system reads them. Raises
    socket.gaierror, and UnicodeError for what is no name at all.
    """
    found = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)
    addresses = list(dict.fromkeys((family, where) for family, _, _, _, where in found))
    if not allow_private and not all(is_public(str(where[0])) for _, where in addresses):
        raise PrivateAddress(host)
    return addresses[:MOST]  # type: ignore[return-value]  # (address, port), and two numbers more in IPv6
