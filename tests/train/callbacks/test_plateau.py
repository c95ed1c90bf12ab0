"""The learning rate falls when nothing gets better, for every depth, and under a schedule too."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from torch import nn

from plainlearn.core.errors import ArgumentError, ArgumentTypeError, DataError
from plainlearn.optim.schedules import Linear
from plainlearn.train import Callback, Learner
from plainlearn.train.callbacks.plateau import EarlyStopping, EarlyStoppingCallback, ReduceLROnPlateau
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


# ---- early stopping ends a run after its patience, and says how long to train instead


NAN = float("nan")


@pytest.mark.parametrize(
    ("patience", "values", "epochs"),
    [
        (1, [0.5, 0.6, 0.5, 0.7], 3),
        (2, [0.5, 0.6, 0.5, 0.7, 0.6, 0.6], 6),
        (3, [0.1, 0.2, 0.3, 0.4], 4),
        (1, [0.2, 0.1], 2),
    ],
)
def test_a_run_ends_when_its_patience_does(
    make_learner: Make, scripted: Any, patience: int, values: list[float], epochs: int
) -> None:
    learn = make_learner(metrics=scripted("accuracy", [*values, *[0.0] * 9]))
    learn.fit(len(values), cbs=EarlyStopping("accuracy", patience=patience))
    assert len(learn.recorder.values) == epochs
    assert bool(learn.stop_reason) == (epochs < len(values)), "the last epoch ends a run by itself"


def test_the_sentence_repeats_the_lesson_s_advice(
    make_learner: Make, scripted: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    learn = make_learner(metrics=scripted("error_rate", [0.4, 0.3, 0.35, 0.32, 0.9]))
    learn.fit_one_cycle(5, cbs=EarlyStopping("error_rate", patience=2))
    assert learn.stop_reason == (
        "error_rate was best in epoch 1 (0.3) and has not improved in the 2 since. The learning rate had no time "
        "to come down, so train again from the beginning, with a new model, for about 2 epochs"
    )
    assert f"Stopped: {learn.stop_reason}" in capsys.readouterr().out


def test_nan_from_the_first_epoch_on_is_said(make_learner: Make, scripted: Any) -> None:
    learn = make_learner(metrics=scripted("accuracy", [NAN] * 5))
    learn.fit(5, cbs=EarlyStopping("accuracy", patience=2))
    assert learn.stop_reason == "accuracy has been nan from the first epoch on"
    assert len(learn.recorder.values) == 2


def test_a_second_run_is_not_stopped_by_the_first(make_learner: Make, scripted: Any) -> None:
    learn = make_learner(metrics=scripted("accuracy", [0.9, 0.8, 0.1, 0.2]), cbs=EarlyStopping("accuracy"))
    learn.fit(3)
    assert learn.stop_reason
    learn.fit(2)
    assert not learn.stop_reason


def test_a_patience_that_is_none_is_refused() -> None:
    with pytest.raises(ArgumentError, match="patience is 0; expected 1 epoch or more"):
        EarlyStopping(patience=0)
    with pytest.raises(ArgumentTypeError, match=r"patience is float 1\.5"):
        EarlyStopping(patience=1.5)  # type: ignore[arg-type]
    assert EarlyStoppingCallback is EarlyStopping
