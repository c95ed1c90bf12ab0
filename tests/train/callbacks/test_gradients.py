"""Pieces add up to the batch they are pieces of, and gradients keep below their norm."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from plainlearn.core.errors import ArgumentError
from plainlearn.optim import SGD, Adam
from plainlearn.train import Callback, Learner, Result
from plainlearn.train.callbacks.gradients import GradientAccumulation, GradientClip


def pieces(batch: tuple[torch.Tensor, torch.Tensor], sizes: list[int]) -> list[Any]:
    return list(zip(batch[0].split(sizes), batch[1].split(sizes), strict=True))


@pytest.mark.parametrize("opt_func", [SGD, Adam])
@pytest.mark.parametrize("sizes", [[8, 8, 8, 8], [5, 11, 12, 4], [1, 15, 2, 3, 11]])
def test_two_pieces_of_eight_equal_a_batch_of_sixteen(
    make_learner: Any, batches: Any, opt_func: Any, sizes: list[int]
) -> None:
    (whole,) = batches(32)
    model = lambda: nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))  # noqa: E731
    torch.manual_seed(0)
    one = make_learner(train=pieces(whole, [16, 16]), opt_func=opt_func, model=model())
    torch.manual_seed(0)
    other = make_learner(
        train=pieces(whole, sizes), opt_func=opt_func, cbs=GradientAccumulation(16), model=model()
    )
    other.model.load_state_dict(one.model.state_dict())
    for learn in (one, other):
        with learn.no_logging():
            learn.fit(3)
    for a, b in zip(one.model.parameters(), other.model.parameters(), strict=True):
        assert torch.allclose(a, b, atol=1e-6)


def moves(learn: Learner) -> list[int]:
    """The batches after which the optimizer moved."""
    seen: list[int] = []
    before = [learn.model.weight.detach().clone()]  # type: ignore[union-attr,operator]

    class Look(Callback):
        def on_step(self, learner: Learner, result: Result) -> None:
            now = learner.model.weight.detach().clone()  # type: ignore[union-attr,operator]
            if not torch.equal(now, before[0]):
                seen.append(learner.batches_done)
            before[0] = now

    with learn.no_logging():
        learn.fit(1, cbs=Look())
    return seen


def test_what_is_left_at_the_end_of_an_epoch_is_not_lost(make_learner: Any, batches: Any) -> None:
    assert moves(make_learner(train=batches(8, 8, 8, 8, 8), cbs=GradientAccumulation(16))) == [2, 4, 5]
    assert moves(make_learner(train=batches(8, 8, 8), cbs=GradientAccumulation(100))) == [3]
    assert moves(make_learner(train=batches(8, 8), cbs=GradientAccumulation(1))) == [1, 2]


def test_clipped_gradients_have_the_norm_asked_and_short_ones_stay(make_learner: Any) -> None:
    norms: list[float] = []

    class Look(Callback):
        def on_gradients(self, learner: Learner, result: Result) -> None:
            gradients = [p.grad.flatten() for p in learner.model.parameters() if p.grad is not None]
            norms.append(float(torch.cat(gradients).norm()))

    learn = make_learner(cbs=[Look(), GradientClip(0.5), Look()])
    learn.fit(1)
    assert norms[0] > 0.5
    assert norms[1] == pytest.approx(0.5, abs=1e-4)
    norms.clear()
    make_learner(cbs=[Look(), GradientClip(1e6), Look()]).fit(1)
    assert norms[0] == norms[1]


def test_the_whole_is_clipped_and_not_its_pieces(make_learner: Any, batches: Any) -> None:
    (whole,) = batches(16)
    one = make_learner(train=[whole], cbs=GradientClip(0.5))
    other = make_learner(train=pieces(whole, [8, 8]), cbs=[GradientAccumulation(16), GradientClip(0.5)])
    for learn in (one, other):
        learn.fit(2)
    assert torch.allclose(one.model.weight, other.model.weight, atol=1e-6)
    with pytest.raises(ArgumentError, match="stands before GradientAccumulation"):
        make_learner(cbs=[GradientClip(), GradientAccumulation(16)]).fit(1)


def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(ArgumentError, match="n_acc is int 0; expected 1 item or more"):
        GradientAccumulation(0)
    with pytest.raises(ArgumentError, match="max_norm is 0; expected a number above 0"):
        GradientClip(0)
