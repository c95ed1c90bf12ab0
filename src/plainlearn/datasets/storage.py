"""Where data are kept on this machine, who may write there now, and what to say when they cannot."""

from __future__ import annotations

import errno
import os
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

from plainlearn.core.errors import DownloadError
from plainlearn.core.paths import Path
from plainlearn.datasets.byte_progress import in_bytes, say

__all__ = ["HOME_VARIABLE", "cache_home", "locked", "make_folder", "storage_error", "try_lock", "writing"]

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
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        in_the_way = next((place for place in (folder, *folder.parents) if place.exists()), folder)
        if not in_the_way.is_dir():
            raise DownloadError(
                f"the folder {folder} cannot be made: {in_the_way} is a file; expected a folder",
                try_=f"moving that file away, or {_ELSEWHERE}",
            ) from error
        raise storage_error(error, folder) from error


@contextmanager
def writing(path: Path) -> Generator[None]:
    """Turn the system's error on writing into ours, which names the path and says what to do."""
    try:
        yield
    except OSError as error:
        if isinstance(error, DownloadError):
            raise
        raise storage_error(error, path) from error


def storage_error(error: OSError, path: Path) -> DownloadError:
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
    """Let one thread of one process at a time work on `name` in `folder`; others wait, and say so.

    The lock is the system's, on the file .NAME.lock: it ends with the process that holds it, killed or not.
    """
    from filelock import FileLock, Timeout

    path = folder / f".{name}.lock"
    lock = FileLock(path)
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
