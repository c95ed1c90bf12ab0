"""Layers by their kind: which of a model's compare the items of a batch."""

from __future__ import annotations

from typing import Final

from torch import nn

__all__ = ["batch_norms"]

_BATCH_NORMS: Final = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)


def batch_norms(model: nn.Module) -> list[nn.Module]:
    """The layers of `model` that compare the items of a batch."""
    return [part for part in model.modules() if isinstance(part, _BATCH_NORMS)]
