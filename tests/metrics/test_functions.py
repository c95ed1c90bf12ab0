"""The metrics equal those of scikit-learn and torchmetrics, and refuse what they would misread."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from plainlearn.core.errors import ArgumentError, MetricError
from plainlearn.metrics import accuracy, accuracy_multi, error_rate, mae, mse, rmse, top_k_accuracy

sizes = st.integers(1, 20)
seeds = st.integers(0, 2**32 - 1)


def random_numbers(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def random_classes(seed: int, *shape: int, classes: int) -> Tensor:
    return torch.randint(classes, shape, generator=torch.Generator().manual_seed(seed + 1))


@given(seeds, sizes, st.integers(2, 6))
def test_accuracy_equals_scikit_learn_s(seed: int, size: int, classes: int) -> None:
    from sklearn.metrics import accuracy_score

    predictions, targets = random_numbers(seed, size, classes), random_classes(seed, size, classes=classes)
    expected = accuracy_score(targets.numpy(), predictions.argmax(1).numpy())
    assert accuracy(predictions, targets).item() == pytest.approx(expected, abs=1e-6)
    assert accuracy(predictions, targets.unsqueeze(1)).item() == pytest.approx(expected, abs=1e-6)
    assert error_rate(predictions, targets).item() == pytest.approx(1 - expected, abs=1e-6)


@given(seeds, sizes, st.integers(2, 6), st.integers(1, 7))
def test_top_k_accuracy_equals_torchmetrics(seed: int, size: int, classes: int, k: int) -> None:
    from torchmetrics.functional.classification import multiclass_accuracy

    predictions, targets = random_numbers(seed, size, classes), random_classes(seed, size, classes=classes)
    best = min(k, classes)
    expected = multiclass_accuracy(predictions, targets, num_classes=classes, top_k=best, average="micro")
    assert top_k_accuracy(predictions, targets, k=k).item() == pytest.approx(expected.item(), abs=1e-6)


@pytest.mark.parametrize("metric", [accuracy, top_k_accuracy])
def test_classes_on_axis_1_are_compared_pixel_by_pixel(metric: Any) -> None:
    predictions, targets = random_numbers(0, 2, 9, 3, 4), random_classes(0, 2, 3, 4, classes=9)
    rows = predictions.movedim(1, -1).reshape(-1, 9)
    assert metric(predictions, targets, axis=1) == metric(rows, targets.reshape(-1))


@given(seeds, sizes, st.integers(2, 5), st.floats(0.05, 0.95))
def test_accuracy_multi_equals_torchmetrics(seed: int, size: int, labels: int, thresh: float) -> None:
    from torchmetrics.functional.classification import multilabel_accuracy

    logits, targets = random_numbers(seed, size, labels), random_classes(seed, size, labels, classes=2)
    expected = multilabel_accuracy(
        logits.sigmoid(), targets, num_labels=labels, threshold=thresh, average="micro"
    )
    assert accuracy_multi(logits, targets, thresh=thresh).item() == pytest.approx(expected.item(), abs=1e-6)
    assert accuracy_multi(logits.sigmoid(), targets, thresh=thresh, sigmoid=False).item() == pytest.approx(
        expected.item(), abs=1e-6
    )


@given(seeds, st.floats(-3, 3))
def test_a_threshold_on_the_logit_is_its_sigmoid_on_the_probability(seed: int, thresh: float) -> None:
    # As the forum thread says: 0 on the logit is .5 behind the sigmoid, 1 on the logit is .7311.
    logits, targets = random_numbers(seed, 30, 1), random_classes(seed, 30, 1, classes=2)
    probability = torch.tensor(thresh).sigmoid().item()
    if (logits - thresh).abs().min() < 1e-5:
        return  # too near to the threshold for float32 to tell
    assert accuracy_multi(logits, targets, thresh=probability) == accuracy_multi(
        logits, targets, thresh=thresh, sigmoid=False
    )


def test_nought_on_the_logit_is_a_half_behind_the_sigmoid() -> None:
    logits, targets = torch.tensor([-0.1, 0.1, 1.5, -1.5]), torch.tensor([0, 1, 1, 1])
    assert accuracy_multi(logits, targets).item() == 0.75
    assert accuracy_multi(logits, targets, thresh=0.0, sigmoid=False).item() == 0.75
    assert accuracy_multi(logits, targets, thresh=0.5, sigmoid=False).item() == 0.5
    assert torch.tensor(1.0).sigmoid().item() == pytest.approx(0.7311, abs=1e-4)


def test_accuracy_multi_does_not_count_targets_other_than_0_and_1_as_right() -> None:
    assert accuracy_multi(
        torch.tensor([5.0, -5.0, 5.0]), torch.tensor([0.7, -1.0, 1.0])
    ).item() == pytest.approx(1 / 3)


@given(seeds, sizes)
def test_errors_of_numbers_equal_scikit_learn_s(seed: int, size: int) -> None:
    from sklearn.metrics import mean_absolute_error, mean_squared_error, root_mean_squared_error

    predictions, targets = random_numbers(seed, size, 1), random_numbers(seed + 1, size)
    found, wanted = np.asarray(predictions.squeeze(1)), np.asarray(targets)
    assert mse(predictions, targets).item() == pytest.approx(mean_squared_error(wanted, found), rel=1e-5)
    assert mae(predictions, targets).item() == pytest.approx(mean_absolute_error(wanted, found), rel=1e-5)
    metric = rmse()
    for part in torch.arange(size).split(3):
        metric.update(predictions[part], targets[part])
    assert metric.compute().item() == pytest.approx(root_mean_squared_error(wanted, found), rel=1e-5)


def test_rmse_starts_anew_after_reset_and_says_that_it_has_seen_nothing() -> None:
    metric = rmse()
    metric.update(torch.zeros(2), torch.ones(2))
    metric.reset()
    metric.update(torch.zeros(2), torch.full((2,), 3.0))
    assert metric.compute().item() == 3
    metric.reset()
    with pytest.raises(MetricError, match="rmse has seen no value"):
        metric.compute()


def test_rmse_keeps_no_gradient_alive() -> None:
    metric = rmse()
    metric.update(torch.zeros(2, requires_grad=True), torch.ones(2))
    assert not metric.compute().requires_grad


@pytest.mark.parametrize("metric", [accuracy, error_rate, top_k_accuracy])
@pytest.mark.parametrize("shape", [(4,), (4, 1)])
def test_accuracy_of_one_activation_an_item_is_refused(metric: Any, shape: tuple[int, ...]) -> None:
    with pytest.raises(MetricError, match="two or more activations an item") as caught:
        metric(torch.zeros(shape), torch.zeros(4, dtype=torch.long))
    assert "Try accuracy_multi" in str(caught.value)


@pytest.mark.parametrize("metric", [accuracy, top_k_accuracy])
@pytest.mark.parametrize("shape", [(4, 3), (3,), (2, 2)])
def test_other_than_one_class_number_an_item_is_refused(metric: Any, shape: tuple[int, ...]) -> None:
    with pytest.raises(MetricError, match=rf"needs one class number an item.*\(4, 3\).*{shape[0]}"):
        metric(torch.zeros(4, 3), torch.zeros(shape, dtype=torch.long))


@pytest.mark.parametrize("metric", [accuracy_multi, mse, mae, lambda inp, targ: rmse().update(inp, targ)])
@pytest.mark.parametrize("shape", [(3, 4), (1,), (12,)])
def test_targets_that_would_broadcast_are_refused(metric: Any, shape: tuple[int, ...]) -> None:
    with pytest.raises(MetricError, match=r"needs a target for each prediction.*\(4, 3\)"):
        metric(torch.zeros(4, 3), torch.zeros(shape))


def test_a_k_below_one_is_refused() -> None:
    with pytest.raises(ArgumentError, match="k is 0; expected 1 or more"):
        top_k_accuracy(torch.zeros(2, 3), torch.zeros(2, dtype=torch.long), k=0)
