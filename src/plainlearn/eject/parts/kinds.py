"""Names for types that recur."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor

Batches = Iterator[tuple[Tensor, Tensor]]
