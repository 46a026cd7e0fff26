"""Read the pictures of a request into memory, counting bytes as they arrive."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from python_multipart import MultipartParser
from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import parse_options_header
from starlette.requests import ClientDisconnect, Request

from fer_pipeline.serve.limits import Load, TooLarge

RAW = "application/octet-stream"
FIELDS = {b"files", b"file"}  # the second is what most examples of other servers call it
T = TypeVar("T")


class BadUpload(Exception):
    """A body without pictures, or one that cannot be parsed; `status` is its HTTP status."""

    def __init__(self, detail: str, status: int = 400) -> None:
        super().__init__(detail)
        self.status = status


@dataclass
class Upload:
    """One picture: the name given by the client, which is never used as a path, and its bytes."""

    name: str
    data: bytearray = field(default_factory=bytearray)


async def read_uploads(request: Request, load: Load) -> list[Upload]:
    """Read all pictures of a body: the fields `files` or `file` of a form, or one raw picture.

    Raises BadUpload, TooLarge or Full without waiting for the rest of the body, and ClientDisconnect.
    """
    limits = load.gate.limits
    try:
        async with asyncio.timeout(limits.upload):
            return await _read_uploads(request, load, limits.max_files)
    except TimeoutError:
        raise BadUpload(f"the upload took longer than {limits.upload:g} seconds: send fewer pictures", 408) from None


async def _read_uploads(request: Request, load: Load, max_files: int) -> list[Upload]:
    kind, options = parse_options_header(request.headers.get("content-type") or RAW)
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > load.gate.limits.max_bytes:
        load.add(int(declared))
    if kind == b"multipart/form-data":
        uploads = await _read_form(request, load, max_files, options.get(b"boundary", b""))
    elif kind.startswith(b"image/") or kind == RAW.encode():
        uploads = [await _read_raw(request, load)]
    else:
        raise BadUpload(
            "send a form (multipart/form-data, field `files`), or one picture with the header Content-Type: image/jpeg",
            415,
        )
    if not uploads:
        raise BadUpload("no picture in the field `files` (or `file`): add one", 422)
    return uploads


async def unless_left(request: Request, work: "asyncio.Future[T]") -> T:
    """Wait for work on a request whose body was read; cancels it and raises ClientDisconnect if the client leaves."""
    leaving = asyncio.create_task(_wait_until_left(request))
    try:
        await asyncio.wait((work, leaving), return_when=asyncio.FIRST_COMPLETED)
        if not work.done():
            raise ClientDisconnect
        return work.result()
    finally:
        for task in (work, leaving):
            task.cancel()
        await asyncio.gather(work, leaving, return_exceptions=True)


async def _wait_until_left(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _read_raw(request: Request, load: Load) -> Upload:
    upload = Upload("")
    async for chunk in request.stream():
        load.add(len(chunk))
        upload.data += chunk
    return upload


async def _read_form(request: Request, load: Load, max_files: int, boundary: bytes) -> list[Upload]:
    form = _Form(max_files)
    try:
        parser = MultipartParser(boundary, form.callbacks())  # type: ignore[arg-type]
        async for chunk in request.stream():
            load.add(len(chunk))
            parser.write(chunk)
        parser.finalize()
    except (MultipartParseError, ValueError) as error:
        raise BadUpload(f"not a form that can be read: {str(error)[:100]}") from None
    if not form.complete:
        raise BadUpload("the form ends before its last boundary: send all of it")
    return form.uploads


class _Form:
    """Collects the parts that are files; ignores other fields."""

    def __init__(self, max_files: int) -> None:
        self.max_files = max_files
        self.uploads: list[Upload] = []
        self.complete = False
        self._name = bytearray()
        self._value = bytearray()
        self._headers: dict[bytes, bytes] = {}
        self._current: Upload | None = None

    def callbacks(self) -> dict[str, Callable[..., Any]]:
        return {
            "on_part_begin": self._begin,
            "on_header_field": lambda data, start, end: self._name.extend(data[start:end]),
            "on_header_value": lambda data, start, end: self._value.extend(data[start:end]),
            "on_header_end": self._keep_header,
            "on_headers_finished": self._open_part,
            "on_part_data": self._take,
            "on_end": self._end,
        }

    def _begin(self) -> None:
        self._headers, self._current = {}, None

    def _keep_header(self) -> None:
        self._headers[bytes(self._name).lower()] = bytes(self._value)
        self._name, self._value = bytearray(), bytearray()

    def _open_part(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition", b""))
        if options.get(b"name") not in FIELDS or b"filename" not in options:
            return
        if len(self.uploads) == self.max_files:
            raise TooLarge(f"more than {self.max_files} pictures: send them in several requests")
        self._current = Upload(options[b"filename"].decode("utf-8", "replace"))
        self.uploads.append(self._current)

    def _take(self, data: bytes, start: int, end: int) -> None:
        if self._current is not None:
            self._current.data += data[start:end]

    def _end(self) -> None:
        self.complete = True
