"""A metric over batches equals the metric over the whole set, whatever kind of metric it is."""

from __future__ import annotations

import math
import re
from functools import partial
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from plainlearn.core.errors import ArgumentTypeError, MetricError
from plainlearn.metrics import Meter, accuracy, accuracy_multi, error_rate, mae, meter_of, mse, rmse

CPU = torch.device("cpu")


def over_batches(metric: Any, predictions: Tensor, targets: Tensor, sizes: list[int]) -> float:
    meter = meter_of(metric)
    meter.reset(CPU)
    for p, t in zip(predictions.split(sizes), targets.split(sizes), strict=True):
        meter.add(p, (t,), len(p))
    return meter.value()


def torchmetrics_accuracy() -> Any:
    from torchmetrics.classification import MulticlassAccuracy

    return MulticlassAccuracy(num_classes=3, average="micro")


CLASS_METRICS = [
    accuracy,
    error_rate,
    partial(accuracy, axis=1),
    lambda inp, targ: (inp.argmax(1) == targ).float().mean(),
    lambda inp, targ: (inp.argmax(1) == targ).float().mean().item(),  # waits, but is right
    lambda inp, targ: (inp.argmax(1) == targ).float().mean(0, keepdim=True),
]


@given(st.lists(st.integers(1, 7), min_size=1, max_size=6), st.integers(0, 2**32 - 1))
def test_a_metric_over_uneven_batches_equals_that_of_the_whole_set(sizes: list[int], seed: int) -> None:
    rng = torch.Generator().manual_seed(seed)
    outputs = torch.randn(sum(sizes), 3, generator=rng)
    classes = torch.randint(3, (sum(sizes),), generator=rng)
    for metric in CLASS_METRICS:
        assert over_batches(metric, outputs, classes, sizes) == pytest.approx(
            float(metric(outputs, classes)), abs=1e-6
        )
    values = torch.randn(sum(sizes), 3, generator=rng)
    for metric in (mse, mae):
        assert over_batches(metric, outputs, values, sizes) == pytest.approx(
            float(metric(outputs, values)), rel=1e-5
        )
    assert over_batches(rmse, outputs, values, sizes) == pytest.approx(
        math.sqrt(float(mse(outputs, values))), rel=1e-5
    )


def test_the_mean_of_batches_would_be_another_number() -> None:
    # So that the test above cannot pass by accident.
    outputs, classes = torch.eye(3)[[0, 0, 0, 1]], torch.tensor([0, 0, 0, 0])
    assert over_batches(accuracy, outputs, classes, [3, 1]) == 0.75


def test_a_torchmetrics_object_is_followed_and_starts_anew() -> None:
    metric = torchmetrics_accuracy()
    outputs, classes = torch.eye(3)[[0, 1, 2, 2]], torch.tensor([0, 1, 2, 0])
    assert over_batches(metric, outputs, classes, [3, 1]) == 0.75
    assert over_batches(metric, outputs[3:], classes[3:], [1]) == 0.0


def test_a_torchmetrics_class_is_made_an_object() -> None:
    from torchmetrics.regression import MeanSquaredError

    assert over_batches(MeanSquaredError, torch.tensor([1.0, 2.0]), torch.zeros(2), [1, 1]) == 2.5


def test_several_targets_are_given_one_by_one_as_to_a_loss() -> None:
    meter = meter_of(lambda outputs, first, second: (outputs - first * second).abs().mean())
    meter.reset(CPU)
    meter.add(torch.tensor([6.0]), (torch.tensor([2.0]), torch.tensor([3.0])), 1)
    assert meter.value() == 0


@pytest.mark.parametrize(
    ("metric", "name"),
    [
        (accuracy, "accuracy"),
        (partial(accuracy_multi, thresh=0.2), "accuracy_multi"),
        (partial(partial(accuracy_multi, thresh=0.2), sigmoid=False), "accuracy_multi"),
        (lambda inp, targ: 0.0, "<lambda>"),
        (rmse, "rmse"),
        (rmse(), "rmse"),
    ],
)
def test_a_metric_is_called_as_in_the_course(metric: Any, name: str) -> None:
    assert meter_of(metric).name == name


def test_a_torchmetrics_object_is_called_by_its_class() -> None:
    assert meter_of(torchmetrics_accuracy()).name == "MulticlassAccuracy"


def test_a_meter_of_the_user_s_is_taken_as_it_is() -> None:
    class Seen(Meter):
        name = "seen"

        def reset(self, device: torch.device) -> None:
            self.items = 0

        def add(self, predictions: Any, targets: tuple[Any, ...], size: int) -> None:
            self.items += size

        def value(self) -> float:
            return self.items

    assert over_batches(Seen(), torch.zeros(5), torch.zeros(5), [3, 2]) == 5


@pytest.mark.parametrize("metric", ["accuracy", 3, None, {"acc": accuracy}, int])
def test_what_is_no_metric_is_named(metric: Any) -> None:
    with pytest.raises(ArgumentTypeError, match=re.escape(f"the metric {metric!r} is no function")) as caught:
        meter_of(metric)
    assert "Try metrics=accuracy" in str(caught.value)


@pytest.mark.parametrize(
    ("value", "found"),
    [(torch.zeros(2), r"a tensor of the shape \(2,\)"), (None, "NoneType None"), ("0.5", "str '0.5'")],
)
def test_a_metric_that_gives_no_number_is_named(value: Any, found: str) -> None:
    def strange(inp: Tensor, targ: Tensor) -> Any:
        return value

    with pytest.raises(MetricError, match=f"the metric strange gave {found}; expected one number"):
        over_batches(strange, torch.zeros(2), torch.zeros(2), [2])


def test_a_torchmetrics_object_that_gives_several_numbers_is_named() -> None:
    from torchmetrics.classification import MulticlassAccuracy

    metric = MulticlassAccuracy(num_classes=3, average=None)
    with pytest.raises(MetricError, match=r"the metric MulticlassAccuracy gave a tensor of the shape \(3,\)"):
        over_batches(metric, torch.eye(3), torch.arange(3), [3])


def test_a_meter_keeps_no_gradient_alive() -> None:
    meter = meter_of(lambda inp, targ: (inp - targ).mean())
    meter.reset(CPU)
    meter.add(torch.zeros(2, requires_grad=True), (torch.ones(2),), 2)
    assert not any(value.requires_grad for value in vars(meter)["_values"])


def test_a_meter_that_has_seen_nothing_is_nan() -> None:
    meter = meter_of(accuracy)
    meter.reset(CPU)
    assert math.isnan(meter.value())
