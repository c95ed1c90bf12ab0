"""Download one file over HTTP: resumed where it broke off, checked, in its place only when it is complete.

With urllib, since this is a GET with two headers: another HTTP library would be one more thing to install.
"""

from __future__ import annotations

import errno
import http.client
import json
import os
import socket
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Collection
from dataclasses import dataclass
from email.message import Message
from typing import IO, Final, cast

from plainlearn._version import __version__
from plainlearn.core.errors import ArgumentError, DownloadError
from plainlearn.core.paths import Path
from plainlearn.datasets.byte_progress import byte_progress, in_bytes
from plainlearn.datasets.checksums import file_sha256, normal_sha256
from plainlearn.datasets.storage import locked, make_folder, writing
from plainlearn.datasets.urls import archive_name

__all__ = ["Unreachable", "download_url", "fetch"]

_CHUNK: Final = 1 << 18
_PASSING: Final = {408, 425, 429, 500, 502, 503, 504}
_OFFLINE: Final = {errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN}
_LONGEST_PAUSE: Final = 30.0
# An attempt that brought this much was worth it, however many came before: a large file over a poor line.
_PROGRESS: Final = 1 << 20


class Unreachable(Exception):
    """An address gave no file; `reason` says why, `status` is the server's answer if it gave one."""

    def __init__(self, reason: str, *, status: int | None = None) -> None:
        super().__init__(reason)
        self.reason, self.status = reason, status


class _TryAgain(Exception):
    """An attempt failed in a way that may pass."""

    def __init__(self, reason: str, *, pause_seconds: float = 0.0) -> None:
        super().__init__(reason)
        self.reason, self.pause_seconds = reason, pause_seconds


def download_url(
    url: str,
    dest: str | os.PathLike[str],
    *,
    sha256: str | Collection[str] | None = None,
    timeout_seconds: float = 30.0,
    attempts: int = 4,
    backoff_seconds: float = 0.5,
    max_bytes: int = 64 << 30,
    show_progress: bool | None = None,
) -> Path:
    """Download `url` to the file `dest`, or into the folder `dest`, and return the file's path.

    A file of that name is replaced once the new one is complete; with `sha256` (one, or several of which any
    will do), a file that has it already is kept and nothing is downloaded. What breaks off is resumed, in this
    call or the next, if the server can and its file is the same. `timeout_seconds` is how long a server may
    stay silent. `attempts` in a row may fail in ways that may pass, `backoff_seconds` apart, then twice that.

    Raises `DownloadError` with the address and the reason, or with both checksums, if they differ.
    """
    name = archive_name(url)
    path = Path(dest) / name if Path(dest).is_dir() else Path(dest)
    expected = None if sha256 is None else normal_sha256(sha256)
    _check_numbers(timeout_seconds=timeout_seconds, attempts=attempts, max_bytes=max_bytes)
    make_folder(path.parent)
    with locked(path.parent, path.name):
        if expected and path.is_file() and file_sha256(path) in expected:
            return path
        try:
            fetch(
                url,
                path,
                sha256=expected,
                timeout_seconds=timeout_seconds,
                attempts=attempts,
                backoff_seconds=backoff_seconds,
                max_bytes=max_bytes,
                show_progress=show_progress,
            )
        except Unreachable as error:
            raise DownloadError(f"{url} could not be downloaded: {error.reason}") from error
    return path


def _check_numbers(**numbers: float) -> None:
    for name, number in numbers.items():
        if not number > 0:
            raise ArgumentError(f"{name} is {number}; expected more than 0")


