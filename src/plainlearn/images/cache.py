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
import shutil
import tempfile
import threading
import time
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import numpy as np

from plainlearn.core.errors import ArgumentError
from plainlearn.core.paths import Path
from plainlearn.datasets.storage import cache_home
from plainlearn.images.files import read_file
from plainlearn.images.memory import MAX_MEMORY, free_memory
from plainlearn.images.pixels import Pixels
from plainlearn.images.scaled_jpeg import JpegFrame, ScaledJpeg, Shrink, jpeg_frame, whole

Where = Literal["auto", "memory", "disk", "none"]
#: From a file's bytes, and how many times smaller a JPEG is wanted, to pixels.
Decode = Callable[[bytes, int], Pixels]

_SHARE = 0.25  # of what is free
_AT_REST_SECONDS = 2.0  # a change sooner after another may leave a file's times as they are
_MOST_MAPS = 20_000  # of the 65,530 that Linux gives a process; beyond them a map is made for each use
_HEAD = 3 * 8  # bytes before the pixels of a kept file: height, width, channels (0: grey)


class _Known(NamedTuple):
    """A file that was read: how it looked from outside, the digest of its bytes, and its frame if it is a JPEG."""

    look: tuple[int, ...]
    digest: bytes
    frame: JpegFrame | None


class PixelCache:
    """Keeps what `decode` gives for a file's bytes, as long as there is room; hands out arrays to read, not to change.

    `where` is "memory", "disk", "none", or "auto": memory up to a quarter of what is free, then disk up to a
    quarter of what is free there. `key` tells apart different ways of decoding the same file.
    """

    def __init__(
        self, where: Where = "auto", key: str = "", *, memory: int | None = None, disk: int | None = None
    ) -> None:
        if where not in ("auto", "memory", "disk", "none"):
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
        self.known: dict[str, _Known] = {}
        self.lock = threading.Lock()
        self.hits = self.misses = 0

    def of_file(self, path: str, decode: Decode, shrink: Shrink = whole) -> Pixels | ScaledJpeg:
        """As `of_bytes`, for the bytes of a file, which is read if it must be. Raises what `read_file` does."""
        look = _look(path)  # before it is read: a change in between is then seen the next time
        known = self.known.get(path)
        if known is not None and known.look == look:
            scale = _scale(known.frame, shrink)
            found = self._found(_entry(known.digest, scale))
            if found is not None:
                return _draft(found, known.frame, scale)
        data = read_file(path, MAX_MEMORY)
        if look is not None and self.where != "none":
            self.known[path] = _Known(look, self._digest(data), jpeg_frame(data))
        return self.of_bytes(data, decode, shrink)

    def of_bytes(self, data: bytes, decode: Decode, shrink: Shrink = whole) -> Pixels | ScaledJpeg:
        """What `decode(data, scale)` gives: from the cache if it is there. `shrink` chooses the scale of a JPEG."""
        frame = None if shrink is whole else jpeg_frame(data)
        scale = _scale(frame, shrink)
        if self.where == "none":
            return _draft(decode(data, scale), frame, scale)
        entry = _entry(self._digest(data), scale)
        pixels = self._found(entry)
        if pixels is None:
            self.misses += 1
            pixels = self._keep(entry, decode(data, scale))
        return _draft(pixels, frame, scale)

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


def _scale(frame: JpegFrame | None, shrink: Shrink) -> int:
    return 1 if frame is None else shrink(frame)


def _entry(digest: bytes, scale: int) -> bytes:
    """The name of what is kept of a file at a scale."""
    return digest if scale == 1 else digest + bytes([scale])


def _draft(pixels: Pixels, frame: JpegFrame | None, scale: int) -> Pixels | ScaledJpeg:
    return pixels if frame is None or scale == 1 else ScaledJpeg(pixels, frame, scale)


def _to_read(pixels: Pixels) -> Pixels:
    """The same memory, which others have too and nobody may change."""
    shared = pixels.view()
    shared.flags.writeable = False
    return shared


def _look(path: str) -> tuple[int, ...] | None:
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
    there = next(place for place in (folder, *folder.parents) if place.exists())
    return int(shutil.disk_usage(there).free * _SHARE)
