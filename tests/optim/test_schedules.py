"""A schedule begins and ends where it says, and does not jump on the way."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from plainlearn.core.errors import ArgumentError
from plainlearn.optim import (
    Combined,
    Constant,
    Cosine,
    Exponential,
    Linear,
    Schedule,
    combine_scheds,
    combined_cos,
    flat_cosine,
)

values = st.floats(1e-3, 1e3)
shares = st.floats(0, 1)
KINDS = [Linear, Cosine, Exponential]


@given(values, values, shares)
@pytest.mark.parametrize("kind", KINDS)
def test_a_curve_goes_from_its_start_to_its_end_and_stays_between(
    kind: Any, start: float, end: float, done: float
) -> None:
    curve = kind(start, end)
    assert curve(0.0) == pytest.approx(start)
    assert curve(1.0) == pytest.approx(end)
    low, high = sorted((start, end))
    assert low * (1 - 1e-9) <= curve(done) <= high * (1 + 1e-9)


@given(values, values, values, st.floats(0, 1))
def test_one_cycle_has_its_three_values_and_no_jump(
    start: float, middle: float, end: float, pct: float
) -> None:
    cycle = combined_cos(pct, start, middle, end)
    if pct > 0:
        assert cycle(0.0) == pytest.approx(start)
    if 0 < pct < 1:
        assert cycle(pct) == pytest.approx(middle)
    if pct < 1:
        assert cycle(1.0) == pytest.approx(end)
    if 0.01 < pct < 0.99:
        assert_no_jump(cycle, (start, middle, end), steepest=1 / min(pct, 1 - pct))


@given(values, values, st.floats(0.01, 0.99))
def test_flat_cosine_is_flat_then_falls_without_a_jump(start: float, end: float, pct: float) -> None:
    curve = flat_cosine(pct, start, end)
    assert curve(0.0) == curve(pct / 2) == start
    assert curve(pct) == pytest.approx(start)
    assert curve(1.0) == pytest.approx(end)
    assert_no_jump(curve, (start, end), steepest=1 / (1 - pct))


def assert_no_jump(curve: Schedule, extremes: tuple[float, ...], steepest: float) -> None:
    """A cosine's slope is at most pi / 2 of its height over its length."""
    height, steps = max(extremes) - min(extremes), 500
    most = 1.6 * height * steepest / steps + 1e-9 * max(extremes)
    points = [curve(i / steps) for i in range(steps + 1)]
    assert max(abs(a - b) for a, b in itertools.pairwise(points)) <= most


def test_one_cycle_is_torch_s_one_cycle() -> None:
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], lr=1.0, momentum=0.9)
    steps = 101
    theirs = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, 2.0, total_steps=steps, pct_start=0.25, div_factor=25, final_div_factor=4000
    )
    ours, mirrored = combined_cos(0.25, 2 / 25, 2, 2 / 1e5), combined_cos(0.25, 0.95, 0.85, 0.95)
    weight.grad = torch.zeros(1)
    for step in range(steps):
        # Torch counts a phase from its first step to its last, so that its peak is at step .25 * 101 - 1.
        peak = 0.25 * steps - 1
        done = 0.25 * step / peak if step <= peak else 0.25 + 0.75 * (step - peak) / (steps - 1 - peak)
        assert ours(done) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-6)
        assert mirrored(done) == pytest.approx(optimizer.param_groups[0]["momentum"], rel=1e-6)
        optimizer.step()
        if step < steps - 1:
            theirs.step()


def test_equal_steps_of_an_exponential_are_equal_factors() -> None:
    curve = Exponential(1e-7, 10.0)
    assert curve(0.5) == pytest.approx(1e-3)
    assert curve(0.75) / curve(0.5) == pytest.approx(curve(0.5) / curve(0.25))


def test_schedules_follow_each_other_each_in_its_share() -> None:
    curve = combine_scheds([0.2, 0.3, 0.5], [Constant(1.0), Linear(1.0, 3.0), Constant(7.0)])
    assert [curve(done) for done in (0, 0.1, 0.35, 0.5, 1)] == pytest.approx([1, 1, 2, 7, 7])


def test_a_share_of_nothing_is_passed_over() -> None:
    assert Combined((0.0, 1.0), (Constant(1.0), Linear(2.0, 4.0)))(0.5) == 3
    assert Combined((1.0, 0.0), (Linear(2.0, 4.0), Constant(9.0)))(0.5) == 3


@pytest.mark.parametrize("done", [0.9999999, 1.0, 1.0000001, 1.5])
def test_the_end_of_a_run_is_the_end_of_the_last(done: float) -> None:
    assert combined_cos(0.25, 1, 2, 3)(done) == pytest.approx(3)


@pytest.mark.parametrize(
    ("make", "found"),
    [
        (lambda: Combined((0.5, 0.2), (Constant(1.0), Constant(1.0))), r"\(0.5, 0.2\) sum to 0.7"),
        (lambda: Combined((1.5, -0.5), (Constant(1.0), Constant(1.0))), "expected shares of 0 or more"),
        (lambda: Combined((1.0,), (Constant(1.0), Constant(1.0))), "2 schedules and 1 shares"),
        (lambda: Combined((), ()), "0 schedules"),
        (lambda: combined_cos(1.5, 1, 2, 3), "pct is 1.5; expected a share of the run, 0..1"),
        (lambda: flat_cosine(float("nan"), 1, 2), "pct is nan"),
        (lambda: Exponential(0.0, 1.0), "from 0 to 1; expected two numbers of one sign"),
        (lambda: Exponential(-1.0, 1.0), "expected two numbers of one sign"),
    ],
)
def test_a_schedule_that_cannot_be_is_refused(make: Any, found: str) -> None:
    with pytest.raises(ArgumentError, match=found):
        make()
