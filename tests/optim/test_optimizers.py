"""Our optimizers are torch's, to the bit, without the seconds that torch's compiler takes to load."""

from __future__ import annotations

import copy
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from plainlearn.optim import SGD, Adam, RMSProp
from plainlearn.optim.optimizers import minimise, momentum_of, set_momentum

Make = Callable[[Any], torch.optim.Optimizer]

# Ours, and torch's with the same settings.
PAIRS: dict[str, tuple[Make, Make]] = {
    "SGD": (lambda p: SGD(p, 0.1), lambda p: torch.optim.SGD(p, 0.1, fused=True)),
    "SGD with momentum and decay": (
        lambda p: SGD(p, lr=0.1, mom=0.9, wd=0.01, nesterov=True),
        lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, weight_decay=0.01, nesterov=True, fused=True),
    ),
    "Adam": (
        lambda p: Adam(p, 0.1),
        lambda p: torch.optim.AdamW(p, 0.1, betas=(0.9, 0.99), eps=1e-5, weight_decay=0.01, fused=True),
    ),
    "Adam with decay in the gradient": (
        lambda p: Adam(p, 0.1, mom=0.8, sqr_mom=0.9, eps=1e-6, wd=0.1, decouple_wd=False),
        lambda p: torch.optim.Adam(p, 0.1, betas=(0.8, 0.9), eps=1e-6, weight_decay=0.1, fused=True),
    ),
    "RMSProp": (
        lambda p: RMSProp(p, 0.1, mom=0.9, sqr_mom=0.95, eps=1e-6, wd=0.1),
        lambda p: torch.optim.RMSprop(
            p, 0.1, momentum=0.9, alpha=0.95, eps=1e-6, weight_decay=0.1, foreach=True
        ),
    ),
}


def steps(make: Make, count: int = 10) -> list[Tensor]:
    """The weights that `count` steps on one fixed problem lead to."""
    torch.manual_seed(0)
    model, x, y = nn.Linear(5, 3), torch.randn(8, 5), torch.randn(8, 3)
    optimizer = make(model.parameters())
    for _ in range(count):
        optimizer.zero_grad()
        nn.functional.mse_loss(model(x), y).backward()
        optimizer.step()
    return [parameter.detach() for parameter in model.parameters()]


@pytest.mark.parametrize("name", PAIRS)
def test_ours_gives_torch_s_weights_to_the_bit(name: str) -> None:
    ours, theirs = (steps(make) for make in PAIRS[name])
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


@pytest.mark.parametrize("name", PAIRS)
def test_a_step_moves_the_weights(name: str) -> None:
    # Else the test above would pass for two optimizers that do nothing.
    ours, _ = PAIRS[name]
    assert not any(torch.equal(a, b) for a, b in zip(steps(ours, 1), steps(ours, 2), strict=True))


@pytest.mark.parametrize("name", PAIRS)
def test_a_state_taken_up_goes_on_to_the_same_weights(name: str) -> None:
    make, _ = PAIRS[name]
    torch.manual_seed(0)
    model, x = nn.Linear(5, 3), torch.randn(8, 5)

    def step(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        model(x).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()

    optimizer = make(model.parameters())
    for _ in range(3):
        step(model, optimizer)
    other = copy.deepcopy(model)
    state = copy.deepcopy(optimizer.state_dict())
    taken_up = make(other.parameters())
    taken_up.load_state_dict(state)
    for _ in range(3):
        step(model, optimizer)
        step(other, taken_up)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), other.parameters(), strict=True))
    assert str(taken_up.state_dict()) == str(optimizer.state_dict())


@pytest.mark.parametrize("name", PAIRS)
def test_a_state_fits_torch_s_own_optimizer(name: str) -> None:
    ours, theirs = PAIRS[name]
    model = nn.Linear(5, 3)
    optimizer = ours(model.parameters())
    model(torch.ones(2, 5)).sum().backward()
    optimizer.step()
    other = theirs(model.parameters())
    other.load_state_dict(optimizer.state_dict())
    assert str(other.state_dict()) == str(optimizer.state_dict())


