"""Optimizer and schedule of a run, as code: which parameters learn, in which groups, at which rates."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import torch
from torch import nn

from plainlearn.core.errors import ArgumentError
from plainlearn.eject.text import WIDTH, call
from plainlearn.optim.build import make_optimizer, set_learning_rates
from plainlearn.optim.groups import learning_rates, split_by_depth
from plainlearn.train.loop import Learner

_SAID_ELSEWHERE = ("lr", "params", "decoupled_weight_decay")


def optimizer_code(learn: Learner, lr: float | slice, wd: float | None) -> list[str]:
    """Statements that make the optimizer of a run at this rate, for what learns now.

    Raises `ArgumentError` for an optimizer that is not torch's.
    """
    groups = split_by_depth(learn.model, learn.splitter)
    rates = learning_rates(lr, len(groups))
    optimizer = make_optimizer(learn.opt_func, groups, rates, learn.wd if wd is None else wd)
    kind = _torchs(optimizer)
    set_learning_rates(optimizer, rates)
    options = _options(kind, optimizer.defaults)
    names = {id(parameter): name for name, parameter in learn.model.named_parameters()}
    if len(optimizer.param_groups) == 1 and len(groups) == 1:
        group = optimizer.param_groups[0]
        frozen = any(not parameter.requires_grad for parameter in learn.model.parameters())
        if not frozen and len(group["params"]) == len(names):
            if "weight_decay" in group:
                options |= {"weight_decay": group["weight_decay"]}
                if group["weight_decay"] == inspect.signature(kind).parameters["weight_decay"].default:
                    del options["weight_decay"]
            return call(_made(kind), ["model.parameters()", f"lr={group['lr']!r}", *_shown(options)])
    lines = ["groups = ["]
    for group in optimizer.param_groups:
        inside = [names[id(parameter)] for parameter in group["params"]]
        settings = [
            f'"lr": {group["lr"]!r}',
            *(f'"{key}": {group[key]!r}' for key in ("weight_decay",) if key in group),
        ]
        lines += _group(learn.model, inside, groups[int(group.get("depth", 0))], names, settings)
    lines.append("]")
    options.pop("weight_decay", None)
    return [*lines, *call(_made(kind), ["groups", *_shown(options)])]


def _group(
    model: nn.Module,
    inside: Sequence[str],
    depth: Sequence[nn.Parameter],
    names: Mapping[int, str],
    settings: Sequence[str],
) -> list[str]:
    """One group: the prefixes of its depth, and whether those of one axis are meant."""
    prefixes = prefixes_of(model, {names[id(parameter)] for parameter in depth})
    members = {names[id(parameter)]: parameter for parameter in depth}
    many = [name for name, parameter in members.items() if parameter.ndim > 1]
    function = (
        "learning" if set(inside) == set(members) else "matrices" if set(inside) == set(many) else "vectors"
    )
    which = f"{function}(model, {_tuple(prefixes)})"
    line = f'    {{"params": {which}, {", ".join(settings)}}},'
    if len(line) <= WIDTH:
        return [line]
    return ["    {", f'        "params": {which},', *(f"        {each}," for each in settings), "    },"]


def prefixes_of(model: nn.Module, names: set[str]) -> list[str]:
    """The fewest beginnings of names that cover exactly these parameters and no other that learns."""
    found: list[str] = []

    def descend(part: nn.Module, prefix: str) -> None:
        inside = {f"{prefix}{name}" for name, each in part.named_parameters() if each.requires_grad}
        if not inside & names:
            return
        if inside <= names:
            found.append(prefix)
            return
        found.extend(
            f"{prefix}{name}"
            for name, _ in part.named_parameters(recurse=False)
            if f"{prefix}{name}" in names
        )
        for name, child in part.named_children():
            descend(child, f"{prefix}{name}.")

    descend(model, "")
    return found


def _tuple(prefixes: Sequence[str]) -> str:
    quoted = [f'"{prefix}"' for prefix in prefixes]
    return quoted[0] if len(quoted) == 1 else f"({', '.join(quoted)})"


def _torchs(optimizer: Any) -> type[torch.optim.Optimizer]:
    for kind in type(optimizer).__mro__:
        if kind.__module__.startswith("torch.optim.") and getattr(torch.optim, kind.__name__, None) is kind:
            ours = type(optimizer).__module__ == "plainlearn.optim.optimizers"
            if kind is type(optimizer) or ours:
                decoupled = kind is torch.optim.Adam and optimizer.defaults.get("decoupled_weight_decay")
                return torch.optim.AdamW if decoupled else kind
            break
    raise ArgumentError(
        f"the optimizer {type(optimizer).__name__} is not one of torch's, so a script cannot make it",
        try_="opt_func=SGD or opt_func=Adam",
    )


def _options(kind: type[torch.optim.Optimizer], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that differ from those which torch's class has by itself."""
    usual = {name: each.default for name, each in inspect.signature(kind).parameters.items()}
    return {
        name: value
        for name, value in defaults.items()
        if name in usual and name not in _SAID_ELSEWHERE and value != usual[name] and value is not None
    }


def _shown(options: Mapping[str, Any]) -> list[str]:
    return [f"{name}={value!r}" for name, value in options.items()]


def _made(kind: type) -> str:
    return f"optimizer = torch.optim.{kind.__name__}"


# ---- whole runs


def fit_code(learn: Learner, epochs: int, lr: Any, wd: float | None = None) -> tuple[list[str], str]:
    """`learn.fit` as statements, and as a person would call it."""
    rate = learn.lr if lr is None else lr
    return [
        *optimizer_code(learn, rate, wd),
        f"fit(model, optimizer, epochs={epochs})",
    ], f"fit({epochs}, {shown(rate)})"


def one_cycle_code(
    learn: Learner,
    epochs: int,
    lr: Any,
    div: float = 25.0,
    div_final: float = 1e5,
    pct_start: float = 0.25,
    wd: float | None = None,
    moms: tuple[float, float, float] | None = (0.95, 0.85, 0.95),
) -> tuple[list[str], str]:
    """`learn.fit_one_cycle`, likewise."""
    rate = learn.lr if lr is None else lr
    given = {"epochs": epochs, "pct_start": pct_start, "div": div, "div_final": div_final, "moms": moms}
    lines = call("fit_one_cycle", ["model", "optimizer", *_shown(given)])
    return [*optimizer_code(learn, rate, wd), *lines], f"fit_one_cycle({epochs}, {shown(rate)})"


def shown(rate: float | slice) -> str:
    """A rate as a person writes it."""
    if isinstance(rate, slice):
        return f"slice({rate.start}, {rate.stop})" if rate.start is not None else f"slice({rate.stop})"
    return f"{rate:g}"


RECIPES: Final[Mapping[str, Callable[..., tuple[list[str], str]]]] = {
    "fit": fit_code,
    "fit_one_cycle": one_cycle_code,
}
