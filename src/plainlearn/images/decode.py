"""Decoding a file's bytes, whatever the format: to upright pixels, to labels, or to its size alone; and what memory it takes.

A JPEG has no checksums, and most programs show whatever libjpeg makes of one: grey where data are missing, wrong colours
after a wrong bit. Here libjpeg runs in strict mode, and its complaints count. Where that cannot be seen, a JPEG is decoded
smaller. Other formats are left to Pillow, after a look of our own at their headers.
"""

from __future__ import annotations

import importlib
import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, TypeVar, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from plainlearn.core.errors import ArgumentError, DataError
from plainlearn.images.files import (
    MAX_MEMORY,
    BadHeader,
    EncodedImage,
    ImageFile,
    JpegFrame,
    JpegHeader,
    PngHeader,
    exif_orientation,
    naming_errors,
    read_png,
    read_webp,
    resembles,
)
from plainlearn.images.pixels import STRIP, ColorMode, Pixels, Range, as_labels, flatten
from plainlearn.images.tiff import read_tiff

try:
    import simplejpeg
except ImportError:
    simplejpeg = None  # Pillow decodes instead: a quarter slower, and silent about damage

__all__ = [
    "DecodeOptions",
    "ScaledJpeg",
    "Shrink",
    "as_scaled",
    "bands_of",
    "check_memory",
    "decode",
    "decode_bands",
    "decode_labels",
    "decoding_cost",
    "image_size",
    "orient",
    "scale_for",
    "scale_of",
    "turned",
]


Scalar = TypeVar("Scalar", bound=np.generic)


@dataclass(frozen=True, slots=True)
class DecodeOptions:
    """What becomes of the bytes; see `load_image`. `scale` 2, 4 or 8: a JPEG is decoded so much smaller."""

    mode: ColorMode = "RGB"
    background: tuple[int, int, int] = (255, 255, 255)
    draft_to: int | None = None
    value_range: Range | None = None
    strict: bool = True
    max_memory: int = MAX_MEMORY
    scale: int = 1


#: How many times smaller to decode a JPEG of this frame: 1, 2, 4 or 8.
Shrink = Callable[[JpegFrame], int]


@dataclass(frozen=True, eq=False)
class ScaledJpeg:
    """Upright pixels of a JPEG decoded at 1/`scale` of the size that `frame` tells, for a picture that is only read small.

    It stands for the whole picture: it has the true size, and `geometry.scaled_jpeg_crop` says which place of the truth
    each pixel shows. So crops, masks, points and boxes need not know. `scale_for` says when it cannot be seen.
    """

    pixels: Pixels
    frame: JpegFrame
    scale: int

    def summary(self) -> str:
        """In a few words, for people."""
        height, width = self.frame.size
        return f"uint8 array {self.pixels.shape}, of {height} × {width} decoded at 1/{self.scale}"


def scale_of(frame: JpegFrame | None, shrink: Shrink | None) -> int:
    """The scale at which to decode what has this frame; what is no JPEG has none, and is decoded whole."""
    return 1 if frame is None or shrink is None else shrink(frame)


def as_scaled(pixels: Pixels, frame: JpegFrame | None, scale: int) -> Pixels | ScaledJpeg:
    """What was decoded at that scale: whole, the pixels themselves."""
    return pixels if frame is None or scale == 1 else ScaledJpeg(pixels, frame, scale)


class _Opened(NamedTuple):
    """A picture known to Pillow, not yet decoded. `depth`: bits a value has, where Pillow does not tell."""

    im: Image.Image
    orientation: int
    depth: int = 0
    white_is_zero: bool = False


def decode(image: EncodedImage, options: DecodeOptions) -> Pixels:
    """Upright pixels. Raises anything on bad bytes: call it within `naming_errors`, like all here."""
    kind = _known_kind(image)
    if kind == "JPEG":
        header, data = image.jpeg, image.data
        grey = options.mode == "L"
        scale = options.scale if options.draft_to is None else _draft_scale(header.size, options.draft_to)
        pixels = _decode_jpeg(
            data, header, grey=grey, scale=scale, strict=options.strict, max_memory=options.max_memory
        )
        if pixels is not None:
            return orient(pixels, header.orientation)
        found = _open_jpeg(data, header, options, scale)
    else:
        found = _open(image.data, kind, options)
    im = found.im
    wide = im.mode[0] in "IF"
    value_range = (
        (0.0, 4095.0) if wide and found.depth == 12 and not options.value_range else options.value_range
    )
    pixels = flatten(im, options.mode, options.background, value_range)
    if wide and found.white_is_zero:
        np.subtract(255, pixels, out=pixels)
    return orient(pixels, found.orientation)


def decode_labels(image: EncodedImage, max_memory: int) -> NDArray[Any]:
    """Upright numbers as stored, one a pixel."""
    kind = _known_kind(image)
    if kind == "JPEG":
        raise DataError(
            "it is a JPEG, which changes numbers when it is saved; expected a mask in PNG or another exact format",
            try_="load_image(path, mode='L') > 127 in a function of yours, if it has two classes",
        )
    found = _open(image.data, kind, DecodeOptions(max_memory=max_memory))
    return orient(as_labels(found.im), found.orientation)