def fetch(
    url: str,
    dest: Path,
    *,
    sha256: Collection[str] | None = None,
    timeout_seconds: float = 30.0,
    attempts: int = 4,
    backoff_seconds: float = 0.5,
    max_bytes: int = 64 << 30,
    show_progress: bool | None = None,
) -> str:
    """`download_url`, for a caller that holds the lock of `dest`; returns the SHA-256. Raises `Unreachable`."""
    partial = _Partial(dest, url)
    failures, pause = 0, backoff_seconds
    while True:
        before = partial.size()
        resumed = before > 0
        try:
            _attempt(url, partial, timeout_seconds, max_bytes, show_progress)
        except _TryAgain as error:
            if partial.size() >= before + _PROGRESS:
                failures, pause = 0, backoff_seconds
            failures += 1
            if failures >= attempts:
                times = "" if attempts == 1 else f" (tried {attempts} times)"
                raise Unreachable(error.reason + times) from error
            time.sleep(min(max(pause, error.pause_seconds), _LONGEST_PAUSE))
            pause *= 2
            continue
        found = file_sha256(partial.path)
        if sha256 is None or found in sha256:
            partial.move_to(dest)
            return found
        partial.discard()
        if not resumed:
            raise DownloadError(
                f"{url} did not give the file that was expected: its SHA-256 is {found}, "
                f"expected {' or '.join(sha256)}; it was deleted",
                try_="again, if a proxy or a log-in page may have answered; "
                f"else, if you trust the new file, sha256={found!r}",
            )
        # The first part came from an earlier attempt, and may be what is wrong: once more, from the start.


@dataclass(frozen=True)
class _Answer:
    """What a server says of the body that follows: where it starts, where the file ends, which version it is."""

    start: int
    total: int | None
    version: str

    @classmethod
    def of(cls, status: int, headers: Message) -> _Answer:
        # A weak tag does not promise the same bytes.
        tag = headers.get("ETag", "")
        version = headers.get("Last-Modified", "") if tag.startswith("W/") or not tag else tag
        length = headers.get("Content-Length", "")
        if status != 206:
            return cls(0, int(length) if length.isdecimal() else None, version)
        span, _, total = headers.get("Content-Range", "").removeprefix("bytes ").partition("/")
        first, _, last = span.partition("-")
        if not (first.isdecimal() and last.isdecimal() and total.isdecimal() and int(last) + 1 == int(total)):
            return cls(-1, None, version)  # not the rest of the file, whatever it is
        return cls(int(first), int(total), version)


def _attempt(
    url: str, partial: _Partial, timeout_seconds: float, max_bytes: int, show_progress: bool | None
) -> None:
    """Ask once, for what is missing, and write what comes. Returns if the file is complete."""
    headers = {"User-Agent": f"plainlearn/{__version__}", "Accept-Encoding": "identity"}
    have = partial.size()
    if have:
        headers |= {"Range": f"bytes={have}-", "If-Range": partial.version()}
    with _open(urllib.request.Request(_quoted(url), headers=headers), partial, timeout_seconds) as response:
        answer = _Answer.of(response.status, response.headers)
        if response.status == 206 and answer.start != have:
            partial.discard()
            raise _TryAgain("the server resumed the file at another place than asked")
        if answer.total is not None and answer.total > max_bytes:
            raise Unreachable(f"the file has {in_bytes(answer.total)}, more than max_bytes={max_bytes}")
        with writing(partial.path):
            partial.begin(answer.version, keep=answer.start)
        at = answer.start
        with (
            writing(partial.path),
            partial.path.open("ab") as file,
            byte_progress(f"downloading {url}", total=answer.total, done=at, show=show_progress) as advance,
        ):
            while data := _read(response, timeout_seconds, at):
                at += len(data)
                if at > max_bytes:
                    raise Unreachable(f"the file has more than max_bytes={max_bytes}")
                file.write(data)
                advance(len(data))
    if answer.total is not None and at != answer.total:
        raise _TryAgain(f"the connection ended after {at} of {answer.total} bytes")


def _quoted(url: str) -> str:
    """The address with what a browser would let pass, spaces and letters outside ASCII, written as %20 and the like."""
    return urllib.parse.quote(url, safe="%/:=&?~#+!$,;'@()*[]")


