"""The losses equal torch's, hold each output against its own target, and say what their activations mean."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from plainlearn.core.errors import ArgumentError, LossError
from plainlearn.losses import (
    BCEWithLogitsLossFlat,
    CrossEntropyLossFlat,
    L1LossFlat,
    LabelSmoothingCrossEntropy,
    Loss,
    MSELossFlat,
)


def random_numbers(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def random_classes(*shape: int, classes: int, seed: int = 1) -> Tensor:
    return torch.randint(classes, shape, generator=torch.Generator().manual_seed(seed))


def mnist_loss(predictions: Tensor, targets: Tensor, *, sigmoid: bool) -> Tensor:
    """The lesson's loss: how far each prediction is from 1 where it should be 1, and from 0 where it should be 0."""
    if sigmoid:
        predictions = predictions.sigmoid()
    return torch.where(targets == 1, 1 - predictions, predictions).mean()


def test_the_lesson_s_loss_gives_the_lesson_s_numbers() -> None:
    targets, predictions = torch.tensor([1, 0, 1]), torch.tensor([0.9, 0.4, 0.2])
    assert round(mnist_loss(predictions, targets, sigmoid=False).item(), 4) == 0.4333
    assert round(mnist_loss(predictions, targets, sigmoid=True).item(), 4) == 0.4460


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_cross_entropy_equals_torch_s(reduction: Any) -> None:
    logits, classes = random_numbers(7, 5), random_classes(7, classes=5)
    options: dict[str, Any] = {
        "weight": torch.tensor([1.0, 2.0, 0.5, 1.0, 3.0]),
        "ignore_index": 2,
        "label_smoothing": 0.1,
        "reduction": reduction,
    }
    ours = CrossEntropyLossFlat(**options)(logits, classes)
    assert torch.equal(ours, F.cross_entropy(logits, classes, **options))


def test_cross_entropy_flattens_whatever_axis_has_the_classes() -> None:
    logits, classes = random_numbers(2, 5, 3, 4), random_classes(2, 3, 4, classes=5)
    expected = F.cross_entropy(logits, classes)
    torch.testing.assert_close(CrossEntropyLossFlat(axis=1)(logits, classes), expected)
    torch.testing.assert_close(CrossEntropyLossFlat()(logits.movedim(1, -1), classes), expected)
    each = CrossEntropyLossFlat(axis=1, reduction="none")(logits, classes)
    torch.testing.assert_close(each, F.cross_entropy(logits, classes, reduction="none").reshape(-1))


def test_cross_entropy_takes_targets_in_a_column_and_of_few_bits() -> None:
    logits, classes = random_numbers(6, 3), random_classes(6, classes=3)
    expected = F.cross_entropy(logits, classes)
    assert torch.equal(CrossEntropyLossFlat()(logits, classes.unsqueeze(1)), expected)
    assert torch.equal(CrossEntropyLossFlat()(logits, classes.to(torch.uint8)), expected)


def test_cross_entropy_takes_probabilities_as_targets() -> None:
    logits, wanted = random_numbers(2, 5, 3), random_numbers(2, 5, 3, seed=2).softmax(dim=1)
    torch.testing.assert_close(CrossEntropyLossFlat(axis=1)(logits, wanted), F.cross_entropy(logits, wanted))


def test_class_numbers_that_are_no_whole_numbers_are_refused() -> None:
    with pytest.raises(
        LossError, match=r"targets are torch.float32 of shape \(4,\); expected whole class numbers"
    ):
        CrossEntropyLossFlat()(random_numbers(4, 3), torch.tensor([0.0, 1.0, 2.0, 0.7]))


def test_classes_on_another_axis_are_refused() -> None:
    with pytest.raises(LossError, match=r"classes on axis -1, need one class number.*\(2, 3, 3\)") as caught:
        CrossEntropyLossFlat()(random_numbers(2, 5, 3, 3), random_classes(2, 3, 3, classes=5))
    assert "Try CrossEntropyLossFlat(axis=1)" in str(caught.value)


