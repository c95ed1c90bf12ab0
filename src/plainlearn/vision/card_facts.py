"""The facts for a model's card, gathered from its learner: data, metrics and how sure they are, history, licence."""

from __future__ import annotations

import hashlib
import platform
from datetime import UTC, datetime
from importlib import metadata
from typing import Any, Final, cast

import torch
from torch import Tensor

from plainlearn._version import __version__
from plainlearn.core.errors import DataError
from plainlearn.data.block_loaders import BlockLoaders
from plainlearn.data.dataset import describe_item
from plainlearn.metrics.functions import accuracy, error_rate
from plainlearn.metrics.intervals import bootstrapped, wilson
from plainlearn.metrics.meter import Average, Meter
from plainlearn.train.learner import Learner
from plainlearn.train.state import bare
from plainlearn.train.step import loss_name

__all__ = ["card_of"]

_LAST_ROWS: Final = 20
_FEW_NUMBERS: Final = 2_000_000


def card_of(
    learn: Learner, validated: tuple[Any, Any] | None, calibration: dict[str, float], about: str
) -> dict[str, Any]:
    """All that can be told of a learner, as plain data. `validated` are outputs and targets of the validation set."""
    expects = getattr(bare(learn.model), "expects", None)
    rows = learn.recorder.values
    return {
        "about": about,
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "model": getattr(
            getattr(bare(learn.model), "recipe", None), "network", type(bare(learn.model)).__name__
        ),
        "weights_from": None if expects is None else expects.name,
        "licence": "" if expects is None else expects.licence,
        "loss": loss_name(learn.loss_func),
        "data": _data(cast("BlockLoaders", learn.dls)),
        "metrics": [] if validated is None else [_measured(meter, *validated) for meter in learn.meters],
        "calibration": calibration,
        "history": {
            "names": list(learn.recorder.metric_names),
            "epochs": len(rows),
            "rows": rows[-_LAST_ROWS:],
        },
        "versions": {
            "plainlearn": __version__,
            "python": platform.python_version(),
            **{name: metadata.version(name) for name in ("torch", "torchvision", "timm")},
        },
    }


def _data(dls: BlockLoaders) -> dict[str, Any]:
    """How many items, of which classes, and a fingerprint: a hash over the names of the items, side by side."""
    digest = hashlib.sha256()
    for side in (dls.datasets.train, dls.datasets.valid):
        for item in side.items:
            digest.update(describe_item(item).encode("utf-8", "surrogateescape") + b"\0")
        digest.update(b"\1")
    try:
        counts = [[label, count] for label, count in dls.datasets.train.counts().items()]
    except DataError:  # of a target without classes
        counts = []
    return {
        "train": len(dls.datasets.train),
        "valid": len(dls.datasets.valid),
        "counts": counts,
        "fingerprint": digest.hexdigest(),
    }


def _measured(meter: Meter, outputs: Any, targets: Any) -> dict[str, Any]:
    """A metric on the validation set, and between which values it lies with 95% confidence, where that can be told."""
    fields = cast("tuple[Any, ...]", targets if isinstance(targets, tuple) else (targets,))
    value, limits = _value(meter, outputs, fields), None
    if getattr(meter, "function", None) in (accuracy, error_rate) and fields[0].ndim == 1:
        limits = wilson(value, len(fields[0]))
    elif isinstance(outputs, Tensor) and all(isinstance(field, Tensor) for field in fields):

        def value_of(rows: Tensor) -> float:
            return _value(meter, outputs[rows], tuple(field[rows] for field in fields))

        count = len(outputs)
        if outputs.numel() <= _FEW_NUMBERS:
            limits = bootstrapped(value_of, count)
        elif isinstance(
            meter, Average
        ):  # of maps, say: one by one, as drawing them again and again takes minutes
            single = torch.tensor([value_of(torch.tensor([row])) for row in range(count)])
            limits = bootstrapped(lambda rows: float(single[rows].mean()), count)
    low, high = limits or (None, None)
    return {"name": meter.name, "value": value, "low": low, "high": high, "items": len(fields[0])}


def _value(meter: Meter, outputs: Any, targets: tuple[Any, ...]) -> float:
    meter.reset(torch.device("cpu"))
    meter.add(outputs, targets, len(targets[0]))
    return meter.value()
