"""JPEGs: of every make, and damaged in every way that a disk or a network knows."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

from corpus.base import GREYS, JPEG_TOLERANCE, Case, data, exif, jpeg, photo, picture, saved
from PIL import Image


def with_segment(marker: int, body: bytes, into: bytes | None = None) -> bytes:
    """A JPEG with one segment more, right behind its first two bytes."""
    into = into or jpeg()
    return into[:2] + struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body + into[2:]


def with_orientation(block: bytes) -> Callable[[Path], Any]:
    return data(lambda: with_segment(0xE1, block))


def scan_start(whole: bytes) -> int:
    at = whole.index(b"\xff\xda")
    return at + 2 + int.from_bytes(whole[at + 2 : at + 4])


def broken_off(share: float, end: bytes = b"", **options: Any) -> bytes:
    whole = jpeg(photo(), **options)
    start = scan_start(whole)
    return whole[: start + int((len(whole) - start) * share)] + end


def overwritten() -> bytes:
    whole = bytearray(jpeg(photo()))
    middle = (scan_start(bytes(whole)) + len(whole)) // 2
    whole[middle : middle + 600] = bytes(600)
    return bytes(whole)


def lost_step() -> bytes:
    """A stretch of the data is missing, and the end is there: the picture shifts, then runs out."""
    whole = jpeg(photo())
    third = scan_start(whole) + (len(whole) - scan_start(whole)) // 3
    return whole[:third] + whole[third + 301 :]


def doubled_step() -> bytes:
    """A stretch of the data comes twice: the picture is full before the data end."""
    whole = jpeg(photo())
    third = scan_start(whole) + (len(whole) - scan_start(whole)) // 3
    return whole[:third] + whole[third - 301 :]


def patched(whole: bytes, marker: int, offset: int, new: bytes) -> bytes:
    """Bytes of the first segment `marker` replaced, `offset` behind the marker."""
    at = whole.index(bytes((0xFF, marker))) + 2 + offset
    return whole[:at] + new + whole[at + len(new) :]


def gapped() -> bytes:
    """Bytes that belong to nothing behind the first segment."""
    whole = jpeg()
    end = 4 + int.from_bytes(whole[4:6])
    return whole[:end] + b"junk" + whole[end:]


def without_tables() -> bytes:
    """A JPEG whose Huffman tables are renamed to comments."""
    return jpeg().replace(b"\xff\xc4", b"\xff\xfe")


def cmyk() -> Image.Image:
    return picture().convert("CMYK")


def _strict() -> bool:
    """Damage inside a JPEG is seen with libjpeg in strict mode, which simplejpeg brings."""
    from plainlearn.images import decode

    return decode.simplejpeg is not None


JPEGS = [
    Case("plain", "plain.jpg", data(jpeg), tolerance=JPEG_TOLERANCE),
    Case("progressive", "progressive.jpeg", data(lambda: jpeg(progressive=True)), tolerance=JPEG_TOLERANCE),
    Case("colour at half resolution", "420.jpg", data(lambda: jpeg(subsampling=2)), tolerance=30),
    Case("stored as RGB", "rgb.jpg", data(lambda: jpeg(keep_rgb=True)), tolerance=JPEG_TOLERANCE),
    Case("grey", "grey.jpg", data(lambda: jpeg(picture().convert("L"))), expect=GREYS, tolerance=4),
    Case("CMYK by Adobe, inverted", "cmyk.jpg", saved("JPEG", cmyk, quality=95), tolerance=12),
    Case("restart markers", "rst.jpg", data(lambda: jpeg(restart_marker_blocks=2)), tolerance=JPEG_TOLERANCE),
    Case("EXIF of Motorola's order", "mm.jpg", with_orientation(exif(1, ">")), tolerance=JPEG_TOLERANCE),
    Case("EXIF with a long", "long.jpg", with_orientation(exif(1, kind=4)), tolerance=JPEG_TOLERANCE),
    Case("EXIF orientation 0", "exif0.jpg", with_orientation(exif(0)), tolerance=JPEG_TOLERANCE),
    Case("EXIF orientation 9", "exif9.jpg", with_orientation(exif(9)), tolerance=JPEG_TOLERANCE),
    Case("EXIF cut off", "exifcut.jpg", with_orientation(exif(6)[:17]), tolerance=JPEG_TOLERANCE),
    Case(
        "EXIF that points nowhere",
        "exifnowhere.jpg",
        with_orientation(b"Exif\0\0II*\0\xff\xff\xff\x7f"),
        tolerance=JPEG_TOLERANCE,
    ),
    Case(
        "EXIF with more entries than bytes",
        "exifmany.jpg",
        with_orientation(b"Exif\0\0MM\0*\0\0\0\x08\xff\xff" + b"\x01\x1a\0\x05\0\0\0\x01\xff\xff\xff\xff"),
        tolerance=JPEG_TOLERANCE,
    ),
    Case(
        "corrupt ICC", "icc.jpg", data(lambda: jpeg(icc_profile=b"no profile" * 9)), tolerance=JPEG_TOLERANCE
    ),
    Case(
        "ICC with a part missing",
        "iccpart.jpg",
        data(lambda: with_segment(0xE2, b"ICC_PROFILE\0\x02\x03" + bytes(99))),
        tolerance=JPEG_TOLERANCE,
    ),
    Case(
        "a directory of pictures that is garbage",
        "mpo.jpg",
        data(lambda: with_segment(0xE2, b"MPF\0II*\0garbage")),
        tolerance=JPEG_TOLERANCE,
    ),
    Case("bytes between segments", "gaps.jpg", data(gapped), tolerance=6),
    Case("no end marker", "noend.jpg", data(lambda: jpeg()[:-2]), tolerance=JPEG_TOLERANCE, needs=_strict),
    Case("film behind it", "motion.jpg", data(lambda: jpeg() + os.urandom(999)), tolerance=JPEG_TOLERANCE),
    Case("zeros before the end", "pad.jpg", data(lambda: jpeg()[:-2] + bytes(64) + b"\xff\xd9"), tolerance=6),
    Case("cut in half", "half.jpg", data(lambda: broken_off(0.5)), "refused", says="breaks off|truncated"),
    Case(
        "cut in half, progressive",
        "halfprog.jpg",
        data(lambda: broken_off(0.5, progressive=True)),
        "refused",
        says="breaks off|truncated|Premature",
    ),
    Case(
        "cut in half, end marker put back",
        "halfend.jpg",
        data(lambda: broken_off(0.5, b"\xff\xd9")),
        "refused",
        says="breaks off",
        needs=_strict,
    ),
    Case("cut in the header", "header.jpg", data(lambda: jpeg()[:200]), "refused", says="within the header"),
    Case("first bytes only", "soi.jpg", data(lambda: jpeg()[:3]), "refused", says="within the header"),
    Case("no picture", "noscan.jpg", data(lambda: b"\xff\xd8\xff\xd9"), "refused", says="before the picture"),
    Case("zeros inside", "hole.jpg", data(overwritten), "refused", says="JPEG", needs=_strict),
    Case("bytes lost inside", "lost.jpg", data(lost_step), "refused", says="JPEG", needs=_strict),
    Case("bytes doubled inside", "doubled.jpg", data(doubled_step), "refused", says="JPEG", needs=_strict),
    Case(
        "no height", "noheight.jpg", data(lambda: patched(jpeg(), 0xC0, 3, b"\0\0")), "refused", says="48×0"
    ),
    Case("12 bits", "12bit.jpg", data(lambda: patched(jpeg(), 0xC0, 2, b"\x0c")), "refused", says="12-bit"),
    Case("no Huffman tables, as in film", "notables.jpg", data(without_tables), tolerance=JPEG_TOLERANCE),
    Case(
        "a Huffman table damaged",
        "table.jpg",
        data(lambda: patched(jpeg(), 0xC4, 3, b"\xff" * 16)),
        "refused",
        says="JPEG",
    ),
]
