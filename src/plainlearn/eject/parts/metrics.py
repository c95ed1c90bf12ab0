"""The usual metrics and losses, as functions of one batch."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def accuracy(predictions: Tensor, targets: Tensor) -> Tensor:
    """The share of items whose largest activation is that of the target's class."""
    return (predictions.argmax(dim=-1) == targets).float().mean()


def error_rate(predictions: Tensor, targets: Tensor) -> Tensor:
    """One minus the accuracy."""
    return 1 - accuracy(predictions, targets)


def squared_error(predictions: Tensor, targets: Tensor) -> Tensor:
    """The mean squared error; predictions (B, 1) and targets (B,) are both taken flat."""
    return F.mse_loss(predictions.reshape(-1), targets.reshape(-1).to(predictions.dtype))
