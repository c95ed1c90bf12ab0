"""Ejecting: the plain PyTorch script that does what a learner would do now, and the files that it starts from."""

from __future__ import annotations

import copy
import os
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final, Literal, get_args

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from plainlearn._version import __version__
from plainlearn.core.errors import ArgumentError
from plainlearn.core.seed import preserve_random_state
from plainlearn.core.wholefile import Mark, check_replaceable, whole_file, write_whole
from plainlearn.eject.code import as_array
from plainlearn.eject.data import data_code
from plainlearn.eject.network import code_of
from plainlearn.eject.recipe import RECIPES, depths_code, freeze_code, memory_of
from plainlearn.eject.source import Copied
from plainlearn.eject.text import compose, listing, names_of_parts, quoted
from plainlearn.losses.losses import CrossEntropyLossFlat, LabelSmoothingCrossEntropy, MSELossFlat
from plainlearn.metrics.functions import accuracy, error_rate
from plainlearn.train.callbacks.finite import FiniteLoss
from plainlearn.train.learner import Learner
from plainlearn.train.loop import checked_epochs
from plainlearn.train.step import SupervisedStep
from plainlearn.train.trial import model_kept

Recipe = Literal["fit", "fit_one_cycle", "fine_tune"]

#: What lies beside a script that has data in arrays, or a table of files.
FILES_BESIDE: Final = {
    (True, False): "the weights that it starts from, and the data",
    (False, True): "the weights that it starts from,\nthe .csv says which files are for what",
    (False, False): "the weights that it starts from",
}
_MARK = "the plain PyTorch of a learner"
_MADE_BY: Final = "plainlearn"  # an array, the first one, so that its name stands at the head of the file
#: How the files that an `eject` writes are known again.
MARKS: Final = {
    ".py": Mark(f"{_MARK}, written by plainlearn ".encode(), within=2048),
    ".npz": Mark(f"{_MADE_BY}.npy".encode(), within=64),
    ".csv": Mark(b"side,file,label,target", within=32),
}
#: Names that the statements of a script set or use.
RESERVED_NAMES = {"SCRIPT", "DATA", "BATCH_SIZE", "SIZE", "NAMES", "STEPS_OF_EPOCH", "MOMENTUM", "DEPTHS", "RADIUS",
          "REST", "MOVING", "calm_items", "trained", "start", "model", "loss_func", "metrics", "groups",
          "optimizer", "train_batches", "valid_batches", "train_items", "valid_items", "train_x", "train_y",
          "valid_x", "valid_y", "item_maps", "batch_maps", "light"}  # fmt: skip


def eject(
    learn: Learner,
    path: str | os.PathLike[str],
    *,
    recipe: Recipe | None = None,
    epochs: int = 1,
    lr: float | slice | None = None,
    seed: int | None = None,
    force: bool = False,
    **settings: Any,
) -> Path:
    """Write a plain PyTorch script that does what `learn` would do now, and return its path.

    `recipe`, `epochs`, `lr` and `settings` are the run: `eject(learn, "train.py", recipe="fine_tune", epochs=4)` is
    `learn.fine_tune(4)`. By default it is one epoch of `fine_tune` if the body is frozen, as it is behind trained weights,
    else of `fit`. `seed` is the one that `set_seed` gets before the run; None takes torch's generator as it is now.
    Beside the script lie `train.npz`, the weights and tensors that it starts from, and for pictures in files `train.csv`,
    which file is on which side and with which label. It needs plainlearn no more, and ends with the
    very weights, to the bit, that the learner ends with on the CPU of such a machine, in `train-trained.npz`.

    The learner, its loaders and the random generators stay as they are.
    Raises `ArgumentError`, naming it, for whatever has a say in the run and cannot be written down: callbacks, lambdas,
    layers that nobody knows how to make; `StorageError` for a file in the way that no `eject` wrote, unless `force`.
    """
    target, twin = Path(path), copy.copy(learn)
    recipe = _usual_recipe(learn) if recipe is None else recipe
    _check(learn, target, recipe)
    for suffix in (".py", ".npz"):
        check_replaceable(target.with_suffix(suffix), MARKS[suffix], force=force)
    with preserve_random_state(), model_kept(learn.model), ExitStack() as afterwards:
        for parameter in learn.model.parameters():
            afterwards.callback(parameter.requires_grad_, parameter.requires_grad)
        for group in getattr(learn.optimizer, "param_groups", ()):
            afterwards.callback(group.update, lr=group["lr"])
        text, arrays, table = _script(twin, recipe, checked_epochs(epochs), lr, seed, settings)
    if table:
        check_replaceable(target.with_suffix(".csv"), MARKS[".csv"], force=force)
    # The script comes last: where it is, what it needs is there already.
    size = sum(array.nbytes for array in arrays.values())
    with whole_file(target.with_suffix(".npz"), size, mark=MARKS[".npz"], force=force) as file:
        np.savez(file, **{_MADE_BY: np.array(__version__)}, **arrays)
    for suffix, content in ((".csv", table), (".py", text)):
        if content:
            write_whole(target.with_suffix(suffix), content.encode("utf-8"), mark=MARKS[suffix], force=force)
    return target


