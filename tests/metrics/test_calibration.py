"""Calibration: what is said to be 90% sure is right nine times in ten, and the number that says so is honest."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import Tensor

from plainlearn.core.errors import DataError, ShapeError
from plainlearn.metrics.calibration import (
    calibration_error,
    cross_fitted,
    fit_temperature,
    fit_yes_no_temperature,
    worth_scaling,
    yes_no_calibration_error,
)


def drawn(count: int, *, classes: int = 10, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Logits of an honest model, and targets drawn from what it says."""
    draws = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(count, classes, generator=draws)
    return logits, torch.multinomial(logits.softmax(1), 1, generator=draws)[:, 0]


@pytest.mark.parametrize("true", [0.5, 1.0, 3.0])
def test_the_temperature_is_found_that_made_a_model_dishonest(true: float) -> None:
    logits, targets = drawn(4000)
    assert fit_temperature(logits * true, targets) == pytest.approx(true, rel=0.08)
    yes = torch.bernoulli(logits.sigmoid(), generator=torch.Generator().manual_seed(1))
    assert fit_yes_no_temperature(logits * true, yes) == pytest.approx(true, rel=0.08)


def test_the_error_is_that_of_its_definition() -> None:
    probabilities = torch.tensor([[0.95, 0.05]] * 10 + [[0.65, 0.35]] * 10)
    targets = torch.tensor([0] * 9 + [1] + [0] * 5 + [1] * 5)
    assert calibration_error(probabilities, targets, bins=10) == pytest.approx((0.05 * 10 + 0.15 * 10) / 20)
    assert yes_no_calibration_error(probabilities[:, :1], 1 - targets[:, None], bins=10) == pytest.approx(0.1)


def test_a_set_without_a_mistake_calls_for_no_certainty() -> None:
    logits = torch.tensor([[2.0, 0.0, 0.0]] * 40)
    found = fit_temperature(logits, torch.zeros(40, dtype=torch.long))
    assert found > 0.4 and float((logits / found).softmax(1)[0, 0]) < 0.99
    assert fit_yes_no_temperature(logits[:, :1], torch.ones(40, 1)) > 0.4


def test_an_honest_model_is_left_alone_and_a_dishonest_one_is_not() -> None:
    left = 0
    for seed in range(20):
        logits, targets = drawn(80, seed=seed)
        left += worth_scaling(logits, targets, fit_temperature) == 1.0
        assert worth_scaling(logits * 3, targets, fit_temperature) > 1.5
        assert worth_scaling(logits / 3, targets, fit_temperature) < 0.8
    assert left >= 10
    logits, targets = drawn(6)
    assert worth_scaling(logits * 3, targets, fit_temperature) == 1.0


def test_no_item_has_a_say_in_its_own_temperature() -> None:
    logits, targets = drawn(30)
    once = cross_fitted(logits, targets, fit_temperature)
    other = targets.clone()
    other[7] = (other[7] + 1) % 10
    again = cross_fitted(logits, other, fit_temperature)
    same = (once == again).all(dim=1)
    assert same[7] and not same.all()
    seen: list[int] = []
    cross_fitted(logits, targets, lambda x, _: seen.append(len(x)) or 1.0)
    assert seen == [24] * 5


def test_an_error_after_scaling_is_not_told_too_low() -> None:
    """Over many small sets, the cross-fitted error is about that on fresh items, and the fitted one is below it."""
    fresh_logits, fresh_targets = drawn(4000, seed=99)
    told: list[float] = []
    fitted: list[float] = []
    true: list[float] = []
    for seed in range(30):
        logits, targets = drawn(60, seed=seed)
        careful = partial(worth_scaling, fit=fit_temperature)
        cross = cross_fitted(2 * logits, targets, careful)
        told.append(float(torch.nn.functional.cross_entropy(cross, targets)))
        found = careful(2 * logits, targets)
        fitted.append(float(torch.nn.functional.cross_entropy(2 * logits / found, targets)))
        true.append(float(torch.nn.functional.cross_entropy(2 * fresh_logits / found, fresh_targets)))
    assert sum(fitted) < sum(told) and sum(told) >= 0.97 * sum(true)


def test_what_cannot_be_calibrated_by_is_said() -> None:
    with pytest.raises(ShapeError, match=r"expected \(N, K\) and \(N,\)"):
        fit_temperature(torch.ones(3, 2), torch.ones(2, dtype=torch.long))
    with pytest.raises(ShapeError, match="expected the same"):
        fit_yes_no_temperature(torch.ones(3, 2), torch.ones(3))
    with pytest.raises(DataError, match="nan or infinite"):
        fit_temperature(torch.full((3, 2), float("nan")), torch.zeros(3, dtype=torch.long))
    with pytest.raises(DataError, match="no item to calibrate by"):
        yes_no_calibration_error(torch.ones(0, 2), torch.ones(0, 2))
    with pytest.raises(DataError, match="expected two or more"):
        cross_fitted(torch.ones(1, 2), torch.zeros(1, dtype=torch.long), fit_temperature)
