"""Half precision computes steps and nothing else, and does no harm where it brings nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from plainlearn.core.errors import ArgumentError, DataError
from plainlearn.train import Learner
from plainlearn.train.precision import Precision, quickest_safe

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
