"""Small data and learners for the tests of the loop; no loader of ours, because the loop takes any batches."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from plainlearn.optim import SGD
from plainlearn.train import Learner

Batches = list[tuple[torch.Tensor, torch.Tensor]]


@pytest.fixture
def batches() -> Callable[..., Batches]:
    """Makes batches (B, 3) and (B, 1) of one linear problem."""

    def make(*sizes: int, seed: int = 0) -> Batches:
        rng = torch.Generator().manual_seed(seed)
        inputs = [torch.randn(size, 3, generator=rng) for size in sizes]
        return [(x, x.sum(1, keepdim=True) / 2 + 1) for x in inputs]

    return make


@pytest.fixture
def make_learner(batches: Callable[..., Batches]) -> Callable[..., Learner]:
    """Makes a learner of that problem: three training batches of 8, two of validation, SGD, all replaceable."""

    def make(**given: Any) -> Learner:
        torch.manual_seed(0)
        train = given.pop("train", batches(8, 8, 8))
        valid = given.pop("valid", batches(8, 3, seed=1))
        model = given.pop("model", None) or nn.Linear(3, 1)
        settings = {"loss_func": nn.functional.mse_loss, "opt_func": SGD, "lr": 0.1, "device": "cpu"} | given
        return Learner(SimpleNamespace(train=train, valid=valid), model, **settings)

    return make
