"""Say how far a long job on bytes has come: a bar where someone watches, else one plain line."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager

__all__ = ["byte_progress", "in_bytes", "say", "someone_watches"]


def say(line: str) -> None:
    """Write one line for people to standard error, if there is one."""
    if sys.stderr is not None:  # pyright: ignore[reportUnnecessaryComparison]  (None under pythonw and in services)
        print(line, file=sys.stderr, flush=True)


def someone_watches() -> bool:
    """Whether a bar that redraws itself would be seen: in a terminal or a notebook, not in a log or CI."""
    if os.environ.get("CI") or sys.stderr is None:  # pyright: ignore[reportUnnecessaryComparison]
        return False
    return sys.stderr.isatty() or "ipykernel" in sys.modules


def in_bytes(count: int) -> str:
    """A number of bytes as people say it.

    >>> in_bytes(270), in_bytes(3_536_086), in_bytes(68_719_476_736)
    ('270 bytes', '3.4 MiB', '64.0 GiB')
    """
    if count < 1024:
        return f"{count} bytes"
    size = float(count)
    for unit in ("KiB", "MiB", "GiB"):
        size /= 1024
        if size < 1024:
            return f"{size:.1f} {unit}"
    return f"{size / 1024:.1f} TiB"


@contextmanager
def byte_progress(
    title: str, *, total: int | None, done: int = 0, show: bool | None = None
) -> Generator[Callable[[int], object]]:
    """Give a function to call with each further number of bytes.

    `show` True always draws the bar, False stays quiet; None draws it where someone watches and says
    one plain line elsewhere. `done` is how many bytes were there before.
    """
    if show is None:
        show = someone_watches()
        if not show:
            size = "" if total is None else f" ({in_bytes(total)})"
            say(f"{title}{size}" + (f", from {in_bytes(done)} on" if done else ""))
    if not show:
        yield lambda _: None
        return
    from tqdm import tqdm

    with tqdm(
        total=total, initial=done, desc=title, unit="B", unit_scale=True, unit_divisor=1024, leave=False
    ) as bar:
        yield bar.update
