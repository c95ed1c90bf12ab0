"""Save the weights of a learner, and load them: `learn.save('stage-1')`, `learn.load('stage-1')`."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any, Final, TypeVar, cast

import torch
from torch import Tensor

from plainlearn.core.describe import describe
from plainlearn.core.errors import ArgumentError, ArgumentTypeError, DataError
from plainlearn.core.paths import Path
from plainlearn.core.tensorfile import read_tree, write_tree
from plainlearn.train import state
from plainlearn.train.callback import Loop
from plainlearn.train.step import loss_name, place

#: A learner stays one.
AnyLoop = TypeVar("AnyLoop", bound=Loop)

KIND: Final = "weights of a learner"
SUFFIX: Final = ".safetensors"

_OTHERS: Final = (".pth", ".pt", ".pkl", ".ckpt", ".bin")


def file_of(learner: Loop, name: str | PurePath) -> Path:
    """The file of that name in `path/model_dir`. Raises `ArgumentError` for a name that no file can have."""
    if not isinstance(name, str | PurePath):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ArgumentTypeError(
            f"the file is {describe(name)}; expected a name", try_="learn.save('stage-1')"
        )
    text = os.fspath(name)
    if PurePath(text).name in ("", "..") or text.endswith(("/", os.sep)) or "\0" in text:
        raise ArgumentError(f"{text!r} is no name for a file", try_="learn.save('stage-1')")
    if text.lower().endswith(_OTHERS):
        raise ArgumentError(
            f"{text} is a name for a pickle; plainlearn writes and reads {SUFFIX} files",
            try_=f"{PurePath(text).stem!r}, or, to read what another library wrote, learn.load({text!r}, foreign=True)",
        )
    return learner.path / learner.model_dir / (text if text.endswith(SUFFIX) else text + SUFFIX)


def save(learner: Loop, file: str | PurePath, with_opt: bool = True, *, force: bool | None = False) -> Path:
    """Write weights, classes and, with `with_opt`, what the optimizer remembers, to `path/model_dir/file.safetensors`.

    `file` may hold folders (`"runs/stage-1"`); they are made. Returns the path. The file is replaced at once or
    not at all, and holds no code. Of several processes all must call it, and the first writes.
    Raises `StorageError` when it cannot be written, and for a file there that plainlearn did not make, unless `force`.
    """
    path = file_of(learner, file)
    tree = {
        "facts": state.facts(learner),
        "about": {
            "loss": None if learner.loss_func is None else loss_name(learner.loss_func),
            "metrics": [meter.name for meter in learner.meters],
            "trainable": state.trainable(learner.model),
        },
        "model": state.model_state(learner.model),
        "optimizer": None,
    }
    if with_opt and learner.optimizer is not None:
        tree["optimizer"] = {
            "kind": type(learner.optimizer).__name__,
            **state.optimizer_state(learner.model, learner.optimizer),
        }
    if learner.ranks.is_main:
        write_tree(path, tree, kind=KIND, force=force)
    learner.ranks.wait()
    return path


def load(
    learner: AnyLoop,
    file: str | PurePath,
    with_opt: bool = True,
    strict: bool = True,
    *,
    foreign: bool = False,
) -> AnyLoop:
    """Take the weights, and with `with_opt` what the optimizer remembers, from what `save` wrote. Returns the learner.

    What is frozen stays so; what the optimizer knew of weights that are frozen here is passed over.
    `strict=False` takes the weights that fit and warns of the others. `foreign=True` reads a `.pth` of torch's, with
    `weights_only`, or a safetensors file of another library.

    Raises `DataError` that lists the differences when the file is of other classes, in another order, of another
    architecture or optimizer, and when it is damaged or from a newer version; `MissingFileError` when there is none.
    """
    if foreign:
        path = learner.path / learner.model_dir / file
        saved: dict[str, Any] = {"model": {"weights": _foreign_weights(path), "aside": {}}, "optimizer": None}
        lines = _misfits(saved["model"]["weights"], learner)
    else:
        path = file_of(learner, file)
        saved = read_tree(path, kind=KIND)
        lines = state.differences(saved["facts"], state.facts(learner))
    optimizer = saved["optimizer"] if with_opt else None
    if optimizer is not None:
        learner.make_optimizer()
        kind = type(learner.optimizer).__name__
        if optimizer["kind"] != kind:
            lines.append(
                f"optimizer: {optimizer['kind']} in the file, {kind} here (with_opt=False leaves it out)"
            )
    if strict:
        state.refuse(
            path, lines, try_="strict=False, for the weights that fit, or the learner that it was saved from"
        )
    place(learner.model, learner.device)
    left_out = state.load_model_state(learner.model, saved["model"], strict=strict)
    if optimizer is not None and strict:
        state.load_optimizer_state(learner.model, learner.optimizer, optimizer, settings=False)
    if lines:
        warnings.warn(
            f"{path} does not fit this learner in all: {'; '.join(lines)}. Weights left as they were: {len(left_out)}",
            stacklevel=2,
        )
    return learner


def _misfits(weights: Mapping[str, Any], learner: Loop) -> list[str]:
    here = state.model_state(learner.model)["weights"]
    return state.differences({"weights": state.forms(weights)}, {"weights": state.forms(here)})


def _foreign_weights(path: Path) -> dict[str, Tensor]:
    """The weights in a file of another library: of a `.pth`, only what holds no code."""
    if not path.is_file():
        raise DataError(f"there is no file {path}", try_="the name with its ending, below path/model_dir")
    if path.suffix == SUFFIX:
        from safetensors import SafetensorError
        from safetensors.torch import load_file  # pyright: ignore[reportUnknownVariableType]

        try:
            return load_file(path)
        except SafetensorError as error:
            raise DataError(f"{path} is damaged: {error}") from error
    try:
        found: Any = torch.load(path, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except Exception as error:  # whatever torch meets in a file that is damaged, or is more than weights
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        reason = re.sub("\x1b\\[[0-9;]*m", "", reason)  # torch writes some words in bold
        raise DataError(
            f"{path} holds more than weights, or is damaged, and was not read: {reason}",
            try_="torch.save(model.state_dict(), file), where it was made",
        ) from error
    for key in ("model", "state_dict"):
        if isinstance(found, Mapping) and isinstance(cast("Any", found).get(key), Mapping):
            found = cast("Any", found)[key]
    if not isinstance(found, Mapping) or not any(isinstance(v, Tensor) for v in cast("Any", found).values()):
        raise DataError(f"{path} holds {describe(found)}; expected weights by name")
    return dict(cast("Mapping[str, Tensor]", found))
