"""Finding the items: which files a folder holds, always in the same order."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, cast

from plainlearn.core.describe import describe
from plainlearn.core.errors import ArgumentTypeError, DataError, MissingFileError
from plainlearn.core.lists import L
from plainlearn.core.paths import Path, no_folder, shown
from plainlearn.datasets.remote import is_url, list_files

__all__ = ["FoundFiles", "find_files", "get_files", "get_image_files", "image_extensions"]

_JPEGS_AND_PNGS: Final = (".jpg", ".jpeg", ".jpe", ".jfif", ".jif", ".png", ".apng")
_OTHERS: Final = (".gif", ".webp", ".bmp", ".dib", ".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm", ".pfm")
_RARE: Final = (".jp2", ".j2k", ".jpx", ".jpf", ".avif", ".heic", ".heif", ".hif", ".tga", ".ico")
image_extensions: Final = frozenset((*_JPEGS_AND_PNGS, *_OTHERS, *_RARE))
"""What `get_image_files` takes for an image. Fixed here: the system's own list differs by machine."""

# Made by file managers, archivers and network disks, beside or inside the user's own folders. The last
# but two hold thumbnails with the very names of the photos.
_SYSTEM_FOLDERS: Final = frozenset({"__macosx", "@eadir", "#recycle", "$recycle.bin", "lost+found"})
_SYSTEM_FILES: Final = frozenset({"thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r"})


@dataclass(frozen=True, slots=True)
class FoundFiles:
    """The files of a folder, and those left out though their name fits, each with the reason."""

    files: L[Path]
    left_out: L[tuple[Path, str]]


def get_image_files(
    path: str | os.PathLike[str], recurse: bool = True, folders: str | Iterable[str] | None = None
) -> L[Path]:
    """The images in `path` and below, told by their extension (`image_extensions`); see `get_files`.

    `path` may be an address, such as "s3://bucket/pets" or "zip://::pets.zip", that fsspec can list: the
    items are then `RemotePath`s.
    """
    return get_files(path, image_extensions, recurse=recurse, folders=folders)


def get_files(
    path: str | os.PathLike[str],
    extensions: str | Iterable[str] | None = None,
    recurse: bool = True,
    folders: str | Iterable[str] | None = None,
    followlinks: bool = True,
) -> L[Path]:
    """The files in `path` and below, in one order on every machine: by folder, then by name.

    `extensions` keeps those with one of these endings, in upper or lower case. `recurse=False` stays in
    `path` itself. `folders` names the folders of `path` to go into; its own files then count only if "."
    is among them.

    Hidden files and folders and those of the system (`Thumbs.db`, `__MACOSX`) are passed over, and so is
    what cannot be read like a file: pipes, devices, links to nothing; `find_files` tells which. A link to
    a folder is entered unless `followlinks=False`, but each folder once: under its own name if it lies in
    `path`, else under the first link's; so loops end, and no file is found twice through them.

    Raises `MissingFileError` if `path` or one of `folders` does not exist, `DataError` if a folder cannot
    be read: a class that goes missing in silence would be worse.
    """
    if is_url(path):
        endings, named = _endings(extensions), _names(folders)
        remote = list_files(
            str(path), lambda name: _fits(name, endings), recurse=recurse, folders=named, enters=_is_entered
        )
        # Not Paths, as there is no such file here; labellers, blocks and messages treat them alike.
        return cast("L[Path]", remote)
    return find_files(path, extensions, recurse=recurse, folders=folders, followlinks=followlinks).files