def decode_bands(image: EncodedImage, max_memory: int) -> NDArray[Any]:
    """Upright values as stored, (height, width, bands): nothing converted, nor laid over a background."""
    found = _open(image.data, _known_kind(image), DecodeOptions(max_memory=max_memory))
    return bands_of(found.im, found.orientation)


def bands_of(im: Image.Image, orientation: int) -> NDArray[Any]:
    """The same of an opened picture."""
    if im.mode in ("P", "PA"):
        raise DataError("its values are places in a palette of colours; expected bands", try_="ImageBlock()")
    return turned(np.atleast_3d(np.asarray(im)), orientation)


def orient(pixels: NDArray[Scalar], orientation: int) -> NDArray[Scalar]:
    """Turn and mirror as EXIF's `orientation` says, 1 to 8, the way the viewer of a photo does."""
    if orientation not in _TURNS:
        return pixels
    if pixels.ndim == 2:
        return np.ascontiguousarray(_TURNS[orientation](pixels))
    # Three bytes seen as one item are moved at a time: three times as fast as one by one.
    turned = np.ascontiguousarray(_TURNS[orientation](pixels.view("V3")[..., 0]))
    return turned.view(pixels.dtype).reshape(*turned.shape, 3)


_TURNS: Final[dict[int, Callable[[NDArray[Any]], NDArray[Any]]]] = {
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.T,
    6: lambda a: a.T[:, ::-1],
    7: lambda a: a.T[::-1, ::-1],
    8: lambda a: a.T[::-1],
}


def turned(values: NDArray[Any], orientation: int) -> NDArray[Any]:
    """As `orient`, for any number of bands."""
    if orientation == 1:
        return values
    return np.dstack([orient(values[..., band], orientation) for band in range(values.shape[2])])


def image_size(source: ImageFile, *, max_memory: int = MAX_MEMORY) -> tuple[int, int]:
    """(width, height) of a file or its bytes, as seen upright; no pixel is decoded.

    Raises what `load_image` raises, but damage after the header may go unseen.
    """
    image = EncodedImage.of(source, max_memory)
    with naming_errors(image):
        size, orientation = _stored_size(image)
    return size if orientation < 5 else (size[1], size[0])


def _stored_size(image: EncodedImage) -> tuple[tuple[int, int], int]:
    """(width, height) before the orientation is applied, and that."""
    kind, data = _known_kind(image), image.data
    if kind == "JPEG":
        size, orientation = image.jpeg.size, image.jpeg.orientation
    elif kind == "PNG":
        size, orientation, _ = read_png(data)
    elif kind == "TIFF":
        size, orientation, *_ = read_tiff(data)
    elif kind == "WEBP":
        size, orientation = read_webp(data)
    else:
        im = _plugin(kind)(io.BytesIO(data))
        size, orientation = im.size, exif_orientation(im.info.get("exif") or b"")
    return size, orientation


def _open(data: bytes, kind: str, options: DecodeOptions) -> _Opened:
    """What Pillow makes of the header, after our own look at it, and the check of its size."""
    depth, white_is_zero, signed = 0, False, False
    if kind == "PNG":
        return _open_png(read_png(data), options)
    if kind == "TIFF":
        _, orientation, depth, white_is_zero, signed, data = read_tiff(data)
        im = _plugin(kind)(io.BytesIO(data))
        if signed and im.mode == "L":
            raise DataError("its values are signed bytes, -128 to 127, which are no shades of grey")
    elif kind == "WEBP":
        size, orientation = read_webp(data)
        # Before it is opened: the decoder takes memory for the canvas at once.
        cost = decoding_cost(kind, "RGBA", options.mode == "L", orientation)
        check_memory(size, cost, 2 * len(data), options.max_memory)
        _check_pillows_limit(kind, size)
        im = _plugin(kind)(io.BytesIO(data))
    else:
        im = _plugin(kind)(io.BytesIO(data))
        orientation = exif_orientation(im.info.get("exif") or b"")
    cost = decoding_cost(kind, im.mode, options.mode == "L", orientation)
    check_memory(im.size, cost, 2 * len(data), options.max_memory)
    _check_pillows_limit(kind, im.size)
    return _Opened(im, orientation, depth, white_is_zero)


def _open_png(header: PngHeader, options: DecodeOptions) -> _Opened:
    """Decoded already: rows that are missing in the file come out blank, and Pillow says nothing."""
    im = _plugin("PNG")(io.BytesIO(header.plain))
    cost = decoding_cost("PNG", im.mode, options.mode == "L", header.orientation)
    check_memory(header.size, cost, 2 * len(header.plain), options.max_memory)
    im.load()
    width, height = im.size
    small = width * height < 1 << 14  # a box around all of it is then found before a row is cut out
    filled = im.getbbox() if small else im.crop((0, height - 1, width, height)).getbbox()
    last_row_is_blank = filled is None or (small and filled[3] < height)
    if last_row_is_blank and not header.interlaced:  # only then is a look at all data worth it
        header.check_rows()
    return _Opened(im, header.orientation)


