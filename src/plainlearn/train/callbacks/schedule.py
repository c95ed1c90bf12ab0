"""Learning rate and momentum as functions of how much of the run is done."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from plainlearn.core.errors import ArgumentError
from plainlearn.optim.optimizers import set_momentum
from plainlearn.optim.schedules import Schedule
from plainlearn.train.callback import Callback

if TYPE_CHECKING:
    from plainlearn.train.loop import Learner


class Scheduled(Callback):
    """Sets each group's learning rate to its own rate times `factor(done)`, and momentum to `momentum(done)`.

    The rates that `fit` was given are the ones multiplied, so one schedule serves all depths.
    """

    def __init__(self, factor: Schedule, momentum: Schedule | None = None) -> None:
        self.factor, self.momentum = factor, momentum

    def on_batch(self, learner: Learner, batch: Any) -> Any:
        groups = getattr(learner.optimizer, "param_groups", None)
        if groups is None:
            raise ArgumentError(
                f"a schedule needs an optimizer with param_groups; {type(learner.optimizer).__name__} has none",
                try_="opt_func=SGD, or learn.fit without a schedule",
            )
        done = learner.share_done
        factor = self.factor(done)
        for group in groups:
            group["lr"] = learner.rates[group.get("depth", 0)] * factor
            if self.momentum is not None:
                set_momentum(group, self.momentum(done))
        return batch
