"""Focal loss is cross-entropy at gamma 0, follows its formula, and treats every kind of target as that does."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from plainlearn.core.errors import ArgumentError, LossError
from plainlearn.losses import CrossEntropyLossFlat, FocalLoss, FocalLossFlat, unreduced


def random_numbers(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


LOGITS, CLASSES = random_numbers(7, 4), torch.tensor([0, 1, 2, 3, 2, 2, 0])
WEIGHT = torch.tensor([1.0, 2.0, 0.5, 3.0])


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("options", [{}, {"weight": WEIGHT}, {"weight": WEIGHT, "ignore_index": 2}])
def test_with_gamma_0_it_is_cross_entropy(reduction: Any, options: dict[str, Any]) -> None:
    ours = FocalLoss(gamma=0, reduction=reduction, **options)(LOGITS, CLASSES)
    torch.testing.assert_close(ours, F.cross_entropy(LOGITS, CLASSES, reduction=reduction, **options))


@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0, 5.0])
def test_each_item_s_loss_is_that_of_the_paper(gamma: float) -> None:
    p = LOGITS.softmax(1)[range(7), CLASSES]
    torch.testing.assert_close(
        FocalLoss(gamma=gamma, reduction="none")(LOGITS, CLASSES), -((1 - p) ** gamma) * p.log()
    )


def test_the_classes_may_be_on_another_axis() -> None:
    logits, classes = random_numbers(2, 4, 3, 5), torch.arange(30).reshape(2, 3, 5) % 4
    torch.testing.assert_close(
        FocalLoss(axis=1)(logits, classes), FocalLoss()(logits.movedim(1, -1), classes)
    )


@pytest.mark.parametrize("weight", [None, WEIGHT])
def test_certain_probabilities_are_class_numbers(weight: Tensor | None) -> None:
    loss = FocalLoss(weight=weight, reduction="none")
    torch.testing.assert_close(loss(LOGITS, F.one_hot(CLASSES, 4).float()), loss(LOGITS, CLASSES))


@pytest.mark.parametrize("gamma", [0.0, 0.1, 0.5, 2.0])
def test_the_slope_is_finite_where_the_model_is_certain(gamma: float) -> None:
    logits = torch.tensor([[200.0, 0.0], [0.0, 200.0]], requires_grad=True)
    FocalLoss(gamma=gamma)(logits, torch.tensor([0, 0])).backward()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


def test_it_means_what_cross_entropy_means() -> None:
    assert torch.equal(FocalLoss().activation(LOGITS), CrossEntropyLossFlat().activation(LOGITS))
    assert FocalLossFlat is FocalLoss
    assert unreduced(FocalLoss())(LOGITS, CLASSES).shape == (7,)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ArgumentError, match=r"gamma is -1; expected 0 or more"):
        FocalLoss(gamma=-1)
    with pytest.raises(LossError, match="need one class number for each item"):
        FocalLoss()(LOGITS, CLASSES[:3])
