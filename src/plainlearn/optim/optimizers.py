"""Optimizers with the course's argument names, on torch's own implementations.

Each is torch's optimizer, in its fused form where the device has one: a single kernel for
all parameters, instead of a Python loop over them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from inspect import unwrap
from typing import Any, cast

import torch
from torch import Tensor

Params = Iterable[Tensor] | Iterable[dict[str, Any]]

_FUSED_ON = {"cpu", "cuda", "mps"}


class WithoutCompiler(torch.optim.Optimizer):
    """torch's optimizer without the wrappers that load torch's compiler: 3 CPU seconds at the first use.

    The wrappers keep the compiler out of an optimizer's code when a whole step is compiled. We
    compile models, not steps, so the methods inside them are called directly. Where torch
    has no wrapper, `unwrap` gives the method itself.
    """

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        unwrap(torch.optim.Optimizer.add_param_group)(self, param_group)

    def zero_grad(self, set_to_none: bool = True) -> None:
        if not set_to_none:
            super().zero_grad(set_to_none=False)
            return
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter.grad = None

    def state_dict(self) -> dict[str, Any]:
        return unwrap(torch.optim.Optimizer.state_dict)(self)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        unwrap(torch.optim.Optimizer.load_state_dict)(self, state_dict)


_sgd_step = unwrap(cast("Callable[..., Any]", torch.optim.SGD.step))
_adam_step = unwrap(cast("Callable[..., Any]", torch.optim.Adam.step))
_rmsprop_step = unwrap(cast("Callable[..., Any]", torch.optim.RMSprop.step))


class SGD(WithoutCompiler, torch.optim.SGD):
    """Stochastic gradient descent: `mom` is the momentum, 0..1, `wd` torch's L2 weight decay.

    `params` are tensors, or groups of them as torch's optimizers take them; `lr` is the step's size.

    >>> weight = torch.nn.Parameter(torch.tensor([1.0]))
    >>> weight.grad = torch.tensor([2.0])
    >>> SGD([weight], lr=0.1).step()
    >>> weight.data
    tensor([0.8000])
    """

    def __init__(
        self, params: Params, lr: float = 1e-3, mom: float = 0.0, wd: float = 0.0, nesterov: bool = False
    ) -> None:
        given: list[Any] = list(params)
        super().__init__(
            given, lr=lr, momentum=mom, weight_decay=wd, nesterov=nesterov, fused=_fused(given) or None
        )

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        return _sgd_step(self, closure)


class Adam(WithoutCompiler, torch.optim.Adam):
    """Adam, with the weight decay `wd` apart from the gradient (AdamW) unless `decouple_wd=False`.

    `mom` and `sqr_mom`, both 0..1, are how slowly the means of the gradient and of its square forget;
    `eps` keeps the division by the latter's root finite. The defaults of `sqr_mom`, `eps` and `wd` are the course's.

    Source: Kingma and Ba 2014, arXiv:1412.6980; Loshchilov and Hutter 2017, arXiv:1711.05101.
    """

    def __init__(
        self,
        params: Params,
        lr: float = 1e-3,
        mom: float = 0.9,
        sqr_mom: float = 0.99,
        eps: float = 1e-5,
        wd: float = 0.01,
        decouple_wd: bool = True,
    ) -> None:
        given: list[Any] = list(params)
        super().__init__(
            given, lr=lr, betas=(mom, sqr_mom), eps=eps, weight_decay=wd, decoupled_weight_decay=decouple_wd,
            fused=_fused(given) or None,
        )  # fmt: skip

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        return _adam_step(self, closure)


class RMSProp(WithoutCompiler, torch.optim.RMSprop):
    """Gradients divided by the root of the mean of their squares, which forgets by `sqr_mom` a step.

    The other arguments are those of `SGD` and `Adam`. Source: Hinton, Neural Networks for Machine Learning, lecture 6e.
    """

    def __init__(
        self,
        params: Params,
        lr: float = 1e-3,
        mom: float = 0.0,
        sqr_mom: float = 0.99,
        eps: float = 1e-8,
        wd: float = 0.0,
    ) -> None:
        super().__init__(
            cast("list[Any]", list(params)),
            lr=lr,
            momentum=mom,
            alpha=sqr_mom,
            eps=eps,
            weight_decay=wd,
            foreach=True,
        )

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        return _rmsprop_step(self, closure)


def _fused(params: list[Any]) -> bool:
    """Has torch a fused step for these parameters?"""
    tensors: list[Tensor] = []
    for entry in params:
        members = cast("dict[str, Any]", entry)["params"] if isinstance(entry, dict) else entry
        tensors.extend([members] if isinstance(members, Tensor) else members)
    # Not for those that are divided over processes (FSDP), which have `full_tensor`.
    return bool(tensors) and all(
        t.device.type in _FUSED_ON and t.is_floating_point() and t.layout == torch.strided
        and not hasattr(t, "full_tensor") for t in tensors
    )  # fmt: skip


def momentum_of(group: dict[str, Any]) -> float | None:
    """The momentum of a torch parameter group, whichever name the optimizer gives it; None without any."""
    if "betas" in group:
        return float(group["betas"][0])
    return float(group["momentum"]) if "momentum" in group else None


def set_momentum(group: dict[str, Any], value: float) -> None:
    """Set what `momentum_of` reads; a group without momentum is left as it is."""
    if "betas" in group:
        group["betas"] = (value, *group["betas"][1:])
    elif "momentum" in group:
        group["momentum"] = value


# ---- problems small enough to see all data at once

_lbfgs_step = unwrap(cast("Callable[..., Any]", torch.optim.LBFGS.step))


class _LBFGS(WithoutCompiler, torch.optim.LBFGS):
    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        return _lbfgs_step(self, closure)


def minimise(
    function: Callable[[Tensor], Tensor], start: Tensor, *, iterations: int = 100, tolerance: float = 1e-3
) -> Tensor:
    """A tensor near which `function`, smooth, from a tensor to one number, is least, by torch's L-BFGS; `start` is left alone.

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
