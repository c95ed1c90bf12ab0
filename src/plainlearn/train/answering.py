"""Predict one item, and be honest about how sure that is. How an item becomes a batch, the loaders know."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import Tensor

from plainlearn.core.errors import ArgumentError, LossError
from plainlearn.losses.losses import CrossEntropyLossFlat
from plainlearn.losses.meaning import decoding_of
from plainlearn.metrics.calibration import calibration_error, fit_temperature
from plainlearn.train.step import loss_name

if TYPE_CHECKING:
    from plainlearn.train.loop import Learner


def predict(learner: Learner, item: Any) -> tuple[Any, Tensor, Tensor]:
    """`(label, index, probabilities)` for one item: a path, bytes, a picture, whatever the first getter reads.

    The transforms are those of validation. Of several targets each part is a tuple. Nothing is printed.
    """
    dls: Any = learner.dls
    if not hasattr(dls, "test_dl"):
        raise ArgumentError(
            f"{type(dls).__name__} do not say how an item becomes a batch",
            try_="learn.get_preds(dl=[(batch,)]), or loaders of a DataBlock",
        )
    values = learner.get_preds(dl=dls.test_dl([item], bs=1, num_workers=0))[0]
    answer = decoding_of(learner.loss_func)(values)
    targets = dls.blocks[dls.n_inp :]
    if not isinstance(values, Tensor) or len(targets) != 1:
        return answer, answer, values
    return targets[0].decode(answer[0]), answer[0], values[0]


def calibrate(learner: Learner) -> dict[str, float]:
    """Find the temperature that makes probabilities honest on the validation set, and use it from now on.

    Outputs are divided by it before the softmax; no answer changes by that. Returns `temperature`, and the expected
    calibration error `before` and `after` on those same items, how many being `items`.
    Raises `LossError` where the loss has no temperature: only ours of one class among several has.
    """
    outputs, targets = learner.get_preds(act=lambda outputs: outputs)
    found = fit_calibration(learner.loss_func, outputs, targets)
    if not found:
        raise LossError(
            f"the loss {loss_name(learner.loss_func)} has no temperature; only that of one class among several has",
            try_="learn.loss_func = CrossEntropyLossFlat()",
        )
    return found


def fit_calibration(loss_func: Any, outputs: Any, targets: Any) -> dict[str, float]:
    """`calibrate`, with the outputs for the validation set at hand; empty where the loss has no temperature."""
    if (
        not isinstance(loss_func, CrossEntropyLossFlat)
        or not isinstance(outputs, Tensor)
        or outputs.ndim != 2
    ):
        return {}
    found = fit_temperature(outputs, targets)
    before, after = (
        calibration_error((outputs / each).softmax(dim=1), targets) for each in (loss_func.temperature, found)
    )
    loss_func.temperature = found
    return {"temperature": found, "before": before, "after": after, "items": float(len(targets))}
