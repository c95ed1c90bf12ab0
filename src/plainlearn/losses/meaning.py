"""What the outputs of a model mean, told by the loss it was trained with.

A loss of ours says it. The bare ones of torch are known here, so `F.cross_entropy` gets
its softmax too. A loss that nobody knows (the lesson's `mnist_loss`, which applies
its own sigmoid) gets none: the outputs are handed over as they are.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from plainlearn.core.errors import LossError
from plainlearn.losses.losses import BCEWithLogitsLossFlat, CrossEntropyLossFlat, Loss

Mapping = Callable[[Tensor], Tensor]


class _LogProbabilities(CrossEntropyLossFlat):
    """What `nll_loss` is given: the logarithm was already taken."""

    def activation(self, x: Tensor) -> Tensor:
        return x.exp()


class _Probabilities(BCEWithLogitsLossFlat):
    """What `binary_cross_entropy` is given: probabilities already."""

    def activation(self, x: Tensor) -> Tensor:
        return x


def _same(x: Tensor) -> Tensor:
    return x


def _known(loss_func: Any) -> Loss | None:
    if isinstance(loss_func, Loss):
        return loss_func
    if isinstance(loss_func, partial):
        return _known(loss_func.func)
    if loss_func is F.cross_entropy or isinstance(loss_func, nn.CrossEntropyLoss):
        return CrossEntropyLossFlat(axis=1)
    if loss_func is F.nll_loss or isinstance(loss_func, nn.NLLLoss):
        return _LogProbabilities(axis=1)
    if loss_func is F.binary_cross_entropy_with_logits or isinstance(loss_func, nn.BCEWithLogitsLoss):
        return BCEWithLogitsLossFlat()
    if loss_func is F.binary_cross_entropy or isinstance(loss_func, nn.BCELoss):
        return _Probabilities()
    return None


def activation_of(loss_func: Any) -> Mapping:
    """The function from a model's outputs to probabilities or values, for this loss.

    >>> import torch
    >>> activation_of(F.cross_entropy)(torch.zeros(1, 2))
    tensor([[0.5000, 0.5000]])
    """
    known = _known(loss_func)
    return getattr(loss_func, "activation", _same) if known is None else known.activation


def decoding_of(loss_func: Any) -> Mapping:
    """The function from probabilities to answers: a class number, a yes or no, or the value itself."""
    known = _known(loss_func)
    return getattr(loss_func, "decodes", _same) if known is None else known.decodes


def unreduced(loss_func: Any) -> Callable[..., Tensor]:
    """The same loss without its mean: one value for each item or element.

    Raises `LossError` for a function that has no `reduction`.
    """
    if isinstance(loss_func, (Loss, nn.Module)) and hasattr(loss_func, "reduction"):
        single: Any = copy.copy(loss_func)
        single.reduction = "none"
        return single
    try:
        takes = "reduction" in inspect.signature(loss_func).parameters
    except (TypeError, ValueError):
        takes = False
    if not takes:
        raise LossError(
            f"the loss {getattr(loss_func, '__name__', type(loss_func).__name__)} has no argument `reduction`, "
            "so the loss of a single item is not known",
            try_="giving it reduction='mean' as an argument, and honouring 'none'",
        )
    return partial(loss_func, reduction="none")
