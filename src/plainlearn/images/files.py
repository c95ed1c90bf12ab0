"""Reading a file's bytes without ever hanging, and telling what they are.

Knows files and the first bytes of many formats, not pixels.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import Final

from plainlearn.core.errors import ArgumentError, DataError, MissingFileError
from plainlearn.core.paths import shown
from plainlearn.images.headers import BadHeader

__all__ = ["Naming", "kind_of", "read_file", "resembles", "shown"]

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


class Naming:
    """Turns whatever goes wrong with a file's bytes into one `DataError` that names it, its size and kind.

    Decoders raise anything from `SyntaxError` to `struct.error` on bad bytes; the cause stays attached.
    """

    __slots__ = ("data", "path")

    def __init__(self, data: bytes, path: str) -> None:
        self.data = data
        self.path = path

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if not isinstance(error, Exception) or isinstance(error, ArgumentError):
            return
        size = f"{len(self.data):,} bytes"
        name = (
            f"an image of {size}" if not self.path else shown(self.path) + (f" ({size})" if self.data else "")
        )
        if isinstance(error, DataError):
            raise DataError(f"{name} cannot be used: {error.what}", try_=error.try_) from error
        form = kind_of(self.data, self.path) or "an image"
        if isinstance(error, BadHeader):
            what = f"{name} is a damaged {form}: {error}"
        else:
            what = f"{name} cannot be decoded as {form}: {str(error) or type(error).__name__}"
        raise DataError(what, try_="to delete it, or fetch it again") from error
