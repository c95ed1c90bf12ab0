"""Unpack an archive that may be hostile: all of it, in its place at once, or nothing.

`tarfile` and `zipfile` read it, once, from front to back; both kinds give `TarInfo`. What its headers claim is
checked, and what it expands to is counted. It is written to a hidden folder beside its destination, which is renamed
when everything is there and checked. A killed process leaves the hidden folder behind; the next call removes it, since
the owner's lock is free. Modes, owners and times are not taken over: files become plain files of the user who unpacks.

tarfile's own data filter is what the tests hold this against, and does not run here: Python before 3.11.4 (Debian 12)
has none, it lets 14 of the tests' 42 hostile archives through, and it takes as long as the unpacking.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import math
import os
import re
import secrets
import shutil
import stat
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import PureWindowsPath
from typing import IO, Any, Final, TypeAlias, cast

from plainlearn.core.errors import ArgumentError, DataError, DownloadError, MissingFileError
from plainlearn.core.paths import Path
from plainlearn.datasets.byte_progress import byte_progress, in_bytes
from plainlearn.datasets.storage import locked, make_folder, try_lock, writing
from plainlearn.datasets.urls import archive_stem

__all__ = ["Limits", "extract", "refusable"]

_PARTIAL: Final = re.compile(r"\.(?P<stem>.+)\.[a-z0-9_]{8}\.partial", re.DOTALL)
_CHUNK: Final = 1 << 20
_BLOCK: Final = 512
# Names, links and other notes before one member of a tar. Real ones have hundreds of bytes; tarfile reads them whole.
_HEADERS: Final = 4 << 20
# Small archives may well be very repetitive: a ratio only counts once there is something to fear.
_RATIO_FROM: Final = 64 << 20
_LONGEST_TARGET: Final = 4096
_UNPACKERS: Final[dict[bytes, Callable[[Any], Any]]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ\x00": lzma.open,
}
_ON_WINDOWS: Final = os.name == "nt"
# There, these are devices, streams, or other names than they seem.
_WINDOWS_TRAPS: Final = re.compile(
    r'.*[<>:"|?*\x00-\x1f].*|.*[. ]|(con|prn|aux|nul|com\d|lpt\d)(\..*)?', re.IGNORECASE | re.DOTALL
)

Member: TypeAlias = tuple[tarfile.TarInfo, IO[bytes] | None]
"""What an archive tells of a member, which may be anything, and a file's contents, to be read before the next."""


@dataclass(frozen=True)
class Limits:
    """How much an archive may hold before it is refused.

    `max_bytes` is for all its contents together, `max_members` for its files, folders and links, `max_ratio`
    for how many times as large as the archive its contents may be, which counts from 64 MiB on.

    >>> Limits(max_members=10)
    Limits(max_bytes=68719476736, max_members=10, max_ratio=200.0)
    """

    max_bytes: int = 64 << 30
    max_members: int = 2_000_000
    max_ratio: float = 200.0

    def __post_init__(self) -> None:
        for name, limit in vars(self).items():
            if not limit > 0:
                raise ArgumentError(f"{name} is {limit}; expected more than 0")


def extract(
    archive: str | os.PathLike[str],
    dest: str | os.PathLike[str],
    *,
    name: str | None = None,
    overwrite: bool = False,
    keep: Iterable[str] = (),
    limits: Limits | None = None,
    show_progress: bool | None = None,
) -> Path:
    """Unpack a .tgz, .tar, .tar.xz, .tar.bz2 or .zip into a new folder of `dest`, and return that folder.

    If all of the archive is in one top folder, the result is that folder, called as in the archive; otherwise
    it is called as the archive's file is. `name` calls it something else. A folder that is there already, and
    not empty, is left alone (`DataError`), unless `overwrite`: then it is replaced once the new one is complete.
    `keep` names files of the replaced folder that go on being in the new one, where the archive has none of that name.

    Raises `MissingFileError` if there is no such archive, and `DownloadError` if it is damaged, beyond the
    `limits`, or holds what no data set needs: paths or links that lead out, devices, two members of one name;
    also if the disk is full or read-only.
    """
    archive, dest = Path(archive), Path(dest)
    if not archive.is_file():
        raise MissingFileError(f"there is no archive {archive}")
    if name is not None and (name != Path(name).name or name in ("", "..")):
        raise ArgumentError(f"name is {name!r}; expected the name of one folder", try_='name="pets"')
    stem = name or archive_stem(archive.name)
    make_folder(dest)
    with locked(dest, stem):
        with writing(dest):
            _sweep(dest, holding=stem)
            # What it cannot remove, the next call removes; an error on its way out must not be hidden by another.
            hidden = tempfile.TemporaryDirectory(
                prefix=f".{stem}.", suffix=".partial", dir=dest, ignore_cleanup_errors=True
            )
        with hidden:
            work = Path(hidden.name)
            tree = _unpacked(archive, work / "tree", limits or Limits(), show_progress)
            result, top = tree.finish()
            target = dest / (name or top or stem)
            with writing(target):
                _carry_over(keep, target, result)
            _put_in_place(result, target, work, overwrite=overwrite)
    return target


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


