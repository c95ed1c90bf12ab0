"""What a learner knows, as a tree of tensors and plain data; how to put it back; and where two learners differ."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePath
from typing import Any, Final, cast

import torch
from torch import Tensor, nn

from plainlearn.core.errors import DataError
from plainlearn.train.callback import Loop
from plainlearn.train.distributed import divided_like, whole

_SHOWN: Final = 4  # names of a kind in a list of differences
# Of torch.compile and of training on several devices, and where each keeps the model.
_WRAPPERS: Final = {
    "OptimizedModule": "_orig_mod",
    "DistributedDataParallel": "module",
    "DataParallel": "module",
}


# ---- the model


def bare(model: nn.Module) -> nn.Module:
    """The model itself, without the wrappers of torch.compile and of training on several devices."""
    kind = type(model).__name__
    return bare(cast(nn.Module, getattr(model, _WRAPPERS[kind]))) if kind in _WRAPPERS else model


def model_state(model: nn.Module) -> dict[str, Any]:
    """Parameters and buffers by name; the buffers too that a model calls not persistent, for they may change."""
    model = bare(model)
    state = {name: whole(value) for name, value in model.state_dict().items()}
    kept_aside = {name: value for name, value in model.named_buffers() if name not in state}
    return {"weights": state, "aside": kept_aside}


def load_model_state(model: nn.Module, state: Mapping[str, Any], *, strict: bool = True) -> list[str]:
    """Copy the values into the model's own parameters and buffers. What does not fit is left out, and named, if not `strict`."""
    model = bare(model)
    weights: dict[str, Any] = dict(state["weights"])
    left_out: list[str] = []
    here = model.state_dict()
    if not strict:
        left_out = sorted(weights.keys() ^ here.keys())
        left_out += [
            name for name in weights.keys() & here.keys() if _form(weights[name]) != _form(here[name])
        ]
        weights = {name: value for name, value in weights.items() if name not in left_out}
    weights = {name: divided_like(value, here.get(name)) for name, value in weights.items()}
    model.load_state_dict(weights, strict=strict)
    with torch.no_grad():
        for name, buffer in model.named_buffers():
            if name in state["aside"] and _form(buffer) == _form(state["aside"][name]):
                buffer.copy_(state["aside"][name])
    return left_out


def trainable(model: nn.Module) -> list[str]:
    """The names of the parameters that are not frozen."""
    return [name for name, parameter in bare(model).named_parameters() if parameter.requires_grad]


def set_trainable(model: nn.Module, names: Iterable[str]) -> None:
    """Freeze all parameters but these."""
    chosen = set(names)
    for name, parameter in bare(model).named_parameters():
        parameter.requires_grad_(name in chosen)


def gradients(model: nn.Module) -> dict[str, Tensor]:
    """The gradients that are being gathered over several batches; none after a usual step."""
    return {n: whole(p.grad) for n, p in bare(model).named_parameters() if p.grad is not None}


def set_gradients(model: nn.Module, gathered: Mapping[str, Tensor]) -> None:
    for name, parameter in bare(model).named_parameters():
        kept = gathered.get(name)
        parameter.grad = (
            None
            if kept is None
            else torch.empty_like(parameter).copy_(divided_like(kept, parameter)).detach()
        )


# ---- the optimizer


def optimizer_state(model: nn.Module, optimizer: object) -> dict[str, Any]:
    """What an optimizer remembers, and its settings, with the names of the parameters; of one without state, nothing."""
    if not isinstance(optimizer, torch.optim.Optimizer):
        ask = getattr(optimizer, "state_dict", None)
        return {"own": ask() if callable(ask) else None}
    state = optimizer.state_dict()
    return {
        "names": _names(model, optimizer),
        "state": _whole_state(state["state"]),
        "groups": state["param_groups"],
    }


def load_optimizer_state(
    model: nn.Module, optimizer: Any, saved: Mapping[str, Any], *, settings: bool
) -> None:
    """Let `optimizer` remember what another did, by the names of the parameters; with `settings`, be set as it was.

    What it remembers of parameters that this one does not move is passed over, unless `settings`: then
    the groups must be the same.
    """
    if "own" in saved:
        put_back = getattr(optimizer, "load_state_dict", None)
        if saved["own"] is not None and callable(put_back):
            put_back(saved["own"])
        return
    names = _names(model, optimizer)
    numbers = {name: number for number, name in enumerate(names)}
    state = {
        numbers[name]: saved["state"][old]
        for old, name in enumerate(saved["names"])
        if old in saved["state"] and name in numbers
    }
    groups = saved["groups"] if settings else optimizer.state_dict()["param_groups"]
    here = list(optimizer.param_groups)
    optimizer.load_state_dict({"state": state, "param_groups": groups})
    # torch has put new dicts in the groups' places; schedules hold on to those that were there.
    for group, new in zip(here, optimizer.param_groups, strict=True):
        group.update(new)
    optimizer.param_groups[:] = here
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    for number, kept in state.items():
        _as_kept(parameters[number], kept, optimizer.state[parameters[number]])


