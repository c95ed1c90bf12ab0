"""What a model says about batches, put together: predictions, targets, and on request inputs, answers, losses."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from plainlearn.core.errors import DataError
from plainlearn.core.tensors import to_cpu, to_device
from plainlearn.losses.meaning import activation_of, decoding_of, unreduced
from plainlearn.train.evaluate import evaluating
from plainlearn.train.step import split_batch


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
    act: Callable[[Tensor], Tensor] | None = None,
) -> tuple[Any, ...]:
    """`([inputs,] predictions, targets[, decoded][, losses])` on the CPU, items in the order of the batches.

    Raises `DataError` when there is no batch, or when losses are asked for and there are no targets.
    """
    activation = act or activation_of(loss_func)
    kept: dict[str, list[Any]] = {"input": [], "pred": [], "target": [], "loss": []}
    losses = unreduced(loss_func) if with_loss else None
    with evaluating(model):
        for host_batch in batches:
            given, targets = split_batch(to_device(host_batch, device), inputs)
            outputs = model(*given)
            kept["pred"].append(to_cpu(activation(outputs)))
            kept["target"].append(to_cpu(targets))
            if with_input:
                kept["input"].append(to_cpu(tuple(given)))
            if losses is not None:
                if not targets:
                    raise DataError("with_loss=True needs targets, and the batches have none")
                # A loss that flattens gives one value an element; an item's loss is their mean.
                values: Tensor = losses(outputs, *targets)
                kept["loss"].append(to_cpu(values.reshape(len(targets[0]), -1).mean(dim=1)))
    if not kept["pred"]:
        raise DataError("there is no batch to predict; expected at least one")
    predictions = _joined(kept["pred"])
    answer: list[Any] = [_single(_joined(kept["input"]))] if with_input else []
    answer += [predictions, _single(_joined(kept["target"]))]
    if with_decoded:
        answer.append(decoding_of(loss_func)(predictions))
    if with_loss:
        answer.append(_joined(kept["loss"]))
    return tuple(answer)


def _joined(parts: list[Any]) -> Any:
    if isinstance(parts[0], Tensor):
        return torch.cat(parts)
    if isinstance(parts[0], (tuple, list)) and parts[0] and isinstance(parts[0][0], str):
        return tuple(name for part in parts for name in part)
    return tuple(_joined(list(field)) for field in zip(*parts, strict=True))


def _single(fields: tuple[Any, ...]) -> Any:
    if not fields:
        return None
    return fields[0] if len(fields) == 1 else fields
