"""The one definition of sampling that every backend (torch, numba, Triton) must compute alike.

An output pixel looks at the point (x, y) of the input. Along each axis of the input the map moves by a
footprint: how many input pixels one output pixel spans there, the length of that row of the map's Jacobian.
The pixel's value is the sum of the input's, weighed by kernel((column − x)/sx) · kernel((row − y)/sy) and
divided by the weights' sum, where s = max(1, `FOOTPRINT_SHARE` · footprint), so that shrinking does not
alias and enlarging interpolates. Sums run over the taps from ceil(x − radius·sx) on.

Source: Heckbert 1989 for footprints; Keys 1981 for the cubic. The share 0.9 is measured: see
benchmarks/presizing_quality.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Mode = Literal["cubic", "bilinear", "nearest"]
PadMode = Literal["reflection", "border", "zeros"]

FOOTPRINT_SHARE = 0.9
# A map that shows the horizon gives no picture there, but must give neither a hang nor a wild address.
HORIZON = 1e-6  # the least size of the denominator, 1 being the output's middle
FAR = 64  # positions are held within so many widths or heights of the input
PAD_CODES: dict[PadMode, int] = {"reflection": 0, "border": 1, "zeros": 2}


@dataclass(frozen=True)
class Kernel:
    """A symmetric piecewise cubic: `near` on 0 ≤ t < 1 and `far` on 1 ≤ t < 2, coefficients from t⁰ to t³."""

    radius: int
    near: tuple[float, float, float, float]
    far: tuple[float, float, float, float]


KERNELS: dict[Mode, Kernel] = {
    "cubic": Kernel(2, (1.0, 0.0, -2.5, 1.5), (2.0, -4.0, 2.5, -0.5)),  # Catmull-Rom
    "bilinear": Kernel(1, (1.0, -1.0, 0.0, 0.0), (0.0, 0.0, 0.0, 0.0)),
}
