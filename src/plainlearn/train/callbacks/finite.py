"""A loss that is nan or infinite ends the run, by an error or by a sentence, before the optimizer can spread it."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Generator
from contextlib import contextmanager

import torch
from torch import Tensor

from plainlearn.core.errors import NonFiniteLossError
from plainlearn.train.callback import Callback, Epoch, Loop
from plainlearn.train.step import Result


class FiniteLoss(Callback):
    """Raises `NonFiniteLossError` that says where, and what usually causes it.

    On the CPU the loss is looked at before the optimizer moves. To look at it on a CUDA device would be to
    wait for it, so a copy is sent ahead and read as soon as it has come, a batch or so later, at
    the latest before the epoch's row is recorded. Other devices have no such copies: there the look waits.
    """

    def __init__(self) -> None:
        self._sent: deque[tuple[int, Tensor, torch.cuda.Event]] = deque()

    @contextmanager
    def fit_scope(self, learner: Loop) -> Generator[None]:
        try:
            yield
        finally:
            self._sent.clear()

    def on_gradients(self, learner: Loop, result: Result) -> None:
        loss = result.loss
        if loss.is_cuda:
            self._send(learner, loss)
            self._look(learner, wait=False)
        elif not math.isfinite(value := loss.item()):
            raise _error(value, learner, learner.batches_done)

    def on_epoch(self, learner: Loop, epoch: Epoch) -> None:
        self._look(learner, wait=True)

    def _send(self, learner: Loop, loss: Tensor) -> None:
        copied = torch.empty((), dtype=loss.dtype, pin_memory=True)
        copied.copy_(loss.detach(), non_blocking=True)
        arrived = torch.cuda.Event()
        arrived.record()
        self._sent.append((learner.batches_done, copied, arrived))

    def _look(self, learner: Loop, *, wait: bool) -> None:
        while self._sent and (wait or self._sent[0][2].query()):
            batch, copied, arrived = self._sent.popleft()
            if wait:
                arrived.synchronize()
            if not math.isfinite(value := copied.item()):
                raise _error(value, learner, batch)


def _error(value: float, learner: Loop, batch: int) -> NonFiniteLossError:
    rates = " to ".join(f"{rate:g}" for rate in learner.current_rates())
    return NonFiniteLossError(
        f"the training loss became {value:g} in epoch {learner.epoch}, batch {batch}; the run was stopped. "
        f"Usual causes: a learning rate that is too high (it was {rates}); nan or very large values in the data; "
        "a loss that divides by zero or takes the log of it",
        try_=f"lr={learner.rates[-1] / 10:g} with a new model, or learn.dls.one_batch() to look for nan",
    )


class TerminateOnNaN(Callback):
    """Turns the error of a loss that is nan or infinite into the `stop_reason` of the run, which ends before its next line.

    Every learner looks at its losses anyway (`FiniteLoss`), and raises before the optimizer moves; this
    callback catches that. So a program goes on, with the weights of the last good step, and the epoch is
    not validated. Callbacks before it in the list see a run that ended; those behind it, one that failed.
    """

    @contextmanager
    def fit_scope(self, learner: Loop) -> Generator[None]:
        try:
            yield
        except NonFiniteLossError as error:
            learner.stop_reason = error.what


TerminateOnNaNCallback = TerminateOnNaN  # the course's name
