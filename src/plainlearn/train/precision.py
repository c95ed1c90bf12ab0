"""What numbers a step computes in: fp32, bf16 or fp16. The weights stay in fp32, and data are never touched."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, Final, Literal, cast, get_args

import torch
from torch import Tensor

from plainlearn.core.errors import ArgumentError, DataError

if TYPE_CHECKING:
    from plainlearn.train.loop import Learner

Kind = Literal["fp32", "bf16", "fp16"]

_HALVES: Final = {"bf16": torch.bfloat16, "fp16": torch.float16}


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

    def unscale(self, optimizer: Any) -> None:
        """Give the gradients their true size, for those who look at them before the optimizer moves."""
        if self._scaler is not None and not self._unscaled:
            self._scaler.unscale_(optimizer)
            self._unscaled = True

    def step_of(self, optimizer: Any) -> Callable[[], Any]:
        """The function that moves the weights: the optimizer's own `step`, unless gradients are scaled."""
        if self._scaler is None:
            return cast("Callable[[], Any]", optimizer.step)
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


def in_full(predictions: Any) -> Any:
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


def to_bf16(learner: Learner) -> Learner:
    """Compute in bfloat16 where torch thinks it safe (autocast); the weights stay in fp32. Returns the learner."""
    learner.precision = Precision("bf16", learner.device)
    return learner


def to_fp16(learner: Learner) -> Learner:
    """Compute in float16 on a GPU, with the loss scaled; elsewhere it changes nothing. Returns the learner."""
    learner.precision = Precision("fp16", learner.device)
    return learner


def to_fp32(learner: Learner) -> Learner:
    """Compute in float32 throughout. Returns the learner."""
    learner.precision = Precision("fp32", learner.device)
    return learner
