"""The record of a run: every loss, every learning rate, the rows of the table, and their plots."""

from __future__ import annotations

import itertools
import math
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final, cast

import torch
from torch import Tensor

from plainlearn.core.errors import DataError
from plainlearn.optim.optimizers import momentum_of
from plainlearn.train.callback import Callback, Epoch, Loop
from plainlearn.train.distributed import ALONE
from plainlearn.train.step import Result

MEMORY: Final = 0.98  # of the smoothed loss, a step; the course's
_LOSSES_WAITING: Final = 1000


class Smoothed:
    """A running mean that forgets by 0.98 a step, unbiased from the first.

    It is the sum of the losses, each times 0.98 to the number of steps since, over the sum of those factors.

    >>> smoothed = Smoothed()
    >>> for loss in (1.0, 0.0):
    ...     smoothed.add(loss)
    ...     print(round(smoothed.value, 4))
    1.0
    0.4949
    """

    def __init__(self, mean: float = 0.0, steps: int = 0) -> None:
        self.mean, self.steps = mean, steps  # the mean is biased towards 0, its start

    def add(self, loss: float) -> None:
        """Take a step's loss in."""
        self.mean += (1 - MEMORY) * (loss - self.mean)
        self.steps += 1

    @property
    def value(self) -> float:
        """The mean; nan before the first loss."""
        return self.mean / (1 - MEMORY**self.steps) if self.steps else math.nan


class Recorder(Callback):
    """What the last `fit` did.

    `values` has a row `[train_loss, valid_loss, metric, …]` an epoch, `losses` the loss of each
    step, `lrs` and `moms` the learning rate and momentum of the last group at each step. The train loss
    of a row is the smoothed one (see `Smoothed`).
    """

    def __init__(self) -> None:
        self._ranks = ALONE  # among which the losses are taken together
        self._clear(())

    def _clear(self, metric_names: Iterable[str]) -> None:
        self.metric_names = ["train_loss", "valid_loss", *metric_names]
        self.epochs: list[Epoch] = []
        self.epoch_ends: list[int] = []  # how many steps were done at the end of each epoch
        self.losses: list[float] = []
        self.lrs: list[float] = []
        self.moms: list[float] = []
        self._smoothed = Smoothed()
        self._waiting: list[Tensor] = []  # losses that are still on the device: the latest, one by one
        self._stacked: list[Tensor] = []  # and those before them

    @contextmanager
    def fit_scope(self, learner: Loop) -> Generator[None]:
        self._clear(meter.name for meter in learner.meters)
        self._ranks = learner.ranks
        try:
            yield
        except BaseException:
            self._ranks = ALONE  # the other processes may not be where this one is
            raise
        finally:
            self.smooth_loss()  # an interrupted epoch keeps its losses too, and no tensor stays behind

    def on_step(self, learner: Loop, result: Result) -> None:
        self._waiting.append(result.loss)
        if len(self._waiting) == _LOSSES_WAITING:  # a GPU gives each a block of its own memory, 512 bytes
            self._stacked.append(torch.stack(self._waiting))
            self._waiting = []
        if groups := getattr(learner.optimizer, "param_groups", None):
            self.lrs.append(groups[-1]["lr"])
            if (momentum := momentum_of(groups[-1])) is not None:
                self.moms.append(momentum)

    def on_epoch(self, learner: Loop, epoch: Epoch) -> None:
        self.epochs.append(epoch)
        self.epoch_ends.append(len(self.losses))

    def smooth_loss(self) -> float:
        """The smoothed train loss up to now; nan before the first step.

        It fetches the losses from the device, so it waits for it. Of several processes each loss is the mean,
        and within a run all must ask.
        """
        if self._waiting:
            self._stacked.append(torch.stack(self._waiting))
        for stack in self._stacked:
            for loss in cast("list[float]", self._ranks.mean(stack).tolist()):
                self.losses.append(loss)
                self._smoothed.add(loss)
        self._waiting, self._stacked = [], []
        return self._smoothed.value

    @property
    def values(self) -> list[list[float]]:
        """A row `[train_loss, valid_loss, metric, …]` for each epoch of the last `fit`."""
        return [epoch.values for epoch in self.epochs]

    def state_dict(self) -> dict[str, Any]:
        """The record as plain data: numbers, strings and lists of them."""
        self.smooth_loss()
        return {
            "metric_names": list(self.metric_names),
            "epochs": [
                [row.number, row.train_loss, row.valid_loss, list(row.metrics), row.seconds]
                for row in self.epochs
            ],
            "epoch_ends": list(self.epoch_ends),
            "losses": list(self.losses),
            "lrs": list(self.lrs),
            "moms": list(self.moms),
            "smoothed": [self._smoothed.mean, self._smoothed.steps],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up a record where `state_dict` left it. Raises `DataError` if it lacks a part."""
        if missing := self.state_dict().keys() - state.keys():
            raise DataError(f"this is not the state of a recorder: it lacks {', '.join(sorted(missing))}")
        self._clear(state["metric_names"][2:])
        self.epochs = [
            Epoch(number, train, valid, tuple(metrics), seconds)
            for number, train, valid, metrics, seconds in state["epochs"]
        ]
        self.epoch_ends, self.losses = list(state["epoch_ends"]), list(state["losses"])
        self.lrs, self.moms = list(state["lrs"]), list(state["moms"])
        self._smoothed = Smoothed(*state["smoothed"])

    # ---- pictures

    def plot_loss(self, skip_start: int = 5, with_valid: bool = True, ax: Any = None) -> Any:
        """Draw the smoothed training loss by step, and the validation loss at each epoch's end. Returns the axes.

        The first `skip_start` steps are left out, unless there are few. Raises `DataError` before the first run.
        """
        losses = self._recorded(self.losses)
        ax = next(_axes(1)) if ax is None else ax
        running, smoothed = Smoothed(), list[float]()
        for loss in losses:
            running.add(loss)
            smoothed.append(running.value)
        begin = skip_start if len(smoothed) > 2 * skip_start else 0
        ax.plot(range(begin + 1, len(smoothed) + 1), smoothed[begin:], label="train")
        if with_valid and not all(math.isnan(epoch.valid_loss) for epoch in self.epochs):
            ax.plot(self.epoch_ends, [epoch.valid_loss for epoch in self.epochs], "o-", ms=3, label="valid")
        ax.set(title="learning curve", xlabel="step", ylabel="loss")
        ax.legend()
        return ax

    def plot_sched(self) -> None:
        """Draw learning rate and momentum at every step. Raises `DataError` before the first run."""
        self._recorded(self.lrs)
        kept = {"learning rate": self.lrs, "momentum": self.moms}
        kept = {name: values for name, values in kept.items() if values}
        for ax, (name, values) in zip(_axes(len(kept)), kept.items(), strict=True):
            ax.plot(range(1, len(values) + 1), values)
            ax.set(xlabel="step", ylabel=name)

    def _recorded(self, values: list[float]) -> list[float]:
        if not values:
            raise DataError("nothing has been recorded yet; a plot needs a run", try_="learn.fit(1)")
        return values


def _axes(count: int) -> Iterator[Any]:
    from plainlearn.core.figures import subplots

    _figure, axes = subplots(1, count, figsize=(5.5 * count, 3.8), layout="constrained")
    return itertools.chain(axes.flat)
