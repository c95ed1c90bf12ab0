"""Reading the images of a request: a form with files, or an image as it is. Nothing is kept that is over a limit.

What a client says of a file, its name above all, is only ever echoed: no path is made of it and nothing is stored.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from python_multipart.exceptions import FormParserError, MultipartParseError
from python_multipart.multipart import MultipartParser, parse_options_header

from plainlearn.app.limits import Limits
from plainlearn.app.refusals import Refusal

__all__ = ["FIELD", "Held", "Upload", "check_length", "read_uploads"]

FIELD: Final = "file"
_NAME: Final = 255  # signs of a file's name that are echoed
_KIND: Final = re.compile(r"image/[\w.+-]+|application/octet-stream")
_TOO_MANY: Final = "The form holds more than {} images, which are the most in one request."


@dataclass(frozen=True)
class Upload:
    """One image as it came: the name that the client gave it, if any, and its bytes."""

    name: str | None
    data: bytes


class Held:
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
    kind: str, body: AsyncIterator[bytes], limits: Limits, hold: Callable[[int], None]
) -> list[Upload]:
    """The images of a request whose Content-Type is `kind`, in the order sent; `hold` is told of all that comes.

    Raises `Refusal`: 413 as soon as too much has come, 415 for another kind of content, 422 for a form without images
    or with other parts, 400 for one that is not well-formed.
    """
    try:
        media, options = parse_options_header(kind)
    except ValueError:
        media, options = b"", {}
    what = media.decode("latin-1")
    if what == "multipart/form-data":
        boundary = options.get(b"boundary", b"")
        if not boundary:
            raise Refusal(400, "The form's Content-Type names no boundary between its parts.")
        return await _form(boundary, body, limits, hold)
    if not _KIND.fullmatch(what):
        raise Refusal(
            415,
            f"The Content-Type is {what[:80]!r}; expected multipart/form-data with parts named {FIELD!r}, or image/*.",
        )
    data = bytearray()
    async for chunk in _limited(body, limits, hold):
        data += chunk
    if not data:
        raise Refusal(422, "The request has no body; expected an image.")
    return [Upload(None, bytes(data))]


async def _limited(
    body: AsyncIterator[bytes], limits: Limits, hold: Callable[[int], None]
) -> AsyncIterator[bytes]:
    """The body as it comes. Counted here whatever length was declared: in pieces, it declares none."""
    total = 0
    async for chunk in body:
        total += len(chunk)
        if total > limits.body:
            raise _too_large(limits)
        hold(len(chunk))
        yield chunk


def _too_large(limits: Limits) -> Refusal:
    return Refusal(
        413, f"The request is larger than {limits.body:,} bytes, which are the most that are taken."
    )


# ---------------------------------------------------------------- forms


async def _form(
    boundary: bytes, body: AsyncIterator[bytes], limits: Limits, hold: Callable[[int], None]
) -> list[Upload]:
    parts = _Parts(limits)
    try:
        parser = MultipartParser(
            boundary,
            parts.callbacks(),
            max_header_count=limits.part_headers,
            max_header_size=limits.part_head,
        )
        async for chunk in _limited(body, limits, hold):
            parser.write(chunk)
        parser.finalize()
    except FormParserError as error:
        where = (
            f" at byte {error.offset}" if isinstance(error, MultipartParseError) and error.offset > 0 else ""
        )
        raise Refusal(
            400, f"The form is not well-formed{where}: it cannot be told where its parts begin and end."
        ) from error
    if not parts.ended:
        raise Refusal(400, "The form ends before its last part does.")
    if not parts.uploads:
        raise Refusal(422, f"The form holds no image; expected parts named {FIELD!r}.")
    return parts.uploads


@dataclass
class _Parts:
    """What the parser tells, made into uploads."""

    limits: Limits
    uploads: list[Upload] = field(default_factory=list[Upload])
    ended: bool = False
    _file: str | None = None
    _name: bytearray = field(default_factory=bytearray)
    _value: bytearray = field(default_factory=bytearray)
    _headers: dict[str, str] = field(default_factory=dict[str, str])
    _data: bytearray = field(default_factory=bytearray)

    def callbacks(self) -> Any:
        def into(where: bytearray) -> Callable[[bytes, int, int], None]:
            return lambda data, start, end: where.extend(data[start:end])

        return {
            "on_part_begin": self._begin,
            "on_header_field": into(self._name),
            "on_header_value": into(self._value),
            "on_header_end": self._header,
            "on_headers_finished": self._named,
            "on_part_data": into(self._data),
            "on_part_end": self._end,
            "on_end": self._whole,
        }

    def _begin(self) -> None:
        if len(self.uploads) == self.limits.images:
            raise Refusal(413, _TOO_MANY.format(self.limits.images))
        self._headers = {}
        self._data.clear()

    def _header(self) -> None:
        self._headers[self._name.decode("latin-1").lower()] = self._value.decode("utf-8", "replace")
        self._name.clear()
        self._value.clear()

    def _named(self) -> None:
        """Refuse a part that is no image of ours before its content has come."""
        self._file = None
        try:
            given = self._headers.get("content-disposition", "").encode("utf-8").decode("latin-1")
            _, options = parse_options_header(given)
        except ValueError as error:
            raise Refusal(400, "A part of the form has a header that cannot be read.") from error
        name = options.get(b"name", b"").decode("utf-8", "replace")
        if name != FIELD:
            raise Refusal(
                422,
                f"The form has a part named {name[:80]!r}; expected only {FIELD!r}. Options go into the address: /predict?top=3",
            )
        if b"filename" in options:
            self._file = options[b"filename"].decode("utf-8", "replace")[:_NAME]

    def _end(self) -> None:
        self.uploads.append(Upload(self._file, bytes(self._data)))

    def _whole(self) -> None:
        self.ended = True
