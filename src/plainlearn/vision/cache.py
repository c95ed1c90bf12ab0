"""Decoded pixels, kept so that later epochs need not decode: in memory while there is room, else on disk.

What is kept is told by a file's contents, not by its name or time: a file that changes is decoded anew, and
copies share one entry. On disk each picture is a `.npy` file of its own in the cache folder, written under
another name and then renamed, so that two processes, or a killed one, can do no harm. Nothing is ever
written beside the user's data.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import threading
from collections.abc import Callable
from typing import Literal

import numpy as np

from plainlearn.core.errors import ArgumentError
from plainlearn.core.paths import Path
from plainlearn.data.storage import cache_home
from plainlearn.vision.pixels import Pixels

Where = Literal["auto", "memory", "disk", "none"]

_SHARE_OF_MEMORY = 0.25
_SHARE_OF_DISK = 0.25


class PixelCache:
    """Keeps what `decode` gives for a file's bytes, as long as there is room; hands out copies.

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
        self.memory_left = (
            (_free_memory() if memory is None else memory) if where in ("auto", "memory") else 0
        )
        self.disk_left = (
            (_free_disk(self.folder) if disk is None else disk) if where in ("auto", "disk") else 0
        )
        self.kept: dict[bytes, Pixels] = {}
        self.lock = threading.Lock()
        self.hits = self.misses = 0

    def pixels(self, data: bytes, decode: Callable[[bytes], Pixels]) -> Pixels:
        """What `decode(data)` gives: from the cache if it is there. The array is the caller's own."""
        if self.where == "none":
            return decode(data)
        digest = hashlib.blake2b(data, digest_size=20, person=self.key.encode()[:16]).digest()
        found = self.kept.get(digest)
        if found is None and self.where != "memory":
            found = self._from_disk(digest)
        if found is not None:
            self.hits += 1
            return found.copy()
        self.misses += 1
        made = decode(data)
        self._keep(digest, made)
        return made

    def _keep(self, digest: bytes, pixels: Pixels) -> None:
        with self.lock:
            in_memory = pixels.nbytes <= self.memory_left
            on_disk = not in_memory and pixels.nbytes <= self.disk_left
            if in_memory:
                self.memory_left -= pixels.nbytes
            elif on_disk:
                self.disk_left -= pixels.nbytes
        if in_memory:
            self.kept[digest] = pixels.copy()
        elif on_disk:
            self._to_disk(digest, pixels)

    def _place(self, digest: bytes) -> Path:
        name = digest.hex()
        return self.folder / name[:2] / f"{name[2:]}.npy"

    def _from_disk(self, digest: bytes) -> Pixels | None:
        try:
            return np.load(self._place(digest), mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError):
            return None  # not there, or damaged: it is decoded again

    def _to_disk(self, digest: bytes, pixels: Pixels) -> None:
        place = self._place(digest)
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=place.parent, suffix=".part", delete=False) as file:
                np.save(file, pixels, allow_pickle=False)
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

    def __setstate__(self, state: dict[str, str]) -> None:
        self.__init__(state["where"], state["key"])  # pyright: ignore[reportArgumentType]


def _free_memory() -> int:
    """A quarter of the memory that is free now; nothing where the system does not say."""
    try:
        free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError, AttributeError):
        return 0
    return int(free * _SHARE_OF_MEMORY)


def _free_disk(folder: Path) -> int:
    """A quarter of what is free where the cache folder is, or will be."""
    there = next(place for place in (folder, *folder.parents) if place.exists())
    return int(shutil.disk_usage(there).free * _SHARE_OF_DISK)