def _as_kept(parameter: Tensor, kept: Mapping[str, Any], now: dict[str, Any]) -> None:
    """torch gives what is put back the parameter's kind of number, and its own order in memory: undo both."""
    for key, value in kept.items():
        there = now.get(key)
        if isinstance(value, Tensor) and isinstance(there, Tensor) and value.shape == parameter.shape:
            like = torch.empty_like(parameter, dtype=value.dtype, device=there.device, requires_grad=False)
            now[key] = like.copy_(divided_like(value, parameter))


def _whole_state(kept: Mapping[Any, Mapping[str, Any]]) -> dict[Any, dict[str, Any]]:
    return {number: {key: whole(value) for key, value in each.items()} for number, each in kept.items()}


def _names(model: nn.Module, optimizer: torch.optim.Optimizer) -> list[str]:
    known = {id(parameter): name for name, parameter in bare(model).named_parameters()}
    moved = (parameter for group in optimizer.param_groups for parameter in group["params"])
    return [known.get(id(parameter), f"parameter {number}") for number, parameter in enumerate(moved)]


# ---- what it is made of, and where two differ


def facts(learner: Loop) -> dict[str, Any]:
    """What the weights of `learner` mean something to: classes, architecture, and the form of each weight."""
    model = bare(learner.model)
    modules = cast("Iterable[tuple[str, object]]", model.named_modules())
    vocab = getattr(learner.dls, "vocab", None)
    return {
        "classes": None if vocab is None else _plain(vocab),
        "architecture": getattr(getattr(model, "recipe", None), "network", type(model).__name__),
        "layers": {name: type(module).__name__ for name, module in modules},
        "weights": forms(model.state_dict()),
    }


def forms(weights: Mapping[str, Any]) -> dict[str, str]:
    """Kind of number and shape of each."""
    return {name: _form(value) for name, value in weights.items()}


def differences(saved: Mapping[str, Any], here: Mapping[str, Any]) -> list[str]:
    """A line for each fact in which `saved` is not as it is `here`."""
    lines: list[str] = []
    for name in {**here, **saved}:
        there, now = saved.get(name), here.get(name)
        if there == now:
            continue
        if isinstance(there, Mapping) and isinstance(now, Mapping):
            lines += _of_mappings(name, cast("Mapping[str, Any]", there), cast("Mapping[str, Any]", now))
        elif isinstance(there, list) and isinstance(now, list):
            lines += _of_lists(name, cast("list[Any]", there), cast("list[Any]", now))
        else:
            lines.append(f"{name}: {_short(there)} in the file, {_short(now)} here")
    return lines


def refuse(path: PurePath, lines: Sequence[str], *, try_: str) -> None:
    """Raise `DataError` with these differences, if there are any."""
    if lines:
        listed = "".join(f"\n    {line}" for line in lines)
        raise DataError(f"{path} does not fit this learner:{listed}", try_=try_)


def _of_mappings(what: str, there: Mapping[str, Any], here: Mapping[str, Any]) -> list[str]:
    lines = _of_lists(what, list(there), list(here), ordered=False)
    changed = [name for name in there if name in here and there[name] != here[name]]
    lines += [
        f"{what}, {name}: {_short(there[name])} in the file, {_short(here[name])} here"
        for name in changed[:_SHOWN]
    ]
    if len(changed) > _SHOWN:
        lines.append(f"{what}: {len(changed) - _SHOWN} more differ")
    return lines


def _of_lists(what: str, there: Sequence[Any], here: Sequence[Any], *, ordered: bool = True) -> list[str]:
    lines = [
        f"{what}: only {where}: {_some(names)}"
        for where, names in (
            ("in the file", [name for name in there if name not in here]),
            ("here", [name for name in here if name not in there]),
        )
        if names
    ]
    if not lines and ordered:
        lines.append(f"{what} in another order: {_some(there)} in the file, {_some(here)} here")
    return lines


def _some(names: Sequence[Any]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(map(str, names[:_SHOWN])) + more


def _short(value: Any) -> str:
    text = "nothing" if value is None else str(value)
    return text if len(text) <= 80 else text[:77] + "…"


def _form(value: Any) -> str:
    """Kind of number and shape, to be compared and shown."""
    if not isinstance(value, Tensor):
        return type(value).__name__
    return f"{str(value.dtype).removeprefix('torch.')} {tuple(value.shape)}"


def _plain(labels: Any) -> Any:
    """Labels as JSON holds them, nested as they are."""
    if isinstance(labels, bool | int | str) or labels is None:
        return str(labels)
    if isinstance(labels, Iterable):
        return [_plain(label) for label in cast("Iterable[Any]", labels)]
    return str(labels)
