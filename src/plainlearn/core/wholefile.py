"""Files that are written whole or not at all, whatever is killed or full meanwhile.

write to a temporary file in the same folder, flush it to the disk,
give it the name, flush the folder
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Final

from plainlearn.core.errors import ArgumentError, StorageError

try:
    import fcntl
except ImportError:  # Windows, where an open file cannot be deleted: the same for our purpose
    fcntl = None

__all__ = ["sweep", "whole_file"]

_PREFIX: Final = ".plainlearn-"
_SUFFIX: Final = ".part"

_FULL: Final = {errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)}


@contextmanager
def whole_file(path: str | os.PathLike[str], size: int) -> Generator[BinaryIO]:
    """A file to write `size` bytes to; at the end of the `with` it takes the place of `path`, at once.

    Whoever reads `path` meanwhile, or after a crash, finds the old file or the new one, never a part.
    If the block raises, the old file stays and nothing is left. A link is followed, not replaced.
    Folders that are missing are made; what killed writers have left in the folder is removed.
    Raises `StorageError` naming the path, and on a full disk the room that is needed and the room there is.
    """
    given = Path(path)
    if "\0" in str(given):
        raise ArgumentError(f"{str(given)!r} cannot be a file's name: it has a zero byte")
    target = Path(os.path.realpath(given))
    with _explained(given, size):
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.is_dir():
            raise IsADirectoryError(errno.EISDIR, "it is a folder")
        sweep(target.parent)
        file, temporary = _begin(target.parent)
        try:
            with file:
                yield file
                file.flush()
                os.fsync(file.fileno())
                if fcntl is None:
                    file.close()  # Windows renames no open file
                # Renamed while it is open: its lock tells sweepers to leave it alone until it has its name.
                temporary.replace(target)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                temporary.unlink()
            raise
        _flush_folder(target.parent)


def sweep(folder: Path) -> None:
    """Remove what killed writers have left in `folder`. A temporary file that is being written stays."""
    with os.scandir(folder) as entries:
        left = [e.name for e in entries if e.name.startswith(_PREFIX) and e.name.endswith(_SUFFIX)]
    for name in left:
        # Gone already, or another user's: then it is not ours to remove.
        with contextlib.suppress(OSError):
            if not _has_writer(folder / name):
                (folder / name).unlink()


def _begin(folder: Path) -> tuple[BinaryIO, Path]:
    """A new temporary file, locked: the system frees the lock when its writer dies, however it dies."""
    while True:
        temporary = folder / f"{_PREFIX}{secrets.token_hex(8)}{_SUFFIX}"
        file = temporary.open("xb")
        if fcntl is None:
            return file, temporary
        with contextlib.suppress(OSError):  # file systems without locks: there nothing is swept either
            fcntl.flock(file, fcntl.LOCK_EX)
        if os.fstat(file.fileno()).st_nlink:
            return file, temporary
        file.close()  # swept between its making and its locking


def _has_writer(temporary: Path) -> bool:
    if fcntl is None:
        return False  # to delete it will tell
    with temporary.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return True
    return False


def _flush_folder(folder: Path) -> None:
    """A new name is safe only when the folder is on the disk too."""
    if fcntl is None:
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:  # some network file systems cannot
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)


@contextmanager
def _explained(path: Path, size: int) -> Generator[None]:
    try:
        yield
    except OSError as error:
        if isinstance(error, StorageError):
            raise
        raise _storage_error(error, path, size) from error


def _storage_error(error: OSError, path: Path, size: int) -> StorageError:
    reason = (error.strerror or str(error)).lower()
    if error.errno in _FULL:
        return StorageError(
            f"there is no room to write {path}: it needs {_megabytes(size)}{_free(path)} ({reason}). "
            "What was there is as it was",
            try_=f"freeing {_megabytes(size)}, or a folder on another disk",
        )
    if isinstance(error, IsADirectoryError):
        return StorageError(f"{path} cannot be written: a folder has that name", try_="another name")
    in_the_way = next((place for place in path.parents if place.exists() and not place.is_dir()), None)
    if in_the_way is not None:
        return StorageError(
            f"{path} cannot be written: {in_the_way} is a file; expected a folder",
            try_="moving that file away, or another folder",
        )
    return StorageError(
        f"{path} cannot be written: {reason}; expected a folder that this user may write",
        try_="path=, a folder of your own",
    )


def _free(path: Path) -> str:
    place: Any = next((place for place in path.absolute().parents if place.is_dir()), None)
    return "" if place is None else f", and {_megabytes(shutil.disk_usage(place).free)} are free in {place}"


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB" if size >= 1e5 else f"{size} bytes"
