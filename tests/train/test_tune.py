"""What is measured as faster is kept, what is not is undone, and nothing else changes."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from plainlearn.core.errors import ArgumentError
from plainlearn.train import Learner, tune

Make = Callable[..., Learner]


def test_what_is_faster_stays_and_what_is_slower_goes(
    make_learner: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = iter([1.0, 0.99, 0.5])
    monkeypatch.setattr(tune, "_step_seconds", lambda learner: next(times))
    learn = make_learner()
    assert learn.speed_up() == {"as it was": 1.0, "channels_last": 0.99, "bf16": 0.5}
    assert repr(learn.precision) == "bf16"
    times = iter([1.0, 1.0])
    learn = make_learner()
    assert list(learn.speed_up(channels_last=False)) == ["as it was", "bf16"]
    assert repr(learn.precision) == "fp32"


def test_a_real_measurement_leaves_weights_and_random_state(make_learner: Make) -> None:
    learn = make_learner()
    weight, state = learn.model.weight.detach().clone(), torch.get_rng_state()  # type: ignore[union-attr,operator]
    taken = learn.speed_up(bf16=False, channels_last=False)
    assert list(taken) == ["as it was"]
    assert taken["as it was"] > 0
    assert torch.equal(weight, learn.model.weight)  # type: ignore[arg-type]
    assert torch.equal(state, torch.get_rng_state())


def test_time_is_bounded(make_learner: Make) -> None:
    assert list(make_learner().speed_up(seconds=1e-9)) == ["as it was"]
    with pytest.raises(ArgumentError, match="seconds is 0"):
        make_learner().speed_up(seconds=0)
