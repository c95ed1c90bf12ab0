"""What the trackers of experiments have in common: when a run is opened, told of steps and epochs, and closed."""

from __future__ import annotations

import importlib
import importlib.util
import math
from abc import abstractmethod
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar

from plainlearn.core.errors import MissingExtraError
from plainlearn.train.callback import Callback
from plainlearn.train.step import loss_name

if TYPE_CHECKING:
    from plainlearn.train.loop import Learner
    from plainlearn.train.recorder import Epoch


class Tracker(Callback):
    """Tells a tracker, at each epoch's end, the loss and rate of every step since, and the row of the table.

    Nothing waits for the device within an epoch. The run is opened with its first epoch, so that a resumed
    one goes on in the same; it is closed when training ends, as failed when an exception passes.
    """

    #: The library, as it is imported.
    library: ClassVar[str]

    def __init__(self) -> None:
        if importlib.util.find_spec(self.library) is None:
            raise MissingExtraError(self.library, needed_for=type(self).__name__, extra="tracking")
        self._told = 0  # steps that were told of
        self._open = False
        self._run: str | None = None

    @contextmanager
    def fit_scope(self, learner: Learner) -> Generator[None]:
        self._told, self._run = 0, None
        finished = False
        try:
            yield
            finished = True
        finally:
            if self._open:
                self._open = False
                self.close(finished=finished)

    def on_epoch(self, learner: Learner, epoch: Epoch) -> None:
        if not learner.ranks.is_main:
            return
        if not self._open:
            self._run = self.open(self._run, _facts(learner))
            self._open = True
        recorder = learner.recorder
        losses, rates = (
            recorder.losses[self._told :],
            recorder.lrs[self._told :] or [math.nan] * len(recorder.losses),
        )
        steps = [
            (self._told + number, {"step_loss": loss, "lr": rate})
            for number, (loss, rate) in enumerate(zip(losses, rates, strict=False), start=1)
        ]
        self._told = len(recorder.losses)
        row = dict(zip(recorder.metric_names, epoch.values, strict=True)) | {"epoch_seconds": epoch.seconds}
        told = [(step, _finite(numbers)) for step, numbers in steps]
        self.tell([*told, (self._told, _finite(row) | {"epoch": epoch.number})])

    @abstractmethod
    def open(self, run: str | None, facts: Mapping[str, Any]) -> str:
        """Begin a run, or go on with `run`, and give its name. `facts` say what is trained."""

    @abstractmethod
    def tell(self, steps: Iterable[tuple[int, Mapping[str, float]]]) -> None:
        """Numbers by name at steps, counted from 1 over the whole run; the last are those of an epoch."""

    @abstractmethod
    def close(self, *, finished: bool) -> None:
        """End the run."""

    def part(self, name: str = "") -> Any:
        """The library, or a part of it, imported now: it is heavy, and not everybody has it."""
        return importlib.import_module(f"{self.library}.{name}" if name else self.library)

    def state_dict(self) -> dict[str, Any]:
        return {"run": self._run, "told": self._told}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._run, self._told = state["run"], state["told"]


def _facts(learner: Learner) -> dict[str, Any]:
    return {
        "model": type(learner.model).__name__,
        "loss": loss_name(learner.loss_func),
        "optimizer": type(learner.optimizer).__name__,
        "epochs": learner.epochs,
        "lr": max(learner.rates),
        "batch_size": getattr(learner.dls.train, "bs", None),
        "device": str(learner.device),
    }


def _finite(numbers: Mapping[str, float]) -> dict[str, float]:
    """Those that are numbers: without validation data, or a rate, there is nothing to tell."""
    return {name: number for name, number in numbers.items() if math.isfinite(number)}
