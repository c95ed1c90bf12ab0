"""A run that lasts as long as there is time: its end, and its schedules, go by the clock."""

from __future__ import annotations

import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from plainlearn.core.errors import ArgumentError
from plainlearn.train.callback import Callback, Epoch, Loop
from plainlearn.train.step import Result

_FINE: Final = 1_000_000


class Deadline(Callback):
    """Ends the run after `seconds` of it, in the middle of an epoch if need be; a schedule is then at its end too.

    So `learn.fit_one_cycle(4, cbs=Deadline(240))` lasts four minutes, whether the machine is busy or not: 4 is the number of
    epochs that are expected, and more or fewer are done. Validation within the run counts, the last one does not. A run
    that is resumed has the seconds that were left. As the clock has a say, no two runs are equal.
    """

    def __init__(self, seconds: float) -> None:
        if not 0 < seconds < float("inf"):
            raise ArgumentError(f"seconds is {seconds}; expected a number above 0", try_="Deadline(300)")
        self.seconds = seconds
        self._begun = self._share = self._step = 0.0

    @contextmanager
    def fit_scope(self, learner: Loop) -> Generator[None]:
        self._begun = time.perf_counter()
        self._share = self._step = 0.0
        learner.pace = lambda: self._share
        try:
            yield
        finally:
            learner.pace = None

    def on_step(self, learner: Loop, result: Result) -> None:
        share = min((time.perf_counter() - self._begun) / self.seconds, 1.0)
        share = learner.ranks.agree(round(share * _FINE)) / _FINE
        # Not much longer than the last one: between two epochs lies a validation.
        step = max(share - self._share, 0.0)
        self._share, self._step = share, min(step, 2 * self._step) if self._step else step
        if self._share + self._step >= 1:  # another one would be too much
            learner.stop_reason = f"the {self.seconds:.0f} seconds that it had are over"

    def on_epoch(self, learner: Loop, epoch: Epoch) -> None:
        if not learner.stop_reason and learner.epoch + 1 >= learner.epochs:
            learner.epochs += 1

    def state_dict(self) -> dict[str, Any]:
        return {"spent": time.perf_counter() - self._begun}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._begun = time.perf_counter() - state["spent"]
        self._share = min(state["spent"] / self.seconds, 1.0)
