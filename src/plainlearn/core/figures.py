"""Pictures of tensors: the one place below `vision` that knows matplotlib, and only when it draws."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from plainlearn.core.describe import describe
from plainlearn.core.errors import ArgumentError, ArgumentTypeError, ShapeError
from plainlearn.core.tensors import to_np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure

__all__ = ["plot_function", "show_image", "show_images", "subplots"]

CHANNELS: Final = (1, 3, 4)  # grey, colour, colour with alpha


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
    im: object,
    ax: Axes | None = None,
    *,
    ctx: Axes | None = None,
    figsize: tuple[float, float] | None = None,
    title: object = None,
    cmap: str | Colormap | None = None,
    **kwargs: Any,
) -> Axes:
    """Draw an image without axes: a tensor, array or PIL image, of shape (H, W), (C, H, W) or (H, W, C).

    C is 1, 3 or 4; where both ends could be, tensors are read as (C, H, W), all else as (H, W, C).
    Colours outside their range, 0..1 or 0..255, are stretched into it. `ctx` is another name for `ax`;
    `kwargs` go to matplotlib's `imshow`. Raises `ShapeError` if it is no image.
    """
    if ax is not None and ctx is not None and ax is not ctx:
        raise ArgumentError("ax and ctx are two names for one thing, and both are given", try_="ax=ax")
    pixels = _to_pixels(im)
    ax = _find_axes(ax if ax is not None else ctx, figsize, pixels.shape)
    ax.imshow(pixels, cmap=cmap, **kwargs)
    if title is not None:
        ax.set_title(str(title))
    ax.axis("off")
    return ax


def show_images(
    ims: Iterable[object],
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
        raise ArgumentError("there are no images to show; expected 1 or more")
    if ncols is None:
        ncols = math.ceil(len(images) / max(nrows, 1))
    if len(images) > nrows * ncols:
        raise ArgumentError(f"{len(images)} images do not fit in {nrows} rows of {ncols}", try_="ncols=None")
    names: Sequence[object] = [None] * len(images) if titles is None else list(titles)
    if len(names) != len(images):
        raise ArgumentError(f"{len(names)} titles for {len(images)} images; expected as many")
    _, axes = subplots(nrows, ncols, figsize=figsize, imsize=imsize, suptitle=suptitle)
    for im, name, ax in zip(images, names, axes.flat, strict=False):
        show_image(im, ax, title=name)
    for ax in axes.flat[len(images) :]:
        ax.axis("off")
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
    if y.shape != x.shape:
        raise ShapeError(f"f gave {y.shape} for x of {tuple(x.shape)}; expected one y for each x")
    _, ax = plt.subplots(figsize=figsize)
    ax.plot(to_np(x), y)
    ax.set_xlabel(tx or "")
    ax.set_ylabel(ty or "")
    ax.set_title(title or "")
    return ax


def _find_axes(ax: Any, figsize: tuple[float, float] | None, shape: tuple[int, ...]) -> Axes:
    """The axes that were given, or those of a new figure, of a size that suits an image of `shape`."""
    import matplotlib.pyplot as plt

    if ax is None:
        # An inch for 32 pixels, within 1 to 5: a digit is a thumbnail, a photo fits the page.
        longest = max(shape[:2])
        inches = min(max(longest / 32, 1.0), 5.0)
        height, width = (max(inches * side / longest, 1.0) for side in shape[:2])
        return plt.subplots(figsize=figsize or (width, height))[1]
    if not hasattr(ax, "imshow"):
        hint = "ax=axes[0]" if isinstance(ax, np.ndarray) else ""
        raise ArgumentTypeError(f"ax is {describe(ax)}; expected one matplotlib Axes", try_=hint)
    if figsize is not None:
        raise ArgumentError(
            "figsize is given with ax, whose figure has a size already", try_="subplots(figsize=...)"
        )
    return ax


# ---- from anything to what imshow takes


def _to_pixels(im: Any) -> NDArray[Any]:
    """(H, W) of any numbers, or (H, W, 3 or 4) of uint8 or of floats in 0..1."""
    values = _to_array(im)
    shape = values.shape
    if values.dtype.kind not in "biuf":
        raise ArgumentTypeError(f"an image is {describe(im)}, of {values.dtype}; expected numbers")
    if values.ndim == 3:
        values = _channels_last(values, tensor=isinstance(im, torch.Tensor))
    if values.ndim not in (2, 3):
        hint = "show_images(batch)" if len(shape) == 4 else "im.reshape(28, 28)" if shape == (784,) else ""
        raise ShapeError(f"an image has shape {shape}; expected (H, W), (C, H, W) or (H, W, C)", try_=hint)
    if values.size == 0:
        raise ShapeError(f"an image has shape {shape}, and so no pixels")
    # imshow scales grey values by itself, and leaves nan and inf blank.
    return _to_colours(values) if values.ndim == 3 else values


def _to_array(im: Any) -> NDArray[Any]:
    if hasattr(im, "convert") and hasattr(im, "mode"):  # a PIL image
        if im.mode in ("PA", "LA", "La", "RGBa") or "transparency" in im.info:
            im = im.convert("RGBA")
        elif im.mode in ("P", "CMYK", "YCbCr", "LAB", "HSV"):  # their numbers are no colours yet
            im = im.convert("RGB")
    return np.asarray(to_np(im))


def _channels_last(values: NDArray[Any], *, tensor: bool) -> NDArray[Any]:
    could_be_first, could_be_last = values.shape[0] in CHANNELS, values.shape[2] in CHANNELS
    if could_be_first and (tensor or not could_be_last):
        values = values.transpose(1, 2, 0)
    elif not could_be_last:
        raise ShapeError(f"an image has shape {values.shape}; expected 1, 3 or 4 channels, first or last")
    return values[..., 0] if values.shape[2] == 1 else values


def _to_colours(values: NDArray[Any]) -> NDArray[Any]:
    if values.dtype == np.uint8:
        return values
    colours = np.nan_to_num(values.astype(np.float64), posinf=0.0, neginf=0.0)
    low, high = float(colours.min()), float(colours.max())
    whole = values.dtype.kind in "iu"
    if low >= 0 and high <= 255 and high > (1 if whole else 16):
        colours = colours / 255  # a photo whose pixels were never divided
    elif low < -0.1 or high > 1.1:  # nearer is overshoot: cut off, as one bright pixel would dim the rest
        colours = (colours - low) / max(high - low, 1e-9)
    return colours.clip(0, 1)
