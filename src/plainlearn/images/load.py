"""Opening an image: from any file, bytes, array or tensor to an upright array of uint8, or a refusal by name.

What a format can do beyond pixels is settled here once, for training, prediction and pages alike: the
first picture of a file counts (of an animation, a multi-page TIFF); EXIF's orientation is applied; what
is see-through is laid over a background; colour profiles are not applied, so a damaged one cannot
matter; CMYK is converted by the plain formula, LAB to sRGB. Nothing global is changed, in Pillow or
elsewhere, and any number of threads can open images at once.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from plainlearn.core.errors import ArgumentError, ArgumentTypeError, DataError, MissingFileError
from plainlearn.core.lists import L
from plainlearn.core.paths import Path
from plainlearn.images.decode import (
    DecodeOptions,
    check_memory,
    decode,
    decode_labels,
    decoding_cost,
    image_size,
    orient,
)
from plainlearn.images.files import (
    MAX_MEMORY,
    EncodedImage,
    HasBytes,
    ImageFile,
    exif_orientation,
    naming_errors,
)
from plainlearn.images.pixels import ColorMode, Pixels, Range, as_labels, flatten, scale_to_uint8

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "MAX_MEMORY",
    "Source",
    "find_bad_images",
    "image_size",
    "load_image",
    "load_mask",
    "verify_image",
    "verify_images",
]


Source: TypeAlias = "ImageFile | Image.Image | NDArray[Any] | Tensor"


def load_image(
    source: Source,
    *,
    mode: ColorMode = "RGB",
    background: tuple[int, int, int] = (255, 255, 255),
    draft_to: int | None = None,
    value_range: Range | None = None,
    strict: bool = True,
    max_memory: int = MAX_MEMORY,
) -> Pixels:
    """The image as uint8: (height, width, 3), or (height, width) for mode "L"; contiguous and writable.

    `source` is a file's path, a file's bytes or what reads them (`read_bytes()`), a Pillow image, an array
    (H, W) or (H, W, 1, 3 or 4), or a tensor (H, W) or (1, 3 or 4, H, W). Files are told by
    their contents, whatever they are called.

    `background` lies under what is see-through. `draft_to` is the shorter side that will be needed: a
    JPEG is then decoded at 1/2, 1/4 or 1/8 if its shorter side stays at least twice that, which costs less
    and cannot be seen. `value_range` gives the numbers that mean black and white in images of more than
    8 bits; see `scale_to_uint8`. `strict=False` takes what can be had of a JPEG with damaged data.
    `max_memory` is how many bytes opening may take.

    Raises `MissingFileError` or `DataError` that names the file: damaged, cut off, too large, no image.

    >>> load_image(np.zeros((2, 3), np.uint8)).shape
    (2, 3, 3)
    """
    if mode not in ("RGB", "L"):
        raise ArgumentError(f"mode is {mode!r}; expected 'RGB' or 'L'")
    options = DecodeOptions(mode, background, draft_to, value_range, strict, max_memory)
    if isinstance(source, Image.Image):
        return _from_pillow(source, options)
    if isinstance(source, (str, os.PathLike, bytes, HasBytes, EncodedImage)):
        return _from_file(source, options)
    values = _as_array(source)
    scaled = Image.fromarray(np.ascontiguousarray(scale_to_uint8(values, value_range)))
    return flatten(scaled, mode, background, None)


def load_mask(source: Source, *, max_memory: int = MAX_MEMORY) -> NDArray[Any]:
    """A mask's numbers as stored, (height, width): uint8, or int32 for a format of more than 8 bits.

    Nothing is scaled. Of a picture with a palette these are the indices; one in colour serves if its
    channels are equal. Upright like the image it belongs to.

    Raises what `load_image` raises, and `DataError` for a JPEG, which does not keep numbers, for fractions
    and for colours.
    """
    if isinstance(source, (str, os.PathLike, bytes, HasBytes, EncodedImage)):
        image = EncodedImage.of(source, max_memory)
        with naming_errors(image):
            return decode_labels(image, max_memory)
    if isinstance(source, Image.Image):
        with naming_errors(EncodedImage(b"", _name(source))):
            return orient(as_labels(source), exif_orientation(source.info.get("exif") or b""))
    values = _as_array(source)
    return as_labels(Image.fromarray(values)) if values.ndim == 3 else _whole(values)


def verify_image(source: ImageFile, *, max_memory: int = MAX_MEMORY) -> None:
    """Decode the image and forget it. Raises what `load_image` raises."""
    _from_file(source, DecodeOptions(draft_to=1, max_memory=max_memory))


def verify_images(paths: Iterable[str | os.PathLike[str]], n_workers: int | None = None) -> L[Path]:
    """Those of the files that are no sound images, in the order given. `n_workers` threads read them."""
    return L[Path](path for path, _ in find_bad_images(paths, n_workers))


def find_bad_images(
    paths: Iterable[str | os.PathLike[str]], n_workers: int | None = None
) -> L[tuple[Path, str]]:
    """Those of the files that are no sound images, each with what is wrong."""
    if n_workers is not None and n_workers < 0:
        raise ArgumentError(f"n_workers is {n_workers}; expected 0 or more, or None for one a core")

    def check(path: str | os.PathLike[str]) -> tuple[Path, str] | None:
        try:
            verify_image(path)
        except (DataError, MissingFileError) as error:
            return Path(path), str(error)
        return None

    if n_workers == 0:
        return L[tuple[Path, str]](found for found in map(check, paths) if found)
    with ThreadPoolExecutor(n_workers or os.cpu_count()) as pool:
        return L[tuple[Path, str]](found for found in pool.map(check, paths) if found)


def _from_file(source: ImageFile, options: DecodeOptions) -> Pixels:
    image = EncodedImage.of(source, options.max_memory)
    with naming_errors(image):
        return decode(image, options)


def _from_pillow(im: Image.Image, options: DecodeOptions) -> Pixels:
    with naming_errors(EncodedImage(b"", _name(im))):
        orientation = exif_orientation(im.info.get("exif") or b"")
        cost = decoding_cost(im.format or "", im.mode, options.mode == "L", orientation)
        check_memory(im.size, cost, 0, options.max_memory)
        im.load()
        return orient(flatten(im, options.mode, options.background, options.value_range), orientation)


def _name(im: Image.Image) -> str:
    return str(getattr(im, "filename", "")) or f"a Pillow image of {im.size[0]}×{im.size[1]} pixels"


def _as_array(source: Any) -> NDArray[Any]:
    """An array or tensor as (H, W), or (H, W, 3 or 4)."""
    torch = sys.modules.get("torch")  # whoever hands us a tensor has imported it
    if torch is not None and isinstance(source, torch.Tensor):
        tensor = source.detach().cpu()
        values: NDArray[Any] = (tensor.float() if tensor.is_floating_point() else tensor).numpy()
        if values.ndim == 3:
            if values.shape[0] not in (1, 3, 4):
                raise ArgumentError(
                    f"the tensor has shape {values.shape}; expected (height, width), or 1, 3 or 4 channels first",
                    try_="image.permute(2, 0, 1)" if values.shape[2] in (1, 3, 4) else "",
                )
            values = values.transpose(1, 2, 0)
    elif isinstance(source, np.ndarray):
        values = cast("NDArray[Any]", source)
    else:
        raise ArgumentTypeError(
            f"the image is of type {type(source).__name__}; expected a path, bytes, a Pillow image, an array"
            " or a tensor"
        )
    if values.ndim == 3 and values.shape[2] == 1:
        values = values[..., 0]
    if values.size == 0 or not (values.ndim == 2 or (values.ndim == 3 and values.shape[2] in (3, 4))):
        raise ArgumentError(
            f"the array has shape {values.shape}; expected (height, width) or (height, width, 1, 3 or 4)"
        )
    return values


def _whole(values: NDArray[Any]) -> NDArray[Any]:
    if values.dtype.kind not in "iub":
        raise ArgumentTypeError(f"the mask is of type {values.dtype}; expected whole numbers")
    return values.astype(np.uint8 if values.dtype.name in ("uint8", "bool") else np.int32)
