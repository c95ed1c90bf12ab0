"""What a learner is given, checked where it enters, so that the loop need not ask."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn

from plainlearn.core.describe import describe
from plainlearn.core.errors import ArgumentError, ArgumentTypeError, DataError
from plainlearn.losses.losses import Loss
from plainlearn.train.callback import Callback

#: One callback, several, or none.
Callbacks = Callback | Sequence[Callback] | None


class Loaders(Protocol):
    """Training and validation batches: two iterables. Without validation, `valid` is None."""

    @property
    def train(self) -> Any: ...
    @property
    def valid(self) -> Any: ...


def checked_loaders(dls: Any) -> Loaders:
    """`dls`, if it has training and validation batches."""
    if hasattr(dls, "train") and hasattr(dls, "valid"):
        return dls
    raise ArgumentTypeError(
        f"dls is a {type(dls).__name__}; expected loaders with train and valid",
        try_="DataLoaders(dl, valid_dl)",
    )


def checked_model(model: Any) -> nn.Module:
    """`model`, if it is one; a class is not."""
    if isinstance(model, nn.Module):
        return model
    name = getattr(model, "__name__", "Model")
    hint = (
        f"{name}(…), with its arguments" if callable(model) else "nn.Linear(784, 1), or a model of your own"
    )
    raise ArgumentTypeError(f"the model is {describe(model)}; expected an nn.Module", try_=hint)


def checked_loss(loss_func: Any) -> Callable[..., Tensor]:
    """The loss to call: the function itself, or an object of the class that was given."""
    if loss_func is None:
        raise ArgumentError(
            "no loss was given and the data do not imply one; expected a function of predictions and targets",
            try_="loss_func=F.cross_entropy",
        )
    made: Any = loss_func() if _is_class(loss_func, nn.Module, Loss) else loss_func
    if not callable(made) or _is_class(made):
        raise ArgumentTypeError(
            f"loss_func is {describe(made)}; expected a function of predictions and targets",
            try_="loss_func=F.cross_entropy",
        )
    return cast("Callable[..., Tensor]", made)


def as_callbacks(callbacks: Any) -> list[Callback]:
    """One callback, several, or none, as a list; of a class, an object."""
    if callbacks is None:
        return []
    listed: list[Any] = [callbacks]
    if isinstance(callbacks, Sequence) and not isinstance(callbacks, str):
        listed = list(cast("Sequence[Any]", callbacks))
    made = [callback() if _is_class(callback, Callback) else callback for callback in listed]
    for callback in made:
        if not isinstance(callback, Callback):
            raise ArgumentTypeError(
                f"cbs has {describe(callback)}; expected a Callback",
                try_="class Mine(Callback): …, and cbs=Mine()",
            )
    return made


def as_metrics(metrics: Any) -> list[Any]:
    """One metric, several, or none, as a list."""
    if metrics is None:
        return []
    return list(cast("Sequence[Any]", metrics)) if isinstance(metrics, (list, tuple)) else [metrics]


def checked_epochs(n_epoch: Any) -> int:
    """The number of epochs, if it is a whole number above 0."""
    if isinstance(n_epoch, bool) or not hasattr(n_epoch, "__index__"):
        raise ArgumentTypeError(
            f"n_epoch is {describe(n_epoch)}; expected a whole number of 1 or more", try_="learn.fit(1)"
        )
    if (epochs := operator.index(n_epoch)) < 1:
        raise ArgumentError(f"n_epoch is {epochs}; expected 1 or more", try_="learn.fit(1)")
    return epochs


def count_batches(which: str, batches: Any) -> int:
    """Batches of an epoch, 0 when nobody knows. What cannot be read again and again is refused now, not then."""
    if isinstance(batches, Iterator):
        raise DataError(
            f"the {which} batches are an iterator ({type(cast('Any', batches)).__name__}), which can be read only once",
            try_="list(batches), or a DataLoader",
        )
    if not hasattr(batches, "__iter__") and not hasattr(batches, "__getitem__"):
        raise ArgumentTypeError(
            f"the {which} batches are {describe(batches)}; expected an iterable of batches",
            try_="a DataLoader, or a list of (xb, yb)",
        )
    try:
        length = len(batches)
    except TypeError:  # a stream has none
        return 0
    if length == 0:
        raise DataError(
            f"the {which} loader has no batch; expected at least one",
            try_="a smaller bs, drop_last=False, or more items",
        )
    return length


def place(model: nn.Module, device: torch.device) -> None:
    """Move the model to the device. Raises `ArgumentError` for one without values, made on the `meta` device."""
    try:
        model.to(device)
    except NotImplementedError as error:
        if not any(value.is_meta for value in (*model.parameters(), *model.buffers())):
            raise
        raise ArgumentError(
            f"the model {type(model).__name__} is on the meta device, where parameters have no values; expected {device}",
            try_=f"model.to_empty(device='{device.type}'), and then its weights",
        ) from error


def _is_class(value: Any, *of: type) -> bool:
    return isinstance(value, type) and (not of or issubclass(value, of))
