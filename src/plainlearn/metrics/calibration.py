"""Calibration: whether what is said to be 90% sure is right nine times in ten, and the one number that sees to it.

Source: Guo et al. 2017, On Calibration of Modern Neural Networks, arXiv:1706.04599.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Final

import torch
from torch import Tensor, nn

from plainlearn.core.errors import DataError, ShapeError

__all__ = [
    "SURE",
    "calibration",
    "calibration_error",
    "cross_fitted",
    "fit_temperature",
    "fit_yes_no_temperature",
    "sure_answers",
    "worth_scaling",
    "yes_no_calibration_error",
]

#: From which probability on an answer counts as sure.
SURE: Final = 0.9

_COLDEST: Final = 0.05
_HOTTEST: Final = 20.0
_LEAST: Final = 10  # items from which on a temperature is looked for
_CERTAIN: Final = 1000  # items that tell it to a few hundredths
_FEW: Final = 1000  # items, on more of which an honest model shows next to no error


def calibration(outputs: Tensor, targets: Tensor, *, several: bool) -> dict[str, float]:
    """The temperature for these outputs (N, K), and how far probabilities can be trusted, before it and after.

    `targets` are class numbers (N,), or with `several` zeros and ones (N, K). `before` and `after` are expected calibration
    errors: of the outputs as they are, and with each item under a temperature that was found without it, as new items are.
    `sure` answers, of which `sure_right` are right, are those that `sure_answers` finds in the probabilities under the
    temperature that was found, as everybody gets them from then on. `honest`, where items are few, is the error that a
    perfectly honest model would show on them.
    """
    fit = fit_yes_no_temperature if several else fit_temperature
    error = yes_no_calibration_error if several else calibration_error
    activation = torch.sigmoid if several else partial(torch.softmax, dim=1)
    careful = partial(worth_scaling, fit=fit)
    honest = activation(cross_fitted(outputs, targets, careful))
    temperature = careful(outputs, targets)
    sure, right = sure_answers(activation(outputs.float() / temperature), targets)
    few = {"honest": _honest_error(honest, targets, error)} if len(targets) <= _FEW else {}
    return {
        "temperature": temperature,
        "before": error(activation(outputs.double()), targets),
        "after": error(honest, targets),
        "items": float(len(targets)),
        "sure": float(sure.sum()),
        "sure_right": float((sure & right).sum()),
        **few,
    }


def sure_answers(probabilities: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Which answers are more than `SURE`, and which are right: (N,) of classes, (N, K) of answers of yes or no."""
    if probabilities.shape == targets.shape:
        return torch.maximum(probabilities, 1 - probabilities) > SURE, (probabilities > 0.5) == (
            targets > 0.5
        )
    confidence, answer = probabilities.max(dim=1)
    return confidence > SURE, answer == targets


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
    thousandth, between T = 0.05 and 20. To make a model surer than it is, below 1, takes more: there the targets are
    held to be wrong once in N + 2, the next likeliest class being right, or a set without a mistake would call for certainty.

    Source: for that share Platt 1999, Probabilistic Outputs for Support Vector Machines, section 2.2.
    """
    _check(logits, targets)
    exact, rows = _finite(logits), torch.arange(len(targets), device=logits.device)
    instead = exact.scatter(1, targets[:, None], -math.inf).argmax(dim=1)

    def lost(inverse: float, doubt: float) -> Tensor:
        likely = (exact * inverse).log_softmax(dim=1)
        return -(1 - doubt) * likely[rows, targets].mean() - doubt * likely[rows, instead].mean()

    return _careful(lost, len(targets))


def fit_yes_no_temperature(logits: Tensor, targets: Tensor) -> float:
    """The same for sigmoid(logits / T) and targets, zeros and ones, of one shape, such as (N, K) for K labels."""
    _check_alike(logits, targets)
    exact, wanted = _finite(logits), targets.double()

    def lost(inverse: float, doubt: float) -> Tensor:
        doubted = wanted * (1 - 2 * doubt) + doubt
        return nn.functional.binary_cross_entropy_with_logits(exact * inverse, doubted)

    return _careful(lost, len(targets))


def worth_scaling(logits: Tensor, targets: Tensor, fit: Callable[[Tensor, Tensor], float]) -> float:
    """The temperature that `fit` finds, if temperatures found without them make items likelier, else 1.

    From few items it is uncertain by a fifth or more, and a model that is honest already would only get worse. What makes it
    surer must help by a standard error.
    """
    if len(targets) < _LEAST:
        return 1.0
    found = fit(logits, targets)
    if len(targets) > _CERTAIN:
        return found
    gain = _losses(logits, targets) - _losses(cross_fitted(logits, targets, fit), targets)
    needed = float(gain.std()) / math.sqrt(len(gain)) if found < 1 else 0.0
    return found if float(gain.mean()) > needed else 1.0


def cross_fitted(logits: Tensor, targets: Tensor, fit: Callable[[Tensor, Tensor], float]) -> Tensor:
    """The logits, each divided by the temperature that `fit` finds for items of other folds: what new items would get.

    A temperature looks better on the items that it was fitted to than it is. There are five folds, or two where
    items are many, or one an item where they are few; the draw is the same each time.
    """
    if len(logits) != len(targets) or len(targets) < 2:
        raise DataError(
            f"there are {len(targets)} targets for {len(logits)} outputs; expected two or more, one each"
        )
    folds = min(2 if len(targets) > _CERTAIN else 5, len(targets))
    order = torch.randperm(len(targets), generator=torch.Generator().manual_seed(0)).to(logits.device)
    divided = torch.empty_like(logits, dtype=torch.float64)
    for fold in range(folds):
        inside = torch.ones(len(targets), dtype=torch.bool, device=logits.device)
        inside[order[fold::folds]] = False
        divided[~inside] = logits[~inside].double() / fit(logits[inside], targets[inside])
    return divided


def _honest_error(probabilities: Tensor, targets: Tensor, error: Callable[[Tensor, Tensor], float]) -> float:
    """The calibration error if the targets were as the probabilities say, over some draws: that of few items is not 0."""
    draws = torch.Generator().manual_seed(0)
    errors: list[float] = []
    for _ in range(20):
        if probabilities.shape == targets.shape:
            drawn = torch.bernoulli(probabilities, generator=draws)
        else:
            drawn = torch.multinomial(probabilities, 1, generator=draws)[:, 0]
        errors.append(error(probabilities, drawn))
    return sum(errors) / len(errors)


def _losses(logits: Tensor, targets: Tensor) -> Tensor:
    """The loss of each item."""
    if targets.shape == logits.shape:
        yes_no = nn.functional.binary_cross_entropy_with_logits
        return yes_no(logits.double(), targets.double(), reduction="none").flatten(1).mean(dim=1)
    return nn.functional.cross_entropy(logits.double(), targets, reduction="none")


def _careful(lost: Callable[[float, float], Tensor], count: int) -> float:
    found = _likeliest(lambda inverse: lost(inverse, 0.0))
    return found if found >= 1 else min(1.0, _likeliest(lambda inverse: lost(inverse, 1 / (count + 2))))


def _likeliest(loss: Callable[[float], Tensor]) -> float:
    """The T whose inverse has the lowest loss, by golden section."""
    golden = (math.sqrt(5) - 1) / 2
    low, high = 1 / _HOTTEST, 1 / _COLDEST
    a, b = high - golden * (high - low), low + golden * (high - low)
    of_a, of_b = float(loss(a)), float(loss(b))
    while high / low > 1.0005:
        if of_a < of_b:
            high, b, of_b = b, a, of_a
            a = high - golden * (high - low)
            of_a = float(loss(a))
        else:
            low, a, of_a = a, b, of_b
            b = low + golden * (high - low)
            of_b = float(loss(b))
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
