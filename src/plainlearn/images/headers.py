"""What image files say of themselves before any pixel is decoded: size, orientation, soundness.

Read here rather than by Pillow, because Pillow checks only part of a PNG's checksums, warns about
metadata that nobody asked for, and cannot be told its limit on size without changing it for everyone.
All of it works on the bytes of the whole file, and knows nothing of Pillow.
"""

from __future__ import annotations

import struct
import zlib
from typing import Final, NamedTuple

__all__ = [
    "ORIENTATION",
    "UPRIGHT",
    "BadHeader",
    "Jpeg",
    "Png",
    "check_jpeg2000",
    "exif_orientation",
    "read_jpeg",
    "read_png",
    "read_webp",
]

ORIENTATION: Final = 0x0112  # the number of EXIF's tag, and of TIFF's
UPRIGHT: Final = 1  # EXIF's orientation 1: the first row is the top, the first column the left


class BadHeader(Exception):
    """The bytes do not hold what this kind of file must hold; the argument says what, as a clause."""


class Jpeg(NamedTuple):
    """A JPEG's header. `size` is (width, height) as stored, before the orientation is applied.

    `notes` says where its EXIF, colour profile and other metadata lie, as (start, end); `gaps`, whether
    bytes that belong to nothing lie between the segments.
    """

    size: tuple[int, int]
    channels: int
    bits: int
    progressive: bool
    orientation: int
    notes: tuple[tuple[int, int], ...]
    gaps: bool

    def plain(self, data: bytes) -> bytes:
        """`data`, the file, without the metadata."""
        starts, ends = (0, *(end for _, end in self.notes)), (*(start for start, _ in self.notes), len(data))
        return b"".join(data[start:end] for start, end in zip(starts, ends, strict=True))


def read_jpeg(data: bytes) -> Jpeg:
    """Walk the segments up to the first scan. Raises `BadHeader` if there is no picture in it."""
    frame = b""
    notes: list[tuple[int, int]] = []
    kind = orientation = 0
    position, gaps = 2, False
    try:
        while True:
            start = data.index(b"\xff", position)  # what lies before is skipped, as decoders do
            gaps |= start != position
            position = start + 1
            while (marker := data[position]) == 0xFF:
                position += 1
            position += 1
            if marker == 0xD9:
                raise BadHeader("the file ends before the picture begins")
            if marker <= 0x01 or 0xD0 <= marker <= 0xD8:
                continue  # stuffing, or a marker without contents
            length = (data[position] << 8) | data[position + 1]
            if marker == 0xDA:
                break
            if marker in _FRAMES:
                kind, frame = marker, data[position + 2 : position + 8]
            elif 0xE1 <= marker <= 0xED:
                notes.append((position - 2, position + length))
                if marker == 0xE1 and not orientation and data[position + 2 : position + 8] == b"Exif\0\0":
                    orientation = exif_orientation(data[position + 8 : position + length])
            position += max(length, 2)
    except (IndexError, ValueError):
        raise BadHeader("the file ends within the header") from None
    if len(frame) < 6:
        raise BadHeader("it has no frame header")
    bits, height, width, channels = struct.unpack(">BHHB", frame)
    if not height or not width:
        raise BadHeader(f"its header says {width}×{height} pixels")
    return Jpeg(
        (width, height), channels, bits, kind in _PROGRESSIVE, orientation or UPRIGHT, tuple(notes), gaps
    )


_FRAMES: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_PROGRESSIVE: Final = frozenset({0xC2, 0xC6, 0xCA, 0xCE})


