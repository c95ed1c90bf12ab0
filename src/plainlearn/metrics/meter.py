"""Meters: a metric followed over the batches of a set, whatever kind of metric it is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import partial
from typing import Any

import torch
from torch import Tensor

from plainlearn.core.errors import ArgumentTypeError, MetricError


class Meter(ABC):
    """A named quantity that sees every batch and gives one number at the end."""

    name: str

    @abstractmethod
    def reset(self, device: torch.device) -> None: ...

    @abstractmethod
    def add(self, predictions: Any, targets: Any, size: int) -> None: ...

    @abstractmethod
    def value(self) -> float: ...


class Average(Meter):
    """A function of a batch, averaged by batch size. Values stay on the device until the end."""

    def __init__(self, function: Any) -> None:
        self.function = function
        self.name = _name_of(function)
        self.reset(torch.device("cpu"))

    def reset(self, device: torch.device) -> None:
        self._values: list[Any] = []
        self._sizes: list[int] = []

    def add(self, predictions: Any, targets: Any, size: int) -> None:
        value = self.function(predictions, targets)
        if isinstance(value, Tensor) and value.numel() != 1:
            raise MetricError(
                f"the metric {self.name} gave a tensor of the shape {tuple(value.shape)}; expected one number",
                try_="ending it with .mean()",
            )
        self._values.append(value.detach() if isinstance(value, Tensor) else value)
        self._sizes.append(size)

    def value(self) -> float:
        if not self._values:
            return float("nan")
        if isinstance(self._values[0], Tensor):
            # One transfer at the end, and sums in float64 so that the order of batches cannot be seen.
            values = torch.stack([v.reshape(()) for v in self._values]).double().tolist()
        else:
            values = [float(v) for v in self._values]
        return sum(v * n for v, n in zip(values, self._sizes, strict=True)) / sum(self._sizes)


class Object(Meter):
    """An object with `update`, `compute` and `reset`, such as those of torchmetrics."""

    def __init__(self, metric: Any) -> None:
        self.metric = metric
        self.name = _name_of(metric)

    def reset(self, device: torch.device) -> None:
        if isinstance(self.metric, torch.nn.Module):
            self.metric.to(device)
        self.metric.reset()

    def add(self, predictions: Any, targets: Any, size: int) -> None:
        self.metric.update(predictions, targets)

    def value(self) -> float:
        return float(self.metric.compute())


def meter_of(metric: Any) -> Meter:
    """The meter for a metric: a function, a partial, an object or class with update / compute / reset.

    Raises `ArgumentTypeError` for what is neither, naming it.
    """
    if isinstance(metric, Meter):
        return metric
    made = metric() if isinstance(metric, type) and hasattr(metric, "compute") else metric
    if all(callable(getattr(made, method, None)) for method in ("update", "compute", "reset")):
        return Object(made)
    if not callable(made):
        raise ArgumentTypeError(
            f"the metric {metric!r} cannot be called; expected a function of (predictions, targets) "
            "or an object with update, compute and reset",
            try_="metrics=accuracy",
        )
    return Average(made)


def _name_of(metric: Any) -> str:
    if isinstance(metric, partial):
        return _name_of(metric.func)
    return str(getattr(metric, "__name__", type(metric).__name__))
