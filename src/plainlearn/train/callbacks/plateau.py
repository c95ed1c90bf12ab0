"""What to do with a run that has stopped getting better: end it, or go on in smaller steps."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any

from plainlearn.core.errors import ArgumentError, DataError
from plainlearn.optim.groups import set_learning_rates
from plainlearn.train.callback import Epoch, Loop
from plainlearn.train.callbacks.monitor import Monitored, checked_patience
from plainlearn.train.step import Batch


class EarlyStopping(Monitored):
    """Ends the run when `monitor` has not improved for `patience` epochs. For `comp` and `min_delta` see `Monitored`.

    A run that follows a schedule is better trained again, from the beginning, with as many epochs as were
    good: where this one was cut off, its learning rate had not come down. The sentence in `stop_reason` says so.
    """

    def __init__(
        self,
        monitor: str = "valid_loss",
        comp: Callable[[Any, Any], Any] | None = None,
        min_delta: float = 0.0,
        patience: int = 1,
        reset_on_fit: bool = True,
    ) -> None:
        super().__init__(monitor, comp, min_delta, reset_on_fit)
        self.patience = checked_patience(patience)

    def on_epoch(self, learner: Loop, epoch: Epoch) -> None:
        if self.improved(learner, epoch) or self.waited < self.patience or epoch.number + 1 == learner.epochs:
            return
        if self.best_epoch < 0:
            learner.stop_reason = f"{self.monitor} has been nan from the first epoch on"
            return
        good = self.best_epoch + 1
        learner.stop_reason = (
            f"{self.monitor} was best in epoch {self.best_epoch} ({self.best:.6g}) and has not improved in the "
            f"{self.waited} since. The learning rate had no time to come down, so train again from the beginning, "
            f"with a new model, for about {good} epoch{'s' if good > 1 else ''}"
        )


EarlyStoppingCallback = EarlyStopping  # the course's name


class ReduceLROnPlateau(Monitored):
    """Divides all learning rates by `factor` when `monitor` has not improved for `patience` epochs, down to `min_lr`.

    The rates are those that `fit` was given, so a schedule goes on from smaller ones. The next run has its own.
    For `comp` and `min_delta` see `Monitored`.
    """

    def __init__(
        self,
        monitor: str = "valid_loss",
        comp: Callable[[Any, Any], Any] | None = None,
        min_delta: float = 0.0,
        patience: int = 1,
        factor: float = 10.0,
        min_lr: float = 0.0,
        reset_on_fit: bool = True,
    ) -> None:
        if not 1 < factor < math.inf:
            raise ArgumentError(
                f"factor is {factor}; expected more than 1, as rates are divided by it", try_="factor=10"
            )
        if not 0 <= min_lr < math.inf:
            raise ArgumentError(f"min_lr is {min_lr}; expected 0 or more", try_="min_lr=1e-6")
        super().__init__(monitor, comp, min_delta, reset_on_fit)
        self.patience, self.factor, self.min_lr = checked_patience(patience), factor, min_lr
        self.reductions = 0
        self._given: list[float] = []
        self._applied = 0

    def fit_scope(self, learner: Loop) -> AbstractContextManager[Any]:
        self._given, self.reductions, self._applied = list(learner.rates), 0, 0
        return super().fit_scope(learner)

    def on_epoch(self, learner: Loop, epoch: Epoch) -> None:
        if not self.improved(learner, epoch) and self.waited >= self.patience:
            self.reductions, self.waited = self.reductions + 1, 0
            share = self.factor**self.reductions
            learner.say(f"The rates are lowered: they are 1/{share:g} of those given from here on.")

    def on_batch(self, learner: Loop, batch: Batch) -> Batch:
        if self._applied != self.reductions:  # by an epoch of this run, or of the one that is resumed
            share = self.factor**-self.reductions
            learner.rates = [max(rate * share, min(rate, self.min_lr)) for rate in self._given]
            set_learning_rates(learner.optimizer, learner.rates)
            self._applied = self.reductions
        return batch

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | {"reductions": self.reductions}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state)
        if "reductions" not in state:
            raise DataError("this is not the state of ReduceLROnPlateau: it lacks reductions")
        self.reductions = state["reductions"]