class Png(NamedTuple):
    """A PNG's header, and `plain`: the same file with only the chunks that make the picture.

    What is left out (colour profiles, texts, animations, private chunks) is where Pillow warns or fails.
    """

    size: tuple[int, int]
    orientation: int
    plain: bytes

    @property
    def interlaced(self) -> bool:
        return bool(self.plain[28])

    def check_rows(self) -> None:
        """Inflate the data to see whether all rows are there, or raise `BadHeader`. Pillow does not look.

        Not for an interlaced picture, whose missing rows Pillow does notice.
        """
        width, height, depth, colour = struct.unpack_from(">IIBB", self.plain, 16)
        due = height * (1 + (width * depth * {2: 3, 4: 2, 6: 4}.get(colour, 1) + 7) // 8)  # 1 for the filter
        inflate, missing, position = zlib.decompressobj(), due, 8
        while missing > 0 and position < len(self.plain):
            length = int.from_bytes(self.plain[position : position + 4])
            data = self.plain[position + 8 : position + 8 + length]
            is_data, position = self.plain[position + 4 : position + 8] == b"IDAT", position + 12 + length
            while is_data and data and missing > 0 and not inflate.eof:
                missing -= len(inflate.decompress(data, 1 << 20))
                data = inflate.unconsumed_tail
        if missing > 0:
            raise BadHeader(f"its picture breaks off: {missing:,} of {due:,} bytes are missing")


_PNG_CHUNKS: Final = frozenset({b"IHDR", b"PLTE", b"IDAT", b"IEND"})
# Chunks that a still picture does without; whatever is wrong in them does not matter.
_PNG_NOTES: Final = frozenset(
    (b"tEXt", b"zTXt", b"iTXt", b"iCCP", b"sRGB", b"gAMA", b"cHRM", b"pHYs", b"tIME", b"bKGD", b"sBIT")
)


def read_png(data: bytes) -> Png:
    """Walk all chunks, and check the sums of those that may matter. Raises `BadHeader` on damage."""
    view = memoryview(data)
    kept: list[memoryview] = [view[:8]]
    size, orientation, position = (0, 0), UPRIGHT, 8
    whole, left_out = len(data), False
    while True:
        start = position
        if start + 12 > whole:
            raise BadHeader(f"it breaks off at byte {whole:,}, before its last chunk")
        length = int.from_bytes(view[start : start + 4])
        name = data[start + 4 : start + 8]
        position = start + 12 + length
        if position > whole:
            raise BadHeader(f"it breaks off at byte {whole:,}, within a chunk of {length:,} bytes")
        critical = name in _PNG_CHUNKS
        if not critical:
            if not name.isalpha():
                raise BadHeader(f"there is no chunk where one should be, at byte {start:,}")
            if name == b"CgBI":
                raise BadHeader("it is Apple's private variant of PNG, for iPhone apps")
            if not name[0] & 0x20:
                raise BadHeader(f"it has a chunk {name.decode()} that a decoder must know and does not")
            if name in _PNG_NOTES:
                left_out = True
                continue
        sound = zlib.crc32(view[start + 4 : position - 4]) == int.from_bytes(view[position - 4 : position])
        if not sound:
            raise BadHeader(f"its chunk {name.decode()} at byte {start:,} is damaged: the checksum is wrong")
        if not critical and name != b"tRNS":
            left_out = True
            if name == b"eXIf":
                orientation = exif_orientation(data[start + 8 : position - 4])
            continue
        if name == b"IHDR":
            size = int.from_bytes(view[start + 8 : start + 12]), int.from_bytes(view[start + 12 : start + 16])
        kept.append(view[start:position])
        if name == b"IEND":
            break
    if not size[0] or not size[1]:
        raise BadHeader(f"its header says {size[0]}×{size[1]} pixels")
    return Png(size, orientation, b"".join(kept) if left_out else data)


def exif_orientation(exif: bytes) -> int:
    """The orientation, 1 to 8, that an EXIF block asks for; 1 if it says nothing that can be read.

    `exif` begins with its byte order, with or without `Exif` and two zeros before it. Unreadable EXIF
    never spoils an image: the pixels are whole, and most programs write none.
    """
    exif = exif.removeprefix(b"Exif\0\0")
    order = {b"II": "<", b"MM": ">"}.get(exif[:2])
    if order is None or len(exif) < 10:
        return UPRIGHT
    at = struct.unpack_from(order + "I", exif, 4)[0]
    if at + 2 > len(exif):
        return UPRIGHT
    entries = struct.unpack_from(order + "H", exif, at)[0]
    for entry in range(at + 2, min(at + 2 + 12 * entries, len(exif) - 11), 12):
        tag, kind, count = struct.unpack_from(order + "HHI", exif, entry)
        if tag == ORIENTATION:
            form = {1: "B", 3: "H", 4: "I"}.get(kind) if count == 1 else None
            value = struct.unpack_from(order + form, exif, entry + 8)[0] if form else UPRIGHT
            return value if 1 <= value <= 8 else UPRIGHT
    return UPRIGHT


def read_webp(data: bytes) -> tuple[tuple[int, int], int]:
    """((width, height), orientation) of a WebP. Raises `BadHeader` if it has none, or is cut off."""
    declared = 8 + int.from_bytes(data[4:8], "little")
    if declared > len(data):
        raise BadHeader(f"it breaks off at byte {len(data):,} of {declared:,}")
    chunk, body = data[12:16], data[20:30]
    if chunk == b"VP8X":
        size = 1 + int.from_bytes(body[4:7], "little"), 1 + int.from_bytes(body[7:10], "little")
    elif chunk == b"VP8L" and body[:1] == b"\x2f":
        both = int.from_bytes(body[1:5], "little")
        size = 1 + (both & 0x3FFF), 1 + (both >> 14 & 0x3FFF)
    elif chunk == b"VP8 " and body[3:6] == b"\x9d\x01\x2a":
        size = int.from_bytes(body[6:8], "little") & 0x3FFF, int.from_bytes(body[8:10], "little") & 0x3FFF
    else:
        raise BadHeader("it has no picture's header")
    position = 12
    while position + 8 <= declared:
        length = int.from_bytes(data[position + 4 : position + 8], "little")
        if data[position : position + 4] == b"EXIF":
            return size, exif_orientation(data[position + 8 : position + 8 + length])
        position += 8 + length + length % 2
    return size, UPRIGHT


def check_jpeg2000(data: bytes) -> None:
    """Raises `BadHeader` if the file is cut off; its decoder would draw what is left."""
    position = 0
    if data[4:8] == b"jP  ":
        while True:
            length, kind = int.from_bytes(data[position : position + 4]), data[position + 4 : position + 8]
            if length == 1:
                length = int.from_bytes(data[position + 8 : position + 16])
            if kind == b"jp2c":
                break
            if length < 8 or position + length >= len(data):
                raise BadHeader(f"it breaks off at byte {len(data):,}, before its picture")
            position += length
        if length:
            if position + length > len(data):
                raise BadHeader(f"it breaks off at byte {len(data):,} of {position + length:,}")
            return
    if not data.rstrip(b"\0").endswith(b"\xff\xd9"):
        raise BadHeader(f"it breaks off at byte {len(data):,}, before its end marker")
