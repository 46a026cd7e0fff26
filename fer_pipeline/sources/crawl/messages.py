"""Answers of HTTP/1 as they come over a socket: heads and bodies, each part of them within bounds."""

import re
import socket
from collections.abc import Iterator
from typing import NamedTuple

MOST_HEAD = 65_536  # bytes up to the empty line
MOST_LINE = 4_096  # bytes of a line between two chunks
MOST_TRAILER = 16_384  # bytes after the last chunk
INTERIM = 8  # answers like `103 Early Hints` before the one that counts
PIECE = 65_536  # bytes that are taken at once
END_OF_HEAD = re.compile(rb"\n\r?\n")
END_OF_LINE = re.compile(rb"\n")
STATUS = re.compile(r"HTTP/1\.(\d) (\d{3})(?!\S)")
CHUNK = re.compile(rb"\s*([0-9a-fA-F]{1,15})\s*(?:;|$)")


class BrokenAnswer(Exception):
    """What came is no answer of HTTP, breaks off, or goes beyond all bounds."""


class Connection:
    """A socket, with what came over it before it was wanted."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock, self._held = sock, bytearray()
        self.close = sock.close

    @property
    def is_empty(self) -> bool:
        """Whether all that came was wanted."""
        return not self._held

    def take(self, most: int) -> bytes:
        """What is there, or what comes next; b"" at the end."""
        if not self._held:
            return self.sock.recv(min(most, PIECE))
        piece = bytes(self._held[:most])
        del self._held[:most]
        return piece

    def take_to(self, end: re.Pattern[bytes], most: int) -> bytes:
        """All up to an end, with it."""
        looked = 0
        while not (found := end.search(self._held, looked)):
            if len(self._held) > most:
                raise BrokenAnswer("a head or a line without end")
            looked = max(0, len(self._held) - 2)  # the longest end has three bytes
            piece = self.sock.recv(PIECE)
            if not piece:
                raise ConnectionResetError("connection broken")
            self._held += piece
        return self.take(found.end())


class Headers(dict[str, list[str]]):
    """The values of each header, by its name in lower case."""

    def first(self, name: str, default: str = "") -> str:
        """The one value most headers have."""
        return self[name][0] if name in self else default


class Head(NamedTuple):
    """What an answer says before its body."""

    minor: int  # of the version, HTTP/1.x
    status: int
    headers: Headers

    @property
    def stays(self) -> bool:
        """Whether the connection may be used again, if the body tells its own end."""
        said = ",".join(self.headers.get("connection", ())).lower()
        return "close" not in said if self.minor else "keep-alive" in said


def read_head(connection: Connection) -> Head:
    """The head of the answer that counts, after those that only say that it will come."""
    for _ in range(INTERIM):
        lines = connection.take_to(END_OF_HEAD, MOST_HEAD).decode("latin-1").split("\n")
        said = STATUS.match(lines[0])
        if said is None:
            raise BrokenAnswer("no HTTP")
        if not 100 <= int(said[2]) < 200:
            return Head(int(said[1]), int(said[2]), _parse(lines[1:]))
    raise BrokenAnswer("promises without an answer")


def _parse(lines: list[str]) -> Headers:
    headers, values = Headers(), [""]
    for line in lines:
        name, colon, value = line.partition(":")
        if line[:1] in {" ", "\t"}:  # goes on
            values[-1] = f"{values[-1]} {line.strip()}".strip()
        elif colon:
            values = headers.setdefault(name.strip().lower(), [])
            values.append(value.strip())
    return headers


def read_body(connection: Connection, head: Head) -> tuple[Iterator[bytes], bool]:
    """The pieces of a body, and whether it tells its own end; who has them all has all of it, else BrokenAnswer."""
    if head.status in {204, 304}:
        return iter(()), True
    if coding := head.headers.first("transfer-encoding").lower():
        if coding != "chunked":
            raise BrokenAnswer(f"sent as {coding}, which was not asked for")
        return _chunked(connection), True
    length = head.headers.first("content-length")
    if length.isascii() and length.isdecimal() and len(length) < 20:
        return _measured(connection, int(length)), True
    return _unmeasured(connection), False


def _measured(connection: Connection, left: int) -> Iterator[bytes]:
    while left:
        piece = connection.take(left)
        if not piece:
            raise BrokenAnswer("broken off")
        left -= len(piece)
        yield piece


def _unmeasured(connection: Connection) -> Iterator[bytes]:
    while piece := connection.take(PIECE):
        yield piece


def _chunked(connection: Connection) -> Iterator[bytes]:
    while size := _chunk_size(connection.take_to(END_OF_LINE, MOST_LINE)):
        yield from _measured(connection, size)
        if connection.take_to(END_OF_LINE, 2).strip():
            raise BrokenAnswer("a chunk longer than it says")
    left = MOST_TRAILER
    while (line := connection.take_to(END_OF_LINE, MOST_LINE)).strip():
        left -= len(line)
        if left < 0:
            raise BrokenAnswer("a trailer without end")


def _chunk_size(line: bytes) -> int:
    said = CHUNK.match(line.rstrip())
    if said is None:
        raise BrokenAnswer("no size of a chunk")
    return int(said[1], 16)