def _unpacked(archive: Path, folder: Path, limits: Limits, show_progress: bool | None) -> _NewTree:
    tree = _NewTree(archive, folder)
    with archive.open("rb") as file, _named_if_damaged(archive):
        packed = os.fstat(file.fileno()).st_size
        meter = _Meter(archive, limits, packed)
        with byte_progress(f"unpacking {archive.name}", total=packed, show=show_progress) as advance:
            at = 0
            for info, contents in _members(archive, file, meter):
                meter.count(members=1)
                tree.add(info, contents)
                advance(file.tell() - at)
                at = file.tell()
    return tree


def _carry_over(names: Iterable[str], old: Path, new: Path) -> None:
    """The files `names` of the folder `old` in `new` too, if nothing of that name is there. Both folders are on one disk."""
    for name in names:
        if os.path.lexists(new / name):
            continue
        (new / name).parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(old / name, new / name, follow_symlinks=False)
        except OSError:  # a file system without hard links
            shutil.copy2(old / name, new / name, follow_symlinks=False)


def _put_in_place(result: Path, target: Path, work: Path, *, overwrite: bool) -> None:
    with writing(target):
        is_there = os.path.lexists(target)
        is_free = not is_there or (target.is_dir() and not target.is_symlink() and not any(target.iterdir()))
        if not (is_free or overwrite):
            raise DataError(
                f"{target} is there already, and is not empty; expected a free place for the new folder",
                try_="overwrite=True to replace it, or name= for another name",
            )
        if is_there:
            target.rename(work / "replaced")
        try:
            result.rename(target)
        except OSError:
            if is_there:
                (work / "replaced").rename(target)
            raise


# ---------------------------------------------------------------- what is in an archive


def _members(archive: Path, file: IO[bytes], meter: _Meter) -> Iterator[Member]:
    """Read an archive from the open `file`, member by member. The kind is read from the first bytes, not from the name."""
    start = file.read(_BLOCK)
    file.seek(0)
    if start.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return _zip_members(archive, file, meter)
    for magic, unpacker in _UNPACKERS.items():
        if start.startswith(magic):
            return _tar_members(_Tape(unpacker(file), meter))
    try:
        tarfile.TarInfo.frombuf(start, tarfile.ENCODING, "surrogateescape")
    except (tarfile.TarError, ValueError) as error:
        found = f"it begins with {start[:24]!r}" if start else "it is empty"
        raise DownloadError(
            f"{archive} is not an archive: {found}; expected a .tgz, .tar, .tar.xz, .tar.bz2 or .zip file",
            try_="looking at it: a page of HTML came from a wrong address, or from a network that wants a log-in"
            if start.lstrip().startswith(b"<")
            else "",
        ) from error
    return _tar_members(_Tape(file, meter))


def _tar_members(tape: _Tape) -> Iterator[Member]:
    tar = tarfile.TarFile(fileobj=cast(IO[bytes], tape), mode="r")
    while True:
        tape.headers_left = _HEADERS
        info = tar.next()
        tape.headers_left = math.inf
        # tarfile keeps all that it has met; of millions we need one.
        tar.members.clear()  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
        if info is None:
            break
        if info.size < 0:
            raise ValueError(f"the header of {info.name!r} is wrong about its size")
        yield info, tar.extractfile(info) if info.isreg() else None
    # tarfile takes a broken header, or none, for the end. The true end is a block of zeros...
    if tape.last_block != bytes(_BLOCK):
        raise ValueError(f"no end mark where one is due, at byte {tape.tell()}")
    # ... and the check sum of a gzip or xz is only looked at when all of it has been read.
    while tape.read(_CHUNK):
        pass