@pytest.mark.parametrize("name", PAIRS)
def test_groups_have_settings_of_their_own(name: str) -> None:
    make, _ = PAIRS[name]
    first, second = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))
    optimizer = make([{"params": [first]}, {"params": [second], "lr": 0.0}])
    (first.sum() + second.sum()).backward()
    optimizer.step()
    assert (first != 1).all()
    assert (second == 1).all()


def test_zero_grad_drops_gradients_or_fills_them_with_noughts() -> None:
    weight = nn.Parameter(torch.ones(2))
    optimizer = SGD([weight], 0.1)
    weight.grad = torch.ones(2)
    optimizer.zero_grad(set_to_none=False)
    assert weight.grad.tolist() == [0, 0]
    optimizer.zero_grad()
    assert weight.grad is None


def test_a_step_leaves_gradients_on_for_what_follows() -> None:
    weight = nn.Parameter(torch.ones(2))
    weight.grad = torch.ones(2)
    SGD([weight], 0.1).step()
    assert torch.is_grad_enabled()


def test_a_closure_is_called_with_gradients_on() -> None:
    weight = nn.Parameter(torch.ones(2))

    def closure() -> Tensor:
        loss = weight.sum()
        loss.backward()
        return loss

    assert SGD([weight], 0.1).step(closure) == 2
    assert weight.tolist() == pytest.approx([0.9, 0.9])


def test_hooks_of_torch_s_still_run() -> None:
    weight = nn.Parameter(torch.ones(2))
    weight.grad = torch.ones(2)
    optimizer, seen = SGD([weight], 0.1), list[str]()
    optimizer.register_step_pre_hook(lambda *_: seen.append("before"))
    optimizer.register_step_post_hook(lambda *_: seen.append("after"))
    optimizer.step()
    assert seen == ["before", "after"]


def test_parameters_that_have_no_fused_step_get_the_usual_one() -> None:
    weight = nn.Parameter(torch.ones(2, dtype=torch.complex64))
    weight.grad = torch.ones(2, dtype=torch.complex64)
    SGD([weight], 0.5).step()
    assert weight.tolist() == [0.5, 0.5]


def test_an_optimizer_says_its_name() -> None:
    assert repr(Adam([nn.Parameter(torch.ones(1))])).startswith("Adam (")


FRESH = """
import sys, torch
from torch import nn
from types import SimpleNamespace
from plainlearn.optim import SGD, Adam, RMSProp
from plainlearn.train import Learner

batches = [(torch.ones(4, 3), torch.ones(4, 1))] * 3
for opt_func in (SGD, Adam, RMSProp):
    learn = Learner(
        SimpleNamespace(train=batches, valid=batches), nn.Linear(3, 1), nn.functional.mse_loss, opt_func,
        metrics=lambda inp, targ: (inp - targ).mean(),
    )
    with learn.no_logging():
        learn.fit(2, 0.1)
        learn.fit_one_cycle(2, 0.1)
    learn.validate()
    learn.get_preds(with_loss=True)
    learn.optimizer.load_state_dict(learn.optimizer.state_dict())
print("torch._dynamo" in sys.modules, "sympy" in sys.modules)
"""


def test_a_fit_does_not_load_torch_s_compiler() -> None:
    answer = subprocess.run(
        [sys.executable, "-c", FRESH], capture_output=True, text=True, stdin=subprocess.DEVNULL
    )
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.split() == ["False", "False"]


@pytest.mark.parametrize(
    ("optimizer", "momentum"),
    [
        (SGD([nn.Parameter(torch.ones(1))], mom=0.7), 0.7),
        (Adam([nn.Parameter(torch.ones(1))], mom=0.7), 0.7),
        (RMSProp([nn.Parameter(torch.ones(1))], mom=0.7), 0.7),
        (torch.optim.Rprop([nn.Parameter(torch.ones(1))]), None),
    ],
)
def test_momentum_is_read_and_set_under_any_name(
    optimizer: torch.optim.Optimizer, momentum: float | None
) -> None:
    group = optimizer.param_groups[0]
    assert momentum_of(group) == momentum
    set_momentum(group, 0.5)
    assert momentum_of(group) == (None if momentum is None else 0.5)
    if "betas" in group:
        assert group["betas"] == (0.5, 0.99)


# ---- l-BFGS finds the least of smooth functions, and ends


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
