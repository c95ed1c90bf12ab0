"""What a model's outputs mean, as data: how they become probabilities, and these an answer."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from plainlearn.core.errors import ArgumentError, DataError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["OutputSpec", "decoded", "meaning_of", "probabilities"]

Activation = Literal["softmax", "sigmoid", "exp", "none"]


@dataclass(frozen=True)
class OutputSpec:
    """What a model's outputs mean.

    `activation` (along `axis`) makes probabilities or values of outputs that were divided by `temperature`; an answer is
    the largest of them, those above `threshold`, or the values themselves. An input whose score (see
    `inference.unlike`) is above `unlike_above` is unlike what the model learned from.
    """

    activation: Activation
    axis: int = -1
    temperature: float = 1.0
    threshold: float = 0.5
    unlike_above: float | None = None

    def __post_init__(self) -> None:
        numbers = [self.temperature, self.threshold, self.unlike_above or 0.0]
        if not all(map(math.isfinite, numbers)) or self.temperature <= 0 or self.axis not in (-1, 1):
            raise DataError(f"no outputs can mean this: {self}")


_ACTIVATIONS: Final[dict[str, Callable[[Tensor, int], Tensor]]] = {
    "softmax": lambda x, axis: x.softmax(dim=axis),
    "sigmoid": lambda x, axis: x.sigmoid(),
    "exp": lambda x, axis: x.exp(),
    "none": lambda x, axis: x,
}


def probabilities(outputs: Tensor, meaning: OutputSpec) -> Tensor:
    """Probabilities or values from a model's outputs (B, …), in float32 and in the same shape."""
    return _ACTIVATIONS[meaning.activation](outputs.float() / meaning.temperature, meaning.axis)


def decoded(values: Tensor, meaning: OutputSpec) -> Tensor:
    """The answers (B, …): the numbers of the largest values, which are above the threshold, or the values."""
    if meaning.activation in ("softmax", "exp"):
        return values.argmax(dim=meaning.axis)
    return values > meaning.threshold if meaning.activation == "sigmoid" else values


def meaning_of(loss_func: Any, *, unlike_above: float | None = None) -> OutputSpec:
    """What the outputs of a model with this loss mean, found by asking the loss about some.

    Raises `ArgumentError` for a loss whose activation or decoding is a function of the user's own: that is code.
    """
    import torch

    from plainlearn.losses.activations import activation_of, decoding_of

    outputs = torch.linspace(-2, 2, 24).view(2, 3, 4).sin()
    found, asked = activation_of(loss_func)(outputs), decoding_of(loss_func)
    temperature, threshold = getattr(loss_func, "temperature", 1.0), getattr(loss_func, "thresh", 0.5)
    activation: Any
    for activation in _ACTIVATIONS:
        for axis in (-1, 1):
            meaning = OutputSpec(activation, axis, float(temperature), float(threshold), unlike_above)
            values = probabilities(outputs, meaning)
            if torch.allclose(found, values, atol=1e-6) and torch.equal(
                asked(values), decoded(values, meaning)
            ):
                return meaning
    raise ArgumentError(
        f"the loss {loss_func!r} turns outputs into answers in a way of its own, which is code, and a model file holds none",
        try_="exporting with a loss of plainlearn's or torch's: learn.loss_func = CrossEntropyLossFlat()",
    )
