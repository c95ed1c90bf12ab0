"""Optimizer and schedule of a run, as code: which parameters learn, in which groups, at which rates."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, cast

import torch
from torch import Tensor, nn

from plainlearn.core.errors import ArgumentError
from plainlearn.eject.text import Piece, call, free_names, listing, part
from plainlearn.optim.groups import split_by_depth
from plainlearn.optim.optimizers import momentum_of
from plainlearn.train.features import head_of
from plainlearn.train.freezing import freeze, unfreeze
from plainlearn.train.learner import Learner
from plainlearn.train.probe import can_fit_head_on_features

_STEPS_TO_SETTLE = 100  # as in `fine_tune`
MEMORY: Final = (
    "optimizer"  # the first part of the names under which a script finds what its optimizer remembers
)
_SAID_ELSEWHERE = ("lr", "params", "decoupled_weight_decay")


def optimizer_code(learn: Learner, lr: float | slice, wd: float | None) -> list[str]:
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
    learning = sum(len(group["params"]) for group in optimizer.param_groups)
    everything = learning == len(list(learn.model.parameters()))
    if len(rates) == 1 and everything and decay == 0:
        usual = inspect.signature(kind).parameters.get("weight_decay")
        more = {"weight_decay": 0.0} if usual is not None and usual.default != 0 else {}
        given = ["model.parameters()", f"lr={rates[0]!r}", *_shown({**options, **more})]
        return call(_made(kind), given) + _memory_code(optimizer)
    options.pop("weight_decay", None)
    return [
        *call("groups = grouped", ["model", "DEPTHS", f"rates={rates!r}", f"weight_decay={decay!r}"]),
        *call(_made(kind), ["groups", *_shown(options)]),
        *_memory_code(optimizer),
    ]


def _memory_code(optimizer: Any) -> list[str]:
    """Statements that give the optimizer what it remembers of an earlier run, if it does; see `memory_of`."""
    if not optimizer.state:
        return []
    kept = sorted({key for state in optimizer.state.values() for key in _tensors(state)})
    return [
        "# The optimizer goes on with what it remembers of an earlier run.",
        "for name, parameter in model.named_parameters():",
        f"    for key in {kept!r}:".replace("'", '"'),
        f'        if (remembered := f"{MEMORY}.{{name}}.{{key}}") in start:',
        "            optimizer.state[parameter][key] = torch.from_numpy(start[remembered])",
    ] if kept else []  # fmt: skip


def memory_of(learn: Learner) -> dict[str, Tensor]:
    """What the learner's optimizer remembers, by the names of the parameters."""
    names = {id(parameter): name for name, parameter in learn.model.named_parameters()}
    state: Mapping[Any, Any] = getattr(learn.optimizer, "state", {})
    return {
        f"{MEMORY}.{names[id(parameter)]}.{key}": value
        for parameter, those in state.items()
        for key, value in _tensors(those).items()
    }


def _tensors(state: Mapping[str, Any]) -> dict[str, Tensor]:
    return {key: value for key, value in state.items() if isinstance(value, Tensor)}


def depths_code(learn: Learner) -> list[str]:
    """The depths of the model, frozen or not, by how the names of their parameters begin."""
    learn.model.requires_grad_(True)
    names = {id(parameter): name for name, parameter in learn.model.named_parameters()}
    lines = ["DEPTHS = ["]
    for depth in split_by_depth(learn.model, learn.splitter):
        prefixes = prefixes_of(learn.model, {names[id(parameter)] for parameter in depth})
        lines += listing("", "()", [f'"{prefix}"' for prefix in prefixes], 4)
        lines[-1] += ","
    return [*lines, "]"]


def prefixes_of(model: nn.Module, names: set[str]) -> list[str]:
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


@dataclass(frozen=True)
class Run:
    """A run as statements, and as a person would call it; the settings and definitions that it alone has."""

    lines: list[str]
    call: str
    settings: list[str] = field(default_factory=list[str])
    definitions: dict[str, Piece] = field(default_factory=dict[str, Piece])


