"""One step's arithmetic: a batch through the model to a loss. A different step is another function."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, NamedTuple, cast

from torch import Tensor, nn

from plainlearn.core.errors import ArgumentError, ArgumentTypeError, LossError
from plainlearn.core.tensors import map_nest
from plainlearn.losses.losses import Loss
from plainlearn.train.precision import in_full


class Result(NamedTuple):
    """What a step gives: the loss (a scalar), the model's outputs, and the targets they were held against."""

    loss: Tensor
    predictions: Any
    targets: tuple[Any, ...]

    def detached(self) -> Result:
        """The same without its way back through the model, so that nothing is kept alive."""
        predictions = self.predictions
        predictions = (
            predictions.detach() if isinstance(predictions, Tensor) else map_nest(_detached, predictions)
        )
        return Result(self.loss.detach(), predictions, self.targets)


Step = Callable[[nn.Module, Any], Result]


class SupervisedStep:
    """Inputs through the model, outputs and targets into the loss.

    A batch is a tuple whose first `inputs` fields are the model's, the rest the loss's; None means
    all but the last, and a batch that is a single tensor is one input.

    Raises `LossError` when the loss cannot work with what it gets. What the model raises comes out as it is,
    with a note of the batch's shapes.
    """

    def __init__(self, loss_func: Callable[..., Tensor], inputs: int | None = None) -> None:
        self.loss_func, self.inputs = loss_func, inputs
        self._looked = False  # for predictions and targets that broadcast

    def __call__(self, model: nn.Module, batch: Any) -> Result:
        given, targets = split_batch(batch, self.inputs)
        predictions = in_full(apply_model(model, given))
        try:
            loss = self.loss_func(predictions, *targets)
        except Exception as error:
            # Python's and torch's own complaints are about what the loss was given; any other is the user's.
            if type(error) not in (RuntimeError, ValueError, TypeError, IndexError):
                raise
            raise self._explained(predictions, targets, error) from error
        if not isinstance(loss, Tensor) or loss.ndim:  # pyright: ignore[reportUnnecessaryIsInstance]
            loss = self._scalar(loss)
        result = Result(loss, predictions, targets)
        if not self._looked:
            self._looked = warn_if_broadcast(self.loss_func, result)
        return result

    def _scalar(self, loss: Any) -> Tensor:
        if isinstance(loss, Tensor) and loss.numel() == 1:
            return loss.reshape(())
        raise LossError(
            f"the loss {loss_name(self.loss_func)} gave {described(loss)}; expected one number to minimise, as a tensor",
            try_="ending it with .mean()",
        )

    def _explained(self, predictions: Any, targets: tuple[Any, ...], error: Exception) -> LossError:
        against = f"targets of {' and '.join(map(described, targets))}" if targets else "no targets"
        return LossError(
            f"the loss {loss_name(self.loss_func)} cannot compare predictions of {described(predictions)} "
            f"with {against}: {first_line(error)}",
            try_="looking at xb, yb = dls.one_batch() and at the size of the model's last layer",
        )


def split_batch(batch: Any, inputs: int | None) -> tuple[Sequence[Any], tuple[Any, ...]]:
    """The fields of a batch for the model, and those for the loss."""
    if isinstance(batch, Tensor):
        return (batch,), ()
    if isinstance(batch, (tuple, list)) and batch:
        fields = cast("Sequence[Any]", batch)
        count = inputs if inputs is not None else max(1, len(fields) - 1)
        return fields[:count], tuple(fields[count:])
    hint = "step=, a function of your own from model and batch to Result"
    raise ArgumentTypeError(
        f"a batch is {described(batch)}; expected a tuple (inputs, targets) or a tensor",
        try_="return batch, at the end of on_batch" if batch is None else hint,
    )


def apply_model(model: nn.Module, given: Sequence[Any]) -> Any:
    """The model's outputs. An exception of the model's comes out as it is, and says in a note where it was.

    Raises `ArgumentError` when the model is on another device than the batch.
    """
    try:
        return model(*given)
    except Exception as error:
        places, inputs = devices_of(model.parameters()), devices_of(given)
        if isinstance(error, RuntimeError) and places and inputs and places.isdisjoint(inputs):
            raise ArgumentError(
                f"the model {type(model).__name__} has parameters on {' and '.join(sorted(places))} and the batch "
                f"is on {' and '.join(sorted(inputs))}; expected one device",
                try_="learn.model.to(learn.device)",
            ) from error
        error.add_note(
            f"This happened in the model {type(model).__name__}, given {' and '.join(map(described, given))}."
        )
        raise


def devices_of(values: Iterable[Any]) -> set[str]:
    """The devices of those values that are tensors."""
    return {str(value.device) for value in values if isinstance(value, Tensor)}


def warn_if_broadcast(loss_func: Any, result: Result) -> bool:
    """Warn about (B, 1) against (B,), which most losses turn into B×B pairs in silence. False if it is too early to say."""
    if isinstance(loss_func, Loss) or len(result.targets) != 1:
        return True
    predictions, target = result.predictions, result.targets[0]
    if not isinstance(predictions, Tensor) or not isinstance(target, Tensor):
        return True
    shapes = {tuple(predictions.shape), tuple(target.shape)}
    size = max(predictions.numel(), target.numel())
    if size > 1 and shapes == {(size,), (size, 1)}:
        axis = "targets.unsqueeze(1)" if target.ndim == 1 else "targets.squeeze(1)"
        warnings.warn(
            f"predictions have the shape {tuple(predictions.shape)} and targets {tuple(target.shape)}: "
            f"{loss_name(loss_func)} may compare each with every other. Use {axis} when building the data",
            stacklevel=2,
        )
    return size > 1


def loss_name(loss_func: Any) -> str:
    """How a person calls this loss."""
    if isinstance(loss_func, partial):
        return loss_name(cast("partial[Any]", loss_func).func)
    return str(getattr(loss_func, "__name__", type(loss_func).__name__))


def described(value: Any) -> str:
    """Shape and kind of a value, for messages."""
    if isinstance(value, Tensor):
        return f"shape {tuple(value.shape)} ({str(value.dtype).removeprefix('torch.')})"
    if isinstance(value, (tuple, list)):
        return "(" + ", ".join(described(part) for part in cast("Sequence[Any]", value)) + ")"
    return "None" if value is None else f"a {type(value).__name__}"


def first_line(error: Exception) -> str:
    """What an exception says, in one line."""
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def _detached(leaf: Any) -> Any:
    return leaf.detach() if isinstance(leaf, Tensor) else leaf