def _usual_recipe(learn: Learner) -> Recipe:
    frozen = any(not parameter.requires_grad for parameter in learn.model.parameters())
    return "fine_tune" if frozen else "fit"


def _check(learn: Learner, target: Path, recipe: str) -> None:
    if recipe not in get_args(Recipe):
        raise ArgumentError(
            f"recipe is {recipe!r}; expected {', '.join(get_args(Recipe))}", try_='recipe="fit_one_cycle"'
        )
    if target.suffix != ".py" or not target.stem.strip():
        raise ArgumentError(
            f"path is {str(target)!r}; expected the name of a Python file", try_='eject(learn, "train.py", …)'
        )
    usual = (FiniteLoss, type(learn.recorder), type(learn.progress))
    for callback in learn.callbacks:
        if type(callback) not in usual:
            raise ArgumentError(f"the callback {type(callback).__name__} acts in the run, and is not written down",
                                try_="a learner without it")  # fmt: skip
    if type(learn.step) is not SupervisedStep:
        raise ArgumentError(
            "the learner has a step of its own, which is not written down", try_="a learner without step="
        )
    if learn.precision.kind != "fp32":
        raise ArgumentError(
            f"the learner computes in {learn.precision.kind}; a script computes in fp32",
            try_="learn.to_fp32()",
        )
    if learn.device.type != "cpu":
        raise ArgumentError(f"the learner is on {learn.device}; a script is for the CPU, where runs can be equal to the bit",
                            try_='device="cpu" for the loaders and the learner')  # fmt: skip


