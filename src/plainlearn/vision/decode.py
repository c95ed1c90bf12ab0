"""Decoding a file's bytes: which decoder, how much memory it may take, and what counts as damage."""

from __future__ import annotations

import importlib
import io
from dataclasses import dataclass
from typing import Any, Final, cast

import numpy as np
from PIL import Image

from plainlearn.core.errors import ArgumentError, DataError
from plainlearn.vision.headers import (
    BadHeader,
    Jpeg,
    exif_orientation,
    read_jpeg,
    read_png,
    read_tiff,
    read_webp,
)
from plainlearn.vision.imagefile import kind_of, resembles, shown
from plainlearn.vision.pixels import Mode, Pixels, Range, flatten, orient

try:
    import simplejpeg
except ImportError:
    simplejpeg = None  # Pillow decodes instead: a quarter slower, and blind to damage inside a JPEG

__all__ = ["Naming", "Wish", "check_memory", "decode", "decoding_cost", "upright_size"]


@dataclass(frozen=True, slots=True)
class Wish:
    """What the caller wants of the image."""

    mode: Mode
    background: tuple[int, int, int]
    draft_to: int | None
    value_range: Range | None
    max_memory: int


def decode(data: bytes, path: str, wish: Wish) -> Pixels:
    with Naming(data, path):
        kind = _known_kind(data, path)
        if kind == "JPEG":
            return _decode_jpeg(data, wish)
        if kind == "TIFF":
            return _decode_tiff(data, wish)
        if kind == "PNG":
            _, orientation, data = read_png(data)
            im = _open(data, kind)
        elif kind == "WEBP":
            size, orientation = read_webp(data)
            # Before it is opened: the decoder takes memory for the canvas at once.
            check_memory(size, decoding_cost(kind, "RGBA", wish, orientation), wish)
            im = _open(data, kind)
        else:
            im = _open(data, kind)
            orientation = exif_orientation(im.info.get("exif") or b"")
        check_memory(im.size, decoding_cost(kind, im.mode, wish, orientation), wish)
        return orient(flatten(im, wish.mode, wish.background, wish.value_range), orientation)


def upright_size(data: bytes, path: str) -> tuple[int, int]:
    """(width, height) as seen, from the header alone; to be called within `Naming`."""
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
        im = _open(data, kind)
        size, orientation = im.size, exif_orientation(im.info.get("exif") or b"")
    return size if orientation < 5 else (size[1], size[0])


def _decode_tiff(data: bytes, wish: Wish) -> Pixels:
    page = read_tiff(data)
    im = _open(page.plain, "TIFF")
    if page.signed and im.mode == "L":
        raise DataError("its values are signed bytes, -128 to 127, which are no shades of grey")
    wide = im.mode[0] in "IF"
    value_range = (0.0, 4095.0) if wide and page.bits == 12 and not wish.value_range else wish.value_range
    check_memory(page.size, decoding_cost("TIFF", im.mode, wish, page.orientation), wish)
    pixels = flatten(im, wish.mode, wish.background, value_range)
    if wide and page.white_is_zero:
        np.subtract(255, pixels, out=pixels)
    return orient(pixels, page.orientation)


