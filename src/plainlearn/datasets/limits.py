"""How much an archive may hold."""

from __future__ import annotations

from dataclasses import dataclass

from plainlearn.core.errors import ArgumentError

__all__ = ["Limits"]


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
        for name in ("max_bytes", "max_members", "max_ratio"):
            if not getattr(self, name) > 0:
                raise ArgumentError(f"{name} is {getattr(self, name)}; expected more than 0")
