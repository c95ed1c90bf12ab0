"""A schedule multiplies each depth's own rate, and has what it needs before the first batch."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from plainlearn.optim import Constant, Linear
from plainlearn.train import Learner
from plainlearn.train.callbacks import Scheduled

Make = Callable[..., Learner]


def test_a_schedule_multiplies_the_rate_that_fit_was_given(make_learner: Make) -> None:
    learn = make_learner()
    learn.fit(2, lr=0.2, cbs=Scheduled(Linear(1.0, 0.0)))
    assert learn.recorder.lrs == pytest.approx([0.2 * (1 - step / 6) for step in range(6)])


def test_the_rate_is_fit_s_own_again_in_the_next_run(make_learner: Make) -> None:
    learn = make_learner()
    learn.fit(1, lr=0.2, cbs=Scheduled(Constant(0.5)))
    learn.fit(1, lr=0.2)
    assert learn.recorder.lrs == [0.2] * 3


def test_a_schedule_that_fails_does_so_before_the_first_batch(make_learner: Make) -> None:
    def broken(done: float) -> float:
        raise ZeroDivisionError

    learn = make_learner()
    with pytest.raises(ZeroDivisionError):
        learn.fit(1, cbs=Scheduled(broken))
    assert learn.recorder.losses == []
