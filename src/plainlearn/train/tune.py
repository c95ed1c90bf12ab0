"""What makes a step faster on this machine, found by measuring one: memory layout, bf16, torch's compiler."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

import torch

from plainlearn.core.errors import ArgumentError, DataError
from plainlearn.train.lr_find import Batches
from plainlearn.train.precision import Precision
from plainlearn.train.twin import twin_of

if TYPE_CHECKING:
    from plainlearn.train.loop import Learner

_WORTH = 0.95  # of the time before: less is noise


def speed_up(
    learner: Learner,
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


def _laid_out(learner: Learner, last: bool) -> None:
    learner.model.to(memory_format=torch.channels_last if last else torch.contiguous_format)  # pyright: ignore[reportCallIssue]


def _step_seconds(learner: Learner) -> float:
    """The shorter of two steps, after one that warms up."""
    with twin_of(learner) as twin:
        one: Any = next(iter(learner.dls.train), None)
        if one is None:
            raise DataError("the training loader gave no batch; expected at least one")
        twin.dls = Batches([one], getattr(learner.dls, "n_inp", None))
        taken: list[float] = []
        for _ in range(3):
            began = time.perf_counter()
            twin.fit(1, 1e-6)
            if learner.device.type == "cuda":
                torch.cuda.synchronize(learner.device)
            taken.append(time.perf_counter() - began)
    return min(taken[1:])
