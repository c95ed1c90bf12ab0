"""Reading a file's bytes without ever hanging, and what they say before a pixel is decoded: kind, size, orientation, soundness.

The headers of JPEG, PNG and WebP are read here rather than by Pillow. Of the tests' corpus Pillow takes four damaged PNGs
as sound (it checks few of the checksums, and draws missing rows), and warns of, or refuses, six sound PNGs and JPEGs for
metadata that nobody asked for; a WebP takes memory for its canvas before its size is known. simplejpeg's header tells
neither orientation nor bits nor whether a JPEG is progressive, and so not what decoding it will take.
"""

from __future__ import annotations

import errno
import os
import stat
import struct
import zlib
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Final, NamedTuple, Protocol, TypeAlias, runtime_checkable

from plainlearn.core.errors import ArgumentError, DataError, MissingFileError
from plainlearn.core.paths import shown

__all__ = [
    "MAX_MEMORY",
    "ORIENTATION",
    "UPRIGHT",
    "BadHeader",
    "EncodedImage",
    "HasBytes",
    "ImageFile",
    "JpegFrame",
    "JpegHeader",
    "PngHeader",
    "exif_orientation",
    "kind_of",
    "naming_errors",
    "read_file",
    "read_jpeg",
    "read_png",
    "read_webp",
    "resembles",
]

MAX_MEMORY: Final = 1 << 30
"""Bytes that opening one image may take beyond what the program had: 1 GiB, room for 100 megapixels."""
ORIENTATION: Final = 0x0112  # the number of EXIF's tag, and of TIFF's
UPRIGHT: Final = 1  # EXIF's orientation 1: the first row is the top, the first column the left


@runtime_checkable
class HasBytes(Protocol):
    """What hands out a file's bytes without being a file here, such as a `RemotePath`; its `str` names it."""

    def read_bytes(self) -> bytes: ...


class BadHeader(Exception):
    """The bytes do not hold what this kind of file must hold; the argument says what, as a clause."""


class JpegFrame(NamedTuple):
    """What a JPEG's header says of its picture: (height, width) as seen upright, and how it is stored."""

    size: tuple[int, int]
    orientation: int


@dataclass(frozen=True, eq=False)
class EncodedImage:
    """An image file's bytes, and its `name` if it has one. What its first bytes say is read once, wherever it goes then."""

    data: bytes
    name: str = ""

    @classmethod
    def of(cls, source: ImageFile, max_memory: int = MAX_MEMORY) -> EncodedImage:
        """From a path, bytes, or what hands out bytes. Raises what `read_file` raises."""
        if isinstance(source, EncodedImage):
            return source
        if isinstance(source, bytes):
            return cls(source)
        if isinstance(source, (str, os.PathLike)):
            path = os.fspath(source)
            return cls(read_file(path, max_memory), path)
        data = source.read_bytes()
        if len(data) > max_memory:
            raise DataError(f"{source} has {len(data):,} bytes; the limit is {max_memory:,}")
        return cls(data, str(source))

    @cached_property
    def kind(self) -> str | None:
        """The format; see `kind_of`."""
        return kind_of(self.data, self.name)

    @cached_property
    def jpeg(self) -> JpegHeader:
        """The header of what is a JPEG. Raises `BadHeader`."""
        return read_jpeg(self.data)

    @property
    def frame(self) -> JpegFrame | None:
        """The frame of a JPEG that can be decoded smaller; None for all else, the rare kinds and broken headers too."""
        if self.kind != "JPEG":
            return None
        try:
            header = self.jpeg
        except BadHeader:
            return None  # decoding it will say why
        if header.channels not in (1, 3) or header.bits != 8:
            return None
        width, height = header.size
        return JpegFrame((width, height) if header.orientation >= 5 else (height, width), header.orientation)

    def __repr__(self) -> str:
        """As messages name it."""
        size = f"{len(self.data):,} bytes"
        if not self.name:
            return f"an image of {size}"
        return shown(self.name) + (f" ({size})" if self.data else "")


