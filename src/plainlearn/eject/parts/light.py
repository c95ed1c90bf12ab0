"""Light as curves: what becomes of each level 0..255, for each picture and channel; a 257th closes the last interval."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from plainlearn.eject.parts.geometry import Rng


def straight(count: int) -> Tensor:
    """Curves (count, 3, 257) that leave pictures as they are: level k becomes k / 255."""
    return (torch.arange(257, dtype=torch.float32) / 255).clamp(max=1).expand(count, 3, -1).clone()


def brightness(curves: Tensor | None, count: int, rng: Rng, strength: float, p: float) -> Tensor | None:
    """Lighter or darker with probability `p`: a number is added to each level's logit."""
    chosen = rng.random(count) < p
    if not chosen.any():
        return curves
    to = rng.uniform(0.5 - 0.5 * strength, 0.5 + 0.5 * strength, count)
    return lit(curves, chosen, 1.0, torch.from_numpy(np.log(to / (1 - to))).float()[:, None, None])


def contrast(curves: Tensor | None, count: int, rng: Rng, strength: float, p: float) -> Tensor | None:
    """More or less contrast with probability `p`: each level's logit is multiplied."""
    chosen = rng.random(count) < p
    if not chosen.any():
        return curves
    most = -math.log(1 - strength)
    return lit(
        curves, chosen, torch.from_numpy(np.exp(rng.uniform(-most, most, count))).float()[:, None, None], 0.0
    )


def lit(curves: Tensor | None, chosen: np.ndarray, factor: Tensor | float, number: Tensor | float) -> Tensor:
    """The curves of the chosen pictures with their logits times `factor` plus `number`."""
    levels = straight(len(chosen)) if curves is None else curves
    changed = (levels.clamp(1e-3, 1 - 1e-3).logit() * factor + number).sigmoid()
    return torch.where(torch.from_numpy(chosen)[:, None, None], changed, levels)


def normalized(curves: Tensor | None, count: int, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    """Each channel less its mean, divided by its standard deviation."""
    levels = straight(count) if curves is None else curves
    return (levels - torch.tensor(mean)[:, None]) / torch.tensor(std)[:, None]
