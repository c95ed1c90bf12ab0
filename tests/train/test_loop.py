"""The loop does what a loop written by hand does, to the bit."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from plainlearn.optim import SGD, Adam
from plainlearn.train import Learner, Result

Make = Callable[..., Learner]


def noisy_model() -> nn.Module:
    """Its batch norm keeps a state, its dropout draws from the global generator."""
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 1))


def shuffled(x: Tensor, y: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    for rows in torch.randperm(len(x)).split(8):
        yield x[rows], y[rows]


class Shuffled:
    def __init__(self, x: Tensor, y: Tensor) -> None:
        self.x, self.y = x, y

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return shuffled(self.x, self.y)


def by_hand(
    model: nn.Module, optimizer: Any, x: Tensor, y: Tensor, epochs: int
) -> tuple[list[float], list[float]]:
    losses, valid_losses = [], []
    for _ in range(epochs):
        model.train()
        for xb, yb in shuffled(x, y):
            loss = nn.functional.mse_loss(model(xb), yb)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            losses.append(loss.item())
        model.eval()
        with torch.no_grad():
            valid_losses.append(nn.functional.mse_loss(model(x), y).item())
    return losses, valid_losses


@pytest.mark.parametrize("opt_func", [SGD, lambda p, lr: Adam(p, lr, wd=0), torch.optim.RMSprop])
def test_losses_and_weights_equal_those_of_a_loop_by_hand_to_the_bit(opt_func: Any) -> None:
    torch.manual_seed(0)
    x = torch.randn(20, 3)
    y = x.sum(1, keepdim=True)
    ours, theirs = noisy_model(), noisy_model()
    torch.manual_seed(7)
    losses, valid_losses = by_hand(theirs, opt_func(theirs.parameters(), lr=0.05), x, y, epochs=3)
    learn = Learner(
        SimpleNamespace(train=Shuffled(x, y), valid=[(x, y)]),
        ours,
        nn.functional.mse_loss,
        opt_func,
        device="cpu",
    )
    torch.manual_seed(7)
    learn.fit(3, lr=0.05)
    assert learn.recorder.losses == losses
    assert [row[1] for row in learn.recorder.values] == valid_losses
    for (name, a), b in zip(ours.state_dict().items(), theirs.state_dict().values(), strict=True):
        assert torch.equal(a, b), name
    assert len(set(losses)) == len(losses), "nothing was learned, so nothing was compared"


def test_a_model_learns_in_training_mode_whatever_mode_it_was_in(make_learner: Make) -> None:
    model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2), nn.Linear(2, 1))
    make_learner(model=model.eval()).fit(1)
    assert model[1].num_batches_tracked == 3
    assert model.training


def test_one_batch_is_learned_by_heart(make_learner: Make, batches: Any) -> None:
    learn = make_learner(train=batches(8), valid=None)
    learn.fit(200, lr=0.2)
    assert learn.recorder.losses[-1] < 1e-6


def test_a_second_fit_goes_on_with_what_the_optimizer_remembers(make_learner: Make) -> None:
    def opt_func(parameters: Any, lr: float) -> Any:
        return SGD(parameters, lr, mom=0.9)

    at_once, in_two = make_learner(opt_func=opt_func), make_learner(opt_func=opt_func)
    at_once.fit(4)
    in_two.fit(2)
    in_two.fit(2)
    assert torch.equal(at_once.model.weight, in_two.model.weight)


@pytest.mark.parametrize("change", ["opt_func", "wd", "model", "splitter"])
def test_a_change_of_what_makes_the_optimizer_makes_it_anew(make_learner: Make, change: str) -> None:
    learn = make_learner()
    learn.fit(1)
    before = learn.optimizer
    learn.fit(1, lr=0.01)
    assert learn.optimizer is before
    assert learn.optimizer.param_groups[0]["lr"] == 0.01
    new: dict[str, Any] = {
        "opt_func": Adam,
        "wd": 0.1,
        "model": nn.Linear(3, 1),
        "splitter": lambda model: [[model.weight], [model.bias]],
    }
    setattr(learn, change, new[change])
    learn.fit(1)
    assert learn.optimizer is not before


def test_a_weight_decay_given_to_fit_is_used(make_learner: Make) -> None:
    learn = make_learner()
    learn.fit(1)
    learn.fit(1, wd=0.5)
    assert [group["weight_decay"] for group in learn.optimizer.param_groups] == [0.5, 0.0]


def test_each_depth_learns_at_its_own_rate(make_learner: Make) -> None:
    def by_layer(model: nn.Module) -> list[list[nn.Parameter]]:
        return [list(layer.parameters()) for layer in model.children()]

    learn = make_learner(model=nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 1)), splitter=by_layer)
    learn.fit(1, lr=slice(1e-4, 1e-2))
    assert [group["lr"] for group in learn.optimizer.param_groups] == [1e-4, 1e-2]
    assert learn.current_rates() == [1e-4, 1e-2]


def test_frozen_weights_stay(make_learner: Make) -> None:
    learn = make_learner(model=nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 1)))
    learn.model[0].requires_grad_(False)
    first, second = (copy.deepcopy(layer.weight) for layer in learn.model)
    learn.fit(1)
    assert torch.equal(learn.model[0].weight, first)
    assert not torch.equal(learn.model[1].weight, second)


def test_the_lesson_s_optimizer_learns(make_learner: Make) -> None:
    class BasicOptim:
        def __init__(self, params: Any, lr: float) -> None:
            self.params, self.lr = list(params), lr

        def step(self, *args: Any, **kwargs: Any) -> None:
            for p in self.params:
                p.data -= p.grad.data * self.lr

        def zero_grad(self, *args: Any, **kwargs: Any) -> None:
            for p in self.params:
                p.grad = None

    basic, ours = make_learner(opt_func=BasicOptim), make_learner()
    basic.fit(2, lr=0.1)
    basic.fit(2, lr=0.2)
    ours.fit(2, lr=0.1)
    ours.fit(2, lr=0.2)
    assert basic.optimizer.lr == 0.2
    torch.testing.assert_close(basic.model.weight, ours.model.weight)


def test_a_step_of_one_s_own_replaces_the_arithmetic(make_learner: Make) -> None:
    def step(model: nn.Module, batch: Any) -> Result:
        x, y = batch
        predictions = model(x)
        return Result((predictions - y).abs().mean() + model.weight.square().sum(), predictions, (y,))

    learn = make_learner(step=step, loss_func=None, metrics=lambda p, y: (p - y).abs().mean())
    learn.fit(1)
    loss, error = learn.recorder.values[0][1:]
    assert loss == pytest.approx(error + learn.model.weight.square().sum().item(), rel=1e-5)


def test_a_batch_may_have_several_inputs(make_learner: Make, batches: Any) -> None:
    class Sum(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(3, 1)

        def forward(self, first: Tensor, second: Tensor) -> Tensor:
            return self.layer(first + second)

    data = [(x, x * 2, y) for x, y in batches(8, 4)]
    learn = make_learner(model=Sum(), train=data, valid=data)
    learn.fit(20, lr=0.02)
    assert learn.recorder.losses[-1] < learn.recorder.losses[0] / 2


def test_the_inputs_of_a_batch_are_as_many_as_the_data_say(batches: Any) -> None:
    data = [(x, y, y * 2) for x, y in batches(8, 4)]

    def loss_func(predictions: Tensor, first: Tensor, second: Tensor) -> Tensor:
        return (predictions - first).abs().mean() + (predictions - second).abs().mean()

    learn = Learner(
        SimpleNamespace(train=data, valid=data, n_inp=1), nn.Linear(3, 1), loss_func, SGD, device="cpu"
    )
    learn.fit(1, 0.1)
    learn.dls = SimpleNamespace(train=[(x, x, y, y) for x, y, _ in data], valid=None, n_inp=2)
    learn.model = nn.Bilinear(3, 3, 1)
    learn.fit(1, 0.1)
    assert learn.recorder.losses


def test_the_loop_is_one_screen() -> None:
    """`fit` and `_train_epoch` are what a newcomer reads; they must stay short enough to be read."""
    lines = sum(
        len(inspect.getsource(function).splitlines()) for function in (Learner.fit, Learner._train_epoch)
    )
    assert lines <= 65
