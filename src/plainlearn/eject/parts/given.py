"""What every script defines for itself, and the other parts use: declared here for type checkers, never copied."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from torch import Tensor, nn

HERE: Path
START: str
TABLE: str
DATA: Path
STEPS_OF_EPOCH: int
NAMES: list[str]
model: nn.Module
loss_func: Callable[[Tensor, Tensor], Tensor]
metrics: list[Callable[[Tensor, Tensor], Tensor]]
train_batches: Callable[[], Iterator[tuple[Tensor, Tensor]]]
valid_batches: Callable[[], Iterator[tuple[Tensor, Tensor]]]
