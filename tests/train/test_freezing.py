"""Depths are frozen from the input on; what is frozen stays as it was, and what is not learns."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from plainlearn.core.errors import ArgumentError, ArgumentTypeError
from plainlearn.data import DataLoaders
from plainlearn.train import Learner


def model() -> nn.Sequential:
    return nn.Sequential(
        nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3)), nn.Sequential(nn.Linear(3, 3)), nn.Linear(3, 1)
    )


def by_part(model: nn.Module) -> list[list[nn.Parameter]]:
    return [list(part.parameters()) for part in model.children()]


def learner(splitter: Any = by_part) -> Learner:
    torch.manual_seed(0)
    batches = [(torch.randn(4, 2), torch.randn(4, 1))]
    return Learner(DataLoaders(batches, batches), model(), nn.functional.mse_loss, splitter=splitter, lr=0.1)


def learning(learn: Learner) -> list[bool]:
    """Which parameters learn: the weight and bias of Linear, of BatchNorm, of Linear, of Linear."""
    return [parameter.requires_grad for parameter in learn.model.parameters()]


@pytest.mark.parametrize(
    ("n", "expected"),
    [
        (0, [True] * 8),
        (1, [False, False, True, True, True, True, True, True]),
        (-1, [False, False, True, True, False, False, True, True]),
        (2, [False, False, True, True, False, False, True, True]),
    ],
)
def test_depths_before_n_are_frozen_but_for_batch_norm(n: int, expected: list[bool]) -> None:
    learn = learner()
    learn.freeze_to(n)
    assert learning(learn) == expected


def test_batch_norm_is_frozen_too_if_asked_or_if_the_model_says_so() -> None:
    learn = learner()
    learn.freeze(train_bn=False)
    assert learning(learn) == [False] * 6 + [True] * 2
    learn.unfreeze()
    assert all(learning(learn))
    learn.model.train_bn = False  # type: ignore[assignment]
    learn.freeze()
    assert learning(learn) == [False] * 6 + [True] * 2


def test_what_is_frozen_stays_and_what_is_not_learns() -> None:
    learn = learner()
    learn.freeze(train_bn=False)
    before: list[Tensor] = [parameter.detach().clone() for parameter in learn.model.parameters()]
    with learn.no_logging():
        learn.fit(1)
        same = [torch.equal(a, b) for a, b in zip(before, learn.model.parameters(), strict=True)]
        assert same == [True] * 6 + [False] * 2
        learn.unfreeze()
        learn.fit(1, slice(1e-3, 1e-1))
    assert learn.rates == pytest.approx([1e-3, 1e-2, 1e-1])
    assert not any(torch.equal(a, b) for a, b in zip(before, learn.model.parameters(), strict=True))


@pytest.mark.parametrize("n", [3, -4])
def test_a_depth_that_is_not_there_changes_nothing(n: int) -> None:
    learn = learner()
    learn.freeze()
    with pytest.raises(ArgumentError, match=rf"n is {n}, and the model has 3 depths; expected -3 to 2"):
        learn.freeze_to(n)
    assert learning(learn)[:2] == [False, False]


def test_a_model_of_one_depth_has_nothing_to_freeze() -> None:
    learn = learner(lambda model: model.parameters())
    with pytest.raises(ArgumentError, match=r"the model has one depth, .*\n  Try splitter="):
        learn.freeze()
    with pytest.raises(ArgumentTypeError, match="n is str 'last'; expected the number of a depth"):
        learn.freeze_to("last")  # type: ignore[arg-type]
