"""Decoding a JPEG, smaller where that cannot be seen, and refusing one whose data are damaged.

A JPEG has no checksums, and most programs show whatever libjpeg makes of one: grey where data are
missing, wrong colours after a wrong bit. Here libjpeg runs in strict mode, and its complaints count.
"""

from __future__ import annotations

import re
from typing import Any, Final, cast

import numpy as np

from plainlearn.core.errors import ArgumentError
from plainlearn.images.headers import BadHeader, Jpeg
from plainlearn.images.memory import check_memory
from plainlearn.images.pixels import Pixels

try:
    import simplejpeg
except ImportError:
    simplejpeg = None  # Pillow decodes instead: a quarter slower, and silent about damage

__all__ = ["decode_jpeg", "draft_scale", "scale_for", "scaled"]

# How many times larger than needed an image must stay, for looks and thumbnails. Against a full decode, both
# then shrunk by Lanczos, on 47 pet photos: at 1 time 39.3 dB, 1.5 44.9, 2 48.7, 3 52.5; sharpness .95, .93, .96, .98.
_SPARE: Final = 2
# The same for what a model is shown. Of some 45 dB against the ideal, photos, text and zone plates lose to a full
# decode (benchmarks/jpeg_scales.py): at 1.5 times 1 to 6 dB, at 2 up to 2.4, at 2.5 up to 0.5, at 3 up to 0.3 or gain
# as much, at 4 up to 0.1. libjpeg's other scales (7/8 to 3/8) lose more than 1/2 does, and save no more.
_SPARE_TO_LEARN: Final = 3


def draft_scale(size: tuple[int, int], draft_to: int) -> int:
    """How many times smaller to decode when the shorter side will be `draft_to`."""
    if draft_to < 1:
        raise ArgumentError(f"draft_to is {draft_to}; expected the side needed, in pixels, or None")
    return _largest_scale(min(size) / draft_to, _SPARE)


def scale_for(footprint: float) -> int:
    """How many times smaller to decode what is read at `footprint` pixels for each of the outcome's, or more."""
    return _largest_scale(footprint, _SPARE_TO_LEARN)


def _largest_scale(footprint: float, spare: int) -> int:
    return next((scale for scale in (8, 4, 2) if footprint >= spare * scale), 1)


def scaled(size: tuple[int, int], scale: int) -> tuple[int, int]:
    """The size that libjpeg gives; its last column and row may reach beyond the picture."""
    return -(-size[0] // scale), -(-size[1] // scale)


def decode_jpeg(
    data: bytes, header: Jpeg, *, grey: bool, scale: int, strict: bool, max_memory: int
) -> Pixels | None:
    """The pixels as stored, 1/`scale` as large, not yet upright; None for the rare kinds that are left to Pillow.

    Raises `BadHeader` for damage, unless `strict` is False.
    """
    small = scaled(header.size, scale)
    result = 1 if grey else 3
    cost = max(result + (header.channels == 1 and not grey), result * (1 if header.orientation == 1 else 2))
    if header.progressive:  # all coefficients are kept until the last scan, at full size
        check_memory(header.size, 2 * header.channels + cost / scale**2, len(data), max_memory)
    check_memory(small, cost, len(data), max_memory)
    if simplejpeg is None or header.channels not in (1, 3) or header.bits != 8:
        return None
    as_grey = grey or header.channels == 1
    try:
        pixels = _libjpeg(data, as_grey, small, scale)
    except ValueError:
        data = header.plain(data)  # a damaged profile does not matter, and could hide damage that does
        if strict and (damage := _damage(data, header)):
            raise BadHeader(damage) from None
        try:
            pixels = _libjpeg(data, as_grey, small, scale, strict=False)
        except ValueError:
            return None  # not a complaint but a refusal; Pillow will say why, or know better
    if pixels.shape[2] == 3:
        return pixels
    return pixels[..., 0] if grey else np.repeat(pixels, 3, axis=2)


def _libjpeg(data: bytes, grey: bool, small: tuple[int, int], scale: int, strict: bool = True) -> Pixels:
    """Decode; if `strict`, whatever libjpeg complains of is a ValueError with its words."""
    decode: Any = cast(Any, simplejpeg).decode_jpeg
    width, height = small
    colours = "GRAY" if grey else "RGB"
    return decode(data, colours, min_width=width, min_height=height, min_factor=scale, strict=strict)


def _damage(data: bytes, header: Jpeg) -> str:
    """What is wrong with the picture, in words for the user; "" if it is whole all the same."""
    complaint = _complaint(data)
    if "Premature end of JPEG file" in complaint:  # no end marker: see what else is missing
        complaint = _complaint(data + b"\xff\xd9")
    if "Corrupt JPEG data" not in complaint:
        return ""  # a matter of form: an unusual version, marker or order of scans
    if "premature end of data segment" in complaint:
        return "its picture breaks off: the data end before the last row"
    left_over = re.search(r"(\d+) extraneous bytes before marker 0x([0-9a-f]+)", complaint)
    if left_over is None:
        return complaint.removeprefix("Corrupt JPEG data: ")
    number, marker = int(left_over[1]), int(left_over[2], 16)
    if header.gaps and not (0xD0 <= marker <= 0xD9):
        return ""  # between the segments of the header, where anything may lie
    if bytes(number) + bytes((0xFF, marker)) in data:
        return ""  # padding
    return f"its picture is finished with {number} bytes left over, so some before them are wrong"


def _complaint(data: bytes) -> str:
    try:
        _libjpeg(data, True, (1, 1), 8)
    except ValueError as error:
        return str(error)
    return ""