def _zip_members(archive: Path, file: IO[bytes], meter: _Meter) -> Iterator[Member]:
    with zipfile.ZipFile(file) as opened:
        for entry in opened.infolist():
            if entry.flag_bits & 1:
                raise DownloadError(
                    f"{archive} is encrypted ({entry.filename!r}); expected an archive without a password"
                )
            info = tarfile.TarInfo(entry.filename)
            # Zips made on Unix hold its kinds of file here; others hold 0.
            unix_kind = stat.S_IFMT(entry.external_attr >> 16)
            with opened.open(entry) as source:
                contents = cast(IO[bytes], _Tape(source, meter, headers_left=math.inf))
                if entry.is_dir():
                    info.type = tarfile.DIRTYPE
                elif unix_kind == stat.S_IFLNK:
                    if entry.file_size > _LONGEST_TARGET:
                        raise ValueError(f"the link {info.name!r} has a target of {entry.file_size} bytes")
                    info.type, info.linkname = tarfile.SYMTYPE, contents.read(_CHUNK).decode("utf-8")
                elif unix_kind not in (0, stat.S_IFREG):
                    info.type = tarfile.CHRTYPE
                yield info, contents


class _Tape:
    """The bytes that come out of an archive, counted, which run forwards only: what `tarfile` needs of a file, and no more."""

    def __init__(self, source: IO[bytes], meter: _Meter, headers_left: float = _HEADERS) -> None:
        self._source, self._meter, self.headers_left = source, meter, headers_left
        self._position = 0
        self.last_block = b""

    def tell(self) -> int:
        return self._position

    def read(self, size: int) -> bytes:
        """A header may claim any length, a negative one as well: `headers_left` is how much is read of headers."""
        if not 0 <= size <= self.headers_left:
            raise ValueError(f"a header claims a length of {size} bytes")
        self.headers_left -= size
        try:
            data = self._source.read(size)
        except OSError as error:  # of gzip or the disk that is read, never of the one that is written
            raise tarfile.ReadError(str(error)) from error
        self._position += len(data)
        self._meter.count(size=len(data))
        if size == _BLOCK:
            self.last_block = data
        return data

    def seek(self, position: int) -> None:
        """For `tarfile`, which skips padding with it. What points backwards is refused, as a negative length is."""
        self.read(position - self._position)


class _Meter:
    """Counts what comes out of an archive, and stops it at the limits."""

    def __init__(self, archive: Path, limits: Limits, packed: int) -> None:
        self.archive, self.limits = archive, limits
        self.most_by_ratio = max(_RATIO_FROM, packed * limits.max_ratio)
        self.size = self.members = 0

    def count(self, *, size: int = 0, members: int = 0) -> None:
        self.size += size
        self.members += members
        limits = self.limits
        if self.members > limits.max_members:
            beyond = f"holds more than {limits.max_members} members", f"max_members={limits.max_members * 10}"
        elif self.size > limits.max_bytes:
            beyond = f"expands to more than {in_bytes(limits.max_bytes)}", f"max_bytes={limits.max_bytes * 4}"
        elif self.size > self.most_by_ratio:
            times = f"{limits.max_ratio:g} times its size"
            beyond = f"expands to more than {times}", f"max_ratio={limits.max_ratio * 10:g}"
        else:
            return
        raise DownloadError(
            f"{self.archive} {beyond[0]}; nothing was kept of it",
            try_=f"limits=Limits({beyond[1]}), if you trust its source",
        )


@contextmanager
def _named_if_damaged(archive: Path) -> Generator[None]:
    """Turn whatever a damaged archive makes Python's readers raise into one error that names the archive."""
    try:
        yield
    except DownloadError:
        raise
    except (
        Exception
    ) as error:  # of a dozen kinds, from zlib.error to RecursionError for headers before headers
        raise DownloadError(
            f"{archive} is damaged or cut off: {error or type(error).__name__}",
            try_="fetching it again",
        ) from error


# ---------------------------------------------------------------- what is refused


def refusable(name: str, *, on_windows: bool = _ON_WINDOWS) -> str:
    """What is wrong with a path that an archive gives, for "it ..."; nothing if it stays within the archive.

    >>> refusable("train/3/7.png"), refusable("../../.ssh/authorized_keys")
    ('', 'leads out of the archive')
    """
    parts = name.split("/")
    if "\0" in name:
        return "has a zero byte in its name"
    if "\\" in name:
        return "has a backslash in its name, which is not the same on every system"
    if name.startswith("/") or PureWindowsPath(name).drive:
        return "is an absolute path"
    if ".." in parts:
        return "leads out of the archive"
    if on_windows and any(_WINDOWS_TRAPS.fullmatch(part) for part in parts if part not in ("", ".")):
        return "has a name that Windows cannot give to a file"
    return ""


