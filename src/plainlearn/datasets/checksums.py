"""SHA-256 of whole files: measure, and compare."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection

from plainlearn.core.errors import ArgumentError, DownloadError, MissingFileError
from plainlearn.core.paths import Path

__all__ = ["file_sha256", "normal_sha256", "verify_file"]


def file_sha256(path: str | os.PathLike[str]) -> str:
    """The SHA-256 of a file, whole, in 64 hexadecimal digits, read a piece at a time.

    Raises `MissingFileError` if there is no such file.
    """
    path = Path(path)
    if not path.is_file():
        raise MissingFileError(f"there is no file {path}" if not path.exists() else f"{path} is not a file")
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def verify_file(path: str | os.PathLike[str], sha256: str | Collection[str]) -> str:
    """Compare a file with the SHA-256, or one of several, that it should have, and return what it has.

    Raises `DownloadError` with both if they differ. The file is left as it is.
    """
    expected = normal_sha256(sha256)
    found = file_sha256(path)
    if found not in expected:
        raise DownloadError(
            f"{path} is not the file that was expected: its SHA-256 is {found}, expected {' or '.join(expected)}",
            try_=f"another copy of it, or sha256={found!r} if you trust this one",
        )
    return found


def normal_sha256(sha256: str | Collection[str]) -> tuple[str, ...]:
    """One or several SHA-256, in lower case. Raises `ArgumentError` for what cannot be one.

    >>> normal_sha256("AB" * 32) == ("ab" * 32,)
    True
    """
    several = tuple(one.strip().lower() for one in ([sha256] if isinstance(sha256, str) else sha256))
    wrong = [one for one in several if len(one) != 64 or not set(one) <= set("0123456789abcdef")]
    if wrong or not several:
        raise ArgumentError(f"{wrong[0] if wrong else ''!r} is not a SHA-256; expected 64 hexadecimal digits")
    return several