def _open(
    request: urllib.request.Request, partial: _Partial, timeout_seconds: float
) -> http.client.HTTPResponse:
    try:
        return cast(http.client.HTTPResponse, _opener().open(request, timeout=timeout_seconds))
    except urllib.error.HTTPError as error:
        error.close()
        reason = f"the server answered {error.code} {error.reason}".strip()
        if (
            error.code == 416
        ):  # nothing left to resume: the file there has become shorter, or ours is complete
            partial.discard()
            raise _TryAgain(reason) from error
        if error.code in _PASSING:
            wait = error.headers.get("Retry-After", "")
            raise _TryAgain(reason, pause_seconds=float(wait) if wait.isdecimal() else 0.0) from error
        raise Unreachable(reason, status=error.code) from error
    except (OSError, http.client.HTTPException) as error:
        raise _broken(error, timeout_seconds, 0) from error


def _read(response: http.client.HTTPResponse, timeout_seconds: float, at: int) -> bytes:
    try:
        return response.read1(_CHUNK)
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise _broken(error, timeout_seconds, at) from error


def _broken(error: Exception, timeout_seconds: float, at: int) -> Exception:
    """What a failed connection means: worth another attempt, or not."""
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(cause, TimeoutError):
        return _TryAgain(f"the server was silent for {timeout_seconds:g} seconds, after {in_bytes(at)}")
    if isinstance(cause, socket.gaierror):  # the usual sign of being offline: waiting would only annoy
        return Unreachable(
            f"the name of the server is not known here ({cause.strerror}): is this machine online?"
        )
    if isinstance(cause, OSError) and cause.errno in _OFFLINE:
        return Unreachable(
            f"there is no way to the server from here ({cause.strerror}): is this machine online?"
        )
    if isinstance(cause, ConnectionRefusedError):
        return Unreachable("the server refused the connection")
    if isinstance(cause, http.client.InvalidURL):
        return Unreachable(f"this is no address ({cause})")
    said = str(cause) or type(cause).__name__
    if "CERTIFICATE_VERIFY_FAILED" in said:
        return Unreachable(f"the server's certificate is not trusted here ({said})")
    return _TryAgain(f"the connection failed after {in_bytes(at)} ({said})")


class _NoStepDown(urllib.request.HTTPRedirectHandler):
    """Follows redirects, but never from https to http, where anybody on the way could answer."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Message, newurl: str
    ) -> urllib.request.Request | None:
        if req.type == "https" and not newurl.lower().startswith("https:"):
            raise Unreachable(f"the server redirects to {newurl}, which is not https")
        return super().redirect_request(req, fp, code, msg, headers, newurl)  # pyright: ignore[reportArgumentType]


def _opener() -> urllib.request.OpenerDirector:
    # Not build_opener: that also follows a redirect to file: and ftp:.
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        _NoStepDown(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.UnknownHandler(),
    ):
        opener.add_handler(handler)
    return opener


class _Partial:
    """The part of a file that is here so far, and a note beside it of where it is from and which version it is."""

    def __init__(self, dest: Path, url: str) -> None:
        self.url = url
        self.path = dest.with_name(f".{dest.name}.part")
        self._note = dest.with_name(f".{dest.name}.part.json")

    def size(self) -> int:
        """How much is here that can be continued; of an unknown version nothing can."""
        return self.path.stat().st_size if self.path.is_file() and self.version() else 0

    def version(self) -> str:
        """The server's mark of the version that the part is of; empty if there is none, or it is another address's."""
        try:
            note: object = json.loads(self._note.read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return ""
        known = cast(dict[str, str], note) if isinstance(note, dict) else {}
        return known.get("version", "") if known.get("url") == self.url else ""

    def begin(self, version: str, *, keep: int) -> None:
        """Get ready to append after the first `keep` bytes. Without a version there is no resuming later."""
        if not keep:
            # In this order: the note must never name a version that the part is not of.
            self.path.write_bytes(b"")
            self._note.write_text(json.dumps({"url": self.url, "version": version}), encoding="utf-8")

    def discard(self) -> None:
        with writing(self.path):
            self.path.unlink(missing_ok=True)
            self._note.unlink(missing_ok=True)

    def move_to(self, dest: Path) -> None:
        with writing(dest):
            self.path.replace(dest)
            self._note.unlink(missing_ok=True)
