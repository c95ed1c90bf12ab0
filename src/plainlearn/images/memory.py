"""How much memory opening an image takes, known before a pixel is decoded; and how much there is."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from PIL import Image

from plainlearn.core.errors import DataError

__all__ = ["MAX_MEMORY", "STRIP", "check_memory", "check_pillows_limit", "decoding_cost", "free_memory"]

MAX_MEMORY: Final = 1 << 30
"""Bytes that opening one image may take beyond what the program had: 1 GiB, room for 100 megapixels."""

# Bytes a pixel that Pillow holds of a mode, and that a format's codec holds besides, at their highest
# while decoding. Measured by the growth of a process, and rounded up; a test measures again.
_DECODED: Final = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16B": 2, "I;16L": 2}
_CODEC: Final = {"WEBP": 12, "AVIF": 8, "HEIF": 8, "JPEG2000": 16, "GIF": 8}
STRIP: Final = 1 << 20
"""Pixels converted at a time: a second whole copy of a large image would be felt."""
_STRIP_COST: Final = 32
_GUARDED: Final = {"GIF": 1, "TIFF": 1, "ICO": 1, "WEBP": 2}  # times the limit at which they speak up


def decoding_cost(kind: str, mode: str, grey: bool, orientation: int) -> float:
    """Bytes a pixel for a file of this kind, in Pillow's `mode`, that ends up grey or as colour, upright."""
    result = (1 if grey else 3) * (1 if orientation == 1 else 2)
    return _DECODED.get(mode, 4) + _CODEC.get(kind, 0) + result


def check_memory(size: tuple[int, int], cost: float, file_bytes: int, max_memory: int) -> None:
    """Raises `DataError` if an image of `size`, at `cost` bytes a pixel, takes more than `max_memory`.

    `file_bytes` is what the file itself takes, as often as it is held.
    """
    width, height = size
    need = int(width * height * cost + min(width * height, STRIP) * _STRIP_COST) + file_bytes
    if need > max_memory:
        raise DataError(
            f"its {width:,}×{height:,} pixels would take {need / 2**20:,.0f} MiB to open; the limit is"
            f" {max_memory / 2**20:,.0f} MiB",
            try_=f"max_memory={-(-need // 10**8) * 10**8} if the machine has it, or make the image smaller",
        )


def check_pillows_limit(kind: str, size: tuple[int, int]) -> None:
    """Raises `DataError` where Pillow itself would warn of, or refuse, an image's size.

    Most formats are opened past that limit, which is one for the whole program; these ask for it inside.
    """
    limit = Image.MAX_IMAGE_PIXELS
    factor = _GUARDED.get(kind)
    if limit is not None and factor and size[0] * size[1] > factor * limit:
        raise DataError(
            f"its {size[0]:,}×{size[1]:,} pixels are more than PIL.Image.MAX_IMAGE_PIXELS, {limit:,}, which"
            f" rules over {kind}",
            try_="a larger PIL.Image.MAX_IMAGE_PIXELS, or to make the image smaller",
        )


_UNKNOWN: Final = 2 << 30  # where the system does not say; little enough for any machine that trains


def free_memory() -> int:
    """Bytes that programs can still have: of the machine, or of the container that this runs in if that is less."""
    return min(_of_the_machine(), *_of_the_groups())


def _of_the_machine() -> int:
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) << 10
    except (OSError, ValueError, IndexError):
        pass
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError, AttributeError):
        return _UNKNOWN


def _of_the_groups(mount: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> list[int]:
    """What Linux's control groups leave to this process: one figure for each group that has a limit."""
    left = [1 << 62]
    try:
        paths = [Path(line.split(":", 2)[2].strip()) for line in own.read_text().splitlines()]
    except (OSError, IndexError):
        return left
    for path in paths:
        for group in (path, *path.parents):
            for root, most, now in ((mount, "memory.max", "memory.current"),
                                    (mount / "memory", "memory.limit_in_bytes", "memory.usage_in_bytes")):  # fmt: skip
                folder = root / group.relative_to("/")
                try:
                    limit, used = int((folder / most).read_text()), int((folder / now).read_text())
                except (OSError, ValueError):
                    continue  # no such group here, or one without a limit
                left.append(max(limit - used, 0))
    return left
