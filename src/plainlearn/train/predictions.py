"""What a model says about batches, put together: predictions, targets, and on request inputs, answers, losses."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, cast

import torch
from torch import Tensor, nn

from plainlearn.core.errors import DataError, LossError, ShapeError
from plainlearn.core.tensors import to_cpu, to_device
from plainlearn.losses.activations import activation_of, decoding_of, unreduced
from plainlearn.train.evaluate import evaluating
from plainlearn.train.precision import in_full
from plainlearn.train.step import apply_model, described, loss_name, split_batch


def predict_batches(
    model: nn.Module,
    batches: Iterable[Any],
    loss_func: Any,
    *,
    device: torch.device,
    inputs: int | None = None,
    with_input: bool = False,
    with_decoded: bool = False,
    with_loss: bool = False,
    act: Callable[[Any], Any] | None = None,
    autocast: Callable[[], AbstractContextManager[Any]] = nullcontext,
) -> tuple[Any, ...]:
    """`([inputs,] predictions, targets[, decoded][, losses])` on the CPU, items in the order of the batches.

    Each is one tensor with an item a row, or a tuple of them where a batch has several fields.
    Raises `DataError` when there is no batch, or when losses are asked for and there are no targets;
    `ShapeError` when batches do not fit together; `LossError` when the loss of an item is not known.
    """
    activation = act or activation_of(loss_func)
    losses = unreduced(loss_func) if with_loss else None
    seen: list[Any] = []
    predicted: list[Any] = []
    aimed: list[Any] = []
    lost: list[Tensor] = []
    with evaluating(model):
        for host_batch in batches:
            given, targets = split_batch(to_device(host_batch, device), inputs)
            with autocast():
                outputs = in_full(apply_model(model, given))
            predicted.append(to_cpu(activation(outputs)))
            aimed.append(to_cpu(targets))
            if with_input:
                seen.append(to_cpu(tuple(given)))
            if losses is not None:
                lost.append(to_cpu(_loss_of_each(losses, loss_func, outputs, targets)))
    if not predicted:
        raise DataError("there is no batch to predict; expected at least one")
    if len(set(map(len, aimed))) > 1:
        raise DataError("some batches have targets and some have none; expected one kind")
    predictions = _joined(predicted)
    answer: list[Any] = [_alone(_joined(seen))] if with_input else []
    answer += [predictions, _alone(_joined(aimed))]
    if with_decoded:
        answer.append(decoding_of(loss_func)(predictions))
    if with_loss:
        answer.append(_joined(lost))
    return tuple(answer)


def _loss_of_each(
    losses: Callable[..., Tensor], loss_func: Any, outputs: Any, targets: tuple[Any, ...]
) -> Tensor:
    """One loss an item. A loss that gives one value an element has the mean of an item's elements taken."""
    if not targets:
        raise DataError("with_loss=True needs targets, and the batches have none")
    values, items = losses(outputs, *targets), len(targets[0])
    if not values.ndim or values.numel() % items:
        raise LossError(
            f"the loss {loss_name(loss_func)} gave {described(values)} for {items} items; expected one or more values each",
            try_="a loss that honours reduction='none'",
        )
    return values.reshape(items, -1).mean(dim=1)


def _joined(parts: list[Any]) -> Any:
    """The same field of all batches, one after another."""
    head = parts[0]
    if isinstance(head, Tensor):
        if not head.ndim or len({(part.ndim, part.shape[1:]) for part in parts}) > 1:
            shapes = " and ".join(sorted({str(tuple(part.shape)) for part in parts})[:4])
            raise ShapeError(
                f"batches of shape {shapes} do not make one tensor; expected items of one shape, a row each",
                try_="one batch at a time, or a model that keeps the batch axis",
            )
        return torch.cat(parts)
    if isinstance(head, Mapping):
        return {key: _joined([part[key] for part in parts]) for key in cast("Mapping[Any, Any]", head)}
    if not isinstance(head, (tuple, list)):
        return tuple(parts)
    fields = cast("Sequence[Any]", head)
    if any(isinstance(field, Tensor | tuple | list | Mapping) for field in fields):
        return tuple(_joined(list(field)) for field in zip(*parts, strict=True))
    return tuple(name for part in parts for name in part)  # names and the like, one an item


def _alone(fields: Any) -> Any:
    if not fields:
        return None
    return fields[0] if len(fields) == 1 else fields
