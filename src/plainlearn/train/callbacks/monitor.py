"""A number of the table, watched from epoch to epoch: which one, and what counts as better."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Final

from plainlearn.core.describe import describe
from plainlearn.core.errors import ArgumentError, ArgumentTypeError, DataError
from plainlearn.train.callback import Callback, Epoch, Loop

#: Words in the names of numbers that should fall; any other should rise.
FALLING: Final = ("loss", "error", "mae", "mse", "perplexity", "distance", "divergence")


class Monitored(Callback):
    """What watches one number: `best`, the epoch in which it was, and for how many epochs there was none better.

    `monitor` is a column's name: `train_loss`, `valid_loss`, or a metric's. What is better is told by the name
    (see `FALLING`), or by `comp(new, old)`, such as `operator.lt` or `np.greater`. It must be better by
    more than `min_delta`; nan never is. A new run begins anew unless `reset_on_fit=False`.

    Raises `ArgumentError` before the first batch when there is no such column, naming those that there are.
    """

    def __init__(
        self,
        monitor: str = "valid_loss",
        comp: Callable[[Any, Any], Any] | None = None,
        min_delta: float = 0.0,
        reset_on_fit: bool = True,
    ) -> None:
        self.monitor, self.comp, self.reset_on_fit = monitor, comp, reset_on_fit
        self.rises = not any(word in monitor for word in FALLING) if comp is None else _rises(comp)
        if not 0 <= min_delta < math.inf:
            raise ArgumentError(
                f"min_delta is {min_delta}; expected 0 or more, whichever way is better",
                try_="min_delta=0.01",
            )
        self.min_delta = min_delta
        self._reset()

    def _reset(self) -> None:
        self.best, self.best_epoch, self.waited = math.nan, -1, 0

    def fit_scope(self, learner: Loop) -> AbstractContextManager[Any]:
        self._index(learner)
        if self.reset_on_fit:
            self._reset()
        return nullcontext()

    def improved(self, learner: Loop, epoch: Epoch) -> bool:
        """Take in an epoch's row; whether it is the best until now."""
        value = epoch.values[self._index(learner)]
        gain = value - self.best if self.rises else self.best - value
        # nan stands for no best yet, so that any number is one.
        better = not math.isnan(value) and (math.isnan(self.best) or gain > self.min_delta)
        if better:
            self.best, self.best_epoch, self.waited = value, epoch.number, 0
        else:
            self.waited += 1
        return better

    def _index(self, learner: Loop) -> int:
        names = ["train_loss", "valid_loss", *(meter.name for meter in learner.meters)]
        # Without validation data all others are nan, and the best of them would be none.
        there = names if learner.dls.valid is not None else names[:1]
        if self.monitor not in there:
            why = "" if self.monitor not in names else ", as there is no validation data"
            raise ArgumentError(
                f"{type(self).__name__} watches {self.monitor!r}; the table has {', '.join(there)}{why}",
                try_=f"monitor={there[-1]!r}",
            )
        return names.index(self.monitor)

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best, "best_epoch": self.best_epoch, "waited": self.waited}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        if missing := {"best", "best_epoch", "waited"} - state.keys():
            raise DataError(
                f"this is not the state of {type(self).__name__}: it lacks {', '.join(sorted(missing))}"
            )
        self.best, self.best_epoch, self.waited = state["best"], state["best_epoch"], state["waited"]


def checked_patience(patience: int) -> int:
    """`patience`, if it is a number of epochs to wait."""
    if isinstance(patience, bool) or not hasattr(patience, "__index__"):
        raise ArgumentTypeError(
            f"patience is {describe(patience)}; expected a whole number", try_="patience=3"
        )
    if patience < 1:
        raise ArgumentError(f"patience is {patience}; expected 1 epoch or more", try_="patience=1")
    return patience


def _rises(comp: Any) -> bool:
    if not callable(comp):
        raise ArgumentTypeError(
            f"comp is {describe(comp)}; expected a comparison of two numbers, new and old",
            try_="comp=operator.lt",
        )
    return bool(comp(1.0, 0.0))
