"""Ejecting: the plain PyTorch script that does what a learner would do now, and the files that it starts from."""

from __future__ import annotations

import copy
import os
import zlib
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, cast, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from plainlearn._version import __version__
from plainlearn.core.errors import ArgumentError
from plainlearn.core.seed import preserve_random_state
from plainlearn.core.wholefile import Mark, check_replaceable, whole_file, write_whole
from plainlearn.eject.data import data_code
from plainlearn.eject.network import code_of
from plainlearn.eject.recipe import RECIPES, depths_code, freeze_code
from plainlearn.eject.source import Copied, as_array, is_ours
from plainlearn.eject.text import bracketed, quoted
from plainlearn.metrics.meter import Average
from plainlearn.train.callbacks.finite import FiniteLoss
from plainlearn.train.learner import Learner
from plainlearn.train.loop import checked_epochs
from plainlearn.train.step import SupervisedStep
from plainlearn.train.trial import model_kept

Recipe = Literal["fit", "fit_one_cycle", "fine_tune", "fit_head"]

_MARK = "the plain PyTorch of a learner"
_LONGEST_STEM = 60  # of a script's name that is repeated in the name of a module
_MADE_BY: Final = "plainlearn"  # an array, the first one, so that its name stands at the head of the file
#: How the files that an `eject` writes are known again.
MARKS: Final = {
    ".py": Mark(f"{_MARK}, written by plainlearn ".encode(), within=2048),
    ".npz": Mark(f"{_MADE_BY}.npy".encode(), within=64),
    ".csv": Mark(b"side,file,label,target", within=32),
}


@dataclass(frozen=True)
class Script:
    """A script, the library's definitions beside it, a table of files or nothing, and the arrays that it starts from."""

    text: str
    library: str
    table: str
    arrays: dict[str, NDArray[Any]]


