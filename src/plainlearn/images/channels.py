"""Pictures of any number of channels: arrays, `.npy` files, TIFFs of several bands or pages, and bands as stored.

Nothing is converted: a band is a channel. Values become uint8 by a range that is stated, never
taken from the picture, so that all pictures of a set, and new ones, are on one scale.
"""

from __future__ import annotations

import importlib
import io
import math
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from plainlearn.core.errors import ArgumentError, DataError, MissingExtraError, ShapeError
from plainlearn.images.decode import bands_of, check_memory, decode_bands, turned
from plainlearn.images.files import MAX_MEMORY, EncodedImage, exif_orientation, naming_errors
from plainlearn.images.load import Source
from plainlearn.images.pixels import Pixels, Range, scale_to_uint8
from plainlearn.images.tiff import read_tiff

__all__ = ["Ranges", "load_channels"]

#: The numbers that mean black and white: one pair for all channels, or a pair for each.
Ranges = Range | Sequence[Range]

_NPY = b"\x93NUMPY"
_MIN_IS_WHITE, _PALETTE, _ORIENTATION = 0, 3, 274  # of TIFF


def load_channels(
    source: Source, channels: int, *, value_range: Ranges | None = None, max_memory: int = MAX_MEMORY
) -> Pixels:
    """The picture as uint8 (height, width, channels), contiguous and writable.

    `source` is what `load_image` takes, and besides the path or bytes of a `.npy` file or of a TIFF whose bands,
    or pages of one size, are the channels. Channels are first or last, whichever end has their number; where both
    have, last in arrays and first in tensors. Of other files the bands count as they are stored: 4 of a PNG with alpha.

    `value_range` gives the numbers that mean black and white, for all channels or one pair each. Without it 8 bits
    stay, other integers count as 0 to 65535, floats as 0 to 1; see `scale_to_uint8`.
    Raises `DataError` that names the file if it is damaged, has other channels, or values outside the range assumed.

    >>> load_channels(np.zeros((5, 2, 3), np.uint16), 5).shape
    (2, 3, 5)
    """
    if isinstance(source, Image.Image):
        bands = bands_of(source, exif_orientation(source.info.get("exif") or b""))
        return _scaled(_channels_last(bands, channels, first=False), value_range)
    if isinstance(source, np.ndarray) or hasattr(source, "detach"):
        is_array = isinstance(source, np.ndarray)
        values = source if is_array else _of_tensor(source)
        return _scaled(_channels_last(values, channels, first=not is_array), value_range)
    image = EncodedImage.of(cast("Any", source), max_memory)
    tifffile = _tifffile() if image.kind == "TIFF" else None
    with naming_errors(image):
        inverted = False
        if tifffile is not None:
            bands, inverted = _from_tiff(image.data, tifffile, max_memory)
        elif image.data.startswith(_NPY):
            bands = _from_npy(image.data)
        else:
            bands = decode_bands(image, max_memory)
        pixels = _scaled(_channels_last(bands, channels, first=False), value_range)
        if inverted:
            np.subtract(255, pixels, out=pixels)
        return pixels


def _of_tensor(tensor: Any) -> NDArray[Any]:
    values = tensor.detach().cpu()
    half = values.is_floating_point() and values.element_size() == 2  # numpy knows no bfloat16
    return (values.float() if half else values).numpy()


def _channels_last(values: NDArray[Any], channels: int, *, first: bool) -> NDArray[Any]:
    """(H, W, C) with the right C; `first` says which end counts if both could."""
    if values.ndim == 2:
        values = values[..., None]
    if values.ndim != 3 or not values.size or channels not in (values.shape[0], values.shape[2]):
        raise ShapeError(
            f"its values have the shape {values.shape}; expected a height, a width and {channels} channels, first or last",
            try_="ImageBlock(channels=…) with the number that it has",
        )
    if values.dtype.kind not in "biuf":
        raise DataError(f"its values are of type {values.dtype}; expected numbers")
    if values.shape[0] == channels and (first or values.shape[2] != channels):
        return values.transpose(1, 2, 0)
    return values


def _scaled(values: NDArray[Any], value_range: Ranges | None) -> Pixels:
    if value_range is None or np.ndim(cast("Any", value_range)) == 1:
        return np.ascontiguousarray(scale_to_uint8(values, cast("Range | None", value_range)))
    ranges = cast("Sequence[Range]", value_range)
    if len(ranges) != values.shape[2]:
        raise ArgumentError(
            f"value_range has {len(ranges)} pairs for {values.shape[2]} channels; expected one each"
        )
    each = [scale_to_uint8(values[..., channel], pair) for channel, pair in enumerate(ranges)]
    return np.stack(each, axis=-1)


def _from_npy(data: bytes) -> NDArray[Any]:
    """Read without `np.load`, which would take memory for whatever size the header claims."""
    file = io.BytesIO(data)
    header = np.lib.format
    version = header.read_magic(file)
    read = header.read_array_header_1_0 if version == (1, 0) else header.read_array_header_2_0
    shape, by_columns, dtype = read(file)
    if dtype.hasobject:
        raise DataError("it holds Python objects, which are not loaded; expected numbers")
    rest, need = len(data) - file.tell(), math.prod(shape) * dtype.itemsize
    if rest != need:
        raise DataError(f"its header says {need:,} bytes of {dtype} {shape}, and {rest:,} follow")
    flat = np.frombuffer(data, dtype, offset=file.tell())
    return flat.reshape(shape, order="F" if by_columns else "C")


def _from_tiff(data: bytes, tifffile: Any, max_memory: int) -> tuple[NDArray[Any], bool]:
    """(H, W, C) of bands, or pages, or both, upright; and whether the values run from white to black."""
    read_tiff(data)  # which refuses a first page that is cut off or does not hold together
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        if len(file.series) > 1:
            sizes = ", ".join(str(series.shape) for series in file.series)
            raise DataError(
                f"its pages are of different kinds, {sizes}; expected one size, and a channel each"
            )
        pages, page = file.series[0], file.series[0].keyframe
        if page.photometric == _PALETTE:
            raise DataError(
                "its values are places in a palette of colours; expected bands", try_="ImageBlock()"
            )
        for number, each in enumerate(pages.pages):
            ends = [at + size for at, size in zip(each.dataoffsets, each.databytecounts, strict=True)]
            if 0 in each.dataoffsets or max(ends) > len(data):
                raise DataError(
                    f"page {number} goes on to byte {max(ends):,}; the file ends at {len(data):,}"
                )
        places = pages.axes.index("Y"), pages.axes.index("X")
        height, width = (pages.shape[place] for place in places)
        per_pixel = pages.nbytes / (height * width)
        check_memory((width, height), 3 * per_pixel, 2 * len(data), max_memory)
        bands = np.moveaxis(pages.asarray(), places, (0, 1)).reshape(height, width, -1)
        tag = page.tags.get(_ORIENTATION)
        return turned(bands, 1 if tag is None else int(tag.value)), page.photometric == _MIN_IS_WHITE


def _tifffile() -> Any:
    try:
        return importlib.import_module("tifffile")
    except ImportError as error:
        raise MissingExtraError("tifffile", needed_for="a TIFF of several channels", extra="tiff") from error
