"""Layers that torch does not have, and which parameters learn."""

from __future__ import annotations

from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Depths = list[tuple[str, ...]]
Groups = list[dict[str, Any]]


class Scaled(nn.Module):
    """Pictures of 0..1 as the trained weights expect them: each channel times a scale, plus a shift."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.scale, self.shift = (nn.Buffer(torch.zeros(channels, 1, 1)) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale + self.shift


class FixedNorms(nn.Sequential):
    """A trained body and a new head. The body's batch norm stays as it was trained: it gathers no new averages."""

    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        for part in self[0].modules():
            if isinstance(part, (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)):
                part.eval()
        return self


class ConcatPool(nn.Module):
    """The largest and the average activation of each channel."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([F.adaptive_max_pool2d(x, self.size), F.adaptive_avg_pool2d(x, self.size)], dim=1)


def freeze(model: nn.Module, learn: str | tuple[str, ...]) -> None:
    """Let only the parameters learn whose names begin so."""
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name.startswith(learn))


# Weight decay pulls weights towards zero; biases, and the scales and shifts of normalisation, should not go there.
def grouped(model: nn.Module, depths: Depths, rates: list[float], weight_decay: float) -> Groups:
    """The optimizer's groups: depths, told by how names begin, each with a rate of its own."""
    groups: Groups = []
    for prefixes, rate in zip(depths, rates, strict=True):
        inside = [parameter for name, parameter in model.named_parameters() if name.startswith(prefixes)]
        groups.append({"params": [p for p in inside if p.ndim > 1], "lr": rate, "weight_decay": weight_decay})
        groups.append({"params": [p for p in inside if p.ndim <= 1], "lr": rate, "weight_decay": 0.0})
    return groups
