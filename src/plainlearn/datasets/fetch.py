"""Download one file over HTTP: resumed where it broke off, checked, in its place only when it is complete.

With urllib, since this is a GET with two headers. pooch was tried in its place: by itself it fails 34 of the 61 tests of
this file. It begins anew what broke off; asks four times, in 6 s, for what is not there or refused; says so in the words
of its HTTP library; knows one checksum a file, no limit of size, no lock; and, with certifi's list of certificates
instead of the system's, refuses a company's own servers. With a downloader of ours there is nothing left for it to do.
"""

from __future__ import annotations

import errno
import http.client
import json
import os
import re
import socket
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from email.message import Message
from typing import IO, Final, cast

from plainlearn._version import __version__
from plainlearn.core.errors import ArgumentError, DownloadError
from plainlearn.core.paths import Path
from plainlearn.datasets.byte_progress import byte_progress, in_bytes
from plainlearn.datasets.storage import file_sha256, locked, make_folder, normal_sha256, writing
from plainlearn.datasets.urls import archive_name

__all__ = ["Unreachable", "download_url"]

_CHUNK: Final = 1 << 18
_PASSING: Final = {408, 425, 429, 500, 502, 503, 504}
_OFFLINE: Final = {errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN}
_LONGEST_PAUSE: Final = 30.0
# An attempt that brought this much was worth it, however many came before: a large file over a poor line.
_PROGRESS: Final = 1 << 20


class Unreachable(DownloadError):
    """An address gave no file; `reason` says why."""

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(f"{url} could not be downloaded: {reason}")
        self.reason = reason


class _Failed(Exception):
    """An attempt gave no file; `retry_after`, in seconds, if another one may do better."""

    def __init__(self, reason: str, *, retry_after: float | None = None) -> None:
        super().__init__(reason)
        self.reason, self.retry_after = reason, retry_after


def download_url(
    url: str,
    dest: str | os.PathLike[str],
    *,
    sha256: str | Collection[str] | None = None,
    anew: bool = False,
    timeout_seconds: float = 30.0,
    attempts: int = 4,
    backoff_seconds: float = 0.5,
    max_bytes: int = 64 << 30,
    show_progress: bool | None = None,
) -> Path:
    """Download `url` to the file `dest`, or into the folder `dest`, and return the file's path.

    A file of that name is replaced once the new one is complete; with `sha256` (one, or several of which any
    will do), a file that has it already is kept and nothing is downloaded, unless `anew`. What breaks off is resumed,
    in this call or the next, if the server can and its file is the same. `timeout_seconds` is how long a server may
    stay silent. `attempts` in a row may fail in ways that may pass, `backoff_seconds` apart, then twice that.

    Raises `Unreachable` with the address and the reason, or `DownloadError` with both checksums, if they differ.
    """
    name = archive_name(url)
    path = Path(dest) / name if Path(dest).is_dir() else Path(dest)
    expected = () if sha256 is None else normal_sha256(sha256)
    numbers = {"timeout_seconds": timeout_seconds, "attempts": attempts, "max_bytes": max_bytes}
    for option, number in numbers.items():
        if not number > 0:
            raise ArgumentError(f"{option} is {number}; expected more than 0")
    transfer = _Transfer(url, path, timeout_seconds, max_bytes, show_progress)
    make_folder(path.parent)
    with locked(path.parent, path.name):
        if expected and not anew and path.is_file() and file_sha256(path) in expected:
            return path
        while True:
            resumed = transfer.complete(attempts, backoff_seconds)
            found = file_sha256(transfer.part) if expected else ""
            if not expected or found in expected:
                transfer.put_in_place()
                return path
            transfer.discard()
            if not resumed:
                raise DownloadError(
                    f"{url} did not give the file that was expected: its SHA-256 is {found}, "
                    f"expected {' or '.join(expected)}; it was deleted",
                    try_="again, if a proxy or a log-in page may have answered; "
                    f"else, if you trust the new file, sha256={found!r}",
                )
            # The first part came from an earlier attempt, and may be what is wrong: once more, from the start.


