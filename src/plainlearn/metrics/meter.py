"""Meters: a metric followed over the batches of a set, whatever kind of metric it is."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol, cast

import torch
from torch import Tensor

from plainlearn.core.describe import describe
from plainlearn.core.errors import ArgumentTypeError, MetricError


class Meter(ABC):
    """A named quantity that sees every batch of a set and gives one number at the end."""

    name: str

    @abstractmethod
    def reset(self, device: torch.device) -> None:
        """Forget what was seen; the batches to come are on `device`."""

    @abstractmethod
    def add(self, predictions: Any, targets: tuple[Any, ...], size: int) -> None:
        """See a batch of `size` items. It does not wait for the device."""

    def merge(self, in_order: Callable[[Sequence[Any]], list[float]]) -> None:
        """Take in what this meter saw in other processes; `in_order` puts the numbers of all batches together.

        Raises `MetricError` for a kind that does not say how.
        """
        raise MetricError(
            f"the metric {self.name} does not say how the parts of several processes are put together",
            try_="a function of predictions and targets, or one of torchmetrics",
        )

    @abstractmethod
    def value(self) -> float:
        """The value over all that was seen; nan when that is nothing. It waits for the device."""


class MetricObject(Protocol):
    """A metric that keeps what it has seen, such as one of torchmetrics."""

    def update(self, *args: Any) -> Any: ...
    def compute(self) -> Any: ...
    def reset(self) -> Any: ...


#: What `meter_of` takes: a function of predictions and targets that gives a number, an object, a class of such.
Metric = Callable[..., Any] | MetricObject | Meter


class Average(Meter):
    """A function of a batch, averaged by batch size."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self.name = _name_of(function)
        self._values: list[Any] = []
        self._sizes: list[int] = []

    def reset(self, device: torch.device) -> None:
        self._values, self._sizes = [], []

    def add(self, predictions: Any, targets: tuple[Any, ...], size: int) -> None:
        value = self.function(predictions, *targets)
        if isinstance(value, Tensor):
            value = _single(value.detach(), self.name) if value.ndim else value.detach()
        elif not hasattr(value, "__float__"):
            raise MetricError(f"the metric {self.name} gave {describe(value)}; expected one number")
        self._values.append(value)
        self._sizes.append(size)

    def merge(self, in_order: Callable[[Sequence[Any]], list[float]]) -> None:
        self._values, self._sizes = in_order(self._values), list(map(int, in_order(self._sizes)))

    def value(self) -> float:
        return weighted_mean(self._values, self._sizes)


class Object(Meter):
    """An object with `update`, `compute` and `reset`, such as those of torchmetrics."""

    def __init__(self, metric: MetricObject) -> None:
        self.metric = metric
        self.name = _name_of(metric)

    def reset(self, device: torch.device) -> None:
        metric = self.metric
        if isinstance(metric, torch.nn.Module):  # torchmetrics keep their state where they are
            metric.to(device)
        self.metric.reset()

    def add(self, predictions: Any, targets: tuple[Any, ...], size: int) -> None:
        self.metric.update(predictions, *targets)

    def merge(self, in_order: Callable[[Sequence[Any]], list[float]]) -> None:
        if not hasattr(self.metric, "sync_on_compute"):  # torchmetrics do it themselves when they compute
            super().merge(in_order)

    def value(self) -> float:
        value = self.metric.compute()
        return float(_single(value, self.name) if isinstance(value, Tensor) else value)


def weighted_mean(values: Sequence[Any], sizes: Sequence[int]) -> float:
    """The mean of numbers or 0-d tensors, each counted `sizes` times; nan when there are none.

    Tensors are fetched from their device all at once, and summed in double precision.

    >>> weighted_mean([torch.tensor(1.0), torch.tensor(4.0)], [2, 1])
    2.0
    """
    if not values:
        return math.nan
    if all(isinstance(value, Tensor) for value in values):
        values = cast("list[float]", torch.stack(list(values)).tolist())
    return sum(float(v) * n for v, n in zip(values, sizes, strict=True)) / sum(sizes)


def meter_of(metric: Metric) -> Meter:
    """The meter for a metric: a function, a partial, or an object or class with update, compute and reset.

    Raises `ArgumentTypeError` for what is neither, naming it.

    >>> meter_of(partial(max, default=0)).name
    'max'
    """
    if isinstance(metric, Meter):
        return metric
    if _is_object(metric):
        made: Any = metric() if isinstance(metric, type) else metric
        return Object(made)
    if isinstance(metric, type) or not callable(metric):
        raise ArgumentTypeError(
            f"the metric {metric!r} is no function; expected a function of (predictions, targets), "
            "or an object with update, compute and reset",
            try_="metrics=accuracy",
        )
    return Average(metric)


def _is_object(metric: Any) -> bool:
    return all(callable(getattr(metric, method, None)) for method in ("update", "compute", "reset"))


def _single(value: Tensor, name: str) -> Tensor:
    if value.numel() != 1:
        raise MetricError(
            f"the metric {name} gave a tensor of the shape {tuple(value.shape)}; expected one number",
            try_="its mean, or average='macro'",
        )
    return value.reshape(())


def _name_of(metric: Any) -> str:
    if isinstance(metric, partial):
        return _name_of(cast("partial[Any]", metric).func)
    return str(getattr(metric, "__name__", type(metric).__name__))
