"""What a loss implies about a model's outputs, for losses of ours, of torch's and of the user's."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from plainlearn.core.errors import LossError
from plainlearn.losses import (
    BCEWithLogitsLossFlat,
    CrossEntropyLossFlat,
    L1LossFlat,
    MSELossFlat,
    activation_of,
    decoding_of,
    unreduced,
)

LOGITS = torch.tensor([[0.0, 2.0, -1.0], [3.0, 0.1, 0.2]])
SOFTMAX, SIGMOID = LOGITS.softmax(1), LOGITS.sigmoid()


def mnist_loss(predictions: Tensor, targets: Tensor) -> Tensor:
    return torch.where(targets == 1, 1 - predictions.sigmoid(), predictions.sigmoid()).mean()


@pytest.mark.parametrize(
    "loss",
    [
        F.cross_entropy,
        partial(F.cross_entropy, label_smoothing=0.1),
        partial(partial(F.cross_entropy), reduction="sum"),
        nn.CrossEntropyLoss(),
        CrossEntropyLossFlat(),
    ],
)
def test_a_loss_of_classes_implies_softmax_and_the_likeliest(loss: Any) -> None:
    assert torch.equal(activation_of(loss)(LOGITS), SOFTMAX)
    assert decoding_of(loss)(SOFTMAX).tolist() == [1, 0]


@pytest.mark.parametrize("loss", [F.nll_loss, nn.NLLLoss()])
def test_a_loss_of_log_probabilities_implies_their_exponential(loss: Any) -> None:
    torch.testing.assert_close(activation_of(loss)(LOGITS.log_softmax(1)), SOFTMAX)
    assert decoding_of(loss)(SOFTMAX).tolist() == [1, 0]


@pytest.mark.parametrize(
    "loss",
    [
        F.binary_cross_entropy_with_logits,
        nn.BCEWithLogitsLoss(),
        nn.MultiLabelSoftMarginLoss(),
        BCEWithLogitsLossFlat(),
    ],
)
def test_a_loss_of_logits_implies_the_sigmoid_and_a_half(loss: Any) -> None:
    assert torch.equal(activation_of(loss)(LOGITS), SIGMOID)
    assert torch.equal(decoding_of(loss)(SIGMOID), LOGITS > 0)


@pytest.mark.parametrize("loss", [F.binary_cross_entropy, nn.BCELoss()])
def test_a_loss_of_probabilities_leaves_them(loss: Any) -> None:
    assert torch.equal(activation_of(loss)(SIGMOID), SIGMOID)
    assert torch.equal(decoding_of(loss)(SIGMOID), LOGITS > 0)


@pytest.mark.parametrize(
    "loss", [mnist_loss, partial(mnist_loss), F.mse_loss, nn.L1Loss(), MSELossFlat(), L1LossFlat(), None]
)
def test_any_other_loss_leaves_the_outputs(loss: Any) -> None:
    assert torch.equal(activation_of(loss)(LOGITS), LOGITS)
    assert torch.equal(decoding_of(loss)(LOGITS), LOGITS)


def test_a_loss_of_the_user_s_says_it_by_two_methods() -> None:
    class Doubled:
        def activation(self, x: Tensor) -> Tensor:
            return x * 2

        def decodes(self, x: Tensor) -> Tensor:
            return x.round()

    assert torch.equal(activation_of(Doubled())(LOGITS), LOGITS * 2)
    assert torch.equal(decoding_of(Doubled())(LOGITS), LOGITS.round())


@pytest.mark.parametrize(
    "loss",
    [
        F.cross_entropy,
        nn.CrossEntropyLoss(),
        CrossEntropyLossFlat(),
        partial(F.cross_entropy, reduction="mean"),
    ],
)
def test_unreduced_gives_the_loss_of_each_item(loss: Any) -> None:
    targets = torch.tensor([1, 2])
    each = unreduced(loss)(LOGITS, targets)
    assert each.shape == (2,)
    torch.testing.assert_close(each.mean(), loss(LOGITS, targets))


def test_unreduced_leaves_the_loss_itself_alone() -> None:
    ours, theirs = CrossEntropyLossFlat(), nn.CrossEntropyLoss()
    unreduced(ours), unreduced(theirs)
    assert (ours.reduction, theirs.reduction) == ("mean", "mean")


@pytest.mark.parametrize("loss", [mnist_loss, partial(mnist_loss)])
def test_a_loss_without_reduction_is_named(loss: Any) -> None:
    with pytest.raises(LossError, match="the loss mnist_loss has no argument `reduction`"):
        unreduced(loss)
