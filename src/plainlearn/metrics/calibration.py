"""Calibration: whether what is said to be 90% sure is right nine times in ten, and the one number that sees to it.

Source: Guo et al. 2017, On Calibration of Modern Neural Networks, arXiv:1706.04599.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

import torch
from torch import Tensor, nn

from plainlearn.core.errors import DataError, ShapeError

__all__ = ["calibration_error", "fit_temperature", "fit_yes_no_temperature", "yes_no_calibration_error"]

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
    return _gap(confidence, answer == targets, bins)


def yes_no_calibration_error(probabilities: Tensor, targets: Tensor, bins: int = 15) -> float:
    """The same for answers of yes or no: how far the probability of yes and the share of yes are apart.

    `probabilities` and `targets`, zeros and ones, are of one shape, such as (N, K) for K labels.

    >>> round(yes_no_calibration_error(torch.full((10, 1), 0.1), torch.eye(10)[:, :1]), 4)
    0.0
    """
    _check_alike(probabilities, targets)
    return _gap(probabilities.double().flatten(), targets.flatten() > 0.5, bins)


def _gap(said: Tensor, true: Tensor, bins: int) -> float:
    place = (said * bins).ceil().long().clamp(1, bins) - 1
    gap = torch.zeros(bins, dtype=torch.float64).index_add_(0, place.cpu(), (true.double() - said).cpu())
    return float(gap.abs().sum() / len(said))


def fit_temperature(logits: Tensor, targets: Tensor) -> float:
    """The number T for which softmax(logits / T) makes the targets likeliest; above 1 for a model that is too sure.

    `logits` are (N, K), `targets` (N,) class numbers. The likelihood has one peak in 1/T, which is found to a
    thousandth, between T = 0.05 and 20.
    """
    _check(logits, targets)
    exact, rows = _finite(logits), torch.arange(len(targets), device=logits.device)
    return _likeliest(lambda inverse: -(exact * inverse).log_softmax(dim=1)[rows, targets].mean())


def fit_yes_no_temperature(logits: Tensor, targets: Tensor) -> float:
    """The number T for which sigmoid(logits / T) makes the targets, zeros and ones of the same shape, likeliest."""
    _check_alike(logits, targets)
    exact, wanted = _finite(logits), targets.double()
    lost = nn.functional.binary_cross_entropy_with_logits
    return _likeliest(lambda inverse: lost(exact * inverse, wanted))


def _likeliest(loss: Callable[[float], Tensor]) -> float:
    low, high, golden = 1 / _HOTTEST, 1 / _COLDEST, (math.sqrt(5) - 1) / 2
    while high / low > 1.0005:  # golden section
        a, b = high - golden * (high - low), low + golden * (high - low)
        low, high = (low, b) if float(loss(a)) < float(loss(b)) else (a, high)
    return 2 / (low + high)


def _finite(logits: Tensor) -> Tensor:
    if not logits.isfinite().all():
        raise DataError("some outputs are nan or infinite; expected numbers")
    return logits.double()


def _check_alike(values: Tensor, targets: Tensor) -> None:
    if values.shape != targets.shape:
        raise ShapeError(
            f"outputs have the shape {tuple(values.shape)} and targets {tuple(targets.shape)}; expected the same"
        )
    if not targets.numel():
        raise DataError("there is no item to calibrate by; expected some")


def _check(values: Tensor, targets: Tensor) -> None:
    if values.ndim != 2 or targets.shape != values.shape[:1]:
        raise ShapeError(
            f"outputs have the shape {tuple(values.shape)} and targets {tuple(targets.shape)}; expected (N, K) and (N,)"
        )
    if not len(targets):
        raise DataError("there is no item to calibrate by; expected some")
