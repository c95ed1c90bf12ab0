"""What is in an archive, member by member, read once from front to back. It writes nothing to the disk.

Tar, plain or packed with gzip, bzip2 or xz, and zip. The kind is read from the first bytes, not from the name.
An archive is taken for hostile: what its headers claim is checked, and what it expands to is counted.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Final, Literal, cast

from plainlearn.core.errors import DownloadError
from plainlearn.core.paths import Path
from plainlearn.datasets.byte_progress import in_bytes
from plainlearn.datasets.limits import Limits

__all__ = ["Member", "read_members"]

_CHUNK: Final = 1 << 20
_BLOCK: Final = 512
# Names, links and other notes before one member of a tar. Real ones have hundreds of bytes; tarfile reads them whole.
_HEADERS: Final = 4 << 20
# Small archives may well be very repetitive: a ratio only counts once there is something to fear.
_RATIO_FROM: Final = 64 << 20
_TARGET: Final = 4096


@dataclass(frozen=True)
class Member:
    """One entry of an archive, as the archive tells it: `name` and `target` may be anything.

    `chunks` gives the contents of a file, once, and before the next member is asked for.
    """

    name: str
    kind: Literal["file", "folder", "symlink", "hardlink", "special"]
    target: str
    chunks: Callable[[], Iterator[bytes]]


def read_members(archive: Path, file: IO[bytes], limits: Limits) -> Iterator[Member]:
    """Read an archive from the open `file`, whose path `archive` is for messages.

    Raises `DownloadError` if it is no archive, damaged, cut off, encrypted, or beyond the limits.
    """
    meter = _Meter(archive, limits, packed=os.fstat(file.fileno()).st_size)
    start = file.read(_BLOCK)
    file.seek(0)
    if start.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return _zip_members(archive, file, meter)
    return _tar_members(archive, _Tape(_unpacked(archive, file, start), meter))


def _unpacked(archive: Path, file: IO[bytes], start: bytes) -> IO[bytes]:
    if start.startswith(b"\x1f\x8b"):
        return cast(IO[bytes], gzip.GzipFile(fileobj=file))
    if start.startswith(b"BZh"):
        return cast(IO[bytes], bz2.BZ2File(file))
    if start.startswith(b"\xfd7zXZ\x00"):
        return cast(IO[bytes], lzma.LZMAFile(file))
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
    return file


class _Meter:
    """Counts what comes out of an archive, and stops it at the limits."""

    def __init__(self, archive: Path, limits: Limits, *, packed: int) -> None:
        self.archive, self.limits = archive, limits
        by_ratio = max(_RATIO_FROM, int(packed * limits.max_ratio))
        self.most = min(limits.max_bytes, by_ratio)
        self.bytes = self.members = 0

    def add(self, count: int) -> None:
        self.bytes += count
        if self.bytes <= self.most:
            return
        limits = self.limits
        if self.most == limits.max_bytes:
            much, option = f"more than {in_bytes(limits.max_bytes)}", f"max_bytes={limits.max_bytes * 4}"
        else:
            much, option = (
                f"more than {limits.max_ratio:g} times its size",
                f"max_ratio={limits.max_ratio * 10:g}",
            )
        raise self._too_large(f"expands to {much}", option)

    def add_member(self) -> None:
        self.members += 1
        if self.members > self.limits.max_members:
            most = self.limits.max_members
            raise self._too_large(f"holds more than {most} members", f"max_members={most * 10}")

    def _too_large(self, what: str, option: str) -> DownloadError:
        return DownloadError(
            f"{self.archive} {what}; nothing was kept of it",
            try_=f"limits=Limits({option}), if you trust its source",
        )


class _Tape:
    """The bytes of a tar, unpacked, that run forwards only: what `tarfile` needs of a file, and no more."""

    def __init__(self, source: IO[bytes], meter: _Meter) -> None:
        self._source, self._meter = source, meter
        self._position = 0
        self.headers_left = _HEADERS
        self.last_block = b""

    def tell(self) -> int:
        return self._position

    def read(self, size: int) -> bytes:
        """For `tarfile`, which reads headers with it. A header may claim any length, a negative one as well."""
        if not 0 <= size <= self.headers_left:
            raise ValueError(f"a header claims a length of {size} bytes")
        self.headers_left -= size
        data = self.take(size)
        if size == _BLOCK:
            self.last_block = data
        return data

    def seek(self, position: int) -> None:
        """For `tarfile`, which skips padding with it."""
        if position < self._position:
            raise ValueError("a header points backwards")
        self.read(position - self._position)

    def take(self, size: int) -> bytes:
        """Exactly `size` bytes, or fewer if the tape ends."""
        data = self._source.read(size)
        self._position += len(data)
        self._meter.add(len(data))
        return data

    def next_member(self, tar: tarfile.TarFile) -> tarfile.TarInfo | None:
        self.headers_left = _HEADERS
        info = tar.next()
        # tarfile keeps all that it has met; of millions we need one.
        tar.members.clear()  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
        if info is not None:
            self._meter.add_member()
        return info


def _tar_members(archive: Path, tape: _Tape) -> Iterator[Member]:
    with _reading(archive):
        tar = tarfile.TarFile(fileobj=cast(IO[bytes], tape), mode="r")
    while True:
        with _reading(archive):
            info = tape.next_member(tar)
        if info is None:
            break
        yield _tar_member(archive, tape, info)
    with _reading(archive):
        # tarfile takes a broken header, or none, for the end. The true end is a block of zeros...
        if tape.last_block != bytes(_BLOCK):
            raise ValueError(f"no end mark where one is due, at byte {tape.tell()}")
        # ... and the check sum of a gzip or xz is only looked at when all of it has been read.
        while tape.take(_CHUNK):
            pass


def _tar_member(archive: Path, tape: _Tape, info: tarfile.TarInfo) -> Member:
    if info.isreg() and not info.issparse():
        kind = "file"
    elif info.isdir():
        kind = "folder"
    else:
        kind = "symlink" if info.issym() else "hardlink" if info.islnk() else "special"

    def chunks() -> Iterator[bytes]:
        # A regular member's contents begin where its headers ended, and tarfile has read no further.
        left = info.size
        while left > 0:
            with _reading(archive):
                data = tape.take(min(left, _CHUNK))
                if not data:
                    raise EOFError(f"cut off within {info.name!r}")
            left -= len(data)
            yield data

    with _reading(archive):
        if info.size < 0 or (kind == "file" and tape.tell() != info.offset_data):
            raise ValueError(f"the header of {info.name!r} is wrong about its size or place")
    return Member(info.name, kind, info.linkname, chunks)


def _zip_members(archive: Path, file: IO[bytes], meter: _Meter) -> Iterator[Member]:
    with _reading(archive):
        opened = zipfile.ZipFile(file)
    with opened:
        for info in opened.infolist():
            meter.add_member()
            yield _zip_member(archive, opened, info, meter)


def _zip_member(archive: Path, opened: zipfile.ZipFile, info: zipfile.ZipInfo, meter: _Meter) -> Member:
    if info.flag_bits & 1:
        raise DownloadError(
            f"{archive} is encrypted ({info.filename!r}); expected an archive without a password"
        )
    # Zips made on Unix hold its kinds of file here; others hold 0.
    unix_kind = stat.S_IFMT(info.external_attr >> 16)

    def chunks() -> Iterator[bytes]:
        with _reading(archive):
            member = opened.open(info)
        with member:
            while True:
                with _reading(archive):
                    data = member.read(_CHUNK)
                    meter.add(len(data))
                if not data:
                    return
                yield data

    if info.is_dir():
        return Member(info.filename, "folder", "", chunks)
    if unix_kind == stat.S_IFLNK:
        with _reading(archive):
            if info.file_size > _TARGET:
                raise ValueError(f"the link {info.filename!r} has a target of {info.file_size} bytes")
            target = b"".join(chunks()).decode("utf-8")
        return Member(info.filename, "symlink", target, chunks)
    return Member(info.filename, "file" if unix_kind in (0, stat.S_IFREG) else "special", "", chunks)


@contextmanager
def _reading(archive: Path) -> Generator[None]:
    """Turn whatever a damaged archive makes Python's readers raise into one error that names the archive."""
    try:
        yield
    except DownloadError:
        raise
    except (
        tarfile.TarError,
        zipfile.BadZipFile,
        zlib.error,
        lzma.LZMAError,
        struct.error,
        EOFError,
        ValueError,  # and UnicodeError: names and numbers that cannot be
        OverflowError,
        RecursionError,  # headers before headers before headers
        NotImplementedError,  # zip: a way of packing that Python lacks
        OSError,  # gzip, bzip2: not what it says it is; or the disk does not give the bytes
    ) as error:
        raise DownloadError(
            f"{archive} is damaged or cut off: {error or type(error).__name__}",
            try_="fetching it again",
        ) from error
