"""Heads: from the features of a body to the outputs of a task."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, cast

import torch
from torch import Tensor, nn

from plainlearn.core.errors import ArgumentError


@dataclass(frozen=True)
class HeadRecipe:
    """The arguments of `create_head`, by which a head that it made can be made again; the head keeps them as `recipe`."""

    features: int
    n_out: int
    lin_ftrs: tuple[int, ...]
    ps: float
    concat_pool: bool
    pool: bool
    y_range: tuple[float, float] | None


class AdaptiveConcatPool2d(nn.Module):
    """The largest and the average activation of each channel: (B, C, H, W) to (B, 2C, 1, 1)."""

    def __init__(self, size: int = 1) -> None:
        super().__init__()
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        if (
            self.size == 1 and torch.compiler.is_exporting()
        ):  # in other words, which torch 2.11's ONNX export knows
            largest = x.amax(dim=(2, 3), keepdim=True)
        else:
            largest = nn.functional.adaptive_max_pool2d(x, self.size)
        return torch.cat([largest, nn.functional.adaptive_avg_pool2d(x, self.size)], dim=1)


class Flatten(nn.Module):
    """Everything but the batch in one axis."""

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1)


class SigmoidRange(nn.Module):
    """Numbers between `low` and `high`, by a sigmoid: for targets whose range is known."""

    def __init__(self, low: float, high: float) -> None:
        super().__init__()
        if not -math.inf < low < high < math.inf:
            raise ArgumentError(
                f"y_range is ({low}, {high}); expected a lowest and a highest number", try_="y_range=(0, 5.5)"
            )
        self.low, self.high = low, high

    def forward(self, x: Tensor) -> Tensor:
        return torch.sigmoid(x) * (self.high - self.low) + self.low

    def extra_repr(self) -> str:
        return f"{self.low}, {self.high}"


def create_head(
    features: int,
    n_out: int,
    lin_ftrs: Sequence[int] | None = (512,),
    ps: float = 0.5,
    *,
    concat_pool: bool = True,
    pool: bool = True,
    y_range: tuple[float, float] | None = None,
) -> nn.Sequential:
    """The course's head, linear layers with batch norm and dropout: (B, `features`, H, W) to (B, `n_out`).

    `lin_ftrs` are the widths between, None the usual 512; `ps` is the dropout before the last layer, half of
    it before the others. `pool=False` is for bodies that give (B, `features`). With `y_range` the outputs lie between two numbers.
    """
    between = (512,) if lin_ftrs is None else tuple(lin_ftrs)
    widths = [features * 2 if pool and concat_pool else features, *between]
    layers: list[nn.Module] = []
    if pool:
        layers = [AdaptiveConcatPool2d() if concat_pool else nn.AdaptiveAvgPool2d(1), Flatten()]
    for width, following in pairwise(widths):
        linear = nn.Linear(width, following, bias=False)  # the batch norm behind it has the bias
        layers += [nn.BatchNorm1d(width), nn.Dropout(ps / 2), linear, nn.ReLU(inplace=True)]
    layers += [nn.BatchNorm1d(widths[-1]), nn.Dropout(ps), nn.Linear(widths[-1], n_out, bias=False)]
    for layer in layers:
        if isinstance(layer, nn.Linear):
            nn.init.kaiming_normal_(layer.weight)
    head = nn.Sequential(*layers, *_ranged(y_range))
    limits = None if y_range is None else (y_range[0], y_range[1])
    cast(Any, head).recipe = HeadRecipe(features, n_out, between, ps, concat_pool, pool, limits)
    return head


def linear_head(
    features: int,
    n_out: int,
    *,
    ps: float = 0.3,
    pool: bool = True,
    y_range: tuple[float, float] | None = None,
) -> nn.Sequential:
    """One linear layer on averaged features, brought to one scale: (B, `features`, H, W) to (B, `n_out`).

    It begins at zero, with no opinion. Nothing in it compares the items of a batch. `ps` is the dropout before
    the layer; `pool=False` is for bodies that give (B, `features`).
    """
    linear = nn.Linear(features, n_out)
    nn.init.zeros_(linear.weight)
    nn.init.zeros_(linear.bias)
    pooling = [nn.AdaptiveAvgPool2d(1), Flatten()] if pool else []
    # Trained features are small, and a rate that suits other layers would move this one too slowly.
    scaling = nn.LayerNorm(features, elementwise_affine=False)
    return nn.Sequential(*pooling, scaling, nn.Dropout(ps), linear, *_ranged(y_range))


def _ranged(y_range: tuple[float, float] | None) -> list[nn.Module]:
    return [] if y_range is None else [SigmoidRange(*y_range)]
