"""A watched number is found by name, better in the direction of its kind, and never when it is nan."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from plainlearn.core.errors import ArgumentError, ArgumentTypeError, DataError
from plainlearn.train import Learner
from plainlearn.train.callbacks.monitor import Monitored
from plainlearn.train.recorder import Epoch

Make = Callable[..., Learner]
NAN = float("nan")


class Watch(Monitored):
    """Writes down in which epochs the number was better."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.better: list[bool] = []

    def on_epoch(self, learner: Learner, epoch: Epoch) -> None:
        self.better.append(self.improved(learner, epoch))


@pytest.mark.parametrize(
    ("name", "options", "values", "better"),
    [
        ("accuracy", {}, [0.5, 0.4, 0.6, 0.6], [1, 0, 1, 0]),
        ("error_rate", {}, [0.5, 0.4, 0.6, 0.4], [1, 1, 0, 0]),
        ("rmse", {}, [2.0, 1.0], [1, 1]),
        ("my_loss", {}, [2.0, 3.0], [1, 0]),
        ("purity", {"comp": operator.lt}, [2.0, 1.0, 3.0], [1, 1, 0]),
        ("my_loss", {"comp": np.greater}, [2.0, 1.0, 3.0], [1, 0, 1]),
        ("accuracy", {"min_delta": 0.1}, [0.5, 0.55, 0.61, 0.65], [1, 0, 1, 0]),
        ("error_rate", {"min_delta": 0.1}, [0.5, 0.45, 0.39], [1, 0, 1]),
        ("accuracy", {}, [NAN, 0.5, NAN, 0.6], [0, 1, 0, 1]),
        ("error_rate", {}, [NAN, NAN], [0, 0]),
        ("accuracy", {}, [-float("inf"), 0.5], [1, 1]),
    ],
)
def test_better_is_what_the_name_says(
    make_learner: Make, scripted: Any, name: str, options: Any, values: list[float], better: list[int]
) -> None:
    watch = Watch(name, **options)
    make_learner(metrics=scripted(name, values)).fit(len(values), cbs=watch)
    assert watch.better == [bool(each) for each in better]


def test_the_losses_of_the_table_can_be_watched(make_learner: Make) -> None:
    train, valid = Watch("train_loss"), Watch()
    learn = make_learner()
    learn.fit(3, cbs=[train, valid])
    assert train.best == min(row[0] for row in learn.recorder.values)
    assert valid.best == min(row[1] for row in learn.recorder.values)


def test_an_unknown_name_is_refused_before_training(make_learner: Make, scripted: Any) -> None:
    learn = make_learner(metrics=scripted("accuracy", [1.0]))
    with pytest.raises(
        ArgumentError, match="Watch watches 'acuracy'; the table has train_loss, valid_loss, accuracy"
    ) as caught:
        learn.fit(1, cbs=Watch("acuracy"))
    assert caught.value.try_ == "monitor='accuracy'"
    assert learn.recorder.losses == []


def test_validation_must_be_there_to_be_watched(make_learner: Make) -> None:
    with pytest.raises(ArgumentError, match="the table has train_loss, as there is no validation data"):
        make_learner(valid=None).fit(1, cbs=Watch())
    make_learner(valid=None).fit(1, cbs=Watch("train_loss"))


def test_a_new_run_begins_anew_unless_told_otherwise(make_learner: Make, scripted: Any) -> None:
    anew, onwards = Watch("accuracy"), Watch("accuracy", reset_on_fit=False)
    learn = make_learner(metrics=scripted("accuracy", [0.9, 0.5]), cbs=[anew, onwards])
    learn.fit(1)
    learn.fit(1)
    assert (anew.better, onwards.better) == ([True, True], [True, False])


def test_what_it_knows_goes_through_its_state(make_learner: Make, scripted: Any) -> None:
    before, after = Watch("accuracy"), Watch("accuracy")
    make_learner(metrics=scripted("accuracy", [0.7, 0.6])).fit(2, cbs=before)
    after.load_state_dict(before.state_dict())
    assert (after.best, after.best_epoch, after.waited) == (0.7, 0, 1)
    with pytest.raises(DataError, match="not the state of Watch: it lacks best_epoch, waited"):
        after.load_state_dict({"best": 1.0})


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"comp": "lt"}, ArgumentTypeError, "comp is str 'lt'; expected a comparison"),
        ({"min_delta": -0.1}, ArgumentError, r"min_delta is -0\.1; expected 0 or more"),
    ],
)
def test_what_cannot_be_compared_is_refused(options: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        Watch(**options)
