"""What every script defines for itself, and the other parts use: declared here for type checkers, never copied."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch.nn.functional as F
from torch import Tensor

from plainlearn.eject.parts.kinds import Batches

DATA: Path = Path()
SCRIPT: Path = Path()
NAMES: list[str] = []
STEPS_OF_EPOCH: int = 1
MOMENTUM: tuple[float, float, float] = (0.95, 0.85, 0.95)
SIZE: tuple[int, int] = (1, 1)
loss_func: Callable[[Tensor, Tensor], Tensor] = F.cross_entropy
metrics: list[Callable[[Tensor, Tensor], Tensor]] = []


def train_batches() -> Batches:
    """An epoch of training batches."""
    raise NotImplementedError


def valid_batches() -> Batches:
    """The validation set in batches."""
    raise NotImplementedError


def item_maps(maps: np.ndarray, sizes: np.ndarray, rng: np.random.Generator, train: bool) -> np.ndarray:
    """The item transforms of one picture."""
    raise NotImplementedError


def batch_maps(maps: np.ndarray, sizes: np.ndarray, rng: np.random.Generator, train: bool) -> np.ndarray:
    """The geometric transforms of one batch."""
    raise NotImplementedError


def light(count: int, rng: np.random.Generator, train: bool) -> Tensor | None:
    """What becomes of each level in each picture and channel of a batch."""
    raise NotImplementedError


#: The kernel that reads pictures: how far it reaches to each side, and its shape.
RADIUS: float = 2.5
REST: tuple[float, ...] = (0.0,) * 2
MOVING: tuple[tuple[float, ...], ...] = ((0.0,) * 5,) * 3


def unaugmented_batches() -> Batches:
    """The training items in their order, as validation would see them."""
    raise NotImplementedError


def open_picture(file: Path) -> np.ndarray:
    """The one of `pictures` or `jpegs`."""
    raise NotImplementedError


def read(picture: np.ndarray, m: np.ndarray, curves: np.ndarray | None, out: np.ndarray) -> None:
    """The one in `sampling_numba`, whose file loads numba when it is imported."""
    raise NotImplementedError
