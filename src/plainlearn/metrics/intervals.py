"""How sure a number measured on so many items is: the values between which the true one lies, 95 times in 100."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

import torch
from torch import Tensor

from plainlearn.core.errors import ArgumentError

__all__ = ["bootstrapped", "wilson"]

_Z: Final = 1.959964  # 95% of a normal distribution lie within so many standard deviations
_DRAWS: Final = 200


def wilson(share: float, count: int) -> tuple[float, float]:
    """Between which shares the true one lies, 95 times in 100, when `share` of `count` was seen.

    Raises `ArgumentError` for a count of zero, which says nothing.
    Source: Wilson 1927, Probable Inference, the Law of Succession, and Statistical Inference.

    >>> low, high = wilson(1.0, 10)
    >>> round(low, 2), round(high, 2)
    (0.72, 1.0)
    """
    if count < 1:
        raise ArgumentError("the share of no item is not known; expected 1 item or more")
    spread = _Z**2 / count
    middle = (share + spread / 2) / (1 + spread)
    half = math.sqrt(share * (1 - share) * spread + spread**2 / 4) / (1 + spread)
    return max(middle - half, 0.0), min(middle + half, 1.0)


def bootstrapped(value_of: Callable[[Tensor], float], count: int) -> tuple[float, float] | None:
    """The middle 95% of `value_of(rows)` over sets of `count` rows drawn with replacement; None if one is not finite.

    The draws are the same each time.
    Source: Efron 1979, Bootstrap Methods: Another Look at the Jackknife.
    """
    draws = torch.Generator().manual_seed(0)
    values = sorted(value_of(torch.randint(count, (count,), generator=draws)) for _ in range(_DRAWS))
    if not all(map(math.isfinite, values)):
        return None
    return values[round(0.025 * (_DRAWS - 1))], values[round(0.975 * (_DRAWS - 1))]
