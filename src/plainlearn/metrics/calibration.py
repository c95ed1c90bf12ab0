"""Calibration: whether what is said to be 90% sure is right nine times in ten, and the one number that sees to it.

Source: Guo et al. 2017, On Calibration of Modern Neural Networks, arXiv:1706.04599.
"""

from __future__ import annotations

import math
from typing import Final

import torch
from torch import Tensor

from plainlearn.core.errors import DataError, ShapeError

__all__ = ["calibration_error", "fit_temperature"]

_COLDEST: Final = 0.05
_HOTTEST: Final = 20.0


def calibration_error(probabilities: Tensor, targets: Tensor, bins: int = 15) -> float:
    """The expected calibration error, 0..1: how far confidence and accuracy are apart, by bins of confidence.

    `probabilities` are (N, K), `targets` (N,) class numbers. With few items it is too high even of a perfect
    model, by about sqrt(bins / N) / 3.

    >>> round(calibration_error(torch.tensor([[0.9, 0.1]] * 10), torch.tensor([0] * 9 + [1])), 4)
    0.0
    """
    _check(probabilities, targets)
    confidence, answer = probabilities.double().max(dim=1)
    right = (answer == targets).double()
    place = (confidence * bins).ceil().long().clamp(1, bins) - 1
    gap = torch.zeros(bins, dtype=torch.float64).index_add_(0, place.cpu(), (right - confidence).cpu())
    return float(gap.abs().sum() / len(targets))


def fit_temperature(logits: Tensor, targets: Tensor) -> float:
    """The number T for which softmax(logits / T) makes the targets likeliest; above 1 for a model that is too sure.

    `logits` are (N, K), `targets` (N,) class numbers. The likelihood has one peak in 1/T, which is found to a
    thousandth, between T = 0.05 and 20.
    """
    _check(logits, targets)
    if not logits.isfinite().all():
        raise DataError("some outputs are nan or infinite; expected numbers")
    exact, rows = logits.double(), torch.arange(len(targets), device=logits.device)

    def loss(inverse: float) -> float:
        return float(-(exact * inverse).log_softmax(dim=1)[rows, targets].mean())

    low, high, golden = 1 / _HOTTEST, 1 / _COLDEST, (math.sqrt(5) - 1) / 2
    while high / low > 1.0005:  # golden section
        a, b = high - golden * (high - low), low + golden * (high - low)
        low, high = (low, b) if loss(a) < loss(b) else (a, high)
    return 2 / (low + high)


def _check(values: Tensor, targets: Tensor) -> None:
    if values.ndim != 2 or targets.shape != values.shape[:1]:
        raise ShapeError(
            f"outputs have the shape {tuple(values.shape)} and targets {tuple(targets.shape)}; expected (N, K) and (N,)"
        )
    if not len(targets):
        raise DataError("there is no item to calibrate by; expected some")
