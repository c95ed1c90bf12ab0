"""The random order of an epoch."""

from __future__ import annotations

import torch


def new_seed() -> int:
    """The seed of an epoch, drawn from torch's own generator, which goes on from draw to draw."""
    return int(torch.empty((), dtype=torch.int64).random_().item())
