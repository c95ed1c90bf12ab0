"""One cycle and flat-cosine: the rates and momenta of every step."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import nn

from plainlearn.core.errors import ArgumentError
from plainlearn.optim import SGD, Adam, combined_cos
from plainlearn.optim.optimizers import momentum_of
from plainlearn.train import Callback, Learner, Result

Make = Callable[..., Learner]


@pytest.mark.parametrize(
    "opt_func", [partial(SGD, mom=0.9), Adam, partial(torch.optim.RMSprop, momentum=0.9)]
)
def test_one_cycle_raises_the_rate_and_mirrors_the_momentum(make_learner: Make, opt_func: Any) -> None:
    learn = make_learner(opt_func=opt_func)
    learn.fit_one_cycle(4, 0.05)
    lrs, moms = learn.recorder.lrs, learn.recorder.moms
    rate, momentum = combined_cos(0.25, 0.05 / 25, 0.05, 0.05 / 1e5), combined_cos(0.25, 0.95, 0.85, 0.95)
    assert lrs == pytest.approx([rate(step / 12) for step in range(12)])
    assert moms == pytest.approx([momentum(step / 12) for step in range(12)])
    assert (lrs[0], lrs[3]) == pytest.approx((0.05 / 25, 0.05))
    assert (moms[0], moms[3]) == pytest.approx((0.95, 0.85))
    for (lr, next_lr), (mom, next_mom) in zip(pairwise(lrs), pairwise(moms), strict=True):
        assert (next_lr > lr) == (next_mom < mom)


def test_one_cycle_takes_the_learner_s_rate_unless_told(make_learner: Make) -> None:
    learn = make_learner(lr=0.02)
    learn.fit_one_cycle(4)
    assert max(learn.recorder.lrs) == pytest.approx(0.02)


@pytest.mark.parametrize("opt_func", [SGD, Adam])
def test_the_optimizer_has_its_own_momentum_back_after_a_cycle(make_learner: Make, opt_func: Any) -> None:
    learn = make_learner(opt_func=partial(opt_func, mom=0.7))
    learn.fit_one_cycle(2)
    assert momentum_of(learn.optimizer.param_groups[-1]) == 0.7
    learn.fit(1)
    assert set(learn.recorder.moms) == {0.7}


def test_momentum_comes_back_also_after_an_interrupt(make_learner: Make) -> None:
    class Interrupt(Callback):
        def on_step(self, learner: Learner, result: Result) -> None:
            raise KeyboardInterrupt

    learn = make_learner(opt_func=partial(SGD, mom=0.7), cbs=Interrupt())
    with pytest.raises(KeyboardInterrupt):
        learn.fit_one_cycle(2)
    assert momentum_of(learn.optimizer.param_groups[-1]) == 0.7


def test_an_optimizer_without_momentum_is_given_none(make_learner: Make) -> None:
    learn = make_learner(opt_func=SGD)
    learn.fit_one_cycle(2)
    assert set(learn.recorder.moms) == {0.0}


def test_momentum_is_left_alone_on_request(make_learner: Make) -> None:
    learn = make_learner(opt_func=Adam)
    learn.fit_one_cycle(2, moms=None)
    assert set(learn.recorder.moms) == {0.9}


def test_each_depth_goes_through_the_cycle_at_its_own_height(make_learner: Make) -> None:
    seen: list[list[float]] = []

    class Look(Callback):
        def on_step(self, learner: Learner, result: Result) -> None:
            seen.append([group["lr"] for group in learner.optimizer.param_groups])

    learn = make_learner(splitter=lambda model: [[model.weight], [model.bias]], cbs=Look())
    learn.fit_one_cycle(4, slice(1e-4, 1e-2))
    assert seen[3] == pytest.approx([1e-4, 1e-2])
    assert all(high == pytest.approx(low * 100) for low, high in seen)


def test_groups_apart_for_decay_go_through_the_cycle_together(make_learner: Make) -> None:
    learn = make_learner(opt_func=Adam, model=nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 1)))
    learn.fit_one_cycle(1)
    assert len(learn.optimizer.param_groups) == 2
    assert len({group["lr"] for group in learn.optimizer.param_groups}) == 1


def test_flat_cosine_is_flat_and_then_falls(make_learner: Make) -> None:
    learn = make_learner(opt_func=Adam)
    learn.fit_flat_cos(4, 0.05)
    lrs = learn.recorder.lrs
    assert lrs[:10] == [0.05] * 10
    assert 0.05 > lrs[10] > lrs[11] > 0.05 / 1e5
    assert set(learn.recorder.moms) == {0.9}


def test_a_recipe_takes_callbacks_and_a_decay(make_learner: Make) -> None:
    seen: list[float] = []

    class Look(Callback):
        def on_batch(self, learner: Learner, batch: Any) -> Any:
            seen.append(learner.optimizer.param_groups[0]["weight_decay"])
            return batch

    learn = make_learner()
    learn.fit_one_cycle(1, wd=0.3, cbs=Look())
    learn.fit_flat_cos(1, wd=0.2, cbs=[Look()])
    assert seen == [0.3] * 3 + [0.2] * 3


def test_warm_restarts_fall_again_and_again_each_longer(make_learner: Make) -> None:
    learn = make_learner()
    learn.fit_sgdr(2, 1, 0.05)
    lrs = learn.recorder.lrs  # a cycle of one epoch of three steps, then one of two epochs
    assert len(learn.recorder.values) == 3
    assert [lrs[0], lrs[3]] == pytest.approx([0.05, 0.05])
    assert lrs[0] > lrs[1] > lrs[2]
    assert lrs[3] > lrs[4] > lrs[5] > lrs[6] > lrs[7] > lrs[8]
    with pytest.raises(ArgumentError, match="n_cycles is 0; expected 1 or more"):
        learn.fit_sgdr(0, 1)
