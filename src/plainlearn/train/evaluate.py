"""A pass over batches without learning: losses, metrics, predictions. It waits for the device once, at the end."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from plainlearn.core.errors import DataError, MetricError, PlainlearnError
from plainlearn.core.tensors import find_batch_size, to_device
from plainlearn.metrics.meter import Average, Meter
from plainlearn.train.step import Result, Step, described


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """The model in evaluation mode and no gradients; every part's own mode comes back afterwards."""
    were_training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module in were_training:
            module.training = True


def evaluate(
    model: nn.Module,
    step: Step,
    batches: Iterable[Any],
    *,
    meters: Sequence[Meter] = (),
    device: torch.device,
    seen: Callable[[Result], None] | None = None,
) -> list[float]:
    """`[loss, metric, …]` over `batches`, each batch weighted by its size.

    `seen` is called with each batch's result, for those who want the predictions themselves.
    Raises `DataError` when there is no batch and `MetricError` when a metric fails, naming it.
    """
    losses = Average(lambda loss, _targets: loss)
    losses.reset(device)
    for meter in meters:
        meter.reset(device)
    counted = 0
    with evaluating(model):
        for host_batch in batches:
            batch = to_device(host_batch, device)
            result = step(model, batch)
            size = find_batch_size(batch)
            counted += size
            losses.add(result.loss, None, size)
            for meter in meters:
                _measured(meter, lambda m=meter, r=result, n=size: m.add(r.predictions, _target(r), n), result)
            if seen is not None:
                seen(result)
    if not counted:
        raise DataError("the validation loader gave no batch; expected at least one item",
                        try_="DataLoaders(train) to train without validation")
    return [losses.value(), *(_measured(meter, meter.value, None) for meter in meters)]


def _target(result: Result) -> Any:
    return result.targets[0] if len(result.targets) == 1 else result.targets


def _measured(meter: Meter, work: Callable[[], Any], result: Result | None) -> Any:
    try:
        return work()
    except PlainlearnError:
        raise
    except Exception as error:
        on = "" if result is None else (
            f" on predictions of {described(result.predictions)} and targets of {described(_target(result))}"
        )
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise MetricError(f"the metric {meter.name} failed{on}: {reason}") from error


