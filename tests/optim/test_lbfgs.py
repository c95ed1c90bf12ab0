"""L-BFGS finds the least of smooth functions, and ends."""

from __future__ import annotations

import torch

from plainlearn.optim.lbfgs import minimise


def test_it_finds_the_least_of_a_badly_scaled_bowl() -> None:
    scale = torch.logspace(0, 3, 6)
    found = minimise(lambda x: (scale * (x - 2).square()).sum(), torch.zeros(6), tolerance=1e-6)
    assert torch.allclose(found, torch.full((6,), 2.0), atol=1e-3)


def test_it_finds_its_way_through_a_curved_valley() -> None:
    found = minimise(
        lambda x: (1 - x[0]) ** 2 + 100 * (x[1] - x[0] ** 2) ** 2, torch.tensor([-1.2, 1.0]), tolerance=1e-7
    )
    assert torch.allclose(found, torch.ones(2), atol=1e-2)


def test_it_stays_where_nothing_falls_and_leaves_the_start_alone() -> None:
    start = torch.ones(3)
    assert torch.equal(minimise(lambda x: (x * 0).sum(), start), start)
    minimise(lambda x: x.square().sum(), start)
    assert torch.equal(start, torch.ones(3))
    assert not start.requires_grad


def test_a_function_without_a_least_ends_by_its_iterations() -> None:
    assert torch.isfinite(minimise(lambda x: -x.sum(), torch.zeros(2), iterations=3)).all()
