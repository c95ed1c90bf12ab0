"""Dice loss is 0 for regions that lie on each other and 1 for those that do not touch, item by item."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from plainlearn.core.errors import ArgumentError, LossError
from plainlearn.losses import DiceLoss, activation_of, decoding_of

MASKS = torch.tensor([[[0, 1], [1, 1]], [[2, 2], [0, 1]]])  # (2, 2, 2), three classes


def certain(masks: torch.Tensor) -> torch.Tensor:
    """Logits that leave no doubt, (B, 3, H, W)."""
    return F.one_hot(masks, 3).movedim(-1, 1) * 100.0


def test_the_same_regions_have_no_loss_and_others_have_one() -> None:
    loss = DiceLoss(smooth=0.0, weight=torch.tensor([1.0, 1.0, 0.0]), reduction="none")
    assert loss(certain(MASKS), MASKS).tolist() == [0, 0]
    assert loss(certain(torch.full_like(MASKS, 2)), MASKS).tolist() == [1, 1]


def test_a_half_of_the_region_is_what_the_formula_says() -> None:
    mask, found = torch.tensor([[[1, 1, 1, 1, 0]]]), torch.tensor([[[1, 1, 0, 0, 0]]])
    # Of class 1: an overlap of 2 in areas of 2 and 4; of class 0: 1 in areas of 3 and 1.
    expected = 1 - ((2 * 2 + 1) / (6 + 1) + (2 * 1 + 1) / (4 + 1)) / 2
    logits = certain(found)[:, :2]
    assert DiceLoss()(logits, mask).item() == pytest.approx(expected)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_the_items_are_reduced_as_asked(reduction: str) -> None:
    logits = torch.randn(2, 3, 2, 2, generator=torch.Generator().manual_seed(0))
    each = DiceLoss(reduction="none")(logits, MASKS)
    assert each.shape == (2,)
    assert torch.equal(DiceLoss(reduction=reduction)(logits, MASKS), getattr(each, reduction)())  # type: ignore[arg-type]


def test_the_classes_may_be_last_and_the_targets_probabilities() -> None:
    logits = torch.randn(2, 3, 2, 2, generator=torch.Generator().manual_seed(0))
    loss = DiceLoss()(logits, MASKS)
    torch.testing.assert_close(DiceLoss(axis=-1)(logits.movedim(1, -1), MASKS), loss)
    torch.testing.assert_close(DiceLoss()(logits, F.one_hot(MASKS, 3).movedim(-1, 1).float()), loss)


def test_one_output_is_a_region_by_itself() -> None:
    logits, mask = torch.tensor([[[[50.0, -50.0], [50.0, -50.0]]]]), torch.tensor([[[1, 0], [1, 0]]])
    loss = DiceLoss()
    assert loss(logits, mask).item() == pytest.approx(0)
    assert decoding_of(loss)(activation_of(loss)(logits)).int().equal(mask.int())


def test_it_falls_when_a_model_learns() -> None:
    logits = torch.zeros(2, 3, 2, 2, requires_grad=True)
    before = DiceLoss()(logits, MASKS)
    before.backward()
    assert logits.grad is not None
    assert DiceLoss()(logits.detach() - 10 * logits.grad, MASKS) < before


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(
        LossError, match=r"need class numbers of shape \(2, 2, 2\); the targets are torch.int64"
    ):
        DiceLoss()(certain(MASKS), MASKS[:1])
    with pytest.raises(LossError, match=r"a target is 3; the predictions have 3 classes, 0 to 2"):
        DiceLoss()(certain(MASKS), MASKS + 1)
    with pytest.raises(ArgumentError, match="smooth is -1"):
        DiceLoss(smooth=-1)
