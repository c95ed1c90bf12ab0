"""What a server allows to those who call it; every number of it in one place."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Limits"]


@dataclass(frozen=True)
class Limits:
    """Sizes in bytes, times in seconds.

    `body` and `images` are of one request, `uploads` of all bodies that are held at a time; `inside` counts the images
    of all requests that are not answered yet. `pixels` is the memory that decoded pictures may take together, one
    that would take more than all of it is refused. Who sends is given `grace` and then has to have sent `pace` a second.
    """

    body: int = 32 << 20
    images: int = 32
    uploads: int = 256 << 20
    head: int = 32 << 10
    part_head: int = 4 << 10
    part_headers: int = 8
    inside: int = 128
    batch: int = 16
    pixels: int = 640 << 20
    connections: int = 512
    head_seconds: float = 10
    grace: float = 15
    pace: int = 16 << 10
    unread_seconds: float = 20
    idle_seconds: float = 20
    stop_seconds: float = 30
