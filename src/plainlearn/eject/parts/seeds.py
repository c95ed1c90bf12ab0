"""The random order of an epoch."""

from __future__ import annotations

import torch
from torch import Tensor


def new_seed() -> int:
    """The seed of an epoch, drawn from torch's own generator, which goes on from draw to draw."""
    return int(torch.empty((), dtype=torch.int64).random_().item())


def shuffled(count: int, seed: int) -> Tensor:
    """The numbers from 0 to `count` - 1 in a random order that the seed repeats."""
    return torch.randperm(count, generator=torch.Generator().manual_seed(seed))
