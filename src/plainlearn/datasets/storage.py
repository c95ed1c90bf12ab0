"""Where data are kept on this machine, who may write there now, what to say when they cannot, and SHA-256 of what is there."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Collection, Generator
from contextlib import contextmanager
from typing import Final

from plainlearn.core.errors import ArgumentError, DownloadError, MissingFileError
from plainlearn.core.paths import Path
from plainlearn.datasets.byte_progress import in_bytes, say

HOME_VARIABLE: Final = "PLAINLEARN_HOME"

# Who waits for a lock waits for a living process: the system frees the lock of a dead one. So the wait may be long
# enough for a large archive over a slow line; it ends all the same.
_WAIT_SECONDS: Final = 6 * 3600.0

_FULL: Final = {errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)}
_FORBIDDEN: Final = {errno.EACCES, errno.EPERM, errno.EROFS}
_ELSEWHERE: Final = f"export {HOME_VARIABLE}=/a/folder/that/you/may/write"


def cache_home() -> Path:
    """The folder under which archives and data are kept: `PLAINLEARN_HOME`, or the system's place for caches.

    Without the variable that is ~/.cache/plainlearn on Linux, ~/Library/Caches/plainlearn on macOS,
    %LOCALAPPDATA%\\plainlearn\\Cache on Windows. The folder is not made by asking for it.
    """
    named = os.environ.get(HOME_VARIABLE)
    if named:
        return Path(named).expanduser().absolute()
    import platformdirs

    return Path(platformdirs.user_cache_dir("plainlearn", appauthor=False))


def make_folder(folder: Path) -> None:
    """Make a folder and those above it. Raises `DownloadError` naming what is in the way."""
    with writing(folder):
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError) as error:
            raise file_in_the_way(f"the folder {folder} cannot be made", folder) from error


def file_in_the_way(what: str, folder: Path) -> DownloadError:
    """Our error for `what` failed because there is a file where `folder`, or one above it, should be."""
    in_the_way = next((place for place in (folder, *folder.parents) if place.exists()), folder)
    return DownloadError(
        f"{what}: {in_the_way} is a file; expected a folder", try_=f"moving that file away, or {_ELSEWHERE}"
    )


@contextmanager
def writing(path: Path) -> Generator[None]:
    """Turn the system's error on writing into ours, which names the path and says what to do."""
    try:
        yield
    except OSError as error:
        if isinstance(error, DownloadError):
            raise
        raise _storage_error(error, path) from error


def _storage_error(error: OSError, path: Path) -> DownloadError:
    """Our error for one of the system's on writing: the path, what was found, what to do."""
    reason = error.strerror or str(error)
    if error.errno in _FULL:
        return DownloadError(
            f"there is no room to write {path}: {reason.lower()}{_free(path)}",
            try_=f"freeing space there, or {_ELSEWHERE}",
        )
    if error.errno in _FORBIDDEN:
        return DownloadError(
            f"{path} cannot be written: {reason.lower()}; expected a folder that this user may write",
            try_=_ELSEWHERE,
        )
    return DownloadError(f"{path} cannot be written: {reason.lower()}")


def _free(path: Path) -> str:
    import shutil

    place = next((place for place in (path, *path.parents) if place.is_dir()), None)
    return (
        "" if place is None else f" ({in_bytes(shutil.disk_usage(place).free)} free on the disk of {place})"
    )


@contextmanager
def locked(folder: Path, name: str) -> Generator[None]:
    """Let one thread of one process at a time work on `name` in `folder`; others wait, and say so. It may do so again within.

    The lock is the system's, on the file .NAME.lock: it ends with the process that holds it, killed or not.
    """
    from filelock import FileLock, Timeout

    path = folder / f".{name}.lock"
    lock = FileLock(path, is_singleton=True)
    with writing(folder):
        try:
            lock.acquire(timeout=0)
        except Timeout:
            say(f"another process is preparing {folder / name}: waiting for it")
            try:
                lock.acquire(timeout=_WAIT_SECONDS)
            except Timeout as error:
                raise DownloadError(
                    f"another process has held {path} for {_WAIT_SECONDS / 3600:.0f} hours",
                    try_="ending that process: its lock ends with it",
                ) from error
    try:
        yield
    finally:
        lock.release()


@contextmanager
def try_lock(folder: Path, name: str) -> Generator[bool]:
    """Take the lock of `locked` if nobody has it; whether that was so is what the `with` gives."""
    from filelock import FileLock

    lock = FileLock(folder / f".{name}.lock")
    try:
        lock.acquire(timeout=0)
    except OSError:  # taken (filelock's Timeout is one), or not this user's to take
        yield False
        return
    try:
        yield True
    finally:
        lock.release()


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
