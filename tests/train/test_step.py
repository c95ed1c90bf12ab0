"""One step's arithmetic: how a batch is divided, and what a result keeps."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from plainlearn.core.errors import ArgumentError, DataError
from plainlearn.losses import MSELossFlat
from plainlearn.train import Learner, Result, SupervisedStep
from plainlearn.train.step import Precision, loss_name, quickest_safe, split_batch

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


# ---- half precision computes steps and nothing else, and does no harm where it brings nothing


Make = Callable[..., Learner]


class Looking(nn.Module):
    """Notes in which numbers its layer answers."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 1)
        self.seen: set[torch.dtype] = set()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = self.layer(x)
        self.seen.add(out.dtype)
        return out


def test_bf16_is_for_the_model_and_nothing_else(make_learner: Make, batches: Any) -> None:
    class Making:
        """Batches that are made when they are asked for, as geometry is."""

        def __iter__(self) -> Any:
            for x, y in batches(8, 8):
                assert not torch.is_autocast_enabled("cpu")
                assert (x @ x.T).dtype == torch.float32
                yield x, y

    seen: list[torch.dtype] = []

    def error(predictions: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        seen.append(predictions.dtype)
        return (predictions - targets).abs().mean()

    learn = make_learner(train=Making(), valid=Making(), model=Looking(), metrics=error)
    assert learn.to_bf16() is learn
    learn.fit(1)
    predictions, _ = learn.get_preds()
    assert learn.model.seen == {torch.bfloat16}
    assert set(seen) == {torch.float32}
    assert predictions.dtype == torch.float32
    assert learn.model.layer.weight.dtype == torch.float32  # type: ignore[union-attr]
    assert repr(learn.precision) == "bf16"
    learn.model.seen.clear()  # type: ignore[operator,union-attr]
    learn.to_fp32().validate()
    assert learn.model.seen == {torch.float32}


def test_fp16_on_a_cpu_changes_nothing(make_learner: Make) -> None:
    plain, asked = make_learner(), make_learner().to_fp16()
    for learn in (plain, asked):
        learn.fit(2)
    assert torch.equal(plain.model.weight, asked.model.weight)  # type: ignore[arg-type]
    assert repr(asked.precision) == "fp32 (fp16 would bring nothing on cpu)"


def test_the_state_goes_on_only_in_the_same_numbers() -> None:
    state = Precision("bf16", "cpu").state_dict()
    Precision("bf16", "cpu").load_state_dict(state)
    with pytest.raises(DataError, match="the run was in bf16, and this learner is in fp32"):
        Precision("fp32", "cpu").load_state_dict(state)


def test_an_unknown_precision_is_refused_and_a_cpu_has_fp32() -> None:
    with pytest.raises(ArgumentError, match="precision is 'fp8'"):
        Precision("fp8", "cpu")  # type: ignore[arg-type]
    assert quickest_safe(torch.device("cpu")) == "fp32"


@pytest.mark.gpu
def test_fp16_on_a_gpu_scales_steps_and_keeps_its_scale(make_learner: Make) -> None:
    learn = make_learner(device="cuda").to_fp16()
    learn.fit(2)
    assert learn.precision.state_dict()["scaler"]["scale"] > 1
    assert all(torch.isfinite(p).all() for p in learn.model.parameters())