@dataclass(frozen=True)
class _Transfer:
    """A file on its way to `dest`. Beside that, hidden, is the part that is here so far, and what it is a part of."""

    url: str
    dest: Path
    timeout_seconds: float
    max_bytes: int
    show_progress: bool | None

    def complete(self, attempts: int, pause_seconds: float) -> int:
        """Get what is missing, and return how much of it was there before the last attempt. Raises `Unreachable`."""
        failures, pause = 0, pause_seconds
        while True:
            before = self._resumable()
            try:
                self._attempt(before)
                return before
            except _Failed as error:
                if error.retry_after is None:
                    raise Unreachable(self.url, error.reason) from error
                if self._resumable() >= before + _PROGRESS:
                    failures, pause = 0, pause_seconds
                failures += 1
                if failures >= attempts:
                    times = "" if attempts == 1 else f" (tried {attempts} times)"
                    raise Unreachable(self.url, error.reason + times) from error
                time.sleep(min(max(pause, error.retry_after), _LONGEST_PAUSE))
                pause *= 2

    def _attempt(self, have: int) -> None:
        """Ask once, for what is missing after `have` bytes, and write what comes. Returns if the file is complete."""
        headers = {"User-Agent": f"plainlearn/{__version__}", "Accept-Encoding": "identity"}
        if have:
            headers |= {"Range": f"bytes={have}-", "If-Range": self._version()}
        # Spaces and letters outside ASCII as a browser would write them.
        address = urllib.parse.quote(self.url, safe="%/:=&?~#+!$,;'@()*[]")
        opener = urllib.request.build_opener(_RedirectHandler())
        try:
            with opener.open(
                urllib.request.Request(address, headers=headers), timeout=self.timeout_seconds
            ) as response:
                self._receive(cast(http.client.HTTPResponse, response), have)
        except urllib.error.HTTPError as error:
            error.close()
            if error.code == 416:  # nothing to resume: the file there has become shorter, or ours is complete
                self.discard()
            wait = error.headers.get("Retry-After", "")
            passing = error.code == 416 or error.code in _PASSING
            raise _Failed(
                f"the server answered {error.code} {error.reason}".strip(),
                retry_after=(float(wait) if wait.isdecimal() else 0.0) if passing else None,
            ) from error
        except DownloadError:
            raise
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise self._broken(error, came=0) from error

    def _receive(self, response: http.client.HTTPResponse, have: int) -> None:
        at, total = _span(response)
        if response.status == 206 and at != have:
            self.discard()
            raise _Failed("the server resumed the file at another place than asked", retry_after=0.0)
        if total is not None and total > self.max_bytes:
            raise _Failed(f"the file has {in_bytes(total)}, more than max_bytes={self.max_bytes}")
        with writing(self.part):
            if not at:
                # In this order: the note must never name a version that the part is not of.
                self.part.write_bytes(b"")
                note = {"url": self.url, "version": _version_of(response.headers)}
                self._note.write_text(json.dumps(note), encoding="utf-8")
        with (
            writing(self.part),
            self.part.open("ab") as file,
            byte_progress(
                f"downloading {self.url}", total=total, done=at, show=self.show_progress
            ) as advance,
        ):
            for data in self._chunks(response, at):
                at += len(data)
                if at > self.max_bytes:
                    raise _Failed(f"the file has more than max_bytes={self.max_bytes}")
                file.write(data)
                advance(len(data))
        if total is not None and at != total:
            raise _Failed(f"the connection ended after {at} of {total} bytes", retry_after=0.0)

    def _chunks(self, response: http.client.HTTPResponse, at: int) -> Iterator[bytes]:
        try:
            while data := response.read1(_CHUNK):
                at += len(data)
                yield data
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise self._broken(error, came=at) from error

    def _broken(self, error: Exception, *, came: int) -> _Failed:
        """What a failed connection means, and whether another attempt is worth it."""
        cause = error.reason if isinstance(error, urllib.error.URLError) else error
        said = getattr(cause, "strerror", None) or str(cause) or type(cause).__name__
        if isinstance(cause, TimeoutError):
            silence = f"the server was silent for {self.timeout_seconds:g} seconds, after {in_bytes(came)}"
            return _Failed(silence, retry_after=0.0)
        if isinstance(cause, socket.gaierror):  # the usual sign of being offline: waiting would only annoy
            return _Failed(f"the name of the server is not known here ({said}): is this machine online?")
        if isinstance(cause, OSError) and cause.errno in _OFFLINE:
            return _Failed(f"there is no way to the server from here ({said}): is this machine online?")
        if isinstance(cause, ConnectionRefusedError):
            return _Failed("the server refused the connection")
        if isinstance(cause, http.client.InvalidURL):
            return _Failed(f"this is no address ({said})")
        if "CERTIFICATE_VERIFY_FAILED" in str(cause):
            return _Failed(f"the server's certificate is not trusted here ({cause})")
        return _Failed(f"the connection failed after {in_bytes(came)} ({said})", retry_after=0.0)

    @property
    def part(self) -> Path:
        return self.dest.with_name(f".{self.dest.name}.part")

    @property
    def _note(self) -> Path:
        return self.dest.with_name(f".{self.dest.name}.part.json")

    def _resumable(self) -> int:
        """How many bytes are here that can be continued; of an unknown version none can."""
        return self.part.stat().st_size if self.part.is_file() and self._version() else 0

    def _version(self) -> str:
        """The server's mark of the version that the part is of; empty if there is none, or it is another address's."""
        try:
            note: object = json.loads(self._note.read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return ""
        known = cast(dict[str, str], note) if isinstance(note, dict) else {}
        return known.get("version", "") if known.get("url") == self.url else ""

    def put_in_place(self) -> None:
        with writing(self.dest):
            self.part.replace(self.dest)
            self._note.unlink(missing_ok=True)

    def discard(self) -> None:
        with writing(self.part):
            self.part.unlink(missing_ok=True)
            self._note.unlink(missing_ok=True)


def _span(response: http.client.HTTPResponse) -> tuple[int, int | None]:
    """Where in the file the body that follows starts, and where the file ends, if the server says so."""
    if response.status != 206:
        length = response.headers.get("Content-Length", "")
        return 0, int(length) if length.isdecimal() else None
    rest = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+)", response.headers.get("Content-Range", ""))
    first, last, total = map(int, rest.groups()) if rest else (0, 0, 0)
    return (first, total) if last + 1 == total else (-1, None)  # not the rest of the file, whatever it is


def _version_of(headers: Message) -> str:
    # A weak tag does not promise the same bytes.
    tag = headers.get("ETag", "")
    return headers.get("Last-Modified", "") if tag.startswith("W/") or not tag else tag


class _RedirectHandler(urllib.request.HTTPRedirectHandler):
    """Follows redirects on the web, but never from https to http, where anybody on the way could answer."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Message, newurl: str
    ) -> urllib.request.Request | None:
        expected = "https" if req.type == "https" else "http"
        if not newurl.lower().startswith((f"{expected}:", "https:")):
            raise _Failed(f"the server redirects to {newurl}, which is not {expected}")
        return super().redirect_request(req, fp, code, msg, headers, newurl)  # pyright: ignore[reportArgumentType]
