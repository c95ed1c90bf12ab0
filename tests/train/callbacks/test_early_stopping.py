"""Early stopping ends a run after its patience, and says how long to train instead."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from plainlearn.core.errors import ArgumentError, ArgumentTypeError
from plainlearn.train import Learner
from plainlearn.train.callbacks.early_stopping import EarlyStopping, EarlyStoppingCallback

Make = Callable[..., Learner]
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
