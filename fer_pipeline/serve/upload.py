"""Read the pictures of a request into memory, counting bytes as they arrive."""

import asyncio
from collections.abc import AsyncGenerator
from typing import NamedTuple, TypeVar

from python_multipart.multipart import parse_options_header
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from fer_pipeline.serve.limits import Load

RAW = "application/octet-stream"
FIELDS = {"files", "file"}  # the second is what most examples of other servers call it
MAX_FIELDS, MAX_FIELD_BYTES = 100, 65_536  # of a form's fields that are no files, which are ignored
LIMITS = ("Too many", "Part exceeded")  # how the messages of Starlette's limits begin
T = TypeVar("T")


class BadUpload(Exception):
    """A body without pictures, or one that cannot be parsed; `status` is its HTTP status."""

    def __init__(self, detail: str, status: int = 400) -> None:
        super().__init__(detail)
        self.status = status


class Upload(NamedTuple):
    """One picture: the name given by the client, which is never used as a path, and its bytes."""

    name: str
    data: bytes


async def read_uploads(request: Request, load: Load) -> list[Upload]:
    """Read all pictures of a body: the fields `files` or `file` of a form, or one raw picture.

    Raises BadUpload, TooLarge or Full without waiting for the rest of the body, and ClientDisconnect.
    """
    limits = load.gate.limits
    try:
        async with asyncio.timeout(limits.upload):
            uploads = await _read_uploads(request, load)
    except TimeoutError:
        raise BadUpload(f"the upload took longer than {limits.upload:g} seconds: send fewer pictures", 408) from None
    if not uploads:
        raise BadUpload("no picture in the field `files` (or `file`): add one", 422)
    return uploads


async def _read_uploads(request: Request, load: Load) -> list[Upload]:
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > load.gate.limits.max_bytes:
        load.add(int(declared))
    kind = parse_options_header(request.headers.get("content-type") or RAW)[0].decode("latin-1")
    if kind == "multipart/form-data":
        return await _read_form(request, load)
    if kind.startswith("image/") or kind == RAW:
        return [Upload("", b"".join([chunk async for chunk in _receive(request, load)]))]
    raise BadUpload(
        "send a form (multipart/form-data, field `files`), or one picture with the header Content-Type: image/jpeg", 415
    )


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


async def _receive(request: Request, load: Load) -> AsyncGenerator[bytes, None]:
    async for chunk in request.stream():
        load.add(len(chunk))
        yield chunk


class _Form(MultiPartParser):
    """Starlette's parser of forms, which writes nothing to disk and knows whether the form was all there."""

    spool_max_size = 0  # bytes from which a file would lie on disk; 0: never
    complete = False

    def on_end(self) -> None:
        self.complete = True


async def _read_form(request: Request, load: Load) -> list[Upload]:
    async def receive() -> AsyncGenerator[bytes, None]:
        async for chunk in _receive(request, load):
            yield chunk
        if not form.complete:  # raised here, the parser closes its files
            raise BadUpload("the form ends before its last boundary: send all of it")

    most = load.gate.limits.max_files
    form = _Form(request.headers, receive(), max_files=most, max_fields=MAX_FIELDS, max_part_size=MAX_FIELD_BYTES)
    try:
        parts = await form.parse()
    except MultiPartException as error:
        if error.message.startswith(LIMITS):
            raise BadUpload(f"{error.message} Send at most {most} pictures a request.", 413) from None
        raise BadUpload(f"not a form that can be read: {error.message[:100]}") from None
    except ValueError:  # of a charset that Python cannot decode with
        raise BadUpload("not a form that can be read: send its names as UTF-8") from None
    try:
        files = [part for name, part in parts.multi_items() if name in FIELDS and isinstance(part, UploadFile)]
        return [Upload(file.filename or "", await file.read()) for file in files]
    finally:
        await parts.close()
