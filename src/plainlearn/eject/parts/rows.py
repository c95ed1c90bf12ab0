"""Tensors in memory, cut into batches."""

from __future__ import annotations

from torch import Tensor

from plainlearn.eject.parts.kinds import Batches


def batches(x: Tensor, y: Tensor, order: Tensor, size: int) -> Batches:
    """The rows of x and y in this order, `size` at a time; the last batch may be shorter."""
    for first in range(0, len(order), size):
        rows = order[first : first + size]
        yield x[rows], y[rows]
