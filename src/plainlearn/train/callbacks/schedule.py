"""Learning rate and momentum as functions of how much of the run is done."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from plainlearn.core.errors import ArgumentError
from plainlearn.optim.optimizers import momentum_of, set_momentum
from plainlearn.optim.schedules import Schedule
from plainlearn.train.callback import Callback, Loop
from plainlearn.train.step import Batch


class Scheduled(Callback):
    """Sets each group's learning rate to its own rate times `factor(done)`, and momentum to `momentum(done)`.

    `done` is the share of the run that is done, 0..1. The rates that `fit` was given are the ones
    multiplied, so one schedule serves all depths. A group without momentum gets none; the others have theirs
    back when the run ends. Raises `ArgumentError` when the optimizer has no `param_groups`.
    """

    def __init__(self, factor: Schedule, momentum: Schedule | None = None) -> None:
        self.factor, self.momentum = factor, momentum
        self._moving: list[dict[str, Any]] = []  # the groups that have a momentum

    @contextmanager
    def fit_scope(self, learner: Loop) -> Generator[None]:
        groups = getattr(learner.optimizer, "param_groups", None)
        if groups is None:
            raise ArgumentError(
                f"a schedule needs an optimizer with param_groups; {type(learner.optimizer).__name__} has none",
                try_="opt_func=SGD, or learn.fit without a schedule",
            )
        self.factor(learner.share_done)  # what cannot work is found here, before the first batch
        own = [momentum_of(group) for group in groups]
        self._moving = [group for group, momentum in zip(groups, own, strict=True) if momentum]
        try:
            yield
        finally:
            for group, momentum in zip(groups, own, strict=True):
                if momentum:
                    set_momentum(group, momentum)
            self._moving = []

    def on_batch(self, learner: Loop, batch: Batch) -> Batch:
        done = learner.share_done
        factor = self.factor(done)
        for group in learner.optimizer.param_groups:
            group["lr"] = learner.rates[group.get("depth", -1)] * factor
        if self.momentum is not None:
            momentum = self.momentum(done)
            for group in self._moving:
                set_momentum(group, momentum)
        return batch
