"""From an opened picture of any kind to an array of uint8: what black, white and see-through mean.

Knows Pillow's modes and numpy, not files.
"""

from __future__ import annotations

from typing import Any, Final, Literal, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from plainlearn.core.errors import ArgumentError, DataError

__all__ = ["STRIP", "ColorMode", "Pixels", "Range", "as_labels", "flatten", "scale_to_uint8"]

ColorMode = Literal["RGB", "L"]
Pixels = NDArray[np.uint8]
Range = tuple[float, float]
STRIP: Final = 1 << 20
"""Pixels converted at a time: a second whole copy of a large image would be felt."""

_WIDE: Final = {"I": (0.0, 65535.0), "F": (0.0, 1.0)}  # the modes beyond 8 bits, and what is black and white
_SEE_THROUGH: Final = frozenset({"RGBA", "LA", "PA", "RGBa", "La"})


def flatten(
    im: Image.Image, mode: ColorMode, background: tuple[int, int, int], value_range: Range | None
) -> Pixels:
    """The picture as (height, width, 3), or (height, width) for mode "L"; contiguous and writable.

    See-through pixels are laid over `background`; a colour stored under full transparency has no part in
    the result. Values of more than 8 bits are scaled by `scale_to_uint8`.
    """
    width, height = im.size
    rows = max(1, STRIP // width)
    if rows >= height:
        return _flatten_strip(im, mode, background, value_range)
    if im.mode in ("I", "F") and value_range is None:  # so that a message speaks of all of the picture
        least, most = cast("Range", im.getextrema())
        _check_range(least, most, _WIDE[im.mode], im.mode)
    out = np.empty((height, width) if mode == "L" else (height, width, 3), np.uint8)
    for top in range(0, height, rows):
        strip = im.crop((0, top, width, min(top + rows, height)))
        out[top : top + rows] = _flatten_strip(strip, mode, background, value_range)
    return out


def _flatten_strip(
    im: Image.Image, mode: ColorMode, background: tuple[int, int, int], value_range: Range | None
) -> Pixels:
    wide = im.mode.split(";")[0]
    if wide in _WIDE:
        return _from_wide(im, mode, background, value_range)
    if im.mode in _SEE_THROUGH or "transparency" in im.info:
        im = _over(im, background)
    if im.mode != mode:
        im = (im.convert("RGB") if im.mode in ("P", "LAB") else im).convert(mode)
    return np.array(im, np.uint8)


def _over(im: Image.Image, background: tuple[int, int, int]) -> Image.Image:
    im = im.convert("RGBA")
    alpha = im.getchannel("A")
    if alpha.getextrema() == (255, 255):
        return im
    out = Image.new("RGB", im.size, background)
    out.paste(im, mask=alpha)
    return out


def _from_wide(
    im: Image.Image, mode: ColorMode, background: tuple[int, int, int], value_range: Range | None
) -> Pixels:
    values = np.asarray(im)
    grey = scale_to_uint8(values, value_range)
    clear = im.info.get("transparency")  # of a PNG: the one grey value that is see-through
    out = grey if mode == "L" else np.repeat(grey[..., None], 3, axis=2)
    if isinstance(clear, int):
        out[values == clear] = np.asarray(Image.new("RGB", (1, 1), background).convert(mode))[0, 0]
    return out


def scale_to_uint8(values: NDArray[Any], value_range: Range | None = None) -> Pixels:
    """Numbers of any kind as 0 to 255, rounded to the nearest; values are kept apart, never wrapped.

    `value_range` gives the numbers that mean black and white; what lies outside is clipped. Without it
    8-bit numbers stay as they are, other integers count as 0 to 65535 (so 16 bits are divided by 257;
    a 12-bit sensor in a 16-bit file needs `value_range=(0, 4095)`), floating point as 0 to 1.
    The range is never taken from the picture: two pictures of one set must not differ in scale.

    Raises `DataError` if a value is nan or infinite, or lies outside the range that was assumed.
    """
    if value_range is None and values.dtype == np.uint8:
        return values.copy()
    if value_range is None and values.dtype.kind == "b":
        return values.astype(np.uint8) * np.uint8(255)
    if value_range is None and values.dtype == np.uint16:
        return ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)
    low, high = value_range or (_WIDE["F"] if values.dtype.kind == "f" else _WIDE["I"])
    if not low < high:
        raise ArgumentError(
            f"value_range is ({low}, {high}); expected the value of black, then a larger of white"
        )
    least, most = float(values.min()), float(values.max())
    if not np.isfinite([least, most]).all():
        bad = int(values.size - np.isfinite(values).sum())
        raise DataError(f"{bad:,} of its {values.size:,} values are nan or infinite")
    if value_range is None:
        _check_range(least, most, (low, high), str(values.dtype))
    share = (np.clip(values, low, high).astype(np.float64) - low) / (high - low)
    return np.rint(share * 255).astype(np.uint8)


def as_labels(im: Image.Image) -> NDArray[Any]:
    """The numbers of a mask as they are stored, (height, width): uint8, or int32 where they need more.

    Of a palette's picture these are the indices, not the colours. A picture in colour serves if its
    channels are equal, as programs save masks of grey. Raises `DataError` for others.
    """
    if im.mode in ("1", "L", "P"):
        return np.array(im, np.uint8)
    if im.mode.split(";")[0] == "I":
        return np.array(im).astype(np.int32)
    values = np.asarray(im)
    if im.mode == "F":
        if not (np.isfinite(values) & (values == np.floor(values))).all():
            raise DataError("its values are fractions; expected a mask, with one whole number a pixel")
        return values.astype(np.int32)
    if im.mode in ("RGB", "RGBA", "LA", "RGBX"):
        colours = values[..., :3] if im.mode != "LA" else values[..., :1]
        if (colours == colours[..., :1]).all():
            return np.ascontiguousarray(colours[..., 0])
    raise DataError(
        f"it is in colour (mode {im.mode}); expected a mask, with one number a pixel",
        try_="a function of yours that turns its colours into numbers",
    )


def _check_range(least: float, most: float, expected: Range, kind: str) -> None:
    low, high = expected
    if least < low or most > high:
        raise DataError(
            f"its values run from {least:g} to {most:g}; values of type {kind} are expected within"
            f" {low:g} to {high:g}",
            try_=f"value_range=({least:g}, {most:g}), or whatever means black and white in all your images",
        )
