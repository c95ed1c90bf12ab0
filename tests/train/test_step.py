"""One step's arithmetic: how a batch is divided, and what a result keeps."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from plainlearn.losses import MSELossFlat
from plainlearn.train import Result, SupervisedStep
from plainlearn.train.step import loss_name, split_batch

X, Y, Z = torch.zeros(2, 3), torch.ones(2, 1), torch.full((2, 1), 2.0)


@pytest.mark.parametrize(
    ("batch", "inputs", "given", "targets"),
    [
        ((X, Y), None, (X,), (Y,)),
        ([X, Y], None, (X,), (Y,)),
        ((X, Y, Z), None, (X, Y), (Z,)),
        ((X, Y, Z), 1, (X,), (Y, Z)),
        ((X,), None, (X,), ()),
        (X, None, (X,), ()),
        ((X, Y), 2, (X, Y), ()),
    ],
)
def test_a_batch_is_divided_into_inputs_and_targets(
    batch: Any, inputs: Any, given: Any, targets: Any
) -> None:
    found, against = split_batch(batch, inputs)
    assert [id(field) for field in found] == [id(field) for field in given]
    assert [id(field) for field in against] == [id(field) for field in targets]


def test_a_step_gives_the_loss_the_predictions_and_the_targets() -> None:
    model = nn.Linear(3, 1)
    result = SupervisedStep(nn.functional.mse_loss)(model, (X, Y))
    assert torch.equal(result.predictions, model(X))
    assert torch.equal(result.loss, (model(X) - Y).square().mean())
    assert result.targets[0] is Y
    assert result.loss.requires_grad


def test_a_detached_result_keeps_its_values() -> None:
    result = SupervisedStep(nn.functional.mse_loss)(nn.Linear(3, 1), (X, Y))
    detached = result.detached()
    assert isinstance(detached, Result)
    assert torch.equal(detached.loss, result.loss)
    assert torch.equal(detached.predictions, result.predictions)
    assert not detached.predictions.requires_grad
    assert result.loss.requires_grad, "the result itself was changed"


def test_the_way_back_is_free_once_a_result_is_detached() -> None:
    """What a callback keeps of a step must not hold the step's memory."""
    import gc
    import weakref

    class Noticed(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            ctx.seen = Token()
            tokens.append(weakref.ref(ctx.seen))
            return x * 1

        @staticmethod
        def backward(ctx: Any, *grads: Any) -> Any:
            return grads[0]

    class Token: ...

    tokens: list[Any] = []

    class Model(nn.Linear):
        def forward(self, input: Tensor) -> Tensor:
            return Noticed.apply(super().forward(input))  # pyright: ignore[reportReturnType]

    result = SupervisedStep(nn.functional.mse_loss)(Model(3, 1), (X, Y))
    assert tokens[0]() is not None
    result = result.detached()
    gc.collect()
    assert tokens[0]() is None
    assert result.predictions.shape == (2, 1)


@pytest.mark.parametrize(
    ("predictions", "targets", "loss"),
    [
        ((4, 1), (4, 1), nn.functional.l1_loss),
        ((4,), (4,), nn.functional.l1_loss),
        ((1, 1), (1,), lambda p, y: (p - y).abs().mean()),
        ((4, 1), (4,), MSELossFlat()),
        ((4, 4), (4,), nn.functional.cross_entropy),
    ],
)
def test_shapes_that_are_right_are_not_warned_of(predictions: Any, targets: Any, loss: Any) -> None:
    class Given(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.zeros(predictions)

    whole = loss is nn.functional.cross_entropy
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        SupervisedStep(loss)(Given(), (X, torch.zeros(targets, dtype=torch.long if whole else torch.float)))


def test_a_loss_is_called_by_its_name() -> None:
    from functools import partial

    assert loss_name(nn.functional.mse_loss) == "mse_loss"
    assert loss_name(partial(nn.functional.mse_loss, reduction="sum")) == "mse_loss"
    assert loss_name(nn.MSELoss()) == "MSELoss"