class _NewTree:
    """The new `folder`, to which `add` writes an archive's members, and which `finish` checks. Nobody else sees it yet.

    Symbolic links wait until everything else is written, so nothing is ever written through one; then each
    must end within the result.
    """

    def __init__(self, archive: Path, folder: Path) -> None:
        self.archive, self.folder = archive, folder
        self._links: list[tuple[tarfile.TarInfo, tuple[str, ...]]] = []
        self._folders: set[Path] = set()
        with writing(folder):
            folder.mkdir()

    def add(self, info: tarfile.TarInfo, contents: IO[bytes] | None) -> None:
        """Write one member. Raises `DownloadError` if it is refused, or the disk refuses it."""
        parts = self._parts(info, info.name)
        if info.issparse() or not (info.isreg() or info.isdir() or info.issym() or info.islnk()):
            raise self._refusal(info, "is a device, a pipe or a sparse file")
        if not parts and not info.isdir():
            raise self._refusal(info, "has no name")
        if info.issym():
            self._links.append((info, parts))
            return
        place = self.folder.joinpath(*parts)
        with self._in_new_place(info, place):
            if info.isdir():
                place.mkdir(parents=True, exist_ok=True)
                return
            if place.parent not in self._folders:
                place.parent.mkdir(parents=True, exist_ok=True)
                self._folders.add(place.parent)
            if contents is None:
                self._link_to_earlier(info, place)
                return
            # "x": nothing is ever overwritten, also where names that differ only in case are one.
            with place.open("xb") as file:
                shutil.copyfileobj(contents, file, _CHUNK)

    def finish(self) -> tuple[Path, str]:
        """Make the symbolic links, and return the result and the name that the archive gives it.

        That is the only folder at the top; if there is not just one, all that was written, without a name.
        Raises `DownloadError` if a link leads out of the result, or there is none.
        """
        inside = list(self.folder.iterdir())
        if not inside:
            raise DownloadError(f"{self.archive} is empty: it holds no file and no folder")
        name = inside[0].name if len(inside) == 1 and inside[0].is_dir() else ""
        if any(parts[0] != name for _, parts in self._links):
            name = ""
        # A name that no archive can know: a link that leaves the result cannot come back into it.
        result = self.folder.joinpath(name).rename(self.folder.with_name(secrets.token_hex(16)))
        places = [(info, result.joinpath(*parts[bool(name) :])) for info, parts in self._links]
        for info, place in places:
            with self._in_new_place(info, place):
                # Never into the folder that another link points to.
                if any(parent.is_symlink() for parent in place.parents if parent.is_relative_to(result)):
                    raise self._refusal(info, "lies behind another link")
                place.parent.mkdir(parents=True, exist_ok=True)
                place.symlink_to(info.linkname)
        root = os.path.realpath(result)
        for info, place in places:
            # Now that all links exist, since each may pass through others.
            if not Path(os.path.realpath(place)).is_relative_to(root):
                raise self._refusal(info, f"links to {info.linkname!r}, outside")
        return result, name

    def _link_to_earlier(self, info: tarfile.TarInfo, place: Path) -> None:
        source = self.folder.joinpath(*self._parts(info, info.linkname))
        if not source.is_file():
            raise self._refusal(
                info, f"links to {info.linkname!r}, which is no file in the archive before it"
            )
        place.hardlink_to(source)

    def _parts(self, info: tarfile.TarInfo, path: str) -> tuple[str, ...]:
        if wrong := refusable(path):
            raise self._refusal(info, wrong if path == info.name else f"links to {path!r}, which {wrong}")
        return tuple(part for part in path.split("/") if part not in ("", "."))

    @contextmanager
    def _in_new_place(self, info: tarfile.TarInfo, place: Path) -> Generator[None]:
        with writing(place):
            try:
                yield
            except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
                raise self._refusal(
                    info, "is there twice, or as a file and a folder (on some disks A and a are one name)"
                ) from error

    def _refusal(self, info: tarfile.TarInfo, why: str) -> DownloadError:
        return DownloadError(
            f"{self.archive} was refused, and nothing of it kept: its member {info.name!r} {why}",
            try_="another source of the archive",
        )
