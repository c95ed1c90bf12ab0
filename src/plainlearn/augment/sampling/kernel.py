"""The one definition of sampling that every backend (torch, numba, Triton) must compute alike.

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

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

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
