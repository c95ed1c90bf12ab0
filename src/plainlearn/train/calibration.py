"""Calibration: the temperature that makes a learner as sure as it is right, found on the validation set."""

from __future__ import annotations

from torch import Tensor

from plainlearn.core.errors import LossError
from plainlearn.losses.losses import BCEWithLogitsLossFlat, CrossEntropyLossFlat
from plainlearn.metrics.calibration import calibration
from plainlearn.train.loop import TrainingLoop
from plainlearn.train.predictions import get_preds
from plainlearn.train.step import loss_name


def calibrate(learner: TrainingLoop) -> dict[str, float]:
    """Find the temperature that makes probabilities honest on the validation set, and use it from now on.

    Outputs are divided by it before the softmax, or of several labels before the sigmoid; no answer changes by that,
    unless labels have another threshold than 0.5. It stays 1 where they are honest already, as far as so many items
    can tell. Returns `temperature`, and the expected calibration error `before`, of the outputs as they are, and
    `after`, with each item under a temperature that was found without it, as a new item is; `items` is how many there
    were, `sure` and `sure_right` how many of the answers that are given from now on are above 90% sure, and right. `honest`,
    where items are few, is the error that a perfectly honest model would show on them.
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
    classes = isinstance(loss_func, CrossEntropyLossFlat)
    if not classes and not (isinstance(loss_func, BCEWithLogitsLossFlat) and outputs.shape == targets.shape):
        return {}
    found = calibration(outputs, targets, several=not classes)
    loss_func.temperature = found["temperature"]
    return found
