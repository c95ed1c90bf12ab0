"""Predict one item, and ship what was learned. How an item becomes a batch, and a learner a file, the loaders know."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, cast

from torch import Tensor

from plainlearn.core.errors import ArgumentError, LossError
from plainlearn.core.paths import Path
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


def export(
    learner: Learner,
    file: str | os.PathLike[str] = "export.plain",
    *,
    calibrate: bool = True,
    about: str = "",
) -> Path:
    """Write one file that predicts without this learner, below `learn.path`; it holds no code. Returns its path.

    In it are the weights, the transforms of validation, the labels, and a card with metrics and where it all is from.
    `calibrate` first makes the probabilities honest on the validation set, as `learn.calibrate` does; `about`
    is a sentence or more for the card.
    Raises `ArgumentError` naming what no file can hold, `StorageError` when it cannot be written.
    """
    blocks: Any = getattr(learner.dls, "blocks", None) or [None]
    if not hasattr(blocks[0], "export"):
        raise ArgumentError(
            f"{type(learner.dls).__name__} do not say how an input becomes a batch in a way that a file could hold",
            try_="loaders of a DataBlock whose first block is an ImageBlock; learn.save('weights') keeps weights alone",
        )
    return cast("Path", blocks[0].export(learner, file, calibrate=calibrate, about=about))


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
