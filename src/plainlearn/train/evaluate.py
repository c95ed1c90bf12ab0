"""A pass over batches without learning: the loss and the metrics. It waits for the device only at the end."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import nn

from plainlearn.core.errors import DataError, MetricError, PlainlearnError
from plainlearn.core.tensors import find_batch_size, to_device
from plainlearn.metrics.meter import Meter, weighted_mean
from plainlearn.train.distributed import ALONE, Ranks
from plainlearn.train.step import Result, Step, described, first_line


@contextmanager
def evaluating(model: nn.Module) -> Generator[None]:
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
    autocast: Callable[[], AbstractContextManager[Any]] = nullcontext,
    ranks: Ranks = ALONE,
) -> list[float]:
    """`[loss, metric, …]` over `batches`, each batch weighted by its size.

    Batches are moved to `device`; the model must be there. `autocast` is around each step, not around the making of batches.
    Of several `ranks` each sees its share of the batches, and all get the numbers of the whole.
    Raises `DataError` when there is no batch and `MetricError` when a metric fails, naming it.
    """
    losses: list[Any] = []
    sizes: list[int] = []
    for meter in meters:
        meter.reset(device)
    travels_alone = device.type == "cuda"
    with evaluating(model):
        for host_batch in ranks.share(batches, whole_rounds=False):
            batch = to_device(host_batch, device, non_blocking=travels_alone)
            with autocast():
                result = step(model, batch)
            losses.append(result.loss)
            sizes.append(find_batch_size(batch))
            for meter in meters:
                _add(meter, result, sizes[-1])
    if ranks.size > 1:
        losses, sizes = ranks.in_order(losses), list(map(int, ranks.in_order(sizes)))
        for meter in meters:
            meter.merge(ranks.in_order)
    if not losses:
        raise DataError("there is no batch to validate on; expected at least one")
    return [weighted_mean(losses, sizes), *map(_value, meters)]


def _add(meter: Meter, result: Result, size: int) -> None:
    try:
        meter.add(result.predictions, result.targets, size)
    except PlainlearnError:
        raise
    except Exception as error:
        targets = " and ".join(map(described, result.targets)) or "none"
        raise MetricError(
            f"the metric {meter.name} failed on predictions of {described(result.predictions)} "
            f"and targets of {targets}: {first_line(error)}"
        ) from error


def _value(meter: Meter) -> float:
    try:
        return meter.value()
    except PlainlearnError:
        raise
    except Exception as error:
        raise MetricError(f"the metric {meter.name} failed: {first_line(error)}") from error
