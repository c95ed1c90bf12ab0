"""The record holds what was done, in the course's form, and draws it."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from plainlearn.core.errors import DataError
from plainlearn.core.lists import L
from plainlearn.metrics import mae
from plainlearn.optim import SGD, Adam
from plainlearn.train import Callback, Learner, Recorder, Result
from plainlearn.train import recorder as module
from plainlearn.train.recorder import Smoothed

Make = Callable[..., Learner]


def test_a_row_holds_train_loss_valid_loss_and_metrics(make_learner: Make) -> None:
    learn = make_learner(metrics=[mae, mae])
    assert learn.recorder.values == []
    learn.fit(3)
    assert [len(row) for row in learn.recorder.values] == [4, 4, 4]
    assert learn.recorder.metric_names == ["train_loss", "valid_loss", "mae", "mae"]
    assert learn.recorder.values[-1][2] == learn.validate()[1]
    assert L(learn.recorder.values).itemgot(2) == [row[2] for row in learn.recorder.values]
    assert [row.number for row in learn.recorder.epochs] == [0, 1, 2]
    assert all(row.seconds >= 0 for row in learn.recorder.epochs)


def test_only_the_last_fit_is_on_record(make_learner: Make) -> None:
    learn = make_learner()
    learn.fit(3)
    learn.fit(1)
    assert len(learn.recorder.values) == len(learn.recorder.epoch_ends) == 1
    assert len(learn.recorder.losses) == len(learn.recorder.lrs) == 3


def test_without_validation_the_rest_of_the_row_is_nan(make_learner: Make) -> None:
    learn = make_learner(valid=None, metrics=mae)
    learn.fit(1)
    train_loss, *rest = learn.recorder.values[0]
    assert math.isfinite(train_loss)
    assert [math.isnan(value) for value in rest] == [True, True]


def definition(losses: list[float]) -> float:
    weights = [0.98 ** (len(losses) - 1 - i) for i in range(len(losses))]
    return sum(w * loss for w, loss in zip(weights, losses, strict=True)) / sum(weights)


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=300))
def test_the_smoothed_loss_is_an_unbiased_mean_that_forgets_by_098(losses: list[float]) -> None:
    smoothed = Smoothed()
    for loss in losses:
        smoothed.add(loss)
    assert smoothed.value == pytest.approx(definition(losses), rel=1e-6, abs=1e-6)


def test_the_train_loss_of_a_row_is_the_smoothed_loss_of_all_steps_up_to_it(make_learner: Make) -> None:
    learn = make_learner()
    learn.fit(4)
    losses = learn.recorder.losses
    for row, end in zip(learn.recorder.values, (3, 6, 9, 12), strict=True):
        assert row[0] == pytest.approx(definition(losses[:end]), rel=1e-9)
    assert math.isnan(Recorder().smooth_loss())


def test_many_waiting_losses_are_put_together_in_order(
    make_learner: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = make_learner()
    expected.fit(2)
    monkeypatch.setattr(module, "_LOSSES_WAITING", 2)
    learn = make_learner()
    learn.fit(2)
    assert learn.recorder.losses == expected.recorder.losses
    assert learn.recorder.values == expected.recorder.values


@pytest.mark.parametrize(
    ("opt_func", "moms"),
    [(SGD, [0.0] * 6), (Adam, [0.9] * 6), (torch.optim.Rprop, [])],
)
def test_rates_and_momentum_of_every_step_are_on_record(make_learner: Make, opt_func: Any, moms: Any) -> None:
    learn = make_learner(opt_func=opt_func)
    learn.fit(2, lr=0.03)
    assert learn.recorder.lrs == [0.03] * 6
    assert learn.recorder.moms == moms


def test_the_rates_on_record_are_those_of_the_last_depth(make_learner: Make) -> None:
    learn = make_learner(splitter=lambda model: [[model.weight], [model.bias]])
    learn.fit(1, lr=slice(1e-3, 1e-2))
    assert learn.recorder.lrs == [1e-2] * 3


def test_a_record_survives_as_plain_data(make_learner: Make) -> None:
    learn = make_learner(metrics=mae, valid=None)
    learn.fit_one_cycle(2)
    state = json.loads(json.dumps(learn.recorder.state_dict()))
    other = Recorder()
    other.load_state_dict(state)
    assert str(other.state_dict()) == str(learn.recorder.state_dict())
    assert str(other.values) == str(learn.recorder.values)
    assert other.smooth_loss() == learn.recorder.smooth_loss()
    other.plot_loss()


def test_the_state_of_something_else_is_refused() -> None:
    with pytest.raises(DataError, match="this is not the state of a recorder: it lacks epoch_ends, epochs"):
        Recorder().load_state_dict({"losses": [], "lrs": [], "moms": []})


# ---------------------------------------------------------------- pictures


def drawn(ax: Any) -> dict[str, tuple[list[float], list[float]]]:
    return {line.get_label(): (list(line.get_xdata()), list(line.get_ydata())) for line in ax.lines}


def test_the_learning_curve_shows_the_smoothed_loss_and_the_validation_loss(make_learner: Make) -> None:
    learn = make_learner()
    learn.fit(4)
    ax = learn.recorder.plot_loss()
    assert ax.get_title() == "learning curve"
    curves = drawn(ax)
    assert curves["train"][0] == list(range(6, 13))  # the first five steps are left out
    assert curves["train"][1][-1] == pytest.approx(learn.recorder.values[-1][0])
    assert curves["valid"] == ([3, 6, 9, 12], [row[1] for row in learn.recorder.values])


def test_a_short_run_is_drawn_whole_and_validation_on_request(make_learner: Make) -> None:
    import matplotlib.pyplot as plt

    learn = make_learner()
    learn.fit(1)
    _, axes = plt.subplots(1, 2)
    assert learn.recorder.plot_loss(with_valid=False, ax=axes[1]) is axes[1]
    assert list(drawn(axes[1])) == ["train"]
    assert drawn(axes[1])["train"][0] == [1, 2, 3]
    learn = make_learner(valid=None)
    learn.fit(1)
    assert list(drawn(learn.recorder.plot_loss())) == ["train"]


def test_an_interrupted_epoch_is_drawn_where_it_was(make_learner: Make) -> None:
    class Interrupt(Callback):
        def on_step(self, learner: Learner, result: Result) -> None:
            if (learner.epoch, learner.batches_done) == (1, 2):
                raise KeyboardInterrupt

    learn = make_learner(cbs=Interrupt())
    with pytest.raises(KeyboardInterrupt):
        learn.fit(2)
    curves = drawn(learn.recorder.plot_loss())
    assert curves["valid"][0] == [3]
    assert curves["train"][0][-1] == 5


def test_the_schedule_is_drawn_one_picture_each(make_learner: Make) -> None:
    import matplotlib.pyplot as plt

    for opt_func, names in ((Adam, ["learning rate", "momentum"]), (torch.optim.Rprop, ["learning rate"])):
        plt.close("all")
        learn = make_learner(opt_func=opt_func)
        learn.fit_one_cycle(2, 0.01)
        assert learn.recorder.plot_sched() is None
        axes = plt.gcf().axes
        assert [ax.get_ylabel() for ax in axes] == names
        assert list(axes[0].lines[0].get_ydata()) == learn.recorder.lrs


def test_there_is_no_picture_before_a_run() -> None:
    for draw in (Recorder().plot_loss, Recorder().plot_sched):
        with pytest.raises(DataError, match="nothing has been recorded yet; a plot needs a run") as caught:
            draw()
        assert "Try learn.fit(1)" in str(caught.value)


def test_the_schedule_of_a_bare_optimizer_is_not_on_record(make_learner: Make) -> None:
    class Bare:
        def __init__(self, params: Any, lr: float) -> None:
            self.params, self.lr = list(params), lr

        def step(self) -> None: ...

        def zero_grad(self) -> None:
            for p in self.params:
                p.grad = None

    learn = make_learner(opt_func=Bare, model=nn.Linear(3, 1))
    learn.fit(1)
    with pytest.raises(DataError, match="nothing has been recorded yet"):
        learn.recorder.plot_sched()
