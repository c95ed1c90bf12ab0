"""The least of a smooth function of one tensor, by L-BFGS: for problems small enough to see all data at once."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable

import torch
from torch import Tensor


def minimise(
    function: Callable[[Tensor], Tensor],
    start: Tensor,
    *,
    iterations: int = 100,
    tolerance: float = 1e-3,
    memory: int = 10,
) -> Tensor:
    """A tensor near which `function`, from a tensor to one number, is least; `start` is left alone.

    It ends when the gradient is `tolerance` times what it was, when no shorter step leads down, or after `iterations`.
    Source: Nocedal and Wright, Numerical Optimization, 2006, algorithm 7.4, with steps halved until they lead down.

    >>> minimise(lambda x: (x - 3).square().sum(), torch.zeros(2))
    tensor([3., 3.])
    """
    here = start.detach().clone()
    value, slope = _seen(function, here)
    enough = tolerance * _length(slope)
    pairs: deque[tuple[Tensor, Tensor]] = deque(maxlen=memory)
    for _ in range(iterations):
        if _length(slope) <= enough:
            break
        direction = -_turned(slope, pairs)
        steepness = float((slope * direction).sum())
        length = 1.0 if pairs else min(1.0, 1.0 / _length(slope))
        there, new_value, new_slope = here, value, slope
        while length > 1e-10:
            there = here + length * direction
            new_value, new_slope = _seen(function, there)
            if new_value <= value + 1e-4 * length * steepness:
                break
            length /= 2
        else:
            break
        step, change = there - here, new_slope - slope
        if float((step * change).sum()) > 1e-10:
            pairs.append((step, change))
        here, value, slope = there, new_value, new_slope
    return here


def _length(vector: Tensor) -> float:
    return float(vector.square().sum().sqrt())


def _seen(function: Callable[[Tensor], Tensor], at: Tensor) -> tuple[float, Tensor]:
    with torch.enable_grad():
        point = at.requires_grad_()
        value = function(point)
        slope = torch.autograd.grad(value, point)[0]
    at.requires_grad_(False)
    return float(value.detach()), slope


def _turned(slope: Tensor, pairs: Iterable[tuple[Tensor, Tensor]]) -> Tensor:
    """The slope times an estimate of the inverse Hessian, from the latest steps and changes of slope."""
    turned, shares = slope, list[float]()
    listed = list(pairs)
    for step, change in reversed(listed):
        share = float((step * turned).sum() / (step * change).sum())
        turned = turned - share * change
        shares.append(share)
    if listed:
        step, change = listed[-1]
        turned = turned * ((step * change).sum() / change.square().sum())
    for (step, change), share in zip(listed, reversed(shares), strict=True):
        back = float((change * turned).sum() / (step * change).sum())
        turned = turned + (share - back) * step
    return turned
