"""The record of a run: every loss, every learning rate, the rows of the table, and their plots."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from plainlearn.core.errors import DataError
from plainlearn.optim.optimizers import momentum_of
from plainlearn.train.callback import Callback

if TYPE_CHECKING:
    from plainlearn.train.loop import Learner
    from plainlearn.train.step import Result

_MEMORY = 0.98  # of the smoothed loss; the course's


@dataclass(frozen=True)
class Epoch:
    """A row of the table. Without validation data, `valid_loss` and the metrics are nan."""

    number: int
    train_loss: float
    valid_loss: float
    metrics: tuple[float, ...]
    seconds: float

    @property
    def values(self) -> list[float]:
        """`[train_loss, valid_loss, metric, …]`, as the course keeps them."""
        return [self.train_loss, self.valid_loss, *self.metrics]


class Recorder(Callback):
    """What the last `fit` did.

    `values` has a row `[train_loss, valid_loss, metric, …]` an epoch, `losses` the loss of each
    step, `lrs` and `moms` the learning rate and momentum of the last group at each step. The train loss
    of a row is the smoothed one: an average that forgets by 0.98 a step, unbiased at the start.
    """

    def __init__(self) -> None:
        self._clear()

    def _clear(self) -> None:
        self.epochs: list[Epoch] = []
        self.losses: list[float] = []
        self.lrs: list[float] = []
        self.moms: list[float] = []
        self.metric_names: list[str] = ["train_loss", "valid_loss"]
        self._smoothed = 0.0
        self._steps = 0
        self._waiting: list[Tensor] = []

    @contextmanager
    def fit_scope(self, learner: Learner) -> Iterator[None]:
        self._clear()
        self.metric_names = ["train_loss", "valid_loss", *(meter.name for meter in learner.meters)]
        try:
            yield
        finally:
            self.smooth_loss()  # an interrupted epoch keeps its losses too, and no tensor stays behind

    def on_step(self, learner: Learner, result: Result) -> None:
        self._waiting.append(result.loss)
        if groups := getattr(learner.optimizer, "param_groups", None):
            self.lrs.append(groups[-1]["lr"])
            momentum = momentum_of(groups[-1])
            if momentum is not None:
                self.moms.append(momentum)

    def on_epoch(self, learner: Learner, epoch: Epoch) -> None:
        self.epochs.append(epoch)

    def smooth_loss(self) -> float:
        """The smoothed train loss up to now. It fetches the waiting losses from the device, so it waits for it."""
        if self._waiting:
            fetched: list[float] = torch.stack(self._waiting).double().tolist()
            self._waiting.clear()
            self.losses.extend(fetched)
            for loss in fetched:
                self._smoothed = loss + (self._smoothed - loss) * _MEMORY
            self._steps += len(fetched)
        return self._smoothed / (1 - _MEMORY**self._steps) if self._steps else math.nan

    @property
    def values(self) -> list[list[float]]:
        return [epoch.values for epoch in self.epochs]

    def state_dict(self) -> dict[str, Any]:
        """The record as plain data."""
        self.smooth_loss()
        return {
            "epochs": [[e.number, e.train_loss, e.valid_loss, list(e.metrics), e.seconds] for e in self.epochs],
            "losses": list(self.losses),
            "lrs": list(self.lrs),
            "moms": list(self.moms),
            "metric_names": list(self.metric_names),
            "smoothed": self._smoothed,
            "steps": self._steps,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up a record where `state_dict` left it."""
        self.epochs = [Epoch(n, t, v, tuple(m), s) for n, t, v, m, s in state["epochs"]]
        self.losses, self.lrs, self.moms = list(state["losses"]), list(state["lrs"]), list(state["moms"])
        self.metric_names = list(state["metric_names"])
        self._smoothed, self._steps = float(state["smoothed"]), int(state["steps"])
        self._waiting = []

    def plot_loss(self, skip_start: int = 5, with_valid: bool = True, ax: Any = None) -> Any:
        """Smoothed training loss by step, and validation loss at the end of each epoch. Returns the axes."""
        from plainlearn.core.figures import subplots

        self._need_a_run()
        ax = subplots(figsize=(6, 4))[1].flat[0] if ax is None else ax
        smoothed, running = list[float](), 0.0
        for step, loss in enumerate(self.losses, start=1):
            running = loss + (running - loss) * _MEMORY
            smoothed.append(running / (1 - _MEMORY**step))
        begin = skip_start if len(smoothed) > 2 * skip_start else 0
        ax.plot(range(begin, len(smoothed)), smoothed[begin:], label="train")
        if with_valid and self.epochs:
            a_epoch = len(self.losses) / len(self.epochs)
            ends = [(n + 1) * a_epoch - 1 for n in range(len(self.epochs))]
            ax.plot(ends, [epoch.valid_loss for epoch in self.epochs], "o-", ms=3, label="valid")
        ax.set(title="learning curve", xlabel="step", ylabel="loss")
        ax.legend()
        return ax

    def plot_sched(self) -> None:
        """Learning rate and momentum at every step, one picture each."""
        from plainlearn.core.figures import subplots

        self._need_a_run()
        kept = {"lr": self.lrs, "mom": self.moms} if self.moms else {"lr": self.lrs}
        _, axes = subplots(1, len(kept), imsize=4)
        for ax, (name, values) in zip(axes.flat, kept.items(), strict=True):
            ax.plot(values)
            ax.set(xlabel="step", ylabel=name)

    def _need_a_run(self) -> None:
        if not self.losses:
            raise DataError("nothing has been recorded yet; a plot needs a run", try_="learn.fit(1)")
