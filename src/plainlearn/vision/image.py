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
from typing import TYPE_CHECKING, Any, Final, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from plainlearn.core.errors import ArgumentError, ArgumentTypeError, DataError, MissingFileError
from plainlearn.core.lists import L
from plainlearn.core.paths import Path
from plainlearn.vision.decode import Naming, Wish, check_memory, decode, decoding_cost, upright_size
from plainlearn.vision.headers import exif_orientation
from plainlearn.vision.imagefile import read_file
from plainlearn.vision.pixels import Mode, Pixels, Range, flatten, orient, scale_to_uint8

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["MAX_MEMORY", "find_bad_images", "image_size", "load_image", "verify_image", "verify_images"]

MAX_MEMORY: Final = 1 << 30
"""Bytes that opening one image may take beyond what the program had: 1 GiB, room for 100 megapixels."""


def load_image(
    source: str | os.PathLike[str] | bytes | Image.Image | NDArray[Any] | Tensor,
    *,
    mode: Mode = "RGB",
    background: tuple[int, int, int] = (255, 255, 255),
    draft_to: int | None = None,
    value_range: Range | None = None,
    max_memory: int = MAX_MEMORY,
) -> Pixels:
    """The image as uint8: (height, width, 3), or (height, width) for mode "L"; contiguous and writable.

    `source` is a file's path, a file's bytes, a Pillow image, an array (H, W) or (H, W, 1 | 3 | 4), or a
    tensor (H, W) or (1 | 3 | 4, H, W). Files are told by their contents, whatever they are called.

    `background` lies under what is see-through. `draft_to` is the shorter side that will be needed: a
    JPEG is then decoded at 1/2, 1/4 or 1/8 if its shorter side stays at least twice that, which costs less
    and cannot be seen. `value_range` gives the numbers that mean black and white in images of more than
    8 bits; see `scale_to_uint8`. `max_memory` is how many bytes opening may take.

    Raises `MissingFileError` or `DataError` that names the file: damaged, cut off, too large, no image.
    """
    if mode not in ("RGB", "L"):
        raise ArgumentError(f"mode is {mode!r}; expected 'RGB' or 'L'")
    wish = Wish(mode, background, draft_to, value_range, max_memory)
    if isinstance(source, (str, os.PathLike)):
        path = os.fspath(source)
        return decode(read_file(path, max_memory), path, wish)
    if isinstance(source, (bytes, bytearray, memoryview)):
        return decode(bytes(source), "", wish)
    if isinstance(source, Image.Image):
        return _from_pillow(source, wish)
    return _from_array(source, wish)


def image_size(source: str | os.PathLike[str] | bytes, *, max_memory: int = MAX_MEMORY) -> tuple[int, int]:
    """(width, height) of a file or its bytes, as seen upright; no pixel is decoded.

    Raises what `load_image` raises, but damage after the header goes unseen.
    """
    path = "" if isinstance(source, bytes) else os.fspath(source)
    data = source if isinstance(source, bytes) else read_file(path, max_memory)
    with Naming(data, path):
        return upright_size(data, path)


def verify_image(source: str | os.PathLike[str] | bytes, *, max_memory: int = MAX_MEMORY) -> None:
    """Decode the image and forget it. Raises what `load_image` raises."""
    load_image(source, draft_to=1, max_memory=max_memory)


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


def _from_pillow(im: Image.Image, wish: Wish) -> Pixels:
    name = getattr(im, "filename", "")
    with Naming(b"", str(name) or "the Pillow image"):
        orientation = exif_orientation(im.info.get("exif") or b"")
        check_memory(im.size, decoding_cost(im.format or "", im.mode, wish, orientation), wish)
        im.load()
        return orient(flatten(im, wish.mode, wish.background, wish.value_range), orientation)


def _from_array(source: Any, wish: Wish) -> Pixels:
    torch = sys.modules.get("torch")  # whoever hands us a tensor has imported it
    if torch is not None and isinstance(source, torch.Tensor):
        values: NDArray[Any] = source.detach().cpu().numpy()
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
    grey_or_colour = Image.fromarray(np.ascontiguousarray(scale_to_uint8(values, wish.value_range)))
    return flatten(grey_or_colour, wish.mode, wish.background, None)
