"""Decoded pixels, kept so that later epochs need not decode: in memory while there is room, else on disk.

What is kept is told by a file's contents, not by its name or time: a file that changes is decoded anew, and
copies share one entry. A file that has rested since it was last read (the same place, size and times) is known to
hold what it held, and is not read again. On disk each picture is a file of its own in the cache folder, written under
another name and then renamed, so that two processes, or a killed one, can do no harm. Nothing is ever
written beside the user's data. Such a file is mapped, and stays so: its pages are the system's to take back, and
reading 370 pets anew for each use took 0.4 ms of CPU a picture.

It is no default. On the pets a cached epoch takes 2.1 ms of CPU an image in place of 3.3, where a step of ResNet-18 on
a CPU takes 100; that is not worth a quarter of somebody's memory unasked.
"""

from __future__ import annotations

import hashlib
import mmap
import os
import pathlib
import shutil
import tempfile
import threading
import time
from collections.abc import Callable
from typing import Any, Final, Literal, NamedTuple

import numpy as np

from plainlearn.core.errors import ArgumentError
from plainlearn.core.paths import Path
from plainlearn.datasets.storage import cache_home
from plainlearn.images.decode import ScaledJpeg, Shrink, as_scaled, scale_of
from plainlearn.images.files import MAX_MEMORY, EncodedImage, JpegFrame, read_file
from plainlearn.images.pixels import Pixels

__all__ = ["CachePlace", "PixelCache", "free_memory"]

#: Where decoded pixels are kept; see `PixelCache`.
CachePlace = Literal["auto", "memory", "disk", "none"]
#: From a file's bytes, and how many times smaller a JPEG is wanted, to pixels.
Decode = Callable[[EncodedImage, int], Pixels]

_SHARE = 0.25  # of what is free
_AT_REST_SECONDS = 2.0  # a change sooner after another may leave a file's times as they are
_MOST_MAPS = 20_000  # of the 65,530 that Linux gives a process; beyond them a map is made for each use
_HEAD = 3 * 8  # bytes before the pixels of a kept file: height, width, channels (0: grey)


class _KnownFile(NamedTuple):
    """A file that was read: what tells that it is the same, the digest of its bytes, and its frame if it is a JPEG."""

    identity: tuple[int, ...]
    digest: bytes
    frame: JpegFrame | None


class PixelCache:
    """Keeps what `decode` gives for a file's bytes, as long as there is room; hands out arrays to read, not to change.

    `where` is "memory", "disk", or "auto": memory up to a quarter of what is free, then disk up to a
    quarter of what is free there. `key` tells apart different ways of decoding the same file.
    """

    def __init__(
        self, where: CachePlace = "auto", key: str = "", *, memory: int | None = None, disk: int | None = None
    ) -> None:
        if where not in ("auto", "memory", "disk"):
            raise ArgumentError(
                f"cache is {where!r}; expected 'auto', 'memory', 'disk' or 'none'", try_="cache='auto'"
            )
        self.where, self.key = where, key
        self.folder = cache_home() / "pixels"
        self.memory_left = self.disk_left = 0
        if where in ("auto", "memory"):
            self.memory_left = int(free_memory() * _SHARE) if memory is None else memory
        if where in ("auto", "disk"):
            self.disk_left = _free_disk(self.folder) if disk is None else disk
        self.kept: dict[bytes, Pixels] = {}
        self.known: dict[str, _KnownFile] = {}
        self.lock = threading.Lock()
        self.hits = self.misses = 0

    def of_file(self, path: str, decode: Decode, shrink: Shrink | None = None) -> Pixels | ScaledJpeg:
        """As `of_image`, for a file, which is read if it must be. Raises what `read_file` does."""
        identity = _identity_of(path)  # before it is read: a change in between is then seen the next time
        known = self.known.get(path)
        if known is not None and known.identity == identity:
            scale = scale_of(known.frame, shrink)
            found = self._found(_entry(known.digest, scale))
            if found is not None:
                return as_scaled(found, known.frame, scale)
        image = EncodedImage(read_file(path, MAX_MEMORY), path)
        if identity is not None:
            self.known[path] = _KnownFile(identity, self._digest(image.data), image.frame)
        return self.of_image(image, decode, shrink)

    def of_image(
        self, image: EncodedImage, decode: Decode, shrink: Shrink | None = None
    ) -> Pixels | ScaledJpeg:
        """What `decode(image, scale)` gives: from the cache if it is there. `shrink` chooses the scale of a JPEG."""
        frame = None if shrink is None else image.frame
        scale = scale_of(frame, shrink)
        entry = _entry(self._digest(image.data), scale)
        pixels = self._found(entry)
        if pixels is None:
            self.misses += 1
            pixels = self._keep(entry, decode(image, scale))
        return as_scaled(pixels, frame, scale)

    def _digest(self, data: bytes) -> bytes:
        return hashlib.blake2b(data, digest_size=20, person=self.key.encode()[:16]).digest()

    def _found(self, digest: bytes) -> Pixels | None:
        found = self.kept.get(digest)
        if found is None and self.where != "memory":
            found = self._from_disk(digest)
        if found is not None:
            self.hits += 1
        return found

    def _keep(self, digest: bytes, pixels: Pixels) -> Pixels:
        shared = _to_read(pixels)
        with self.lock:
            in_memory = pixels.nbytes <= self.memory_left
            on_disk = not in_memory and pixels.nbytes <= self.disk_left
            if in_memory:
                self.memory_left -= pixels.nbytes
                self.kept[digest] = shared
            elif on_disk:
                self.disk_left -= pixels.nbytes
        if on_disk:
            self._to_disk(digest, pixels)
        return shared

    def _place(self, digest: bytes) -> Path:
        name = digest.hex()
        return self.folder / name[:2] / f"{name[2:]}.pixels"

    def _from_disk(self, digest: bytes) -> Pixels | None:
        try:
            with open(self._place(digest), "rb") as file:  # noqa: PTH123
                # A private map can be written, which torch asks for, though nobody does.
                whole = np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY), np.uint8)
        except (OSError, ValueError):
            return None  # not there, or empty
        if len(whole) < _HEAD:
            return None
        height, width, channels = whole[:_HEAD].view(np.int64).tolist()
        pixels = whole[_HEAD:]
        if min(height, width, channels) < 0 or height * width * max(channels, 1) != len(pixels):
            return None  # damaged: it is decoded again
        shared = _to_read(pixels.reshape((height, width, channels) if channels else (height, width)))
        if len(self.kept) < _MOST_MAPS:
            self.kept[digest] = shared
        return shared

    def _to_disk(self, digest: bytes, pixels: Pixels) -> None:
        place = self._place(digest)
        head = np.array([*pixels.shape, 0][:3], dtype=np.int64)
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=place.parent, suffix=".part", delete=False) as file:
                file.write(head.tobytes())
                file.write(np.ascontiguousarray(pixels).data)
                file.flush()
                os.fsync(
                    file.fileno()
                )  # before the name: a power cut must not leave a name without its pixels
            os.replace(file.name, place)  # noqa: PTH105
        except OSError:
            self.disk_left = 0  # a cache that cannot be written costs time, not truth

    def __repr__(self) -> str:
        return f"PixelCache({self.where}: {self.hits} found, {self.misses} decoded)"

    def __getstate__(self) -> dict[str, object]:
        # A worker process begins with an empty cache of its own; on disk they meet.
        return {"where": self.where, "key": self.key}

    def __setstate__(self, state: dict[str, Any]) -> None:
        # There may be a process for each core: together they take what one would.
        share = int(free_memory() * _SHARE) // (os.cpu_count() or 1)
        self.__init__(state["where"], state["key"], memory=share)


