"""What a model's outputs mean, as data: how they become probabilities, and these an answer."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar, cast, get_args

import numpy as np
from numpy.typing import NDArray

from plainlearn.core.errors import ArgumentError, DataError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["OutputSpec", "decoded", "output_spec_of", "probabilities"]

Activation = Literal["softmax", "sigmoid", "exp", "none"]


@dataclass(frozen=True)
class OutputSpec:
    """What a model's outputs mean.

    `activation` (along `axis`) makes probabilities or values of outputs that were divided by `temperature`; an answer is
    the largest of them, those above `threshold`, or the values themselves. An input whose score (see `inference.ood`) is
    above `ood_above` is out of distribution, and None says that this cannot be told.
    """

    activation: Activation
    axis: int = -1
    temperature: float = 1.0
    threshold: float = 0.5
    ood_above: float | None = None

    def __post_init__(self) -> None:
        numbers = [self.temperature, self.threshold, self.ood_above or 0.0]
        if not all(map(math.isfinite, numbers)) or self.temperature <= 0 or self.axis not in (-1, 1):
            raise DataError(f"no outputs can mean this: {self}")


_ACTIVATIONS: Final = get_args(Activation)
V = TypeVar("V")  # a tensor, or an array


def probabilities(outputs: V, output_spec: OutputSpec) -> V:
    """Probabilities or values from a model's outputs (B, …), in float32 and in the same shape; of tensors or arrays."""
    activate = _of_array if isinstance(outputs, np.ndarray) else _of_tensor
    return cast("V", activate(cast("Any", outputs), output_spec))


def _of_tensor(outputs: Tensor, output_spec: OutputSpec) -> Tensor:
    scaled = outputs.float() / output_spec.temperature
    match output_spec.activation:
        case "softmax":
            return scaled.softmax(dim=output_spec.axis)
        case "sigmoid":
            return scaled.sigmoid()
        case "exp":
            return scaled.exp()
        case "none":
            return scaled


def _of_array(outputs: NDArray[Any], output_spec: OutputSpec) -> NDArray[np.float32]:
    scaled = outputs.astype(np.float32) / np.float32(output_spec.temperature)
    match output_spec.activation:
        case "softmax":
            powers = np.exp(scaled - scaled.max(output_spec.axis, keepdims=True))
            return powers / powers.sum(output_spec.axis, keepdims=True)
        case "sigmoid":
            return (1 / (1 + np.exp(-scaled.clip(-80, None)))).astype(np.float32)
        case "exp":
            return np.exp(scaled)
        case "none":
            return scaled


def decoded(values: Any, output_spec: OutputSpec) -> Any:
    """The answers (B, …): the numbers of the largest values, which are above the threshold, or the values."""
    if output_spec.activation in ("softmax", "exp"):
        return values.argmax(output_spec.axis)
    return values > output_spec.threshold if output_spec.activation == "sigmoid" else values


def output_spec_of(loss_func: Any, *, ood_above: float | None = None) -> OutputSpec:
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
            output_spec = OutputSpec(activation, axis, float(temperature), float(threshold), ood_above)
            values = probabilities(outputs, output_spec)
            if torch.allclose(found, values, atol=1e-6) and torch.equal(
                asked(values), decoded(values, output_spec)
            ):
                return output_spec
    raise ArgumentError(
        f"the loss {loss_func!r} turns outputs into answers in a way of its own, which is code, and a model file holds none",
        try_="exporting with a loss of plainlearn's or torch's: learn.loss_func = CrossEntropyLossFlat()",
    )
