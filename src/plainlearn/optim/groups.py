"""The optimizer of a run, its parameters grouped by depth and by whether they decay, and the learning rate of each."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from plainlearn.core.describe import describe
from plainlearn.core.errors import ArgumentError, ArgumentTypeError

#: From a model, its parameters; or groups of them, from the input to the output.
Splitter = Callable[[nn.Module], "Iterable[nn.Parameter] | Iterable[Iterable[nn.Parameter]]"]


def trainable_params(model: nn.Module) -> list[nn.Parameter]:
    """All parameters of `model` that want a gradient, as one group: the default splitter."""
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def split_by_depth(model: nn.Module, splitter: Splitter) -> list[list[nn.Parameter]]:
    """What `splitter` gives for `model`, as a list of groups from the input to the output.

    Frozen parameters are left out; a depth where all are frozen stays, empty, so that the others keep
    their number. Raises `ArgumentError` when there is nothing to train, or a parameter stands in two
    groups, and `ArgumentTypeError` for what is no parameter.
    """
    given: list[Any] = list(splitter(model))
    alone = bool(given) and isinstance(given[0], Tensor)
    groups = [_checked_group(group) for group in ([given] if alone else given)]
    groups = [[parameter for parameter in group if parameter.requires_grad] for group in groups]
    if not any(groups):
        known = sum(1 for _ in model.parameters())
        raise ArgumentError(
            f"the model {type(model).__name__} has no parameter to train"
            + (f": all {known} of its parameters are frozen" if known else "; a fit would change nothing"),
            try_="learn.model.requires_grad_(True)"
            if known
            else "a model with weights, such as nn.Linear(784, 1)",
        )
    ids = [id(parameter) for group in groups for parameter in group]
    if len(set(ids)) != len(ids):
        raise ArgumentError("the splitter put a parameter into two groups; expected each once")
    return groups


def _checked_group(group: Any) -> list[nn.Parameter]:
    members: list[Any] = [group]
    if isinstance(group, Iterable) and not isinstance(group, Tensor):
        members = list(cast("Iterable[Any]", group))
    for member in members:
        if not isinstance(member, Tensor):
            raise ArgumentTypeError(
                f"the splitter gave {describe(member)} among the parameters; expected parameters, or lists of them",
                try_="splitter=lambda model: [list(model[0].parameters()), list(model[1].parameters())]",
            )
    return members


def parameter_groups(
    groups: Sequence[Sequence[nn.Parameter]], weight_decay: float | None
) -> list[dict[str, Any]]:
    """The optimizer's groups for parameters grouped by depth; each says its `depth`, 0 at the input.

    With a weight decay, a depth has a second group for what should not shrink towards
    zero: biases and the scales and shifts of normalisation, that is, whatever has one axis or none.
    `weight_decay` None leaves the optimizer's own default to the first, 0 makes no second group.
    """
    made: list[dict[str, Any]] = []
    for depth, group in enumerate(groups):
        if weight_decay == 0:
            made.append({"params": list(group), "depth": depth, "weight_decay": 0.0})
            continue
        decay = {} if weight_decay is None else {"weight_decay": weight_decay}
        made.append({"params": [p for p in group if p.ndim > 1], "depth": depth, **decay})
        made.append({"params": [p for p in group if p.ndim <= 1], "depth": depth, "weight_decay": 0.0})
    return [group for group in made if group["params"]]


def learning_rates(lr: float | slice | Sequence[float], depths: int) -> list[float]:
    """One learning rate a depth: a number for all, `slice(lo, hi)` spread by equal factors.

    `slice(hi)` gives a tenth of `hi` to all but the last depth. A list gives each its own.
    Raises `ArgumentError` for rates that are not finite numbers above 0, `ArgumentTypeError` for what is no number.

    >>> learning_rates(slice(1e-4, 1e-2), 3)
    [0.0001, 0.001, 0.01]
    """
    if isinstance(lr, slice):
        if lr.stop is None or lr.step is not None:
            raise ArgumentError(
                f"lr is {lr}; expected a slice of a lowest and a highest rate",
                try_="slice(1e-5, 1e-3) or slice(1e-3)",
            )
        high = checked_rate(lr.stop)
        if lr.start is None:
            return [high / 10] * (depths - 1) + [high]
        low = checked_rate(lr.start)
        return [low * (high / low) ** (depth / (depths - 1)) for depth in range(depths - 1)] + [high]
    if isinstance(lr, (list, tuple)):
        rates = [checked_rate(rate) for rate in cast("Sequence[Any]", lr)]
        if len(rates) != depths:
            raise ArgumentError(
                f"lr has {len(rates)} rates and the model {depths} parameter groups; expected one each",
                try_="lr=slice(1e-5, 1e-3)",
            )
        return rates
    return [checked_rate(lr)] * depths


def checked_rate(value: object) -> float:
    """A learning rate as a number, if it is one that can be used.

    Raises `ArgumentTypeError` for what is no number, `ArgumentError` for nan, infinity, 0 and below.
    """
    try:
        if isinstance(value, bool | str | bytes):
            raise TypeError
        rate = float(cast("float", value))
    except (TypeError, ValueError, RuntimeError) as error:  # the last from a tensor of several
        raise ArgumentTypeError(
            f"lr is {describe(value)}; expected a number above 0", try_="lr=1e-3"
        ) from error
    if not math.isfinite(rate) or rate <= 0:
        raise ArgumentError(f"lr is {rate:g}; expected a finite number above 0", try_="lr=1e-3")
    return rate


# ---- the optimizer


def make_optimizer(
    opt_func: Callable[..., Any],
    groups: Sequence[Sequence[nn.Parameter]],
    rates: Sequence[float],
    weight_decay: float | None = None,
) -> Any:
    """`opt_func(parameters, lr=…)`, with its parameters in the groups that the depths and the decay ask for.

    `groups` are the parameters by depth, `rates` the learning rate of each depth. `weight_decay`
    None means the optimizer's own. One that is not torch's (the lesson's `BasicOptim`)
    needs `step` and `zero_grad`, and takes one depth.

    Raises `ArgumentTypeError` when `opt_func` does not give an optimizer, `ArgumentError` when the
    optimizer cannot do what is asked of it.
    """
    if not callable(opt_func):
        made = isinstance(opt_func, torch.optim.Optimizer)
        found = f"an optimizer already, {type(opt_func).__name__}" if made else describe(opt_func)
        raise ArgumentTypeError(
            f"opt_func is {found}; expected a function that makes an optimizer", try_="opt_func=SGD"
        )
    rate = rates[-1]
    try:
        optimizer = opt_func([parameter for group in groups for parameter in group], lr=rate)
    except TypeError as error:
        error.add_note(f"The optimizer is made by opt_func(parameters, lr={rate:g}).")
        raise
    _check_methods(optimizer)
    if isinstance(optimizer, torch.optim.Optimizer):
        _arrange(optimizer, groups, rate, weight_decay)
        return optimizer
    name = type(optimizer).__name__
    if sum(map(bool, groups)) > 1:
        raise ArgumentError(
            f"{name} takes one learning rate, and the model has {len(groups)} parameter groups",
            try_="opt_func=SGD, or a splitter that gives one group",
        )
    if weight_decay is not None:
        raise ArgumentError(
            f"wd is {weight_decay!r}, and {name} is not one of torch's optimizers, so it is not known how it decays",
            try_=f"opt_func=partial({name}, …) with its own argument",
        )
    return optimizer


def set_learning_rates(optimizer: Any, rates: Sequence[float]) -> None:
    """Give each of the optimizer's groups the rate of its depth."""
    groups = getattr(optimizer, "param_groups", None)
    if groups is None:  # a bare one, such as the lesson's BasicOptim
        optimizer.lr = rates[-1]
        return
    for group in groups:
        group["lr"] = rates[group.get("depth", -1)]


def _check_methods(optimizer: Any) -> None:
    missing = [name for name in ("step", "zero_grad") if not callable(getattr(optimizer, name, None))]
    if missing or isinstance(optimizer, type):
        raise ArgumentTypeError(
            f"opt_func gave {describe(optimizer)}, which has no {' and no '.join(missing) or 'parameters'}; "
            "expected an optimizer",
            try_="opt_func=SGD",
        )
    asked = [
        parameter.name
        for parameter in inspect.signature(optimizer.step).parameters.values()
        if parameter.default is parameter.empty
        and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    ]
    if asked:
        raise ArgumentError(
            f"{type(optimizer).__name__}.step asks for {', '.join(asked)}, and the loop calls step(); "
            "an optimizer that evaluates the loss several times a step needs a loop of its own",
            try_="opt_func=SGD or opt_func=Adam",
        )


def _arrange(
    optimizer: torch.optim.Optimizer,
    groups: Sequence[Sequence[nn.Parameter]],
    rate: float,
    weight_decay: float | None,
) -> None:
    name, given = type(optimizer).__name__, optimizer.param_groups
    if weight_decay is not None:
        if isinstance(weight_decay, bool | str) or not 0 <= weight_decay < math.inf:
            raise ArgumentError(
                f"wd is {weight_decay!r}; expected a finite number of 0 or more", try_="wd=0.01"
            )
        if "weight_decay" not in given[0]:
            raise ArgumentError(
                f"wd is {weight_decay:g}, and {name} has no weight decay", try_="opt_func=Adam"
            )
    if len(given) > 1:  # opt_func has its own idea of groups
        if len(groups) > 1 or weight_decay is not None or any(group["lr"] != rate for group in given):
            raise ArgumentError(
                f"opt_func made {len(given)} parameter groups of its own, whose rates or decays the learner would overwrite",
                try_="splitter= for the groups, and lr=slice(1e-5, 1e-3) for their rates",
            )
        return
    decay = given[0].get("weight_decay", 0.0) if weight_decay is None else weight_decay
    given[:] = [{**given[0], **group} for group in parameter_groups(groups, decay)]