def _entry(digest: bytes, scale: int) -> bytes:
    """The name of what is kept of a file at a scale."""
    return digest if scale == 1 else digest + bytes([scale])


def _to_read(pixels: Pixels) -> Pixels:
    """The same memory, which others have too and nobody may change."""
    shared = pixels.view()
    shared.flags.writeable = False
    return shared


def _identity_of(path: str) -> tuple[int, ...] | None:
    """What tells, without reading it, that a file is the same; None if it is not there or has just changed."""
    try:
        status = os.stat(path)  # noqa: PTH116
    except (OSError, ValueError):
        return None  # which reading it will explain
    now = time.time()
    if min(abs(now - status.st_mtime), abs(now - status.st_ctime)) < _AT_REST_SECONDS:
        return None
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _free_disk(folder: Path) -> int:
    """A quarter of what is free where the cache folder is, or will be."""
    existing = next(place for place in (folder, *folder.parents) if place.exists())
    return int(shutil.disk_usage(existing).free * _SHARE)


_GROUP_FILES: Final = (  # of the second and of the first version of control groups
    ("", "memory.max", "memory.current"),
    ("memory", "memory.limit_in_bytes", "memory.usage_in_bytes"),
)
_UNKNOWN: Final = 2 << 30  # where the system does not say; little enough for any machine that trains


def free_memory() -> int:
    """Bytes that programs can still have: of the machine, or of the container that this runs in if that is less."""
    return min(_of_the_machine(), *_of_the_groups())


def _of_the_machine() -> int:
    try:
        for line in pathlib.Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) << 10
    except (OSError, ValueError, IndexError):
        pass
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError, AttributeError):
        return _UNKNOWN


def _of_the_groups(
    mount: pathlib.Path = pathlib.Path("/sys/fs/cgroup"),
    own: pathlib.Path = pathlib.Path("/proc/self/cgroup"),
) -> list[int]:
    """What Linux's control groups leave to this process: one figure for each group that has a limit."""
    left = [1 << 62]
    try:
        paths = [pathlib.Path(line.split(":", 2)[2].strip()) for line in own.read_text().splitlines()]
    except (OSError, IndexError):
        return left
    for path in paths:
        for group in (path, *path.parents):
            for root, limit_file, used_file in _GROUP_FILES:
                folder = mount / root / group.relative_to("/")
                try:
                    limit, used = (
                        int((folder / limit_file).read_text()),
                        int((folder / used_file).read_text()),
                    )
                except (OSError, ValueError):
                    continue  # no such group here, or one without a limit
                left.append(max(limit - used, 0))
    return left
