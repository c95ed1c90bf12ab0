"""Keeping the best model of a run: on disk as it comes, and in the learner at the end."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

from plainlearn.core.errors import ArgumentError
from plainlearn.core.tensorfile import TENSORFILE
from plainlearn.core.wholefile import check_replaceable
from plainlearn.train.callback import Epoch, Loop, overriding
from plainlearn.train.callbacks.monitor import Monitored
from plainlearn.train.saving import file_of, load, save


class SaveModel(Monitored):
    """Saves the model as `fname` whenever `monitor` is better than before, and loads the best when the run has ended.

    `every_epoch=True`, or 2, 3, …, saves each so many epochs as `fname_0`, `fname_1`, … instead, whatever they
    are worth; `at_end=True` saves the last model as `fname` instead of loading the best. `with_opt` saves what the optimizer
    remembers too. What is saved is the model as it was validated: with `EMA` or `SWA` the average,
    and these must come behind. For `comp` and `min_delta` see `Monitored`. A run that fails loads nothing.

    Raises `ArgumentError` when averages come first, which would overwrite the best weights at the end, and
    `StorageError` when a file of that name is there that plainlearn did not make; both before training.
    """

    def __init__(
        self,
        monitor: str = "valid_loss",
        comp: Callable[[Any, Any], Any] | None = None,
        min_delta: float = 0.0,
        fname: str = "model",
        every_epoch: bool | int = False,
        at_end: bool = False,
        with_opt: bool = False,
        reset_on_fit: bool = True,
    ) -> None:
        super().__init__(monitor, comp, min_delta, reset_on_fit)
        if every_epoch < 0:
            raise ArgumentError(
                f"every_epoch is {every_epoch}; expected True, or a number of epochs", try_="every_epoch=True"
            )
        self.fname, self.every_epoch, self.at_end, self.with_opt = fname, int(every_epoch), at_end, with_opt

    @contextmanager
    def fit_scope(self, learner: Loop) -> Generator[None]:
        self._refuse_averages_first(learner)
        self._refuse_files_of_others(learner)
        with super().fit_scope(learner):
            yield
        if self.at_end:
            self._save(learner, self.fname)
        elif not self.every_epoch and self.best_epoch >= 0:
            load(learner, self.fname, with_opt=self.with_opt)

    def on_epoch(self, learner: Loop, epoch: Epoch) -> None:
        better = self.improved(learner, epoch)
        if self.every_epoch:
            if (epoch.number + 1) % self.every_epoch == 0:
                self._save(learner, f"{self.fname}_{epoch.number}")
        elif better:
            self._save(learner, self.fname)

    def _save(self, learner: Loop, name: str) -> None:
        if learner.ranks.is_main:
            with learner.as_validated():
                save(learner, name, with_opt=self.with_opt, force=None)
        learner.ranks.agree(0)  # nobody goes on, and may be to load it, before it is there

    def _refuse_files_of_others(self, learner: Loop) -> None:
        """Before the run, not when it wants to save."""
        names = [self.fname]
        if self.every_epoch:
            names = [
                f"{self.fname}_{number}"
                for number in range(self.every_epoch - 1, learner.epochs, self.every_epoch)
            ]
        for name in names:
            check_replaceable(file_of(learner, name), TENSORFILE, force=None, other="another fname")

    def _refuse_averages_first(self, learner: Loop) -> None:
        before = learner.callbacks[: learner.callbacks.index(self)]
        for callback in overriding(before, "validation_scope"):
            name = type(callback).__name__
            raise ArgumentError(
                f"{name} comes before SaveModel, and would overwrite the best weights when the run ends",
                try_=f"cbs=[SaveModel(), {name}()]",
            )


SaveModelCallback = SaveModel  # the course's name
