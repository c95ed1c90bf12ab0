"""Balanced losses: the factors equal scikit-learn's, and every class weighs the same in the end."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from plainlearn.core.errors import ArgumentError, DataError
from plainlearn.losses import (
    BCEWithLogitsLossFlat,
    CrossEntropyLossFlat,
    FocalLoss,
    MSELossFlat,
    balanced_loss,
    class_weights,
)


def loaders(loss: Any, counts: dict[str, int], items: int = 40) -> Any:
    return SimpleNamespace(
        loss_func=loss, counts=lambda: {"train": counts, "valid": {}}, train_ds=range(items)
    )


def test_the_factors_are_scikit_learn_s() -> None:
    sklearn = pytest.importorskip("sklearn.utils.class_weight")
    labels = np.repeat([0, 1, 2], [30, 9, 1])
    expected = sklearn.compute_class_weight("balanced", classes=np.arange(3), y=labels)
    np.testing.assert_allclose(class_weights([30, 9, 1]).numpy(), expected, rtol=1e-6)


def test_effective_numbers_lie_between_none_and_inverse_frequency() -> None:
    counts = torch.tensor([3000.0, 30.0])
    milder, inverse = class_weights(counts, beta=0.99), class_weights(counts)
    assert torch.equal(class_weights(counts, beta=0), torch.ones(2))
    assert 1 < milder[1] / milder[0] < inverse[1] / inverse[0]
    for factors in (milder, inverse):
        assert (factors * counts).sum().item() == pytest.approx(3030)


def test_every_class_contributes_alike() -> None:
    dls = loaders(CrossEntropyLossFlat(), {"cat": 30, "dog": 10})
    loss = balanced_loss(dls)
    logits = torch.tensor([[0.0, 0.0]]).repeat(40, 1).requires_grad_()
    loss(logits, torch.tensor([0] * 30 + [1] * 10)).backward()
    assert logits.grad is not None
    assert logits.grad[:30, 0].sum().item() == pytest.approx(-0.25)
    torch.testing.assert_close(logits.grad[:30, 0].sum(), logits.grad[30:, 1].sum())
    assert dls.loss_func.weight is None, "the data's own loss was changed"


def test_the_kind_of_loss_stays() -> None:
    loss = balanced_loss(loaders(FocalLoss(axis=1, gamma=3), {"cat": 30, "dog": 10}))
    assert isinstance(loss, FocalLoss)
    assert (loss.axis, loss.gamma) == (1, 3)


def test_of_several_labels_each_yes_counts_as_much_as_its_no() -> None:
    loss = balanced_loss(loaders(BCEWithLogitsLossFlat(thresh=0.3), {"sun": 10, "sea": 32}))
    assert isinstance(loss, BCEWithLogitsLossFlat)
    assert loss.pos_weight is not None
    assert (loss.thresh, loss.pos_weight.tolist()) == (0.3, [3.0, 0.25])


def test_a_class_without_items_counts_as_one_with_one() -> None:
    assert class_weights([4, 0]).tolist() == [1, 4]


@pytest.mark.parametrize("counts", [{}, [0, 0], [-1, 2], [float("nan"), 1.0]])
def test_counts_that_are_none_are_refused(counts: Any) -> None:
    with pytest.raises(DataError, match="expected how often each class occurs"):
        class_weights(counts)


def test_what_has_no_classes_is_refused() -> None:
    with pytest.raises(ArgumentError, match="there are no classes in it to balance"):
        balanced_loss(loaders(MSELossFlat(), {}))
    with pytest.raises(ArgumentError, match="beta is 1; expected 0 or more and below 1"):
        class_weights([1, 2], beta=1)
