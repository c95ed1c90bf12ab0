"""What a learner is given, checked where it enters, so that the loop need not ask."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

from torch import Tensor, nn

from plainlearn.core.describe import describe
from plainlearn.core.errors import ArgumentError, ArgumentTypeError
from plainlearn.losses.losses import Loss
from plainlearn.metrics.meter import Metric
from plainlearn.train.callback import Loaders

#: One metric, several, or none.
Metrics = Metric | Sequence[Metric] | None


def checked_loaders(dls: object) -> Loaders:
    """`dls`, if it has training and validation batches."""
    if hasattr(dls, "train") and hasattr(dls, "valid"):
        return cast("Loaders", dls)
    raise ArgumentTypeError(
        f"dls is a {type(dls).__name__}; expected loaders with train and valid",
        try_="DataLoaders(dl, valid_dl)",
    )


def checked_model(model: object) -> nn.Module:
    """`model`, if it is one; a class is not."""
    if isinstance(model, nn.Module):
        return model
    name = getattr(model, "__name__", "Model")
    hint = (
        f"{name}(…), with its arguments" if callable(model) else "nn.Linear(784, 1), or a model of your own"
    )
    raise ArgumentTypeError(f"the model is {describe(model)}; expected an nn.Module", try_=hint)


def checked_loss(loss_func: object) -> Callable[..., Tensor]:
    """The loss to call: the function itself, or an object of the class that was given."""
    if loss_func is None:
        raise ArgumentError(
            "no loss was given and the data do not imply one; expected a function of predictions and targets",
            try_="loss_func=F.cross_entropy",
        )
    made: Any = loss_func
    if isinstance(loss_func, type) and issubclass(loss_func, nn.Module | Loss):
        made = loss_func()
    if not callable(made) or isinstance(made, type):
        raise ArgumentTypeError(
            f"loss_func is {describe(made)}; expected a function of predictions and targets",
            try_="loss_func=F.cross_entropy",
        )
    return cast("Callable[..., Tensor]", made)


def as_metrics(metrics: Metrics) -> list[Metric]:
    """One metric, several, or none, as a list."""
    if metrics is None:
        return []
    several = isinstance(metrics, (list, tuple))
    return list(cast("Sequence[Metric]", metrics)) if several else [cast("Metric", metrics)]
