"""One step's arithmetic: a batch through the model to a loss. A different step is another function."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from plainlearn.core.errors import ArgumentTypeError, LossError, PlainlearnError
from plainlearn.losses.losses import Loss


class Result(NamedTuple):
    """What a step gives: the loss (a scalar), the model's outputs, and the targets they were held against."""

    loss: Tensor
    predictions: Any
    targets: tuple[Any, ...]

    def detached(self) -> Result:
        """The same without its way back through the model, so that nothing is kept alive."""
        predictions = self.predictions
        if isinstance(predictions, Tensor):
            predictions = predictions.detach()
        return Result(self.loss.detach(), predictions, self.targets)


Step = Callable[[nn.Module, Any], Result]


@dataclass
class SupervisedStep:
    """Inputs through the model, outputs and targets into the loss.

    A batch is a tuple whose first `inputs` fields are the model's, the rest the loss's; None means
    all but the last, and a batch that is a single tensor is one input.
    """

    loss_func: Callable[..., Tensor]
    inputs: int | None = None
    _looked: bool = False

    def __call__(self, model: nn.Module, batch: Any) -> Result:
        given, targets = split_batch(batch, self.inputs)
        predictions = model(*given)
        try:
            loss = self.loss_func(predictions, *targets)
        except PlainlearnError:
            raise
        except (RuntimeError, ValueError, TypeError, IndexError) as error:
            raise self._explained(predictions, targets, error) from error
        if not isinstance(loss, Tensor) or loss.numel() != 1:  # pyright: ignore[reportUnnecessaryIsInstance]
            raise LossError(
                f"the loss {loss_name(self.loss_func)} gave {described(loss)}; expected one number to minimise",
                try_="ending it with .mean()",
            )
        result = Result(loss if loss.ndim == 0 else loss.reshape(()), predictions, targets)
        if not self._looked:
            self._looked = True
            warn_if_broadcast(self.loss_func, result)
        return result

    def _explained(self, predictions: Any, targets: tuple[Any, ...], error: Exception) -> LossError:
        found = " and ".join(described(target) for target in targets) or "no targets"
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        return LossError(
            f"the loss {loss_name(self.loss_func)} cannot compare predictions of {described(predictions)} "
            f"with targets of {found}: {reason}",
            try_="looking at xb, yb = dls.one_batch() and at the size of the model's last layer",
        )


def warn_if_broadcast(loss_func: Any, result: Result) -> None:
    """Warn about (B, 1) predictions against (B,) targets, which most losses turn into B×B pairs in silence."""
    if isinstance(loss_func, Loss) or len(result.targets) != 1:
        return
    predictions, target = result.predictions, result.targets[0]
    if not isinstance(predictions, Tensor) or not isinstance(target, Tensor):
        return
    if predictions.ndim == 2 and predictions.shape[1] == 1 and target.ndim == 1 and len(target) > 1:
        warnings.warn(
            f"predictions have the shape {tuple(predictions.shape)} and targets {tuple(target.shape)}: "
            f"{loss_name(loss_func)} may compare each with every other. Use targets.unsqueeze(1) when building the data",
            stacklevel=2,
        )


def split_batch(batch: Any, inputs: int | None) -> tuple[Sequence[Any], tuple[Any, ...]]:
    """The fields of a batch for the model, and those for the loss."""
    if isinstance(batch, Tensor):
        return (batch,), ()
    if isinstance(batch, (tuple, list)):
        fields = cast("Sequence[Any]", batch)
        count = inputs if inputs is not None else max(1, len(fields) - 1)
        return fields[:count], tuple(fields[count:])
    raise ArgumentTypeError(
        f"a batch is a {type(batch).__name__}; expected a tuple (inputs, targets) or a tensor",
        try_="Learner(..., step=a function of your own from model and batch to Result)",
    )


def loss_name(loss_func: Any) -> str:
    """How a person calls this loss."""
    return str(getattr(loss_func, "__name__", type(loss_func).__name__))


def described(value: Any) -> str:
    """Shape and kind of a value, for messages."""
    if isinstance(value, Tensor):
        return f"shape {tuple(value.shape)} ({str(value.dtype).removeprefix('torch.')})"
    if isinstance(value, (tuple, list)):
        return "(" + ", ".join(described(part) for part in cast("Sequence[Any]", value)) + ")"
    return type(value).__name__
