"""Numbers as targets: a price, an age, an angle."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from plainlearn.core.errors import DataError
from plainlearn.data.blocks import Block
from plainlearn.losses.losses import MSELossFlat
from plainlearn.metrics.functions import rmse


class RegressionBlock(Block):
    """One number or several: float32 of shape () or (`n_out`,)."""

    def __init__(self, n_out: int | None = None) -> None:
        self.n_out = n_out

    def setup(self, values: Sequence[Any]) -> Self:
        return self if self.n_out is not None else type(self)(max(1, np.asarray(values[0]).size))

    @property
    def outputs(self) -> int | None:
        return self.n_out

    def encode(self, thing: Any) -> Tensor:
        if reason := self.check(thing):
            raise DataError(reason)
        return torch.as_tensor(np.asarray(thing, dtype=np.float32))

    def decode(self, encoded: Any) -> Any:
        values = np.asarray(encoded)
        return values.item() if values.size == 1 else values

    def show(self, thing: Any, ax: Any) -> str:
        return ", ".join(f"{value:.4g}" for value in np.asarray(thing).flat)

    def check(self, value: Any) -> str:
        try:
            numbers = np.asarray(value, dtype=np.float64)
        except (TypeError, ValueError):
            return f"the target {value!r} is not a number"
        if self.n_out is not None and numbers.size != self.n_out:
            return f"the target has {numbers.size} numbers; expected {self.n_out}"
        return "" if np.isfinite(numbers).all() else f"the target {value!r} is not finite"

    def loss_func(self) -> Any:
        return MSELossFlat()

    def metric(self) -> Any:
        return rmse
