"""The learning rate falls when nothing gets better, for every depth, and under a schedule too."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from torch import nn

from plainlearn.core.errors import ArgumentError, DataError
from plainlearn.optim.schedules import Linear
from plainlearn.train import Callback, Learner
from plainlearn.train.callbacks.plateau import ReduceLROnPlateau
from plainlearn.train.callbacks.schedule import Scheduled

Make = Callable[..., Learner]
WORSE = [0.9, 0.8, 0.8, 0.8, 0.8]


def rates_of_epochs(learn: Learner) -> list[float]:
    """The rate of each epoch's last step."""
    return [learn.recorder.lrs[end - 1] for end in learn.recorder.epoch_ends]


def test_the_rate_is_divided_after_each_wait(make_learner: Make, scripted: Any) -> None:
    learn = make_learner(metrics=scripted("accuracy", WORSE))
    learn.fit(5, lr=0.1, cbs=ReduceLROnPlateau("accuracy", patience=2, factor=4))
    assert rates_of_epochs(learn) == pytest.approx([0.1, 0.1, 0.1, 0.025, 0.025])


def test_it_falls_no_further_than_asked_and_the_next_run_has_its_own(
    make_learner: Make, scripted: Any
) -> None:
    learn = make_learner(
        metrics=scripted("accuracy", [*WORSE, 0.9]), cbs=ReduceLROnPlateau("accuracy", min_lr=0.005)
    )
    learn.fit(5, lr=0.1)
    assert rates_of_epochs(learn) == pytest.approx([0.1, 0.1, 0.01, 0.005, 0.005])
    learn.fit(1, lr=0.2)
    assert rates_of_epochs(learn) == [0.2]


def test_every_depth_falls_alike(make_learner: Make, scripted: Any) -> None:
    model = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 1))
    learn = make_learner(
        model=model,
        splitter=lambda m: [list(part.parameters()) for part in m],
        metrics=scripted("accuracy", WORSE),
    )
    learn.fit(3, lr=slice(0.01, 0.1), cbs=ReduceLROnPlateau("accuracy"))
    assert learn.current_rates() == pytest.approx([0.001, 0.01])


def test_a_schedule_goes_on_from_smaller_rates(make_learner: Make, scripted: Any) -> None:
    learn = make_learner(metrics=scripted("accuracy", WORSE))
    learn.fit(4, lr=0.1, cbs=[ReduceLROnPlateau("accuracy"), Scheduled(Linear(1.0, 0.0))])
    assert rates_of_epochs(learn) == pytest.approx(
        [0.1 * (1 - 2 / 12), 0.1 * (1 - 5 / 12), 0.01 * (1 - 8 / 12), 0.001 * (1 - 11 / 12)]
    )


def test_a_resumed_run_has_the_rates_it_would_have_had(make_learner: Make, scripted: Any) -> None:
    before = ReduceLROnPlateau("accuracy")
    make_learner(metrics=scripted("accuracy", WORSE)).fit(3, cbs=before)
    state = before.state_dict()

    class Resume(Callback):
        def fit_scope(self, learner: Learner) -> Any:
            after.load_state_dict(state)
            return super().fit_scope(learner)

    after = ReduceLROnPlateau("accuracy")
    learn = make_learner(metrics=scripted("accuracy", [0.7]))
    learn.fit(1, lr=0.1, cbs=[after, Resume()])
    assert rates_of_epochs(learn) == pytest.approx([0.001])
    with pytest.raises(DataError, match="not the state of ReduceLROnPlateau: it lacks reductions"):
        after.load_state_dict({"best": 1.0, "best_epoch": 1, "waited": 1})


def test_what_would_not_reduce_is_refused() -> None:
    with pytest.raises(
        ArgumentError, match=r"factor is 0\.1; expected more than 1, as rates are divided by it"
    ):
        ReduceLROnPlateau(factor=0.1)
    with pytest.raises(ArgumentError, match="min_lr is -1"):
        ReduceLROnPlateau(min_lr=-1)
