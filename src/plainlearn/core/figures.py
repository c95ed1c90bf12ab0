"""Pictures of tensors: the one place below `vision` that knows matplotlib, and only when it draws."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from plainlearn.core.errors import ArgumentError, ArgumentTypeError, ShapeError
from plainlearn.core.tensors import to_np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["plot_function", "show_image", "show_images", "subplots"]

CHANNELS: Final = (1, 3, 4)  # grey, colour, colour with alpha
PIXELS_PER_INCH: Final = 32


def subplots(
    nrows: int = 1,
    ncols: int = 1,
    figsize: tuple[float, float] | None = None,
    imsize: float = 3,
    suptitle: str | None = None,
    **kwargs: Any,
) -> tuple[Figure, NDArray[Any]]:
    """A figure of `nrows` x `ncols` axes, `imsize` inches each, and the axes, always as an array.

    One row or column gives a vector, more give a matrix. `kwargs` go to matplotlib's `subplots`.
    """
    import matplotlib.pyplot as plt

    if nrows < 1 or ncols < 1:
        raise ArgumentError(f"{nrows} rows and {ncols} columns of axes; expected 1 or more of both")
    figure, axes = plt.subplots(nrows, ncols, figsize=figsize or (ncols * imsize, nrows * imsize), **kwargs)
    if suptitle is not None:
        figure.suptitle(suptitle)
    return figure, np.atleast_1d(np.asarray(axes))


def show_image(
    im: Any,
    ax: Axes | None = None,
    *,
    ctx: Axes | None = None,
    figsize: tuple[float, float] | None = None,
    title: object = None,
    cmap: Any = None,
    **kwargs: Any,
) -> Axes:
    """Draw an image without axes: a tensor, array or PIL image, of shape (H, W), (C, H, W) or (H, W, C).

    C is 1, 3 or 4; where both ends could be, tensors are read as (C, H, W), all else as (H, W, C).
    Colours outside their range, 0..1 or 0..255, are stretched into it. `ctx` is another name for `ax`;
    `kwargs` go to matplotlib's `imshow`. Raises `ShapeError` if it is no image.
    """
    import matplotlib.pyplot as plt

    if ax is not None and ctx is not None and ax is not ctx:
        raise ArgumentError("both ax and ctx are given; they are two names for one thing", try_="ax=ax")
    ax = ax if ax is not None else ctx
    pixels = _to_pixels(im)
    if ax is None:
        height, width = pixels.shape[:2]
        inches = max(1.0, min(5.0, max(height, width) / PIXELS_PER_INCH))
        shape = (inches * width / max(height, width), inches * height / max(height, width))
        _, ax = plt.subplots(figsize=figsize or (max(1.0, shape[0]), max(1.0, shape[1])))
    elif figsize is not None:
        raise ArgumentError(
            "figsize is given together with ax, whose figure has a size", try_="leaving one out"
        )
    ax.imshow(pixels, cmap=cmap, **kwargs)
    if title is not None:
        ax.set_title(str(title))
    ax.axis("off")
    return ax


def show_images(
    ims: Iterable[Any],
    nrows: int = 1,
    ncols: int | None = None,
    titles: Iterable[object] | None = None,
    figsize: tuple[float, float] | None = None,
    imsize: float = 3,
    suptitle: str | None = None,
) -> NDArray[Any]:
    """Draw images in a grid, row by row, and return the axes. Raises `ArgumentError` if they do not fit."""
    images = list(ims)
    if not images:
        raise ArgumentError("there are no images to show")
    if ncols is None:
        ncols = math.ceil(len(images) / max(nrows, 1))
    if len(images) > nrows * ncols:
        raise ArgumentError(f"{len(images)} images do not fit in {nrows} rows of {ncols}", try_="ncols=None")
    names: Sequence[object] = [None] * len(images) if titles is None else list(titles)
    if len(names) != len(images):
        raise ArgumentError(f"{len(names)} titles for {len(images)} images; expected as many")
    _, axes = subplots(nrows, ncols, figsize=figsize, imsize=imsize, suptitle=suptitle)
    for ax in axes.flat[len(images) :]:
        ax.axis("off")
    for im, name, ax in zip(images, names, axes.flat, strict=False):
        show_image(im, ax, title=name)
    return axes


def plot_function(
    f: Callable[[torch.Tensor], Any],
    tx: str | None = None,
    ty: str | None = None,
    title: str | None = None,
    min: float = -2,
    max: float = 2,
    figsize: tuple[float, float] = (6, 4),
) -> Axes:
    """Draw the curve of `f`, which takes a vector, from `min` to `max`; `tx` and `ty` name the axes."""
    import matplotlib.pyplot as plt

    x = torch.linspace(min, max, 100)
    y = np.asarray(to_np(f(x)))
    if y.shape != (100,):
        raise ShapeError(f"f returned shape {y.shape} for x of shape (100,); expected one y for each x")
    _, ax = plt.subplots(figsize=figsize)
    ax.plot(to_np(x), y)
    if tx is not None:
        ax.set_xlabel(tx)
    if ty is not None:
        ax.set_ylabel(ty)
    if title is not None:
        ax.set_title(title)
    return ax


# ---- from anything to what imshow takes


def _to_pixels(im: Any) -> NDArray[Any]:
    """(H, W) of any numbers, or (H, W, 3 or 4) of uint8 or of floats in 0..1."""
    values = _to_array(im)
    if values.dtype.kind not in "biuf":
        raise ArgumentTypeError(f"an image of {values.dtype}; expected numbers")
    if values.ndim == 3:
        values = _channels_last(values, first=isinstance(im, torch.Tensor))
    if values.ndim != 2 and values.ndim != 3:
        hint = "show_images(batch)" if values.ndim == 4 else "reshape(28, 28)" if values.size == 784 else ""
        raise ShapeError(
            f"an image of shape {values.shape}; expected (H, W), (C, H, W) or (H, W, C)", try_=hint
        )
    if 0 in values.shape:
        raise ShapeError(f"an image of shape {values.shape} has no pixels")
    if values.dtype.kind == "b":
        values = values.astype(np.uint8) * (255 if values.ndim == 3 else 1)
    elif values.dtype == np.float16:
        values = values.astype(np.float32)
    return _to_colours(values) if values.ndim == 3 else np.ma.masked_invalid(values)


def _to_array(im: Any) -> NDArray[Any]:
    if hasattr(im, "convert") and getattr(im, "mode", "RGB") in (
        "P",
        "PA",
        "LA",
        "La",
        "CMYK",
        "YCbCr",
        "LAB",
        "HSV",
    ):
        im = im.convert("RGBA" if im.mode in ("PA", "LA", "La") else "RGB")
    return np.asarray(to_np(im))


def _channels_last(values: NDArray[Any], *, first: bool) -> NDArray[Any]:
    could_be_first, could_be_last = values.shape[0] in CHANNELS, values.shape[2] in CHANNELS
    if could_be_first and (first or not could_be_last):
        values = values.transpose(1, 2, 0)
    elif not could_be_last:
        raise ShapeError(f"an image of shape {values.shape}; expected 1, 3 or 4 channels, first or last")
    return values[..., 0] if values.shape[2] == 1 else values


def _to_colours(values: NDArray[Any]) -> NDArray[Any]:
    if values.dtype == np.uint8:
        return values
    finite = np.nan_to_num(values.astype(np.float64), posinf=0.0, neginf=0.0)
    low, high = float(finite.min()), float(finite.max())
    whole = values.dtype.kind in "iu"
    if low >= 0 and high <= 255 and (whole or high >= 16):
        finite = finite / 255  # a photo whose pixels were never divided
    elif low < -0.1 or high > 1.1:  # nearer to 0..1 is overshoot: clipped, or one bright pixel dims the rest
        finite = (finite - low) / (high - low)
    return finite.clip(0, 1)
