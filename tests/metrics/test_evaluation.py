"""Intervals: known values, and that they hold the truth as often as they say."""

from __future__ import annotations

import pytest
import torch

from plainlearn.core.errors import ArgumentError
from plainlearn.metrics.evaluation import bootstrapped, wilson


def test_an_interval_of_a_perfect_score_is_not_certain() -> None:
    assert wilson(1.0, 20)[0] == pytest.approx(0.8389, abs=1e-4)
    assert wilson(0.0, 20)[1] == pytest.approx(0.1611, abs=1e-4)
    with pytest.raises(ArgumentError, match="no item"):
        wilson(0.5, 0)


def test_an_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    seen = torch.distributions.Binomial(50, torch.tensor(0.8))
    torch.manual_seed(0)
    held = [
        low <= 0.8 <= high for low, high in (wilson(float(hits) / 50, 50) for hits in seen.sample((2000,)))
    ]
    assert 0.92 <= sum(held) / 2000 <= 0.98


def test_a_bootstrap_is_near_the_interval_that_theory_gives() -> None:
    values = torch.arange(400.0)
    low, high = bootstrapped(lambda rows: float(values[rows].mean()), 400) or (0.0, 0.0)
    error = 1.96 * float(values.std()) / 20
    assert low == pytest.approx(199.5 - error, abs=3) and high == pytest.approx(199.5 + error, abs=3)
    assert bootstrapped(lambda rows: float("nan"), 10) is None
