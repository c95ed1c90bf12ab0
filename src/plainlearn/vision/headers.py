"""What image files say of themselves before any pixel is decoded: size, orientation, soundness.

Read here rather than by Pillow, because Pillow checks only part of a PNG's checksums, warns about
metadata that nobody asked for, and cannot be told its limit on size without changing it for everyone.
All of it works on the bytes of the whole file, and knows nothing of Pillow.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from typing import Final, NamedTuple

__all__ = [
    "BadHeader",
    "Jpeg",
    "Png",
    "Tiff",
    "exif_orientation",
    "read_jpeg",
    "read_png",
    "read_tiff",
    "read_webp",
]

UPRIGHT: Final = 1  # EXIF's orientation 1: the first row is the top, the first column the left
_ORIENTATION: Final = 0x0112


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

        Each row takes a byte more for its filter; an interlaced picture is seven smaller ones.
        """
        width, height, depth, colour = struct.unpack_from(">IIBB", self.plain, 16)
        bits = depth * {2: 3, 4: 2, 6: 4}.get(colour, 1)
        due = 0
        for left, top, across, down in _ADAM7 if self.interlaced else ((0, 0, 1, 1),):
            columns, rows = -(-max(width - left, 0) // across), -(-max(height - top, 0) // down)
            due += rows * (1 + (columns * bits + 7) // 8) if columns else 0
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


_ADAM7: Final = (
    (0, 0, 8, 8),
    (4, 0, 8, 8),
    (0, 4, 4, 8),
    (2, 0, 4, 4),
    (0, 2, 2, 4),
    (1, 0, 2, 2),
    (0, 1, 1, 2),
)
_PNG_CHUNKS: Final = frozenset({b"IHDR", b"PLTE", b"IDAT", b"IEND"})


def read_png(data: bytes) -> Png:
    """Walk all chunks, and check the sums of those that matter. Raises `BadHeader` on damage."""
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
            if name not in (b"tRNS", b"eXIf"):
                left_out = True
                continue
        sound = zlib.crc32(view[start + 4 : position - 4]) == int.from_bytes(view[position - 4 : position])
        if not sound and name != b"eXIf":
            raise BadHeader(f"its chunk {name.decode()} at byte {start:,} is damaged: the checksum is wrong")
        if name == b"eXIf":
            orientation = exif_orientation(data[start + 8 : position - 4]) if sound else UPRIGHT
            left_out = True
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
        if tag == _ORIENTATION:
            form = {1: "B", 3: "H", 4: "I"}.get(kind) if count == 1 else None
            value = struct.unpack_from(order + form, exif, entry + 8)[0] if form else UPRIGHT
            return value if 1 <= value <= 8 else UPRIGHT
    return UPRIGHT


class Tiff(NamedTuple):
    """A TIFF's first page, and `plain`: the same file with a directory of that page's picture alone.

    `white_is_zero`: the grey values run from white to black. `signed`: they are signed integers.
    """

    size: tuple[int, int]
    orientation: int
    bits: int
    white_is_zero: bool
    signed: bool
    plain: bytes


_WIDTH, _HEIGHT, _BITS, _PHOTOMETRIC, _SAMPLE_FORMAT = 256, 257, 258, 262, 339
_OFFSETS: Final = {273: 279, 324: 325}  # where the strips, or the tiles, lie; and the tag of their lengths
_SINGLE: Final = frozenset({256, 257, 259, 262, 266, 277, 278, 284, 317, 322, 323})
_PICTURE: Final = frozenset((*range(256, 260), 262, 266, 273, *range(277, 280), 284, 292, 293, 317, 320))
_TILES_AND_CODECS: Final = frozenset(
    (*range(322, 326), 332, 338, 339, 347, *range(512, 522), *range(529, 533))
)
_LERC: Final = 50674
_KEPT: Final = _PICTURE | _TILES_AND_CODECS | {_LERC}
_BYTES: Final = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 16: 8}
_INTEGERS: Final = {1: "B", 3: "H", 4: "I", 16: "Q"}


class _Entry(NamedTuple):
    raw: bytes
    kind: int
    values: int
    at: int


def read_tiff(data: bytes) -> Tiff:
    """Read the first directory; classic and BigTIFF. Raises `BadHeader` if it does not hold together."""
    order = "<" if data[:2] == b"II" else ">"
    big = 43 in data[2:4]
    pointer, counter, layout, at = (8, "Q", "HHQ8s", 8) if big else (4, "H", "HHI4s", 4)
    step = struct.calcsize(order + layout)
    try:
        (directory,) = struct.unpack_from(order + ("Q" if big else "I"), data, at)
        (number,) = struct.unpack_from(order + counter, data, directory)
        first = directory + struct.calcsize(order + counter)
        entries: dict[int, _Entry] = {}
        for place in range(first, first + number * step, step):
            tag, kind, count, _ = struct.unpack_from(order + layout, data, place)
            value = place + step - pointer
            if count * _BYTES.get(kind, 1) > pointer:
                (value,) = struct.unpack_from(order + ("Q" if big else "I"), data, value)
            entries.setdefault(tag, _Entry(data[place : place + step], kind, count, value))
    except (struct.error, OverflowError):
        raise BadHeader(f"it breaks off at byte {len(data):,}, before or within its directory") from None

    def numbers(tag: int, default: int) -> tuple[int, ...]:
        entry = entries.get(tag)
        if entry is None:
            return (default,)
        if entry.kind not in _INTEGERS:
            raise BadHeader(f"its tag {tag} should hold integers")
        if not entry.values or entry.at + entry.values * _BYTES[entry.kind] > len(data):
            raise BadHeader(f"it breaks off at byte {len(data):,}, before the values of its tag {tag}")
        return struct.unpack_from(f"{order}{entry.values}{_INTEGERS[entry.kind]}", data, entry.at)

    for tag in sorted(_KEPT & entries.keys()):
        entry = entries[tag]
        if not entry.values or (entry.values != 1 and tag in _SINGLE):
            raise BadHeader(f"its tag {tag} has {entry.values} values")
        if entry.at + entry.values * _BYTES.get(entry.kind, 1) > len(data):
            raise BadHeader(f"it breaks off at byte {len(data):,}, before the values of its tag {tag}")
    if numbers(254, 0)[0] & 1:
        raise BadHeader("its first picture is a preview of another, as in the raw files of cameras")
    (width,), (height,) = numbers(_WIDTH, 0), numbers(_HEIGHT, 0)
    if not width or not height:
        raise BadHeader(f"its header says {width}×{height} pixels")
    _check_parts(numbers, entries, (width, height), len(data))
    kept = [entries[tag].raw for tag in sorted(_KEPT & entries.keys())]
    end = len(data) + len(data) % 2
    table = struct.pack(order + counter, len(kept)) + b"".join(kept) + bytes(pointer)
    plain = b"".join(
        (
            data[:at],
            struct.pack(order + ("Q" if big else "I"), end),
            memoryview(data)[at + pointer :],
            bytes(end - len(data)),
            table,
        )
    )
    sideways = numbers(_ORIENTATION, UPRIGHT)[0] if _ORIENTATION in entries else UPRIGHT
    orientation = sideways if 1 <= sideways <= 8 else UPRIGHT
    signed = 2 in numbers(_SAMPLE_FORMAT, 1)
    return Tiff(
        (width, height), orientation, max(numbers(_BITS, 1)), numbers(_PHOTOMETRIC, 0)[0] == 0, signed, plain
    )


def _check_parts(
    numbers: Callable[[int, int], tuple[int, ...]],
    entries: dict[int, _Entry],
    size: tuple[int, int],
    whole: int,
) -> None:
    """Every strip or tile is named and lies within the file; what is missing would come out black."""
    offsets = next((tag for tag in _OFFSETS if tag in entries), None)
    if offsets is None:
        return  # the old kind of JPEG in TIFF; its decoder will tell
    width, height = size
    if offsets == 273:
        rows = min(numbers(278, height)[0], height) or height
        parts = -(-height // rows)
    else:
        parts = -(-width // (numbers(322, 0)[0] or width)) * -(-height // (numbers(323, 0)[0] or height))
    starts, lengths = numbers(offsets, 0), numbers(_OFFSETS[offsets], 0)
    if len(starts) < parts:
        raise BadHeader(f"it has {len(starts)} of the {parts} parts of its picture")
    ends = [start + length for start, length in zip(starts, lengths, strict=False)]
    if max(ends) > whole:
        raise BadHeader(f"it breaks off at byte {whole:,}; its picture goes on to byte {max(ends):,}")


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
