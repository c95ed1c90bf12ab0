"""A run with a deadline ends by the clock, its schedule at its end, whatever its epochs take."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from plainlearn.core.errors import ArgumentError
from plainlearn.data import DataLoaders
from plainlearn.train import Callback, Learner
from plainlearn.train.callbacks import Deadline, deadline


class Clock:
    """Seconds that pass when a step is taken, and at no other time."""

    def __init__(self) -> None:
        self.now = 100.0

    def perf_counter(self) -> float:
        return self.now


class Ticks(Callback):
    """Each step takes `seconds(number)`; notes the rates."""

    def __init__(self, clock: Clock, seconds: Any) -> None:
        self.clock, self.seconds, self.rates = clock, seconds, list[float]()
        self.die_at = -1

    def on_step(self, learner: Learner, result: Any) -> None:
        self.rates.append(learner.current_rates()[0])
        self.clock.now += self.seconds(len(self.rates))
        if len(self.rates) == self.die_at:
            raise KeyboardInterrupt


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(deadline, "time", clock)
    return clock


def learner(path: Path | None = None) -> Learner:
    torch.manual_seed(0)
    batches = [(torch.ones(2, 1), torch.ones(2, 1))] * 10
    return Learner(DataLoaders(batches, batches), nn.Linear(1, 1), nn.functional.mse_loss, path=path)


def fit(learn: Learner, epochs: int, *callbacks: Callback, **more: Any) -> None:
    with learn.no_logging():
        learn.fit_one_cycle(epochs, 0.1, cbs=callbacks, **more)


@pytest.mark.parametrize("epochs", [1, 3, 50])
def test_a_run_lasts_as_long_as_it_may_however_many_epochs_were_expected(clock: Clock, epochs: int) -> None:
    ticks = Ticks(clock, lambda _: 1.0)
    learn = learner()
    fit(learn, epochs, ticks, Deadline(30))
    assert len(ticks.rates) in (29, 30)  # of shares that are rounded
    assert max(ticks.rates) == pytest.approx(0.1, rel=0.1)
    assert ticks.rates[-1] < 0.002
    assert len(learn.recorder.values) == 3
    assert "30 seconds" in learn.stop_reason
    assert learn.pace is None


def test_a_machine_that_becomes_slow_in_the_middle_changes_the_steps_and_not_the_schedule(
    clock: Clock,
) -> None:
    ticks = Ticks(clock, lambda number: 1.0 if number < 20 else 5.0)
    learn = learner()
    fit(learn, 4, ticks, Deadline(40))
    assert 21 < len(ticks.rates) < 26
    assert clock.now - 100 <= 41
    assert ticks.rates[-1] < 0.02


def test_a_resumed_run_has_the_seconds_that_were_left(clock: Clock, tmp_path: Path) -> None:
    ticks, learn = Ticks(clock, lambda _: 1.0), learner(tmp_path)
    ticks.die_at = 20
    with pytest.raises(KeyboardInterrupt):
        fit(learn, 3, ticks, Deadline(30), checkpoint=True)
    clock.now += 1000
    again = Ticks(clock, lambda _: 1.0)
    fit(learner(tmp_path), 3, again, Deadline(30), resume=True)
    assert 10 <= len(again.rates) <= 20


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf")])
def test_a_deadline_is_a_number_of_seconds(seconds: float) -> None:
    with pytest.raises(ArgumentError, match="seconds is"):
        Deadline(seconds)
