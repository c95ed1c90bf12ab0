"""Optimizer and schedule of a run, as code: which parameters learn, in which groups, at which rates."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

import torch
from torch import Tensor, nn

from plainlearn.core.errors import ArgumentError
from plainlearn.eject.script_parts import freeze_all_but, grouped
from plainlearn.eject.source import Copied
from plainlearn.eject.text import bracketed, call, quoted
from plainlearn.optim.groups import split_by_depth
from plainlearn.optim.optimizers import momentum_of
from plainlearn.optim.schedules import combined_cos
from plainlearn.train.features import head_of
from plainlearn.train.freezing import freeze, unfreeze
from plainlearn.train.learner import Learner
from plainlearn.train.probe import can_fit_head_on_features

_STEPS_TO_SETTLE = 100  # as in `fine_tune`
_SAID_ELSEWHERE = ("lr", "params", "decoupled_weight_decay")


@dataclass(frozen=True)
class Run:
    """A run as statements, and as a person would call it; `arrays` is what its optimizer remembers."""

    lines: list[str]
    call: str
    arrays: dict[str, Tensor] = field(default_factory=dict[str, Tensor])


# ---- the optimizer


def _optimizer_code(learn: Learner, copied: Copied, lr: float | slice, wd: float | None) -> Run:
    """Statements that make the optimizer of a run at this rate, for what learns now.

    The learner makes it, as it would for the run: `learn` has it afterwards.
    Raises `ArgumentError` for an optimizer that is not torch's, or that has groups of its own.
    """
    learn.make_optimizer(lr, wd)
    optimizer, rates = learn.optimizer, learn.rates
    kind = _torchs(optimizer)
    if any("depth" not in group for group in optimizer.param_groups):
        raise ArgumentError(
            "opt_func makes groups of its own, which are not written down", try_="splitter= for the groups"
        )
    options = _options(kind, optimizer.defaults)
    decay = max(float(group["weight_decay"]) for group in optimizer.param_groups)
    everything = sum(len(group["params"]) for group in optimizer.param_groups)
    if len(rates) == 1 and decay == 0 and everything == len(list(learn.model.parameters())):
        usual = inspect.signature(kind).parameters.get("weight_decay")
        if usual is not None and usual.default != 0:
            options["weight_decay"] = 0.0
        lines, given = [], ["model.parameters()", f"lr={rates[0]!r}"]
    else:
        options.pop("weight_decay", None)
        made_of = ["model", "DEPTHS", f"rates={rates!r}", f"weight_decay={decay!r}"]
        lines, given = [call(f"groups = {copied.take(grouped, 'the optimizer')}", made_of)], ["groups"]
    shown = [f"{name}={value!r}" for name, value in options.items()]
    lines.append(call(f"optimizer = torch.optim.{kind.__name__}", [*given, *shown]))
    return _remembering(learn, lines)


def _remembering(learn: Learner, lines: list[str]) -> Run:
    """The same, and what the optimizer remembers of an earlier run, if it does."""
    names = {id(parameter): name for name, parameter in learn.model.named_parameters()}
    state: Mapping[Any, Mapping[str, Any]] = learn.optimizer.state
    memory = {
        f"optimizer.{names[id(parameter)]}.{key}": value
        for parameter, those in state.items()
        for key, value in those.items()
        if isinstance(value, Tensor)
    }
    if memory:
        keys = ", ".join(quoted(key) for key in sorted({name.rpartition(".")[2] for name in memory}))
        lines = [
            *lines,
            "# The optimizer goes on with what it remembers of an earlier run.",
            "for name, parameter in model.named_parameters():",
            f"    for key in [{keys}]:",
            '        if (remembered := f"optimizer.{name}.{key}") in start:',
            "            optimizer.state[parameter][key] = torch.from_numpy(start[remembered])",
        ]
    return Run(lines, "", memory)


def _torchs(optimizer: Any) -> type[torch.optim.Optimizer]:
    for kind in type(optimizer).__mro__:
        if kind.__module__.startswith("torch.optim"):
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


# ---- what learns


def freeze_code(learn: Learner, copied: Copied) -> str:
    """The statement that lets learn what learns now."""
    names = {name for name, parameter in learn.model.named_parameters() if parameter.requires_grad}
    return call(
        copied.take(freeze_all_but, "the script"),
        ["model", f"learn={_tuple(_prefixes_of(learn.model, names))}"],
    )


def depths_code(learn: Learner) -> str:
    """The depths of the model, frozen or not, by how the names of their parameters begin."""
    learn.model.requires_grad_(True)
    names = {id(parameter): name for name, parameter in learn.model.named_parameters()}
    depths = [
        _tuple(_prefixes_of(learn.model, {names[id(parameter)] for parameter in depth}))
        for depth in split_by_depth(learn.model, learn.splitter)
    ]
    return bracketed("DEPTHS = ", "[]", depths, width=0)


def _prefixes_of(model: nn.Module, names: set[str]) -> list[str]:
    """The fewest beginnings of names that cover exactly these parameters."""
    found: list[str] = []

    def descend(part: nn.Module, prefix: str) -> None:
        inside = {f"{prefix}{name}" for name, _ in part.named_parameters()}
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


def _tuple(prefixes: list[str]) -> str:
    given = [quoted(prefix) for prefix in prefixes]
    return f"({given[0]},)" if len(given) == 1 else bracketed("", "()", given, width=100)


# ---- whole runs


def _fit_code(learn: Learner, copied: Copied, epochs: int, lr: Any, wd: float | None = None) -> Run:
    """`learn.fit` as a run."""
    rate = learn.lr if lr is None else lr
    run = _optimizer_code(learn, copied, rate, wd)
    lines = [*run.lines, f"{copied.spell_out('fit')}(model, optimizer, task, epochs={epochs})"]
    return replace(run, lines=lines, call=f"fit({epochs}, {_shown(rate)})")


def _one_cycle_code(
    learn: Learner,
    copied: Copied,
    epochs: int,
    lr: Any,
    div: float = 25.0,
    div_final: float = 1e5,
    pct_start: float = 0.25,
    wd: float | None = None,
    moms: tuple[float, float, float] | None = (0.95, 0.85, 0.95),
) -> Run:
    """`learn.fit_one_cycle`, likewise."""
    rate = learn.lr if lr is None else lr
    run = _optimizer_code(learn, copied, rate, wd)
    cycle = copied.take(combined_cos, "the schedule")
    given = ["optimizer", f"factor={cycle}({pct_start}, 1 / {div}, 1.0, 1 / {div_final})"]
    says = "# One cycle: the rates climb, then fall."
    if moms is not None and momentum_of(learn.optimizer.param_groups[0]):
        says = "# One cycle: the rates climb, then fall; momentum goes the other way."
        given.append(f"momentum={cycle}({', '.join(map(str, (pct_start, *moms)))})")
    lines = [
        *run.lines,
        says,
        call(f"schedule = {copied.spell_out('scheduled')}", given),
        f"{copied.spell_out('fit')}(model, optimizer, task, epochs={epochs}, schedule=schedule)",
    ]
    return replace(run, lines=lines, call=f"fit_one_cycle({epochs}, {_shown(rate)})")


def _fine_tune_code(
    learn: Learner,
    copied: Copied,
    epochs: int,
    lr: Any,
    freeze_epochs: int = 1,
    lr_mult: float = 100.0,
    pct_start: float = 0.3,
    div: float = 5.0,
    wd: float | None = None,
    *,
    features: bool | None = None,
) -> Run:
    """`learn.fine_tune`, likewise; `lr` is its `base_lr`."""
    rate = 2e-3 if lr is None else lr
    lines: list[str] = []
    serve = False
    freeze(learn)
    if freeze_epochs:
        serve = features is not False and can_fit_head_on_features(learn)
        lines.append(
            "# First the head alone, so that its first, wild steps do not spoil what the body knows."
        )
        if serve:
            lines.append(_head_code(learn, copied))
        else:
            lines.append(freeze_code(learn, copied))
            lines += _one_cycle_code(learn, copied, freeze_epochs, slice(rate), pct_start=0.99, wd=wd).lines
        lines.append("")
    unfreeze(learn)
    base, rate = rate, rate / 2
    if serve:  # as in `fine_tune`: from a head that is as good as it can be, the first steps lead away
        rate *= min(1.0, epochs * len(learn.dls.train) / _STEPS_TO_SETTLE)
    rates = slice(rate / lr_mult, rate)
    then = _one_cycle_code(learn, copied, epochs, rates, div=div, pct_start=pct_start, wd=wd)
    lines += [
        "# Then all depths, the early ones in smaller steps: they know what every picture has.",
        "model.requires_grad_(True)",
        *then.lines,
    ]
    return replace(then, lines=lines, call=f"fine_tune({epochs}, {_shown(base)})")


def _head_alone(learn: Learner, copied: Copied, epochs: int, lr: Any) -> Run:
    """The head fitted to features as a run; there are no epochs, nor a rate."""
    if not can_fit_head_on_features(learn):
        raise ArgumentError(
            "fit_head needs a linear head behind a frozen body, a loss of classes, and loaders of a DataBlock",
            try_='recipe="fine_tune"',
        )
    return Run([_head_code(learn, copied)], "fit_head()")


def _head_code(learn: Learner, copied: Copied) -> str:
    """The statement that fits the linear head to features."""
    model: Any = learn.model
    name: str = next(name for name, part in model.named_modules() if part is head_of(learn).linear)
    head = f"head=model.get_submodule({quoted(name)})"
    return call(copied.spell_out("fit_head"), ["model", head, "task=task", "unaugmented=unaugmented"])


def _shown(rate: float | slice) -> str:
    """A rate as a person writes it."""
    if isinstance(rate, slice):
        return f"slice({rate.start}, {rate.stop})" if rate.start is not None else f"slice({rate.stop})"
    return f"{rate:g}"


RECIPES: Final[Mapping[str, Callable[..., Run]]] = {
    "fit": _fit_code,
    "fit_one_cycle": _one_cycle_code,
    "fine_tune": _fine_tune_code,
    "fit_head": _head_alone,
}
