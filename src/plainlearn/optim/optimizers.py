"""Optimizers with the course's argument names, on torch's own implementations.

Each is a function that returns torch's optimizer, in its fused form where the device has one:
a single kernel for all parameters, instead of a Python loop over them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

import torch
from torch import Tensor

Params = Iterable[Tensor] | Iterable[dict[str, Any]]

_FUSED_ON = {"cpu", "cuda", "mps"}


def SGD(params: Params, lr: float = 1e-3, mom: float = 0.0, wd: float = 0.0, nesterov: bool = False) -> torch.optim.SGD:
    """Stochastic gradient descent; `mom` is the momentum, `wd` torch's L2 weight decay."""
    given = list(params)
    return torch.optim.SGD(given, lr=lr, momentum=mom, weight_decay=wd, nesterov=nesterov, **_implementation(given))


def Adam(
    params: Params,
    lr: float = 1e-3,
    mom: float = 0.9,
    sqr_mom: float = 0.99,
    eps: float = 1e-5,
    wd: float = 0.01,
    decouple_wd: bool = True,
) -> torch.optim.Adam:
    """Adam, with weight decay apart from the gradient (AdamW) unless `decouple_wd=False`.

    Source: Kingma and Ba 2014, arXiv:1412.6980; Loshchilov and Hutter 2017, arXiv:1711.05101.
    The defaults of `sqr_mom`, `eps` and `wd` are the course's.
    """
    given = list(params)
    kind = torch.optim.AdamW if decouple_wd else torch.optim.Adam
    return kind(given, lr=lr, betas=(mom, sqr_mom), eps=eps, weight_decay=wd, **_implementation(given))


def RMSProp(
    params: Params, lr: float = 1e-3, mom: float = 0.0, sqr_mom: float = 0.99, eps: float = 1e-8, wd: float = 0.0
) -> torch.optim.RMSprop:
    """Root-mean-square scaled gradients (Hinton's lecture 6e)."""
    return torch.optim.RMSprop(list(params), lr=lr, momentum=mom, alpha=sqr_mom, eps=eps, weight_decay=wd, foreach=True)


def _implementation(params: list[Any]) -> dict[str, bool]:
    """`fused` where torch has it for these parameters, else torch's own choice."""
    tensors: list[Tensor] = []
    for entry in params:
        members = cast("dict[str, Any]", entry)["params"] if isinstance(entry, dict) else [entry]
        tensors.extend(cast("Iterable[Tensor]", members) if not isinstance(members, Tensor) else [members])
    fits = all(t.device.type in _FUSED_ON and t.is_floating_point() and t.layout == torch.strided for t in tensors)
    return {"fused": True} if fits and tensors else {}


def momentum_of(group: dict[str, Any]) -> float | None:
    """The momentum of a torch parameter group, whichever name the optimizer gives it."""
    if "betas" in group:
        return float(group["betas"][0])
    return float(group["momentum"]) if "momentum" in group else None


def set_momentum(group: dict[str, Any], value: float) -> None:
    """Set it; an optimizer without momentum is left as it is."""
    if "betas" in group:
        group["betas"] = (value, *group["betas"][1:])
    elif "momentum" in group:
        group["momentum"] = value