PAIRS = [
    (BCEWithLogitsLossFlat, F.binary_cross_entropy_with_logits, "BCEWithLogitsLoss"),
    (MSELossFlat, F.mse_loss, "MSELoss"),
    (L1LossFlat, F.l1_loss, "L1Loss"),
]


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize(("ours", "theirs", "name"), PAIRS)
def test_a_loss_of_pairs_equals_torch_s(ours: Any, theirs: Any, name: str, reduction: Any) -> None:
    outputs, targets = random_numbers(6, 4), random_classes(6, 4, classes=2)
    found = ours(reduction=reduction)(outputs, targets)
    expected = theirs(outputs, targets.float(), reduction=reduction)
    torch.testing.assert_close(found, expected.reshape(-1) if reduction == "none" else expected)


@pytest.mark.parametrize(("ours", "theirs", "name"), PAIRS)
def test_a_column_is_held_against_a_row_item_by_item(ours: Any, theirs: Any, name: str) -> None:
    outputs, targets = random_numbers(6, 1), random_classes(6, classes=2).float()
    torch.testing.assert_close(ours()(outputs, targets), theirs(outputs.squeeze(1), targets))


@pytest.mark.parametrize(("ours", "theirs", "name"), PAIRS)
def test_as_many_targets_in_another_shape_are_refused(ours: Any, theirs: Any, name: str) -> None:
    with pytest.raises(LossError, match=r"shape \(4, 3\) and targets \(3, 4\); expected one target for each"):
        ours()(torch.zeros(4, 3), torch.zeros(3, 4))


def test_factors_for_the_yes_answers_equal_torch_s() -> None:
    outputs, targets, factors = (
        random_numbers(6, 3),
        random_classes(6, 3, classes=2),
        torch.tensor([1.0, 2, 5]),
    )
    expected = F.binary_cross_entropy_with_logits(outputs, targets.float(), pos_weight=factors)
    torch.testing.assert_close(BCEWithLogitsLossFlat(pos_weight=factors)(outputs, targets), expected)


@pytest.mark.parametrize(
    ("loss", "activation", "answer"),
    [
        (CrossEntropyLossFlat(), lambda x: x.softmax(-1), lambda x: x.argmax(-1)),
        (CrossEntropyLossFlat(axis=1), lambda x: x.softmax(1), lambda x: x.argmax(1)),
        (BCEWithLogitsLossFlat(), torch.sigmoid, lambda x: x > 0.5),
        (BCEWithLogitsLossFlat(thresh=0.2), torch.sigmoid, lambda x: x > 0.2),
        (MSELossFlat(), lambda x: x, lambda x: x),
        (L1LossFlat(), lambda x: x, lambda x: x),
    ],
)
def test_a_loss_says_its_activation_and_its_answer(loss: Loss, activation: Any, answer: Any) -> None:
    outputs = random_numbers(3, 4, 5)
    assert torch.equal(loss.activation(outputs), activation(outputs))
    assert torch.equal(loss.decodes(loss.activation(outputs)), answer(activation(outputs)))


def test_a_loss_is_shown_as_in_the_course() -> None:
    assert repr(CrossEntropyLossFlat()) == "FlattenedLoss of CrossEntropyLoss()"
    assert [repr(ours()) for ours, _, _ in PAIRS] == [f"FlattenedLoss of {name}()" for _, _, name in PAIRS]


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_label_smoothing_equals_torch_s(reduction: Any) -> None:
    logits, classes = random_numbers(7, 5), random_classes(7, classes=5)
    weight = torch.tensor([1.0, 2.0, 0.5, 1.0, 3.0])
    ours = LabelSmoothingCrossEntropy(eps=0.2, weight=weight, reduction=reduction)(logits, classes)
    expected = F.cross_entropy(logits, classes, weight, label_smoothing=0.2, reduction=reduction)
    assert torch.equal(ours, expected)
    assert torch.equal(
        LabelSmoothingCrossEntropy(eps=0)(logits, classes), CrossEntropyLossFlat()(logits, classes)
    )


def test_a_share_beyond_one_is_refused() -> None:
    with pytest.raises(ArgumentError, match=r"label smoothing is 1\.5; expected 0 to 1"):
        LabelSmoothingCrossEntropy(eps=1.5)


def test_factors_of_the_outputs_equal_torch_s() -> None:
    outputs, targets, factors = (
        random_numbers(6, 3),
        random_classes(6, 3, classes=2),
        torch.tensor([1.0, 2, 5]),
    )
    expected = F.binary_cross_entropy_with_logits(outputs, targets.float(), weight=factors)
    torch.testing.assert_close(BCEWithLogitsLossFlat(weight=factors)(outputs, targets), expected)
