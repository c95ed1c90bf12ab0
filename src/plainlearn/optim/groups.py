"""Parameter groups: by depth, and within a depth by whether they decay."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, cast

from torch import nn

from plainlearn.core.errors import ArgumentError, ArgumentTypeError

Splitter = Callable[[nn.Module], "list[nn.Parameter] | list[list[nn.Parameter]]"]


def trainable_params(model: nn.Module) -> list[nn.Parameter]:
    """All parameters of `model` that want a gradient, as one group: the default splitter."""
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def split_by_depth(model: nn.Module, splitter: Splitter) -> list[list[nn.Parameter]]:
    """What `splitter` gives for `model`, as a list of groups from the input to the output.

    Raises `ArgumentError` when there is no parameter to train, or one stands in two groups.
    """
    given = list(splitter(model))
    groups = (
        [cast("list[nn.Parameter]", given)]
        if given and isinstance(given[0], nn.Parameter)
        else [list(group) for group in cast("list[list[nn.Parameter]]", given)]
    )
    groups = [group for group in groups if group]
    if not groups:
        known = sum(1 for _ in model.parameters())
        raise ArgumentError(
            f"the model {type(model).__name__} has no parameter to train"
            + (f": all {known} of its parameters are frozen" if known else "; a fit would change nothing"),
            try_="learn.unfreeze()" if known else "a model with weights, such as nn.Linear(784, 1)",
        )
    ids = [id(parameter) for group in groups for parameter in group]
    if len(set(ids)) != len(ids):
        raise ArgumentError("the splitter put a parameter into two groups; expected each once")
    return groups


def parameter_groups(groups: Sequence[Sequence[nn.Parameter]], weight_decay: float | None) -> list[dict[str, Any]]:
    """The optimizer's groups for parameters grouped by depth; each says its `depth`.

    With a weight decay, a depth has a second group for what should not shrink towards
    zero: biases and the scales and shifts of normalisation, that is, whatever has one axis or none.
    `weight_decay` None leaves the optimizer's own default, also split.
    """
    made: list[dict[str, Any]] = []
    for depth, group in enumerate(groups):
        if weight_decay == 0:
            made.append({"params": list(group), "depth": depth})
            continue
        shrinking = [parameter for parameter in group if parameter.ndim > 1]
        staying = [parameter for parameter in group if parameter.ndim <= 1]
        if shrinking:
            decay = {} if weight_decay is None else {"weight_decay": weight_decay}
            made.append({"params": shrinking, "depth": depth, **decay})
        if staying:
            made.append({"params": staying, "depth": depth, "weight_decay": 0.0})
    return made


def learning_rates(lr: Any, depths: int) -> list[float]:
    """One learning rate a depth: a number for all, `slice(lo, hi)` spread by equal factors.

    `slice(hi)` gives a tenth of `hi` to all but the last depth. A list gives each its own.
    Raises `ArgumentError` for rates that are not finite numbers above 0.

    >>> learning_rates(slice(1e-4, 1e-2), 3)
    [0.0001, 0.001, 0.01]
    """
    if isinstance(lr, slice):
        low, high = lr.start, lr.stop
        if high is None:
            raise ArgumentError(f"lr is {lr}; a slice needs its highest rate", try_="slice(1e-5, 1e-3) or slice(1e-3)")
        high = _rate(high)
        if low is None:
            return [high / 10] * (depths - 1) + [high]
        low = _rate(low)
        if depths == 1:
            return [high]
        return [low * (high / low) ** (depth / (depths - 1)) for depth in range(depths - 1)] + [high]
    if isinstance(lr, (list, tuple)):
        rates = [_rate(rate) for rate in cast("Sequence[Any]", lr)]
        if len(rates) != depths:
            raise ArgumentError(f"lr has {len(rates)} rates and the model {depths} parameter groups; expected one each",
                                try_="lr=slice(1e-5, 1e-3)")
        return rates
    return [_rate(lr)] * depths


def _rate(value: Any) -> float:
    try:
        rate = float(value) if not isinstance(value, (str, bytes, bool)) else None
    except (TypeError, ValueError):
        rate = None
    if rate is None:
        raise ArgumentTypeError(f"lr is {value!r}; expected a number above 0", try_="lr=1e-3")
    if not math.isfinite(rate) or rate <= 0:
        raise ArgumentError(f"lr is {rate:g}; expected a finite number above 0", try_="lr=1e-3")
    return rate