def _script(
    learn: Learner,
    recipe: Recipe,
    epochs: int,
    lr: float | slice | None,
    seed: int | None,
    settings: dict[str, Any],
) -> tuple[str, dict[str, Any], str]:
    copied = Copied()
    loss, loss_arrays = _loss_code(learn.loss_func, copied)
    metrics = [_metric_code(metric, copied) for metric in learn.metrics]
    model = code_of(learn.model, copied)
    data = data_code(learn.dls)
    if clash := sorted(set(copied.pieces) & (names_of_parts() | RESERVED_NAMES)):
        raise ArgumentError(f"the script has something of its own that is called {clash[0]}, as a function of yours is",
                            try_=f"another name for {clash[0]}")  # fmt: skip
    arrays = {f"model.{name}": as_array(value, name) for name, value in learn.model.state_dict().items()}
    arrays |= data.arrays | loss_arrays
    memory = memory_of(learn)
    if seed is None:
        arrays["random_state"] = torch.get_rng_state().numpy()
    frozen = any(not parameter.requires_grad for parameter in learn.model.parameters())
    begin = freeze_code(learn) if frozen and recipe != "fine_tune" else []
    run = RECIPES[recipe](learn, epochs, lr, **settings)
    if any("optimizer.state" in line for line in run.lines):
        arrays |= {name: as_array(value, name) for name, value in memory.items()}
    names = ["train_loss", "valid_loss", *(meter.name for meter in learn.meters)]
    constants = [
        "SCRIPT = Path(__file__)",
        *data.settings,
        *listing("NAMES = ", "[]", map(quoted, names)),
        *run.settings,
    ]
    if any("DEPTHS" in line for line in run.lines):
        constants += depths_code(learn)
    statements = [
        "# Sums are taken in an order, and so have last bits, that depend on the number of threads.",
        f"torch.set_num_threads({torch.get_num_threads()})",
        'start = np.load(SCRIPT.with_suffix(".npz"))',
        *data.load,
        "",
        f"model = {model}",
        *(["model.to(memory_format=torch.channels_last)"] if _is_channels_last(learn.model) else []),
        'model.load_state_dict({name: torch.from_numpy(start[f"model.{name}"]) for name in model.state_dict()})',
        f"loss_func = {loss}",
        *listing("metrics = ", "[]", metrics),
        "",
        f"torch.manual_seed({seed})"
        if seed is not None
        else 'torch.set_rng_state(torch.from_numpy(start["random_state"]))',
        *begin,
        *run.lines,
        "",
        "trained = {name: value.numpy() for name, value in model.state_dict().items()}",
        'np.savez(SCRIPT.with_name(f"{SCRIPT.stem}-trained.npz"), **trained)',
    ]
    says = (
        f"{run.call}: {_MARK}, written by plainlearn {__version__}.\n\n"
        f"Run it with Python. The .npz beside it holds {FILES_BESIDE[bool(data.arrays), bool(data.table)]}.\n"
        "It ends with the same weights as the learner, to the bit, and keeps them in the -trained.npz.\n"
    )
    own = {**copied.pieces, **data.definitions, **run.definitions}
    return compose(says, constants, own, copied.imports, statements), arrays, data.table


def _is_channels_last(model: nn.Module) -> bool:
    wide = [
        value
        for value in model.parameters()
        if value.ndim == 4 and value.shape[1] > 1 and value.shape[2:] != (1, 1)
    ]
    return bool(wide) and all(value.is_contiguous(memory_format=torch.channels_last) for value in wide)


def _loss_code(loss_func: Any, copied: Copied) -> tuple[str, dict[str, Any]]:
    """The loss as an expression, and the arrays that it asks for."""
    if type(loss_func) in (CrossEntropyLossFlat, LabelSmoothingCrossEntropy) and loss_func.axis in (-1, 1):
        options: dict[str, Any] = {"reduction": "mean", "ignore_index": -100, "label_smoothing": 0.0}
        given = {
            name: getattr(loss_func, name) for name in options if getattr(loss_func, name) != options[name]
        }
        shown = [f"{name}={value!r}" for name, value in given.items()]
        if "reduction" not in given:
            if loss_func.weight is not None:
                weight = as_array(loss_func.weight.float(), "the loss")
                shown.insert(0, 'weight=torch.from_numpy(start["loss.weight"])')
                return f"nn.CrossEntropyLoss({', '.join(shown)})", {"loss.weight": weight}
            return f"nn.CrossEntropyLoss({', '.join(shown)})" if shown else "F.cross_entropy", {}
    return _other_loss(loss_func, copied), {}


def _other_loss(loss_func: Any, copied: Copied) -> str:
    if type(loss_func) is MSELossFlat and loss_func.reduction == "mean":
        return "squared_error"
    if isinstance(loss_func, nn.Module) and type(loss_func).__module__ == "torch.nn.modules.loss":
        return code_of(loss_func, copied)
    if getattr(F, getattr(loss_func, "__name__", ""), None) is loss_func:
        return f"F.{loss_func.__name__}"
    if str(getattr(loss_func, "__module__", type(loss_func).__module__)).startswith("plainlearn.losses"):
        raise ArgumentError(
            f"the loss {loss_func!r}, with its settings, is not written down",
            try_="loss_func=F.cross_entropy",
        )
    return copied.take(loss_func, "the loss")


def _metric_code(metric: Any, copied: Copied) -> str:
    if metric in (accuracy, error_rate):
        return metric.__name__
    return copied.take(metric, "the metric")