def eject(
    learn: Learner,
    path: str | os.PathLike[str],
    *,
    recipe: Recipe | None = None,
    epochs: int = 1,
    lr: float | slice | None = None,
    seed: int | None = None,
    force: bool = False,
    **settings: object,
) -> Path:
    """Write a plain PyTorch script that does what `learn` would do now, and return its path.

    `recipe`, `epochs`, `lr` and `settings` are the run: `eject(learn, "train.py", recipe="fine_tune", epochs=4)` is
    `learn.fine_tune(4)`; "fit_head" is its first part alone, where that fits the head to features. By default it is one
    epoch of `fine_tune` if the body is frozen, as it is behind trained weights, else of `fit`.
    `seed` is the one that `set_seed` gets before the run; None takes torch's generator as it is now.
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
    for place in (target, target.with_suffix(".npz"), _library_of(target)):
        check_replaceable(place, MARKS[place.suffix], force=force)
    with preserve_random_state(), model_kept(learn.model), ExitStack() as afterwards:
        for parameter in learn.model.parameters():
            afterwards.callback(parameter.requires_grad_, parameter.requires_grad)
        for group in getattr(learn.optimizer, "param_groups", ()):
            afterwards.callback(group.update, lr=group["lr"])
        script = _script(twin, target, recipe, checked_epochs(epochs), lr, seed, settings)
    if script.table:
        check_replaceable(target.with_suffix(".csv"), MARKS[".csv"], force=force)
    # The script comes last: where it is, what it needs is there already.
    arrays: dict[str, Any] = {_MADE_BY: np.array(__version__), **script.arrays}
    size = sum(each.nbytes for each in arrays.values())
    with whole_file(target.with_suffix(".npz"), size, mark=MARKS[".npz"], force=force) as file:
        np.savez(file, **arrays)
    texts = {
        target.with_suffix(".csv"): script.table,
        _library_of(target): script.library,
        target: script.text,
    }
    for place, text in texts.items():
        if text:
            write_whole(place, text.encode("utf-8"), mark=MARKS[place.suffix], force=force)
    return target


def library_name(target: Path) -> str:
    """The module beside a script that has the library's definitions: a name that can be imported, whatever the script's is."""
    stem = target.stem
    plain = stem.isascii() and stem.isidentifier() and len(stem) <= _LONGEST_STEM
    return f"{stem if plain else f'script_{zlib.crc32(os.fsencode(stem)):08x}'}_library"


def _library_of(target: Path) -> Path:
    return target.with_name(f"{library_name(target)}.py")


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
    target: Path,
    recipe: Recipe,
    epochs: int,
    lr: float | slice | None,
    seed: int | None,
    settings: dict[str, object],
) -> Script:
    copied = Copied()
    loss = _loss_code(learn.loss_func, copied)
    metrics = [f"{quoted(meter.name)}: {_metric_code(meter, copied)}" for meter in learn.meters]
    model = code_of(learn.model, copied)
    data = data_code(learn.dls, copied)
    for name, value in learn.model.state_dict().items():
        copied.arrays[f"model.{name}"] = as_array(value, name)
    seeded = f"torch.manual_seed({seed})"
    if seed is None:
        copied.arrays["random_state"] = torch.get_rng_state().numpy()
        seeded = 'torch.set_rng_state(torch.from_numpy(start["random_state"]))'
    frozen = any(not parameter.requires_grad for parameter in learn.model.parameters())
    begin = [freeze_code(learn, copied)] if frozen and recipe in ("fit", "fit_one_cycle") else []
    run = RECIPES[recipe](learn, copied, epochs, lr, **settings)
    copied.arrays |= {name: as_array(value, name) for name, value in run.arrays.items()}
    uses = "\n".join(run.lines)
    constants = [
        "SCRIPT = Path(__file__)",
        *data.settings,
        *([depths_code(learn)] if "DEPTHS" in uses else []),
    ]
    statements = [
        "# Sums are taken in an order, and so have last bits, that depend on the number of threads.",
        f"torch.set_num_threads({torch.get_num_threads()})",
        'start = np.load(SCRIPT.with_suffix(".npz"))',
        *data.load,
        *([data.unaugmented] if "unaugmented" in uses else []),
        "",
        f"loss_func = {loss}",
        bracketed("metrics = ", "{}", metrics),
        f"task = {copied.spell_out('Task')}(train, valid, loss_func, metrics)",
        "",
        f"model = {model}",
        *(["model.to(memory_format=torch.channels_last)"] if _is_channels_last(learn.model) else []),
        'model.load_state_dict({name: torch.from_numpy(start[f"model.{name}"]) for name in model.state_dict()})',
        "",
        seeded,
        *begin,
        *run.lines,
        "",
        "trained = {name: value.numpy() for name, value in model.state_dict().items()}",
        'np.savez(SCRIPT.with_name(f"{SCRIPT.stem}-trained.npz"), **trained)',
    ]
    module = library_name(target)
    lies = "the weights that it starts from" + (", and the data" if "train_x" in copied.arrays else "")
    lies += (
        "; the .csv\nsays which files are for what. The folder of these can be given as an argument"
        if data.table
        else ""
    )
    says = (
        f"{run.call}: {_MARK}, written by plainlearn {__version__}.\n\n"
        f"Run it with Python. The .npz beside it holds {lies}.\n"
        "What is imported of plainlearn's own definitions is copied beside it too.\n"
        "It ends with the same weights as the learner, to the bit, and keeps them in the -trained.npz.\n"
    )
    copies = (
        f"Definitions for {_MARK}, written by plainlearn {__version__}.\n\n"
        "They are plainlearn's own, copied as they are written there, under the Apache License 2.0.\n"
    )
    text = copied.composed(f'"""{says}"""', "\n".join(constants), "\n".join(statements), module)
    return Script(text, copied.library.text(copies), data.table, copied.arrays)


def _is_channels_last(model: nn.Module) -> bool:
    wide = [
        value
        for value in model.parameters()
        if value.ndim == 4 and value.shape[1] > 1 and value.shape[2:] != (1, 1)
    ]
    return bool(wide) and all(value.is_contiguous(memory_format=torch.channels_last) for value in wide)


def _loss_code(loss_func: Any, copied: Copied) -> str:
    """The loss as an expression."""
    kind = cast("type[Any]", type(loss_func))
    if is_ours(kind) or kind.__module__ == "torch.nn.modules.loss":
        return copied.made_again(loss_func, "the loss")
    return copied.value(loss_func, "the loss")


def _metric_code(meter: Any, copied: Copied) -> str:
    if not isinstance(meter, Average):
        raise ArgumentError(f"the metric {meter.name} is no function of one batch, and is not written down",
                            try_="a function of predictions and targets")  # fmt: skip
    return copied.value(meter.function, "the metric")
