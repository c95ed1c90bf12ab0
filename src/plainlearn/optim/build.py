"""The optimizer of a run: made by `opt_func`, its parameters grouped by depth and by whether they decay."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from plainlearn.core.describe import describe
from plainlearn.core.errors import ArgumentError, ArgumentTypeError
from plainlearn.optim.groups import parameter_groups


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
