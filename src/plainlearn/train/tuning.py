"""Tuning a learner to its machine by trial steps: what makes one faster, and how large a batch may be."""

from __future__ import annotations

import time
from collections.abc import Callable, Sized
from typing import Any, cast

import torch
from torch import Tensor

from plainlearn.core.errors import ArgumentError, DataError
from plainlearn.core.tensors import find_batch_size as count_items
from plainlearn.core.tensors import map_nest
from plainlearn.train.loop import TrainingLoop
from plainlearn.train.step import Batch, Precision
from plainlearn.train.trial import TrialLoaders, trial_of

_WORTH = 0.95  # of the time before: less is noise


def speed_up(
    learner: TrainingLoop,
    *,
    bf16: bool = True,
    channels_last: bool = True,
    compile: bool = False,
    seconds: float = 30.0,
) -> dict[str, float]:
    """Measure a training step as it is and with each of these, and keep what makes it at least a twentieth faster.

    Returns the seconds of a step, by name. They are tried one after another, each on top of those kept, on
    one batch, and none is begun after `seconds`; what is False is not tried. `compile` takes a minute or more and is tried
    only when asked for; it compiles the model in place. bf16 changes results a little (see `to_bf16`), the others
    only their rounding. Weights, loaders and random state are as before.
    """
    if not seconds > 0:
        raise ArgumentError(f"seconds is {seconds}; expected a number above 0", try_="seconds=30")
    tries: list[tuple[str, Callable[[], Any], Callable[[], Any]]] = []
    model, before = learner.model, learner.precision
    if channels_last:
        tries.append(("channels_last", lambda: _laid_out(learner, True), lambda: _laid_out(learner, False)))
    if bf16 and before.kind == "fp32":
        half = Precision("bf16", learner.device)
        tries.append(
            (
                "bf16",
                lambda: setattr(learner, "precision", half),
                lambda: setattr(learner, "precision", before),
            )
        )
    if compile:
        tries.append(
            (
                "compile",
                lambda: cast("Any", model).compile(),
                lambda: setattr(model, "_compiled_call_impl", None),
            )
        )
    began = time.perf_counter()
    best = _step_seconds(learner)
    taken = {"as it was": best}
    for name, do, undo in tries:
        if time.perf_counter() - began > seconds:
            break
        do()
        taken[name] = _step_seconds(learner)
        if taken[name] < _WORTH * best:
            best = taken[name]
        else:
            undo()
    return taken


def find_batch_size(learner: TrainingLoop, highest: int = 1024, *, use: bool = False) -> int:
    """The largest batch, of 2, 4, 8, … up to `highest` or all training items, that a training step has memory for.

    It takes steps on a batch of the loader's, its items repeated, and changes nothing: see `lr_find`. With `use` the
    training loader's `bs` is lowered to the answer if it is larger. Leave some room: other batches may be larger.
    Raises `ArgumentError` for less than 2, `torch.OutOfMemoryError` when not even 2 items fit.
    """
    if highest < 2:
        raise ArgumentError(f"highest is {highest}; expected 2 or more items", try_="highest=1024")
    items = (
        len(dataset) if isinstance(dataset := getattr(learner.dls.train, "dataset", None), Sized) else highest
    )
    highest = max(2, min(highest, items))
    found, size = 0, 2
    with trial_of(learner) as trial:
        one: Any = next(iter(learner.dls.train), None)
        if one is None:
            raise DataError("the training loader gave no batch; expected at least one")
        while size <= highest:
            trial.dls = TrialLoaders([repeated(one, size)], getattr(learner.dls, "n_inp", None))
            try:
                trial.fit(1, 1e-6)
            except torch.OutOfMemoryError:
                if not found:
                    raise
                break
            finally:
                if learner.device.type == "cuda":
                    torch.cuda.empty_cache()
            found, size = size, size * 2
    if use and getattr(learner.dls.train, "bs", 0) > found:
        learner.dls.train.bs = found
    return found


def repeated(batch: Batch, size: int) -> Any:
    """A batch of `size` items: those of `batch`, one after another, again and again."""
    rows = torch.arange(size) % count_items(batch)
    return map_nest(lambda leaf: leaf[rows.to(leaf.device)] if isinstance(leaf, Tensor) else leaf, batch)


def _laid_out(learner: TrainingLoop, last: bool) -> None:
    learner.model.to(memory_format=torch.channels_last if last else torch.contiguous_format)  # pyright: ignore[reportCallIssue]


def _step_seconds(learner: TrainingLoop) -> float:
    """The shorter of two steps, after one that warms up."""
    with trial_of(learner) as trial:
        one: Any = next(iter(learner.dls.train), None)
        if one is None:
            raise DataError("the training loader gave no batch; expected at least one")
        trial.dls = TrialLoaders([one], getattr(learner.dls, "n_inp", None))
        taken: list[float] = []
        for _ in range(3):
            began = time.perf_counter()
            trial.fit(1, 1e-6)
            if learner.device.type == "cuda":
                torch.cuda.synchronize(learner.device)
            taken.append(time.perf_counter() - began)
    return min(taken[1:])