def find_files(
    path: str | os.PathLike[str],
    extensions: str | Iterable[str] | None = None,
    *,
    recurse: bool = True,
    folders: str | Iterable[str] | None = None,
    followlinks: bool = True,
) -> FoundFiles:
    """What `get_files` gives, and what it left out and why."""
    if not isinstance(path, (str, os.PathLike)) or not isinstance(os.fspath(path), str):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ArgumentTypeError(
            f"path is {describe(path)}; expected text",
            try_="os.fsdecode(path)" if isinstance(path, bytes) else "",
        )
    root = os.fspath(path)
    if not os.path.isdir(root):  # noqa: PTH112 - a Path would cost more than the question
        start = Path(root).parts[:1]
        if start and len(start[0]) > 2 and start[0].endswith(":"):
            # What a Path makes of "s3://bucket": one slash is gone, and with it the address.
            raise MissingFileError(f"there is no folder {root}", try_="the address as text, not as a Path")
        raise no_folder(Path(root))
    walk = _Walk(_endings(extensions))
    wanted = _names(folders)
    enter = walk.read(root, keep_files=wanted is None or "." in wanted)
    if wanted is not None:
        enter = _chosen(enter, wanted, root)
    links: list[os.DirEntry[str]] = []
    while recurse:
        while enter:
            folder = enter.pop()
            if folder.is_symlink():
                links.append(folder)
            elif walk.is_new(folder):
                enter += walk.read(folder.path)
        if not links:
            break
        # Links are entered last, first name first, so that a folder goes by its own name where it has one.
        links.sort(key=lambda entry: entry.path, reverse=True)
        link = links.pop()
        if not followlinks:
            walk.left_out.append((link.path, "a link to a folder, and followlinks=False"))
        elif walk.is_new(link):
            enter = walk.read(link.path)
        else:
            walk.left_out.append((link.path, "a link to a folder that is listed already"))
    walk.files.sort()
    walk.left_out.sort()
    return FoundFiles(
        L[Path](Path(os.path.join(folder, name)) for folder, name in walk.files),  # noqa: PTH118
        L[tuple[Path, str]]((Path(name), why) for name, why in walk.left_out),
    )


@dataclass(slots=True)
class _Walk:
    """The walk's state: what was found so far, and which folders were seen."""

    endings: tuple[str, ...]
    files: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    left_out: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    seen: set[tuple[int, int]] = field(default_factory=set[tuple[int, int]])

    def is_new(self, folder: os.DirEntry[str]) -> bool:
        status = folder.stat()
        known = (status.st_dev, status.st_ino)
        if known in self.seen:
            return False
        self.seen.add(known)
        return True

    def read(self, folder: str, *, keep_files: bool = True) -> list[os.DirEntry[str]]:
        """Note the files of one folder, and return the folders in it."""
        if not self.seen:
            status = os.stat(folder)  # noqa: PTH116
            self.seen.add((status.st_dev, status.st_ino))
        try:
            with os.scandir(folder) as listing:
                entries = list(listing)
        except OSError as error:
            raise DataError(
                f"the folder {shown(folder)} cannot be listed: {error.strerror}; its files would be missing",
                try_=f"chmod u+rx {shown(folder)}",
            ) from error
        inner: list[os.DirEntry[str]] = []
        for entry in entries:
            name = entry.name
            if name[0] == ".":
                continue
            try:
                is_file, is_dir = entry.is_file(), entry.is_dir()
            except OSError:  # a link to itself, or into a folder that may not be entered
                is_file = is_dir = False
            if is_dir:
                if _is_entered(name):
                    inner.append(entry)
            elif keep_files and _fits(name, self.endings):
                if is_file:
                    self.files.append((folder, name))
                else:
                    self.left_out.append((entry.path, _why_not(entry)))
        return inner


def _fits(name: str, endings: tuple[str, ...]) -> bool:
    low = name.lower()
    return (not endings or low.endswith(endings)) and low not in _SYSTEM_FILES and name[:1] != "."


def _is_entered(folder: str) -> bool:
    return folder[:1] != "." and folder.lower() not in _SYSTEM_FOLDERS


def _why_not(entry: os.DirEntry[str]) -> str:
    try:
        mode = entry.stat().st_mode
    except OSError as error:  # the common one is a link whose target is gone
        return f"a link that leads nowhere: {error.strerror}" if entry.is_symlink() else str(error.strerror)
    kinds = {stat.S_IFIFO: "a named pipe", stat.S_IFSOCK: "a socket", stat.S_IFCHR: "a device"}
    return f"{kinds.get(stat.S_IFMT(mode), 'a device')}, not a file"


def _endings(extensions: str | Iterable[str] | None) -> tuple[str, ...]:
    exts = _names(extensions) or ()
    return tuple("." + ext.lower().removeprefix(".") for ext in exts)


def _names(value: str | Iterable[str] | None) -> tuple[str, ...] | None:
    """One name or several, as a tuple; none given, or an empty collection, means no restriction."""
    if value is None:
        return None
    return ((value,) if isinstance(value, str) else tuple(value)) or None


def _chosen(entries: list[os.DirEntry[str]], wanted: tuple[str, ...], root: str) -> list[os.DirEntry[str]]:
    chosen = [entry for entry in entries if entry.name in wanted]
    missing = sorted({*wanted} - {entry.name for entry in chosen} - {"."})
    if missing:
        there = ", ".join(sorted(entry.name for entry in entries)) or "none"
        raise MissingFileError(
            f"{shown(root)} has no folder {', '.join(missing)}, which folders= names; its folders: {there}"
        )
    return chosen
