"""Calibration: the temperature that makes a learner as sure as it is right, found on the validation set."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

import torch
from torch import Tensor

from plainlearn.core.errors import LossError
from plainlearn.losses.losses import BCEWithLogitsLossFlat, CrossEntropyLossFlat
from plainlearn.metrics.calibration import (
    calibration_error,
    cross_fitted,
    fit_temperature,
    fit_yes_no_temperature,
    worth_scaling,
    yes_no_calibration_error,
)
from plainlearn.train.loop import TrainingLoop
from plainlearn.train.predictions import get_preds
from plainlearn.train.step import loss_name

_FEW: Final = 1000  # items, on more of which an honest model shows next to no error


def calibrate(learner: TrainingLoop) -> dict[str, float]:
    """Find the temperature that makes probabilities honest on the validation set, and use it from now on.

    Outputs are divided by it before the softmax, or of several labels before the sigmoid; no answer changes by that,
    unless labels have another threshold than 0.5. It stays 1 where they are honest already, as far as so many items
    can tell. Returns `temperature`, and the expected calibration error `before`, of the outputs as they are, and
    `after`, with each item under a temperature that was found without it, as a new item is; `items` is how many there
    were, `sure` and `sure_right` how many answers were then above 90% sure, and right. `honest`, where items are few, is the
    error that a perfectly honest model would show on them.
    Raises `LossError` where the loss has no temperature: only ours of classes or labels has.
    """
    outputs, targets = get_preds(learner, act=lambda outputs: outputs)
    found = fit_calibration(learner.loss_func, outputs, targets)
    if not found:
        raise LossError(
            f"the loss {loss_name(learner.loss_func)} has no temperature for outputs like these; only that of one class among "
            "several, or of several labels, has",
            try_="learn.loss_func = CrossEntropyLossFlat()",
        )
    return found


def fit_calibration(loss_func: object, outputs: object, targets: object) -> dict[str, float]:
    """`calibrate`, with the outputs for the validation set at hand; empty where there is no temperature to be found."""
    if (
        not isinstance(outputs, Tensor)
        or not isinstance(targets, Tensor)
        or outputs.ndim != 2
        or len(outputs) < 2
    ):
        return {}
    if isinstance(loss_func, CrossEntropyLossFlat):
        fit, error, activation = fit_temperature, calibration_error, partial(torch.softmax, dim=1)
    elif isinstance(loss_func, BCEWithLogitsLossFlat) and outputs.shape == targets.shape:
        fit, error, activation = fit_yes_no_temperature, yes_no_calibration_error, torch.sigmoid
    else:
        return {}
    careful = partial(worth_scaling, fit=fit)
    honest = activation(cross_fitted(outputs, targets, careful))
    loss_func.temperature = careful(outputs, targets)
    sure, right = _sure(honest, targets)
    few = {"honest": _honest_error(honest, targets, error)} if len(targets) <= _FEW else {}
    return {
        "temperature": loss_func.temperature,
        "before": error(activation(outputs.double()), targets),
        "after": error(honest, targets),
        "items": float(len(targets)),
        "sure": float(sure.sum()),
        "sure_right": float((sure & right).sum()),
        **few,
    }


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


def _sure(probabilities: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Which answers are above 90% sure, and which are right."""
    if probabilities.shape == targets.shape:
        return torch.maximum(probabilities, 1 - probabilities) > 0.9, (probabilities > 0.5) == (targets > 0.5)
    confidence, answer = probabilities.max(dim=1)
    return confidence > 0.9, answer == targets