def _open_jpeg(data: bytes, header: JpegHeader, options: DecodeOptions, scale: int) -> _Opened:
    """Without its metadata, in which Pillow finds more to warn of than to use."""
    cost = decoding_cost("JPEG", "", options.mode == "L", header.orientation)
    check_memory(_scaled(header.size, scale), cost, 2 * len(data), options.max_memory)
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


def _known_kind(image: EncodedImage) -> str:
    if image.kind is None:
        raise DataError(
            f"it {resembles(image.data)}; expected an image", try_="to delete it, or fetch it again"
        )
    return image.kind


# How many times larger than needed an image must stay, for looks and thumbnails. Against a full decode, both
# then shrunk by Lanczos, on 47 pet photos: at 1 time 39.3 dB, 1.5 44.9, 2 48.7, 3 52.5; sharpness .95, .93, .96, .98.
_SPARE: Final = 2
# The same for what a model is shown. Of some 45 dB against the ideal, photos, text and zone plates lose to a full
# decode (benchmarks/jpeg_scales.py): at 1.5 times 1 to 6 dB, at 2 up to 2.4, at 2.5 up to 0.5, at 3 up to 0.3 or gain
# as much, at 4 up to 0.1. libjpeg's other scales (7/8 to 3/8) lose more than 1/2 does, and save no more.
_SPARE_TO_LEARN: Final = 3


def _draft_scale(size: tuple[int, int], draft_to: int) -> int:
    """How many times smaller to decode when the shorter side will be `draft_to`."""
    if draft_to < 1:
        raise ArgumentError(f"draft_to is {draft_to}; expected the side needed, in pixels, or None")
    return _largest_scale(min(size) / draft_to, _SPARE)


def scale_for(footprint: float) -> int:
    """How many times smaller to decode what is read at `footprint` pixels for each of the outcome's, or more."""
    return _largest_scale(footprint, _SPARE_TO_LEARN)


def _largest_scale(footprint: float, spare: int) -> int:
    return next((scale for scale in (8, 4, 2) if footprint >= spare * scale), 1)


def _scaled(size: tuple[int, int], scale: int) -> tuple[int, int]:
    """The size that libjpeg gives; its last column and row may reach beyond the picture."""
    return -(-size[0] // scale), -(-size[1] // scale)


def _decode_jpeg(
    data: bytes, header: JpegHeader, *, grey: bool, scale: int, strict: bool, max_memory: int
) -> Pixels | None:
    """The pixels as stored, 1/`scale` as large, not yet upright; None for the rare kinds that are left to Pillow.

    Raises `BadHeader` for damage, unless `strict` is False.
    """
    small = _scaled(header.size, scale)
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


def _damage(data: bytes, header: JpegHeader) -> str:
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


# Bytes a pixel that Pillow holds of a mode, and that a format's codec holds besides, at their highest
# while decoding. Measured by the growth of a process, and rounded up; a test measures again.
_DECODED: Final = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16B": 2, "I;16L": 2}
_CODEC: Final = {"WEBP": 12, "AVIF": 8, "HEIF": 8, "JPEG2000": 16, "GIF": 8}
_STRIP_COST: Final = 32
_GUARDED: Final = {"GIF": 1, "TIFF": 1, "ICO": 1, "WEBP": 2}  # times the limit at which they speak up


def decoding_cost(kind: str, mode: str, grey: bool, orientation: int) -> float:
    """Bytes a pixel for a file of this kind, in Pillow's `mode`, that ends up grey or as colour, upright."""
    result = (1 if grey else 3) * (1 if orientation == 1 else 2)
    return _DECODED.get(mode, 4) + _CODEC.get(kind, 0) + result


def check_memory(size: tuple[int, int], cost: float, file_bytes: int, max_memory: int) -> None:
    """Raises `DataError` if an image of `size`, at `cost` bytes a pixel, takes more than `max_memory`.

    `file_bytes` is what the file itself takes, as often as it is held.
    """
    width, height = size
    need = int(width * height * cost + min(width * height, STRIP) * _STRIP_COST) + file_bytes
    if need > max_memory:
        raise DataError(
            f"its {width:,}×{height:,} pixels would take {need / 2**20:,.0f} MiB to open; the limit is"
            f" {max_memory / 2**20:,.0f} MiB",
            try_=f"max_memory={-(-need // 10**8) * 10**8} if the machine has it, or make the image smaller",
        )


def _check_pillows_limit(kind: str, size: tuple[int, int]) -> None:
    """Raises `DataError` where Pillow itself would warn of, or refuse, an image's size.

    Most formats are opened past that limit, which is one for the whole program; these ask for it inside.
    """
    limit = Image.MAX_IMAGE_PIXELS
    factor = _GUARDED.get(kind)
    if limit is not None and factor and size[0] * size[1] > factor * limit:
        raise DataError(
            f"its {size[0]:,}×{size[1]:,} pixels are more than PIL.Image.MAX_IMAGE_PIXELS, {limit:,}, which"
            f" rules over {kind}",
            try_="a larger PIL.Image.MAX_IMAGE_PIXELS, or to make the image smaller",
        )