def fit_code(learn: Learner, epochs: int, lr: Any, wd: float | None = None) -> Run:
    """`learn.fit` as a run."""
    rate = learn.lr if lr is None else lr
    lines = [*optimizer_code(learn, rate, wd), f"fit(model, optimizer, epochs={epochs})"]
    return Run(lines, f"fit({epochs}, {shown(rate)})")


def one_cycle_code(
    learn: Learner,
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
    made = optimizer_code(learn, rate, wd)
    given = {"epochs": epochs, "pct_start": pct_start, "div": div, "div_final": div_final}
    lines = [*made, *call("fit_one_cycle", ["model", "optimizer", *_shown(given)])]
    settings = [f"STEPS_OF_EPOCH = {len(learn.dls.train)}"]
    # The line of the loop that moves the momentum is for the optimizer that there is.
    piece, line = part("loop")["fit_one_cycle"], 'group["momentum"] = cycle(done, pct_start, *MOMENTUM)\n'
    group, text = learn.optimizer.param_groups[0], piece.text
    if moms is None or not momentum_of(group):
        text = text.replace(" " * 16 + line, "").replace("fall; momentum goes the other way.", "fall.")
    else:
        settings.append(f"MOMENTUM = {moms!r}")
        if "betas" in group:
            text = text.replace(
                line, 'group["betas"] = (cycle(done, pct_start, *MOMENTUM), group["betas"][1])\n'
            )
    own = {"fit_one_cycle": Piece(text, piece.needs & set(free_names(ast.parse(text))))}
    return Run(lines, f"fit_one_cycle({epochs}, {shown(rate)})", settings, own)


def fine_tune_code(
    learn: Learner,
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
            lines += call("fit_head", ["model", f"head={_path_to(head_of(learn).linear, learn.model)}"])
        else:
            lines += freeze_code(learn)
            lines += one_cycle_code(learn, freeze_epochs, slice(rate), pct_start=0.99, wd=wd).lines
        lines.append("")
    unfreeze(learn)
    base, rate = rate, rate / 2
    if serve:  # as in `fine_tune`: from a head that is as good as it can be, the first steps lead away
        rate *= min(1.0, epochs * len(learn.dls.train) / _STEPS_TO_SETTLE)
    then = one_cycle_code(learn, epochs, slice(rate / lr_mult, rate), div=div, pct_start=pct_start, wd=wd)
    lines += [
        "# Then all depths, the early ones in smaller steps: they know what every picture has.",
        "model.requires_grad_(True)",
        *then.lines,
    ]
    return replace(then, lines=lines, call=f"fine_tune({epochs}, {shown(base)})")


def _path_to(part: Any, model: nn.Module) -> str:
    """An expression for a part of a part of the model, in places if all of them have places."""
    name: str = next(name for name, each in cast("Any", model).named_modules() if each is part)
    if all(place.isdigit() for place in name.split(".")):
        return "model" + "".join(f"[{place}]" for place in name.split("."))
    return f'model.get_submodule("{name}")'


def freeze_code(learn: Learner) -> list[str]:
    """The statement that lets learn what learns now."""
    names = {name for name, parameter in learn.model.named_parameters() if parameter.requires_grad}
    return call("freeze", ["model", "learn=" + _tuple(prefixes_of(learn.model, names))])


def _tuple(prefixes: list[str]) -> str:
    quoted = [f'"{prefix}"' for prefix in prefixes]
    return quoted[0] if len(quoted) == 1 else f"({', '.join(quoted)})"


def shown(rate: float | slice) -> str:
    """A rate as a person writes it."""
    if isinstance(rate, slice):
        return f"slice({rate.start}, {rate.stop})" if rate.start is not None else f"slice({rate.stop})"
    return f"{rate:g}"


RECIPES: Final[Mapping[str, Callable[..., Run]]] = {
    "fit": fit_code,
    "fit_one_cycle": one_cycle_code,
    "fine_tune": fine_tune_code,
}
