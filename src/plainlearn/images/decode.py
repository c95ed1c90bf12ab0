"""Decoding a file's bytes, whatever the format: to upright pixels, to labels, or to its size alone."""

from __future__ import annotations

import importlib
import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from plainlearn.core.errors import DataError
from plainlearn.images.files import kind_of, resembles
from plainlearn.images.headers import (
    Jpeg,
    Png,
    check_jpeg2000,
    exif_orientation,
    read_jpeg,
    read_png,
    read_webp,
)
from plainlearn.images.jpeg import decode_jpeg, draft_scale, scaled
from plainlearn.images.memory import MAX_MEMORY, check_memory, check_pillows_limit, decoding_cost
from plainlearn.images.pixels import Mode, Pixels, Range, as_labels, flatten, orient
from plainlearn.images.tiff import read_tiff

__all__ = ["Wish", "bands_of", "decode", "decode_bands", "decode_labels", "turned", "upright_size"]


@dataclass(frozen=True, slots=True)
class Wish:
    """What the caller wants of the image; see `load_image`. `scale` 2, 4 or 8: a JPEG is decoded so much smaller."""

    mode: Mode = "RGB"
    background: tuple[int, int, int] = (255, 255, 255)
    draft_to: int | None = None
    value_range: Range | None = None
    strict: bool = True
    max_memory: int = MAX_MEMORY
    scale: int = 1


class _Opened(NamedTuple):
    """A picture known to Pillow, not yet decoded. `depth`: bits a value has, where Pillow does not tell."""

    im: Image.Image
    orientation: int
    depth: int = 0
    white_is_zero: bool = False


def decode(data: bytes, path: str, wish: Wish) -> Pixels:
    """Upright pixels. Raises anything on bad bytes: call it within `Naming`, like all here."""
    kind = _known_kind(data, path)
    if kind == "JPEG":
        header = read_jpeg(data)
        grey = wish.mode == "L"
        scale = wish.scale if wish.draft_to is None else draft_scale(header.size, wish.draft_to)
        pixels = decode_jpeg(
            data, header, grey=grey, scale=scale, strict=wish.strict, max_memory=wish.max_memory
        )
        if pixels is not None:
            return orient(pixels, header.orientation)
        found = _open_jpeg(data, header, wish, scale)
    else:
        found = _open(data, kind, wish)
    im = found.im
    wide = im.mode[0] in "IF"
    value_range = (0.0, 4095.0) if wide and found.depth == 12 and not wish.value_range else wish.value_range
    pixels = flatten(im, wish.mode, wish.background, value_range)
    if wide and found.white_is_zero:
        np.subtract(255, pixels, out=pixels)
    return orient(pixels, found.orientation)


def decode_labels(data: bytes, path: str, max_memory: int) -> NDArray[Any]:
    """Upright numbers as stored, one a pixel."""
    kind = _known_kind(data, path)
    if kind == "JPEG":
        raise DataError(
            "it is a JPEG, which changes numbers when it is saved; expected a mask in PNG or another exact format",
            try_="load_image(path, mode='L') > 127 in a function of yours, if it has two classes",
        )
    found = _open(data, kind, Wish(max_memory=max_memory))
    return orient(as_labels(found.im), found.orientation)


def decode_bands(data: bytes, path: str, max_memory: int) -> NDArray[Any]:
    """Upright values as stored, (height, width, bands): nothing converted, nor laid over a background."""
    found = _open(data, _known_kind(data, path), Wish(max_memory=max_memory))
    return bands_of(found.im, found.orientation)


def bands_of(im: Image.Image, orientation: int) -> NDArray[Any]:
    """The same of an opened picture."""
    if im.mode in ("P", "PA"):
        raise DataError("its values are places in a palette of colours; expected bands", try_="ImageBlock()")
    return turned(np.atleast_3d(np.asarray(im)), orientation)


def turned(values: NDArray[Any], orientation: int) -> NDArray[Any]:
    """As `orient`, for any number of bands."""
    if orientation == 1:
        return values
    return np.dstack([orient(values[..., band], orientation) for band in range(values.shape[2])])


def upright_size(data: bytes, path: str) -> tuple[int, int]:
    """(width, height) as seen, from the header alone."""
    kind = _known_kind(data, path)
    if kind == "JPEG":
        header = read_jpeg(data)
        size, orientation = header.size, header.orientation
    elif kind == "PNG":
        size, orientation, _ = read_png(data)
    elif kind == "TIFF":
        size, orientation, *_ = read_tiff(data)
    elif kind == "WEBP":
        size, orientation = read_webp(data)
    else:
        im = _plugin(kind)(io.BytesIO(data))
        size, orientation = im.size, exif_orientation(im.info.get("exif") or b"")
    return size if orientation < 5 else (size[1], size[0])


