"""Reading the images of a request: a form with files, or an image as it is. Nothing is kept that is over a limit.

What a client says of a file, its name above all, is only ever echoed: no path is made of it and nothing is stored.
"""

from __future__ import annotations

import math
import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from typing import Final

from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import parse_options_header
from starlette.datastructures import Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from plainlearn.app.limits import Limits, Refusal

__all__ = ["FIELD", "Upload", "UploadBudget", "check_length", "read_uploads"]

FIELD: Final = "file"
_NAME: Final = 255  # signs of a file's name that are echoed
_KIND: Final = re.compile(r"image/[\w.+-]+|application/octet-stream")


@dataclass(frozen=True)
class Upload:
    """One image as it came: the name that the client gave it, if any, and its bytes."""

    name: str | None
    data: bytes


class UploadBudget:
    """The bytes of all requests that are being read or answered, against the most that may be."""

    def __init__(self, most: int) -> None:
        self.bytes, self._most = 0, most

    @contextmanager
    def request(self) -> Generator[Callable[[int], None]]:
        """For one request: what it adds by the function that is given is given back at the end."""
        mine = 0

        def add(count: int) -> None:
            nonlocal mine
            if self.bytes + count > self._most:
                raise Refusal(
                    429, "The server holds as many uploads as it can; send it again in a second.",
                    headers={"Retry-After": "1"},
                )  # fmt: skip
            self.bytes += count
            mine += count

        try:
            yield add
        finally:
            self.bytes -= mine


def check_length(length: str | None, limits: Limits) -> None:
    """Refuse a request by the length that it declares, before any of its body is read."""
    if length is not None and (not length.isascii() or not length.isdigit() or int(length) > limits.body):
        raise _too_large(limits)


async def read_uploads(
    kind: str, body: AsyncIterator[bytes], limits: Limits, take: Callable[[int], None]
) -> list[Upload]:
    """The images of a request whose Content-Type is `kind`, in the order sent; `take` is told of all that comes.

    Raises `Refusal`: 413 as soon as too much has come, 415 for another kind of content, 422 for a form without images
    or with other parts, 400 for one that is not well-formed.
    """
    try:
        media, options = parse_options_header(kind)
    except ValueError:
        media, options = b"", {}
    what = media.decode("latin-1")
    if what == "multipart/form-data":
        if not options.get(b"boundary"):
            raise Refusal(400, "The form's Content-Type names no boundary between its parts.")
        return await _form(kind, _limited(body, limits, take), limits.images)
    if not _KIND.fullmatch(what):
        raise Refusal(
            415,
            f"The Content-Type is {what[:80]!r}; expected multipart/form-data with parts named {FIELD!r}, or image/*.",
        )
    data = bytearray()
    async for chunk in _limited(body, limits, take):
        data += chunk
    if not data:
        raise Refusal(422, "The request has no body; expected an image.")
    return [Upload(None, bytes(data))]


async def _limited(
    body: AsyncIterator[bytes], limits: Limits, take: Callable[[int], None]
) -> AsyncGenerator[bytes]:
    """The body as it comes. Counted here whatever length was declared: in pieces, it declares none."""
    total = 0
    async for chunk in body:
        total += len(chunk)
        if total > limits.body:
            raise _too_large(limits)
        take(len(chunk))
        yield chunk


def _too_large(limits: Limits) -> Refusal:
    return Refusal(
        413, f"The request is larger than {limits.body:,} bytes, which are the most that are taken."
    )


# ---------------------------------------------------------------- forms


async def _form(kind: str, body: AsyncGenerator[bytes], most: int) -> list[Upload]:
    parser = _ImageForm(kind, body, most)
    try:
        await parser.parse()
    except MultiPartException as error:
        cause = error.__cause__
        where = (
            f" at byte {cause.offset}" if isinstance(cause, MultipartParseError) and cause.offset > 0 else ""
        )
        raise Refusal(
            400, f"The form is not well-formed{where}: it cannot be told where its parts begin and end."
        ) from error
    try:
        if not parser.ended:
            raise Refusal(400, "The form ends before its last part does.")
        if not parser.items:
            raise Refusal(422, f"The form holds no image; expected parts named {FIELD!r}.")
        return [await _upload(file) for _, file in parser.items if isinstance(file, UploadFile)]
    finally:
        parser.close()


async def _upload(file: UploadFile) -> Upload:
    data = await file.read()
    await file.close()
    return Upload(None if file.filename is None else file.filename[:_NAME], data)


class _ImageForm(MultiPartParser):
    """Starlette's parser, which refuses what is no image of ours before its content has come, and stays off the disk."""

    spool_max_size = 1 << 62  # no temporary files: what is sent is never stored

    def __init__(self, kind: str, body: AsyncGenerator[bytes], most: int) -> None:
        super().__init__(Headers({"content-type": kind}), body, max_files=math.inf, max_fields=math.inf)
        self.most, self.ended = most, False

    def on_headers_finished(self) -> None:
        if len(self.items) == self.most:
            raise Refusal(
                413, f"The form holds more than {self.most} images, which are the most in one request."
            )
        super().on_headers_finished()
        part = self._current_part
        if part.field_name != FIELD:
            raise Refusal(
                422,
                f"The form has a part named {part.field_name[:80]!r}; expected only {FIELD!r}. "
                "Options go into the address: /predict?top=3",
            )
        if part.file is None:  # without a file's name it would be taken for text
            part.file = UploadFile(BytesIO())

    def on_end(self) -> None:
        self.ended = True

    def close(self) -> None:
        """Close all files, that of a part without an end too."""
        for file in self._files_to_close_on_error:
            file.close()
