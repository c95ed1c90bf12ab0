"""Light as curves (N, 3, 257): what becomes of each level 0..255, for each picture and channel."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from plainlearn.eject.parts.geometry import Rng


def brightness(curves: Tensor, chosen: np.ndarray, rng: Rng, strength: float) -> Tensor:
    """Lighter or darker: a number is added to each level's logit."""
    to = rng.uniform(0.5 - 0.5 * strength, 0.5 + 0.5 * strength, len(chosen))
    return lit(curves, chosen, np.ones(1), np.log(to / (1 - to)))


def contrast(curves: Tensor, chosen: np.ndarray, rng: Rng, strength: float) -> Tensor:
    """More or less contrast: each level's logit is multiplied."""
    most = -math.log(1 - strength)
    return lit(curves, chosen, np.exp(rng.uniform(-most, most, len(chosen))), np.zeros(1))


def lit(curves: Tensor, *numbers: np.ndarray) -> Tensor:
    """The chosen pictures' curves with their logits times a factor plus a number."""
    chosen, factor, number = (torch.from_numpy(each)[:, None, None] for each in numbers)
    logits = curves.clamp(1e-3, 1 - 1e-3).logit() * factor.float() + number.float()
    return torch.where(chosen, logits.sigmoid(), curves)
