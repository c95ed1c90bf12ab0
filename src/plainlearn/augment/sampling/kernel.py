"""The one definition of sampling that every backend (torch, numba, Triton) must compute alike, and the plainest of them.

An output pixel looks at the point (x, y) of the input. Along each axis of the input the map moves by a
footprint: how many input pixels one output pixel spans there, the length of that row of the map's Jacobian.
The pixel's value is the sum of the input's, weighed by k((column − x)/sx) · k((row − y)/sy) and divided by
the weights' sum, where s = max(1, share · footprint): shrinking does not alias, enlarging interpolates. Sums
run over the taps from ceil(x − radius·s) on; the footprint is per pixel, for a warp's varies over the picture.

`CUBIC` is shaped for the two demands that a resized picture can be held to: no detail lost (a Lanczos filter)
and what a sensor would have measured (the mean over the pixel's area). No fixed shape gives both, because the
second one, in units of the footprint, changes with the footprint; so its shape moves with s. With g = 1/s,
q = t², u = q/radius² and h = min(1, 8(1 − g)):

    k(t) = (1 − u)² · [(1 − q)(1 − q/4)(1 + a₁u + a₂u²) + h · Σᵢ (b₁ᵢ + g·b₂ᵢ + g²·b₃ᵢ) uⁱ]

At s = 1 it is 1 at 0 and 0 at every other whole number: what is not resized stays as it is. a₁ and a₂ bring
it next to a Lanczos of 2½ lobes; the b are fitted by benchmarks/presizing_kernel.py.

Sources: Heckbert 1989, Fundamentals of Texture Mapping and Image Warping, for footprints; Duchon 1979,
Lanczos Filtering in One and Two Dimensions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Mode = Literal["cubic", "bilinear", "nearest"]
PadMode = Literal["reflection", "border", "zeros"]

PAD_CODES: dict[PadMode, int] = {"reflection": 0, "border": 1, "zeros": 2}

# A map that shows the horizon gives no picture there, but must give neither a hang nor a wild address.
HORIZON = 1e-6  # the least size of the denominator, 1 being the output's middle
NEAREST = 0.5 + 1e-6  # a position on the edge of two pixels, to the last bit or two, goes to the second
WIDEST = 256  # pixels that s may span; only a horizon, or 12 megapixels made 10 pixels wide, asks for more
FAR = 64  # positions are held within so many widths or heights of the input

TERMS = 5  # powers of u in the shape's moving part
RAMP = 8.0


@dataclass(frozen=True)
class Kernel:
    """A symmetric kernel: a triangle, or with `rest` and `moving` the shape that the head of this file gives."""

    radius: float
    share: float  # of the footprint that one unit of t spans
    rest: tuple[float, float] = (0.0, 0.0)  # a₁, a₂
    moving: tuple[tuple[float, ...], ...] = ()  # b₁, b₂, b₃, each of TERMS

    @cached_property
    def triangle(self) -> bool:
        return not self.moving

    @cached_property
    def packed(self) -> npt.NDArray[np.float32]:
        """As numbers for the backends: radius, share, a₁, a₂, then b₁, b₂, b₃; the triangle has zeros there."""
        moving = np.array(self.moving or ((0.0,) * TERMS,) * 3)
        return np.concatenate([[self.radius, self.share], self.rest, moving.ravel()]).astype(np.float32)


CUBIC = Kernel(
    radius=2.5,
    share=1.0,
    rest=(-2.0024, 1.4795),
    moving=(
        (-1.2902, 10.7613, -16.2472, -7.8500, 16.9608),
        (-4.2812, 9.3162, 7.4393, -2.4314, -14.1066),
        (7.1458, -26.7896, 15.1925, 12.6032, -6.6605),
    ),
)
# 0.8 of the footprint is where a triangle does best: 39.9 / 46.6 dB on photos, 39.6 / 44.7 at 0.9.
BILINEAR = Kernel(radius=1.0, share=0.8)
KERNELS: dict[Mode, Kernel] = {"cubic": CUBIC, "bilinear": BILINEAR}


def weights_of(kernel: Kernel, g: Any) -> Callable[[Any], Any]:
    """The kernel where it is stretched by 1/g, as a function of the distance in units of that; of arrays, or of tensors."""
    return _triangle if kernel.triangle else _moving_shape(kernel, g)


def _triangle(t: Any) -> Any:
    return (1 - abs(t)).clip(min=0)


def _moving_shape(kernel: Kernel, g: Any) -> Callable[[Any], Any]:
    """The formula at the head of this file at 1/s = g, as a function of t."""
    a1, a2 = kernel.rest
    h = (RAMP * (1 - g)).clip(max=1)
    b = [h * (b1 + g * (b2 + g * b3)) for b1, b2, b3 in zip(*kernel.moving, strict=True)]

    def weigh(t: Any) -> Any:
        q = t * t
        u = q / kernel.radius**2
        moving = 0.0
        for coefficient in reversed(b):
            moving = (moving + coefficient) * u
        rest = (1 - q) * (1 - q / 4) * (1 + u * (a1 + u * a2))
        return (rest + moving) * (1 - u).clip(min=0) ** 2

    return weigh


#: Multiplications at a time: of more, numpy's BLAS makes threads, that wait for each other longer than it takes.
_SMALL = 250_000
_BAND = 16  # outputs at a time: only what these see of a side is multiplied


def sample_by_axes(
    picture: npt.NDArray[np.uint8],
    pixel_map: npt.NDArray[np.float64],
    size: tuple[int, int],
    kernel: Kernel | None,
    pad_mode: PadMode,
) -> npt.NDArray[np.float32]:
    """A picture (H, W, C) read through a map of pixels (3, 3) at `size` (h, w): levels (C, h, w), 0..255.

    The map takes rows to rows and columns to columns, as those of validation do; so two products of matrices are all,
    by numpy alone and ready at once. On one core a photo of 450 × 313 takes 1.8 ms at 224 and one of 12 megapixels 130, as by
    numba's loops, which take 0.3 s to load. `kernel` None takes the nearest pixel.
    """
    m = pixel_map / pixel_map[2, 2]
    assert not (m[0, 1] or m[1, 0] or m[2, 0] or m[2, 1])
    height, width, channels = picture.shape
    rows = _along(picture.reshape(height, -1), m[1, 1], m[1, 2], size[0], kernel, pad_mode)
    lines = rows.reshape(size[0], width, channels).transpose(1, 2, 0).reshape(width, -1)
    across = _along(lines, m[0, 0], m[0, 2], size[1], kernel, pad_mode)
    return across.reshape(size[1], channels, size[0]).transpose(1, 2, 0).clip(0, 255)


def _along(
    values: npt.NDArray[np.generic],
    stride: float,
    start: float,
    count: int,
    kernel: Kernel | None,
    pad_mode: PadMode,
) -> npt.NDArray[np.float32]:
    """The first axis of `values` (L, N) read at `start + i * stride`, (count, N)."""
    length = len(values)
    places, weights = _taps(stride, start, count, length, kernel, pad_mode)
    out = np.empty((count, values.shape[1]), np.float32)
    for first in range(0, count, _BAND):
        band = slice(first, min(first + _BAND, count))
        low, high = int(places[band].min()), int(places[band].max()) + 1
        matrix = np.zeros((band.stop - first, high - low), np.float32)
        np.add.at(matrix, (np.arange(len(matrix))[:, None], places[band] - low), weights[band])
        seen = values[low:high].astype(np.float32, copy=False)
        step = max(_SMALL // matrix.size, 1)
        for left in range(0, seen.shape[1], step):
            np.matmul(matrix, seen[:, left : left + step], out=out[band, left : left + step])
    return out


def _taps(
    step: float, start: float, count: int, length: int, kernel: Kernel | None, pad_mode: PadMode
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    """Which places each output looks at and how much each counts, (count, K) both."""
    position = np.clip(start + step * np.arange(count), -FAR * length, FAR * length)[:, None]
    if kernel is None:
        places, weights = np.floor(position + NEAREST), np.ones((count, 1))
    else:
        stretch = min(max(abs(step) * kernel.share, 1.0), min(length, WIDEST))
        places = np.ceil(position - kernel.radius * stretch) + np.arange(int(2 * kernel.radius * stretch) + 1)
        weights = weights_of(kernel, np.float64(1 / stretch))((places - position) / stretch)
        weights = weights / weights.sum(1, keepdims=True)
    index = places.astype(np.int64)
    if pad_mode == "reflection":
        index %= 2 * length
        index = np.minimum(index, 2 * length - 1 - index)
    elif pad_mode == "zeros":
        weights = np.where((index >= 0) & (index < length), weights, 0)
    return index.clip(0, length - 1), weights.astype(np.float32)
