"""Layers that torch does not have, and which parameters learn."""

from __future__ import annotations

from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Scaled(nn.Module):
    """Pictures of 0..1 as the trained weights expect them: each channel times a scale, plus a shift."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.scale = nn.Buffer(torch.ones(channels, 1, 1))
        self.shift = nn.Buffer(torch.zeros(channels, 1, 1))

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


def learning(model: nn.Module, prefixes: str | tuple[str, ...]) -> list[nn.Parameter]:
    """The parameters whose names begin so, frozen ones left out."""
    return [p for name, p in model.named_parameters() if name.startswith(prefixes) and p.requires_grad]


def matrices(model: nn.Module, prefixes: str | tuple[str, ...]) -> list[nn.Parameter]:
    """Of these the weights proper, which weight decay shrinks."""
    return [p for p in learning(model, prefixes) if p.ndim > 1]


def vectors(model: nn.Module, prefixes: str | tuple[str, ...]) -> list[nn.Parameter]:
    """Of these the biases, and the scales and shifts of normalisation, which should not shrink to zero."""
    return [p for p in learning(model, prefixes) if p.ndim <= 1]


def freeze(model: nn.Module, but: str | tuple[str, ...]) -> None:
    """Let only the parameters learn whose names begin so."""
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name.startswith(but))