def _decode_jpeg(data: bytes, wish: Wish) -> Pixels:
    header = read_jpeg(data)
    width, height = header.size
    scale = _draft_scale(header.size, wish.draft_to)
    small = (-(-width // scale), -(-height // scale))
    cost = 3 if header.orientation == 1 else 6
    if header.progressive:  # all coefficients are kept until the last scan, at full size
        check_memory(header.size, 2 * header.channels + cost / scale**2, wish)
    check_memory(small, cost, wish)
    if simplejpeg is None or header.channels not in (1, 3) or header.bits != 8:
        return _decode_jpeg_by_pillow(data, header, small, wish)
    grey = header.channels == 1 or wish.mode == "L"
    try:
        pixels = _libjpeg(data, grey, small, scale)
    except ValueError as error:
        pixels = _second_try(data, grey, small, scale, str(error))
        if pixels is None:
            return _decode_jpeg_by_pillow(data, header, small, wish)
    pixels = pixels[..., 0] if grey else pixels
    if grey and wish.mode == "RGB":
        pixels = np.repeat(pixels[..., None], 3, axis=2)
    return orient(pixels, header.orientation)


def _libjpeg(data: bytes, grey: bool, small: tuple[int, int], scale: int) -> Pixels:
    """Decode, strictly: any complaint of libjpeg's is a ValueError."""
    decode: Any = cast(Any, simplejpeg).decode_jpeg
    return decode(data, "GRAY" if grey else "RGB", min_width=small[0], min_height=small[1], min_factor=scale)


def _second_try(data: bytes, grey: bool, small: tuple[int, int], scale: int, complaint: str) -> Pixels | None:
    """What to do when libjpeg complains: None if the pixels are whole all the same and Pillow may try.

    A missing end marker is mended. When the data end before the picture does, libjpeg would fill up with
    grey, and Pillow say nothing: that is refused. Other complaints are common in the wild (bytes between
    segments, unusual markers) and leave a whole picture.
    """
    if "Premature end of JPEG file" in complaint:
        try:
            return _libjpeg(data + b"\xff\xd9", grey, small, scale)
        except ValueError as error:
            complaint = str(error)
    if "premature end" in complaint.lower():
        raise BadHeader("its picture breaks off: the data end before the last row") from None
    return None


def _decode_jpeg_by_pillow(data: bytes, header: Jpeg, small: tuple[int, int], wish: Wish) -> Pixels:
    check_memory(small, 7 if header.orientation == 1 else 10, wish)
    im = _open(header.plain(data), "JPEG")
    if small != header.size:
        im.draft(None, small)
    return orient(flatten(im, wish.mode, wish.background, wish.value_range), header.orientation)


def _draft_scale(size: tuple[int, int], draft_to: int | None) -> int:
    if draft_to is None:
        return 1
    if draft_to < 1:
        raise ArgumentError(f"draft_to is {draft_to}; expected the side needed, in pixels, or None")
    return next((scale for scale in (8, 4, 2) if min(size) >= _SPARE * draft_to * scale), 1)


_SPARE: Final = 2  # how many times larger than needed a drafted JPEG must stay


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


def _open(data: bytes, kind: str) -> Image.Image:
    """The format's own class, asked directly: `Image.open` warns or fails by a limit set for everyone."""
    module, name = _PLUGINS[kind]
    try:
        opener = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise DataError(
            f"it is {kind}, which is not read without more", try_=_MISSING.get(kind, "")
        ) from error
    return cast(Image.Image, opener(io.BytesIO(data)))


def _known_kind(data: bytes, path: str) -> str:
    kind = kind_of(data, path)
    if kind is None:
        raise DataError(f"it {resembles(data)}; expected an image", try_="to delete it, or fetch it again")
    return kind


# Bytes a pixel that Pillow and a codec hold at most while they decode, and for the result; measured.
_DECODED: Final = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16B": 2, "I;16L": 2}
_CODEC: Final = {"WEBP": 12, "AVIF": 10, "HEIF": 10, "JPEG2000": 24, "GIF": 4}


def decoding_cost(kind: str, mode: str, wish: Wish, orientation: int) -> float:
    result = (1 if wish.mode == "L" else 3) * (1 if orientation == 1 else 2)
    return _DECODED.get(mode, 4) + _CODEC.get(kind, 0) + result


def check_memory(size: tuple[int, int], cost: float, wish: Wish) -> None:
    width, height = size
    need = int(width * height * cost)
    if need > wish.max_memory:
        raise DataError(
            f"its {width:,}×{height:,} pixels would take {need / 2**20:,.0f} MiB to open; the limit is"
            f" {wish.max_memory / 2**20:,.0f} MiB",
            try_=f"max_memory={-(-need // 10**8) * 10**8} if the machine has it, or make the image smaller",
        )


class Naming:
    """Turns whatever goes wrong with a file into one `DataError` that names it, its size and its kind."""

    __slots__ = ("data", "path")

    def __init__(self, data: bytes, path: str) -> None:
        self.data = data
        self.path = path

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is None or not isinstance(error, Exception) or isinstance(error, ArgumentError):
            return
        name = (
            f"{shown(self.path)} ({len(self.data):,} bytes)"
            if self.path
            else f"an image of {len(self.data):,} bytes"
        )
        if isinstance(error, DataError):
            raise DataError(f"{name} cannot be used: {error.what}", try_=error.try_) from error
        form = kind_of(self.data, self.path)
        what = (
            f"{name} is a damaged {form}: {error}"
            if isinstance(error, BadHeader)
            else f"{name} cannot be decoded as {form}: {error}"
        )
        raise DataError(what, try_="to delete it, or fetch it again") from error
