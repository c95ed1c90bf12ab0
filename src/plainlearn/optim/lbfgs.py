"""The least of a smooth function of one tensor, by torch's L-BFGS: for problems small enough to see all data at once."""

from __future__ import annotations

from collections.abc import Callable
from inspect import unwrap
from typing import Any, cast

import torch
from torch import Tensor

from plainlearn.optim.optimizers import WithoutCompiler

_step = unwrap(cast("Callable[..., Any]", torch.optim.LBFGS.step))


class _LBFGS(WithoutCompiler, torch.optim.LBFGS):
    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        return _step(self, closure)


def minimise(
    function: Callable[[Tensor], Tensor], start: Tensor, *, iterations: int = 100, tolerance: float = 1e-3
) -> Tensor:
    """A tensor near which `function`, from a tensor to one number, is least; `start` is left alone.

    It ends when no entry of the gradient exceeds `tolerance`, or after `iterations`.
    Source: Nocedal and Wright, Numerical Optimization, 2006, algorithms 7.5 and 3.5.

    >>> minimise(lambda x: (x - 3).square().sum(), torch.zeros(2))
    tensor([3., 3.])
    """
    x = start.detach().clone().requires_grad_()
    optimizer = _LBFGS([x], max_iter=iterations, tolerance_grad=tolerance, line_search_fn="strong_wolfe")

    def cost() -> Tensor:
        value = function(x)
        (x.grad,) = torch.autograd.grad(value, x)
        return value

    optimizer.step(cost)
    return x.detach()
