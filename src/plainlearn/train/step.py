"""One step's arithmetic: a batch through the model to a loss, and the numbers that it computes in.

A different step is another function. The weights stay in fp32 in any case, and data are never touched.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any, Final, Literal, NamedTuple, Protocol, cast, get_args

import torch
from torch import Tensor, nn

from plainlearn.core.errors import ArgumentError, ArgumentTypeError, DataError, LossError
from plainlearn.core.tensors import map_nest
from plainlearn.losses.losses import Loss

#: What a loader gives: a tensor, or a tuple, list or dict of fields, each with an item a row.
Batch = Tensor | Sequence[Any] | Mapping[str, Any]


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


class Step(Protocol):
    """The arithmetic of one step: a function from the model and a batch on its device. `SupervisedStep` is the usual one."""

    def __call__(self, model: nn.Module, batch: Any, /) -> Result: ...


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

    def __call__(self, model: nn.Module, batch: Batch) -> Result:
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


def split_batch(batch: Batch | None, inputs: int | None) -> tuple[Sequence[Any], tuple[Any, ...]]:
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


def devices_of(values: Iterable[object]) -> set[str]:
    """The devices of those values that are tensors."""
    return {str(value.device) for value in values if isinstance(value, Tensor)}


def warn_if_broadcast(loss_func: object, result: Result) -> bool:
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


def loss_name(loss_func: object) -> str:
    """How a person calls this loss."""
    if isinstance(loss_func, partial):
        return loss_name(cast("partial[Any]", loss_func).func)
    return str(getattr(loss_func, "__name__", type(loss_func).__name__))


def described(value: object) -> str:
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


# ---- what numbers a step computes in: fp32, bf16 or fp16

Kind = Literal["fp32", "bf16", "fp16"]

_HALVES: Final = {"bf16": torch.bfloat16, "fp16": torch.float16}


class Stepping(Protocol):
    """What the loop asks of an optimizer: torch's, ours, or the lesson's."""

    def step(self) -> Any: ...


class Precision:
    """How the steps of a learner compute on `device`: their autocast, and for fp16 the scale of the loss.

    fp16 is for CUDA and MPS: elsewhere it is emulated slowly, so `kind` is fp32 then, and `asked` keeps what was asked for.
    On CUDA the gradients of fp16 are scaled (Micikevicius et al. 2017, arXiv:1710.03740), so that small ones do not
    vanish; a step whose gradients overflow is left out.
    Raises `ArgumentError` for an unknown kind.

    >>> Precision("fp16", torch.device("cpu"))
    fp32 (fp16 would bring nothing on cpu)
    """

    def __init__(self, kind: Kind = "fp32", device: torch.device | str = "cpu") -> None:
        if kind not in get_args(Kind):
            raise ArgumentError(
                f"precision is {kind!r}; expected 'fp32', 'bf16' or 'fp16'", try_="learn.to_bf16()"
            )
        self.asked: Kind = kind
        self.device = torch.device(device).type
        helps = kind != "fp16" or self.device in ("cuda", "mps")
        self.kind: Kind = kind if helps and torch.amp.is_autocast_available(self.device) else "fp32"
        scales = self.kind == "fp16" and self.device == "cuda"
        self._scaler = torch.amp.GradScaler(self.device) if scales else None
        self._unscaled = False

    def autocast(self) -> AbstractContextManager[Any]:
        """Around model and loss."""
        if self.kind == "fp32":
            return _NOTHING
        return torch.autocast(self.device, dtype=_HALVES[self.kind])

    # ---- what the loop asks

    def scaled(self, loss: Tensor) -> Tensor:
        """The loss to send backward."""
        return loss if self._scaler is None else self._scaler.scale(loss)

    def unscale(self, optimizer: torch.optim.Optimizer) -> None:
        """Give the gradients their true size, for those who look at them before the optimizer moves."""
        if self._scaler is not None and not self._unscaled:
            self._scaler.unscale_(optimizer)
            self._unscaled = True

    def step_of(self, optimizer: Stepping) -> Callable[[], Any]:
        """The function that moves the weights: the optimizer's own `step`, unless gradients are scaled."""
        if self._scaler is None:
            return optimizer.step
        if not isinstance(optimizer, torch.optim.Optimizer):
            raise ArgumentError(
                f"fp16 scales the gradients of torch's optimizers; {type(optimizer).__name__} is not one",
                try_="learn.to_bf16() or learn.to_fp32()",
            )
        return lambda: self._scaled_step(optimizer)

    def _scaled_step(self, optimizer: torch.optim.Optimizer) -> None:
        assert self._scaler is not None
        self._scaler.step(optimizer)
        self._scaler.update()
        self._unscaled = False

    # ---- what a checkpoint keeps

    def state_dict(self) -> dict[str, Any]:
        """The kind that was asked for, and the scaler's numbers."""
        return {"kind": self.asked, "scaler": {} if self._scaler is None else self._scaler.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on with the scale of another run. Raises `DataError` if that run computed in other numbers."""
        if state.get("kind") != self.asked:
            raise DataError(
                f"the run was in {state.get('kind')}, and this learner is in {self.asked}; they would not agree",
                try_=f"learn.to_{state.get('kind')}()",
            )
        if self._scaler is not None and state["scaler"]:
            self._scaler.load_state_dict(state["scaler"])

    def __repr__(self) -> str:
        return (
            self.kind
            if self.kind == self.asked
            else f"{self.kind} ({self.asked} would bring nothing on {self.device})"
        )


_NOTHING: Final = nullcontext()


def in_full(predictions: object) -> Any:
    """Half-precision outputs as fp32, in which losses and metrics are reckoned; anything else as it is."""
    if isinstance(predictions, Tensor) and predictions.dtype in (torch.bfloat16, torch.float16):
        return predictions.float()
    return predictions


def quickest_safe(device: torch.device) -> Kind:
    """What a classifier should train in there: bf16 on a GPU that computes in it, else fp32.

    On a CPU it depends on the model and the size of the pictures; `learn.speed_up()` measures it.
    """
    if device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False):
        return "bf16"
    return "fp32"
