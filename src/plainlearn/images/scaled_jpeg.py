"""A JPEG decoded at 1/2, 1/4 or 1/8 of its size, for a picture that is only read small; where its pixels lie.

It stands for the whole picture: it has the true size, and `geometry.scaled_jpeg_crop` says which place of the truth each
pixel shows. So crops, masks, points and boxes need not know. `jpeg.scale_for` says when it cannot be seen.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from plainlearn.images.headers import BadHeader, read_jpeg
from plainlearn.images.pixels import Pixels

__all__ = ["JpegFrame", "ScaledJpeg", "Shrink", "jpeg_frame", "whole"]


class JpegFrame(NamedTuple):
    """What a JPEG's header says of its picture: (height, width) as seen upright, and how it is stored."""

    size: tuple[int, int]
    orientation: int


#: How many times smaller to decode a picture: 1, 2, 4 or 8.
Shrink = Callable[[JpegFrame], int]


def whole(frame: JpegFrame) -> int:
    """No smaller at all."""
    return 1


def jpeg_frame(data: bytes) -> JpegFrame | None:
    """The frame of a JPEG that can be decoded smaller; None for all else, the rare kinds and broken headers too."""
    if not data.startswith(b"\xff\xd8\xff"):
        return None
    try:
        header = read_jpeg(data)
    except BadHeader:
        return None  # decoding it will say why
    if header.channels not in (1, 3) or header.bits != 8:
        return None
    width, height = header.size
    return JpegFrame((width, height) if header.orientation >= 5 else (height, width), header.orientation)


@dataclass(frozen=True, eq=False)
class ScaledJpeg:
    """Upright pixels at 1/`scale` of the size that `frame` tells."""

    pixels: Pixels
    frame: JpegFrame
    scale: int

    def summary(self) -> str:
        """In a few words, for people."""
        height, width = self.frame.size
        return f"uint8 array {self.pixels.shape}, of {height} × {width} decoded at 1/{self.scale}"
