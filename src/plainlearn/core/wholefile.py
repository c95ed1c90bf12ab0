"""Files that are written whole or not at all, whatever is killed or full meanwhile, and never over a file of the user's.

write to a temporary file in the same folder, flush it to the disk,
give it the name, flush the folder

What may be replaced is a file that carries our mark: see `Mark`.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from plainlearn.core.errors import ArgumentError, StorageError

try:
    import fcntl
except ImportError:  # Windows, where an open file cannot be deleted: the same for our purpose
    fcntl = None

__all__ = ["Mark", "check_replaceable", "is_part", "sweep", "whole_file", "write_whole"]

_PREFIX: Final = ".plainlearn-"
_SUFFIX: Final = ".part"

_FULL: Final = {errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)}


@dataclass(frozen=True)
class Mark:
    """How a file of a kind that plainlearn writes is known from any other: `text` stands in its first `within` bytes."""

    text: bytes
    within: int = 512

    def is_on(self, path: Path) -> bool:
        """Whether the file there carries it. An empty one counts too: there is nothing to lose."""
        with path.open("rb") as file:
            head = file.read(self.within)
        return not head or self.text in head


def check_replaceable(
    path: str | os.PathLike[str],
    mark: Mark | None,
    *,
    force: bool | None = False,
    other: str = "another name",
) -> None:
    """Return if a file may be written at `path`: nothing is there, or a file that carries `mark`, or `force` says so.

    Without a `mark` nothing that is there may be replaced. `force` is None where the user has no such choice, and
    `other` is what there is instead. Whoever works long before it writes asks this first.
    Raises `StorageError`, naming the file, for any other file: plainlearn did not make it.
    """
    given = _checked_name(path)
    target = Path(os.path.realpath(given))
    with _explained(given, 0):
        if target.is_dir():
            raise IsADirectoryError(errno.EISDIR, "it is a folder")
        if not target.exists() or (target.is_file() and (force or (mark is not None and mark.is_on(target)))):
            return
    ways = other if force is None else f"{other}, or --force (in Python force=True) to replace it"
    kind = "plainlearn did not make it" if target.is_file() else "it is no ordinary file"
    raise StorageError(f"{given} is there already, and {kind}; it is as it was", try_=ways)


@contextmanager
def whole_file(
    path: str | os.PathLike[str], size: int, *, mark: Mark | None, force: bool | None = False
) -> Generator[BinaryIO]:
    """A file to write `size` bytes to; at the end of the `with` it takes the place of `path`, at once.

    Whoever reads `path` meanwhile, or after a crash, finds the old file or the new one, never a part.
    If the block raises, the old file stays and nothing is left. A link is followed, not replaced.
    Folders that are missing are made; what killed writers have left in the folder is removed.
    Raises `StorageError` naming the path: for a file in its place that `check_replaceable` does not let go, when the
    place cannot be written, and on a full disk, with the room that is needed and the room there is.
    """
    given = _checked_name(path)
    check_replaceable(given, mark, force=force)
    target = Path(os.path.realpath(given))
    with _explained(given, size):
        target.parent.mkdir(parents=True, exist_ok=True)
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


def write_whole(
    path: str | os.PathLike[str], content: bytes, *, mark: Mark | None, force: bool | None = False
) -> None:
    """Write `content` as `whole_file` does."""
    with whole_file(path, len(content), mark=mark, force=force) as file:
        file.write(content)


def _checked_name(path: str | os.PathLike[str]) -> Path:
    given = Path(path)
    if "\0" in str(given):
        raise ArgumentError(f"{str(given)!r} cannot be a file's name: it has a zero byte")
    return given


def sweep(folder: Path) -> None:
    """Remove what killed writers have left in `folder`. A temporary file that is being written stays."""
    with os.scandir(folder) as entries:
        left = [entry.name for entry in entries if is_part(entry.name)]
    for name in left:
        # Gone already, or another user's: then it is not ours to remove.
        with contextlib.suppress(OSError):
            if not _has_writer(folder / name):
                (folder / name).unlink()


def is_part(name: str) -> bool:
    """Whether a file of this name is a temporary one of ours."""
    return name.startswith(_PREFIX) and name.endswith(_SUFFIX)


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
    place = next((place for place in path.absolute().parents if place.is_dir()), None)
    return "" if place is None else f", and {_megabytes(shutil.disk_usage(place).free)} are free in {place}"


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB" if size >= 1e5 else f"{size} bytes"