#: What can be read as an image file.
ImageFile: TypeAlias = "str | os.PathLike[str] | bytes | HasBytes | EncodedImage"


_OPEN_FLAGS: Final[int] = (
    # A pipe without a writer would block for ever without O_NONBLOCK; the others exist on Windows only
    # or keep a terminal from becoming ours.
    os.O_RDONLY
    | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_NOCTTY", 0)
    | getattr(os, "O_BINARY", 0)
)
_NOT_FILES: Final = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def read_file(path: str, max_bytes: int) -> bytes:
    """All bytes of a regular file of up to `max_bytes`.

    Raises `MissingFileError` if there is none; `DataError` for what is no file, is empty, may not be read,
    or changes while it is read.
    """
    try:
        handle = os.open(path, _OPEN_FLAGS)
    except (OSError, ValueError) as error:
        raise _cannot_open(path, error) from error
    try:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            what = _NOT_FILES.get(stat.S_IFMT(status.st_mode), "of a special kind")
            raise DataError(f"{shown(path)} is {what}; expected an image file")
        if status.st_size > max_bytes:
            raise DataError(
                f"{shown(path)} has {status.st_size:,} bytes; the limit is {max_bytes:,}",
                try_=f"max_memory={_round_up(2 * status.st_size)}, if the machine has it",
            )
        parts: list[bytes] = []
        missing = status.st_size
        while missing and (part := os.read(handle, missing)):
            parts.append(part)
            missing -= len(part)
    except OSError as error:
        raise DataError(f"{shown(path)} cannot be read: {error.strerror}") from error
    finally:
        os.close(handle)
    if missing:
        raise DataError(f"{shown(path)} became {missing:,} bytes shorter while it was read")
    if not parts:
        raise DataError(f"{shown(path)} is empty (0 bytes); expected an image", try_="to fetch it again")
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _cannot_open(path: str, error: OSError | ValueError) -> DataError | MissingFileError:
    if isinstance(error, ValueError):
        return DataError(f"{shown(path)} cannot be the name of a file: {error}")
    if error.errno == errno.ENOENT:
        if os.path.islink(path):  # noqa: PTH114 - a name may be no valid Path
            target = shown(os.readlink(path))  # noqa: PTH115
            return MissingFileError(f"{shown(path)} is a link to {target}, which is not there")
        return MissingFileError(f"there is no file {shown(path)}{_nearest(path)}")
    if error.errno == errno.ENXIO:
        return DataError(f"{shown(path)} is a socket; expected an image file")
    return DataError(f"{shown(path)} cannot be opened: {error.strerror}")


def _nearest(path: str) -> str:
    folder = above = os.path.dirname(os.path.abspath(path))  # noqa: PTH100, PTH120
    while not os.path.isdir(above) and above != os.path.dirname(above):  # noqa: PTH112, PTH120
        above = os.path.dirname(above)  # noqa: PTH120
    return "" if above == folder else f"; the nearest folder that exists is {shown(above)}"


