"""Unpack an archive that may be hostile: all of it, in its place at once, or nothing.

It is written to a hidden folder beside its destination, which is renamed when everything is there and checked.
A killed process leaves the hidden folder behind; the next call removes it, since the owner's lock is free.
Modes, owners and times are not taken over: files become plain files of the user who unpacks.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from typing import TYPE_CHECKING, Final

from plainlearn.core.errors import ArgumentError, DataError, MissingFileError
from plainlearn.core.paths import Path
from plainlearn.datasets.byte_progress import byte_progress
from plainlearn.datasets.limits import Limits
from plainlearn.datasets.storage import locked, make_folder, try_lock, writing
from plainlearn.datasets.urls import archive_stem

if TYPE_CHECKING:
    from plainlearn.datasets.safe_tree import SafeTree

__all__ = ["extract", "unpack"]

_PARTIAL: Final = re.compile(r"\.(?P<stem>.+)\.[a-z0-9_]{8}\.partial", re.DOTALL)


def extract(
    archive: str | os.PathLike[str],
    dest: str | os.PathLike[str],
    *,
    name: str | None = None,
    overwrite: bool = False,
    limits: Limits | None = None,
    show_progress: bool | None = None,
) -> Path:
    """Unpack a .tgz, .tar, .tar.xz, .tar.bz2 or .zip into a new folder of `dest`, and return that folder.

    If all of the archive is in one top folder, the result is that folder, called as in the archive; otherwise
    it is called as the archive's file is. `name` calls it something else. A folder that is there already, and
    not empty, is left alone (`DataError`), unless `overwrite`: then it is replaced once the new one is complete.

    Raises `MissingFileError` if there is no such archive, and `DownloadError` if it is damaged, beyond the
    `limits`, or holds what no data set needs: paths or links that lead out, devices, two members of one name;
    also if the disk is full or read-only.
    """
    archive, dest = Path(archive), Path(dest)
    if not archive.is_file():
        raise MissingFileError(f"there is no archive {archive}")
    if name is not None and (name != Path(name).name or name in ("", "..")):
        raise ArgumentError(f"name is {name!r}; expected the name of one folder", try_='name="pets"')
    limits = limits or Limits()
    make_folder(dest)
    with locked(dest, name or archive_stem(archive.name)):
        return unpack(
            archive, dest, name=name, overwrite=overwrite, limits=limits, show_progress=show_progress
        )


def unpack(
    archive: Path,
    dest: Path,
    *,
    name: str | None,
    overwrite: bool,
    limits: Limits,
    show_progress: bool | None,
) -> Path:
    """`extract`, for a caller that holds the lock: that of `name`, or else of the archive's stem, in `dest`."""
    stem = name or archive_stem(archive.name)
    with writing(dest):
        _sweep(dest, holding=stem)
        work = Path(tempfile.mkdtemp(prefix=f".{stem}.", suffix=".partial", dir=dest))
    try:
        from plainlearn.datasets.safe_tree import SafeTree

        tree = SafeTree(archive, work / "tree")
        _write_members(tree, limits, show_progress)
        result, top = tree.finish()
        target = dest / (name or top or stem)
        _put_in_place(result, target, work, overwrite=overwrite)
        return target
    finally:
        # What cannot be removed now, the next call removes; an error on its way out must not be hidden by another.
        shutil.rmtree(work, ignore_errors=True)


def _sweep(dest: Path, *, holding: str) -> None:
    """Remove what killed processes left in `dest`. `holding` is the name whose lock the caller has."""
    for child in dest.iterdir():
        left = _PARTIAL.fullmatch(child.name)
        if left and left["stem"] == holding:
            shutil.rmtree(child, ignore_errors=True)
        elif left:
            with try_lock(dest, left["stem"]) as nobody_works_there:
                if nobody_works_there:
                    shutil.rmtree(child, ignore_errors=True)


def _write_members(tree: SafeTree, limits: Limits, show_progress: bool | None) -> None:
    from plainlearn.datasets.members import read_members

    with tree.archive.open("rb") as file:
        packed = os.fstat(file.fileno()).st_size
        with byte_progress(f"unpacking {tree.archive.name}", total=packed, show=show_progress) as advance:
            at = 0
            for member in read_members(tree.archive, file, limits):
                tree.add(member)
                advance(file.tell() - at)
                at = file.tell()


def _put_in_place(result: Path, target: Path, work: Path, *, overwrite: bool) -> None:
    with writing(target):
        replaced = None
        if target.is_dir() and not target.is_symlink() and not any(target.iterdir()):
            target.rmdir()
        elif os.path.lexists(target):
            if not overwrite:
                raise DataError(
                    f"{target} is there already, and is not empty; expected a free place for the new folder",
                    try_="overwrite=True to replace it, or name= for another name",
                )
            replaced = target.rename(work / "replaced")
        try:
            result.rename(target)
        except OSError:
            if replaced:
                replaced.rename(target)
            raise
