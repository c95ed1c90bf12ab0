"""The facts for a model's card, gathered from its learner: data, metrics and how sure they are, history, licence."""

from __future__ import annotations

import hashlib
import math
import platform
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from importlib import metadata
from typing import Any, Final, cast

import torch
from torch import Tensor

from plainlearn._version import __version__
from plainlearn.core.errors import DataError
from plainlearn.data.block_loaders import BlockLoaders
from plainlearn.data.dataset import shown
from plainlearn.metrics.functions import accuracy, error_rate
from plainlearn.metrics.meter import Average, Meter
from plainlearn.train.loop import Learner
from plainlearn.train.state import bare
from plainlearn.train.step import loss_name

__all__ = ["card_of"]

_DRAWS: Final = 200
_Z: Final = 1.959964  # 95% of a normal distribution lie within so many standard deviations
_LAST_ROWS: Final = 20


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
            digest.update(shown(item).encode("utf-8", "surrogateescape") + b"\0")
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
    meter.reset(torch.device("cpu"))
    fields = cast("tuple[Any, ...]", targets if isinstance(targets, tuple) else (targets,))
    meter.add(outputs, fields, len(fields[0]))
    value = meter.value()
    limits: tuple[float, float] | None = None
    if isinstance(meter, Average) and isinstance(outputs, Tensor) and isinstance(targets, Tensor):
        if meter.function in (accuracy, error_rate):
            limits = wilson(value, len(targets))
        else:
            limits = _bootstrapped(meter.function, outputs, targets)
    return {"name": meter.name, "value": value, "low": limits and limits[0], "high": limits and limits[1],
            "items": len(fields[0])}  # fmt: skip


def wilson(share: float, count: int) -> tuple[float, float]:
    """Between which shares the true one lies, 95 times in 100, when `share` of `count` was seen.

    Source: Wilson 1927, Probable Inference, the Law of Succession, and Statistical Inference.

    >>> low, high = wilson(1.0, 10)
    >>> round(low, 2), high
    (0.72, 1.0)
    """
    spread = _Z**2 / count
    middle = (share + spread / 2) / (1 + spread)
    half = math.sqrt(share * (1 - share) * spread + spread**2 / 4) / (1 + spread)
    return max(middle - half, 0.0), min(middle + half, 1.0)


def _bootstrapped(
    function: Callable[..., Any], outputs: Tensor, targets: Tensor
) -> tuple[float, float] | None:
    """The middle 95% of a metric's values over sets drawn from this one with replacement."""
    draws = torch.Generator().manual_seed(0)
    values: list[float] = []
    for _ in range(_DRAWS):
        chosen = torch.randint(len(targets), (len(targets),), generator=draws)
        values.append(float(function(outputs[chosen], targets[chosen])))
    ordered: Sequence[float] = sorted(value for value in values if math.isfinite(value))
    if len(ordered) < _DRAWS:
        return None
    return ordered[round(0.025 * (_DRAWS - 1))], ordered[round(0.975 * (_DRAWS - 1))]