def _open(data: bytes, kind: str, wish: Wish) -> _Opened:
    """What Pillow makes of the header, after our own look at it, and the check of its size."""
    depth, white_is_zero, signed = 0, False, False
    if kind == "PNG":
        return _open_png(read_png(data), wish)
    if kind == "TIFF":
        _, orientation, depth, white_is_zero, signed, data = read_tiff(data)
        im = _plugin(kind)(io.BytesIO(data))
        if signed and im.mode == "L":
            raise DataError("its values are signed bytes, -128 to 127, which are no shades of grey")
    elif kind == "WEBP":
        size, orientation = read_webp(data)
        # Before it is opened: the decoder takes memory for the canvas at once.
        cost = decoding_cost(kind, "RGBA", wish.mode == "L", orientation)
        check_memory(size, cost, 2 * len(data), wish.max_memory)
        check_pillows_limit(kind, size)
        im = _plugin(kind)(io.BytesIO(data))
    else:
        if kind == "JPEG2000":
            check_jpeg2000(data)
        im = _plugin(kind)(io.BytesIO(data))
        orientation = exif_orientation(im.info.get("exif") or b"")
    cost = decoding_cost(kind, im.mode, wish.mode == "L", orientation)
    check_memory(im.size, cost, 2 * len(data), wish.max_memory)
    check_pillows_limit(kind, im.size)
    return _Opened(im, orientation, depth, white_is_zero)


def _open_png(header: Png, wish: Wish) -> _Opened:
    """Decoded already: rows that are missing in the file come out blank, and Pillow says nothing."""
    im = _plugin("PNG")(io.BytesIO(header.plain))
    cost = decoding_cost("PNG", im.mode, wish.mode == "L", header.orientation)
    check_memory(header.size, cost, 2 * len(header.plain), wish.max_memory)
    im.load()
    width, height = im.size
    small = width * height < 1 << 14  # a box around all of it is then found before a row is cut out
    filled = im.getbbox() if small else im.crop((0, height - 1, width, height)).getbbox()
    last_row_is_blank = filled is None or (small and filled[3] < height)
    if last_row_is_blank and not header.interlaced:  # only then is a look at all data worth it
        header.check_rows()
    return _Opened(im, header.orientation)


def _open_jpeg(data: bytes, header: Jpeg, wish: Wish, scale: int) -> _Opened:
    """Without its metadata, in which Pillow finds more to warn of than to use."""
    cost = decoding_cost("JPEG", "", wish.mode == "L", header.orientation)
    check_memory(scaled(header.size, scale), cost, 2 * len(data), wish.max_memory)
    im = _plugin("JPEG")(io.BytesIO(header.plain(data)))
    if scale > 1:  # Pillow takes the largest scale that leaves this size, and rounds the other way
        im.draft(None, (max(header.size[0] // scale, 1), max(header.size[1] // scale, 1)))
    return _Opened(im, header.orientation)


# Each format's own class is asked directly: `Image.open` warns, or fails, by a limit set for everyone.
_PLUGINS: Final = {
    "JPEG": ("PIL.JpegImagePlugin", "JpegImageFile"),
    "PNG": ("PIL.PngImagePlugin", "PngImageFile"),
    "GIF": ("PIL.GifImagePlugin", "GifImageFile"),
    "TIFF": ("PIL.TiffImagePlugin", "TiffImageFile"),
    "WEBP": ("PIL.WebPImagePlugin", "WebPImageFile"),
    "BMP": ("PIL.BmpImagePlugin", "BmpImageFile"),
    "PPM": ("PIL.PpmImagePlugin", "PpmImageFile"),
    "ICO": ("PIL.IcoImagePlugin", "IcoImageFile"),
    "TGA": ("PIL.TgaImagePlugin", "TgaImageFile"),
    "JPEG2000": ("PIL.Jpeg2KImagePlugin", "Jpeg2KImageFile"),
    "AVIF": ("PIL.AvifImagePlugin", "AvifImageFile"),
    "HEIF": ("pillow_heif", "HeifImageFile"),
}
_MISSING: Final = {
    "HEIF": "pip install pillow-heif",
    "AVIF": 'pip install "pillow>=11.3", whose wheels read AVIF',
}


def _plugin(kind: str) -> Callable[[io.BytesIO], Image.Image]:
    module, name = _PLUGINS[kind]
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise DataError(f"it is {kind}, which needs another library", try_=_MISSING.get(kind, "")) from error


def _known_kind(data: bytes, path: str) -> str:
    kind = kind_of(data, path)
    if kind is None:
        raise DataError(f"it {resembles(data)}; expected an image", try_="to delete it, or fetch it again")
    return kind