def _round_up(number: int) -> int:
    return -(-number // 10**8) * 10**8


_MAGIC: Final = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"),
    (b"MM\0+", "TIFF"),
    (b"BM", "BMP"),
    (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG2000"),
    (b"\xff\x4f\xff\x51", "JPEG2000"),
    (b"\0\0\1\0", "ICO"),
    *((b"P%c" % letter, "PPM") for letter in b"123456fFy"),
)
_BRANDS: Final = {
    **dict.fromkeys((b"avif", b"avis"), "AVIF"),
    **dict.fromkeys((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"), "HEIF"),
}


def kind_of(data: bytes, name: str = "") -> str | None:
    """The format by its first bytes, whatever the file is called; None if it is no image that we read.

    Only Targa has no mark of its own, and is taken at its `name`'s word.
    """
    for magic, kind in _MAGIC:
        if data.startswith(magic):
            return kind
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    if data[4:8] == b"ftyp":
        brands = data[8 : min(int.from_bytes(data[:4]), 256)]
        found = [
            _BRANDS[brands[at : at + 4]] for at in range(0, len(brands), 4) if brands[at : at + 4] in _BRANDS
        ]
        return "AVIF" if "AVIF" in found else found[0] if found else None
    if name.lower().endswith(".tga"):
        return "TGA"
    return None


_OTHER_MAGIC: Final = (
    (b"%PDF", "a PDF"),
    (b"%!PS", "a PostScript file, which is a program"),
    (b"PK\x03\x04", "a zip archive"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"7z\xbc\xaf", "a 7z archive"),
    (b"Rar!", "a rar archive"),
    (b"\xff\x0a", "JPEG XL"),
    (b"\0\0\0\x0cJXL ", "JPEG XL"),
    (b"8BPS", "a Photoshop document"),
    (b"\x93NUMPY", "a numpy array"),
    (b"\x89HDF", "an HDF5 file"),
    (b"ID3", "sound"),
    (b"OggS", "sound or film"),
    (b"RIFF", "sound or film"),
    (b"\x1aE\xdf\xa3", "film"),
    (b"\x7fELF", "a program"),
    (b"MZ", "a program"),
    (b"version https://git-lfs", "a pointer of Git LFS, not the file it stands for"),
    (b"\0\x05\x16\x07", "macOS's notes about another file"),
)


def resembles(data: bytes) -> str:
    """What bytes that are no image look like, as the end of a sentence: "looks like HTML"."""
    for magic, what in _OTHER_MAGIC:
        if data.startswith(magic):
            return f"looks like {what}"
    if data[4:8] == b"ftyp":
        return "looks like film"
    if not data.strip(b"\0"):
        return "holds nothing but zeros"
    head = data[:1024].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if b"<svg" in head:
        return "is an SVG drawing, which has no pixels of its own"
    if head.startswith((b"<!doctype html", b"<html")) or b"<html" in head:
        return "looks like HTML"
    if head.startswith(b"<?xml"):
        return "looks like XML"
    if head.startswith((b"{", b"[")):
        return "looks like JSON"
    if all(byte >= 32 or byte in b"\t\r\n" for byte in head) and _is_utf8(data[:1024]):
        start = data[:40].decode("utf-8", "ignore").split("\n")[0].strip()
        return f"looks like text ({start!r})"
    return f"begins with {data[:8].hex(' ')}, which no image does"


def _is_utf8(data: bytes) -> bool:
    try:
        data[:-3].decode()  # the last character may be cut
    except UnicodeDecodeError:
        return False
    return True


@contextmanager
def naming_errors(image: EncodedImage) -> Generator[None, None, None]:
    """Turns whatever goes wrong with a file's bytes into one `DataError` that names it, its size and kind.

    Decoders raise anything from `SyntaxError` to `struct.error` on bad bytes; the cause stays attached.
    """
    try:
        yield
    except ArgumentError:
        raise
    except Exception as error:
        if isinstance(error, DataError):
            raise DataError(f"{image} cannot be used: {error.what}", try_=error.try_) from error
        form = image.kind or "an image"
        if isinstance(error, BadHeader):
            what = f"{image} is a damaged {form}: {error}"
        else:
            what = f"{image} cannot be decoded as {form}: {str(error) or type(error).__name__}"
        raise DataError(what, try_="to delete it, or fetch it again") from error


class JpegHeader(NamedTuple):
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


def read_jpeg(data: bytes) -> JpegHeader:
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
    return JpegHeader(
        (width, height), channels, bits, kind in _PROGRESSIVE, orientation or UPRIGHT, tuple(notes), gaps
    )


_FRAMES: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_PROGRESSIVE: Final = frozenset({0xC2, 0xC6, 0xCA, 0xCE})


class PngHeader(NamedTuple):
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


def read_png(data: bytes) -> PngHeader:
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
    return PngHeader(size, orientation, b"".join(kept) if left_out else data)


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
