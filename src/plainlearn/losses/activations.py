"""From outputs to probabilities and answers, told by the loss it was trained with.

A loss of ours says it. The bare ones of torch are known here, so `F.cross_entropy` gets
its softmax too. A loss that nobody knows (the lesson's `mnist_loss`, which applies
its own sigmoid) gets none: the outputs are handed over as they are.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable
from functools import partial
from typing import Any, cast

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


# Of torch's losses, those that imply an activation: the function, the class, and one of ours that means the
# same. Torch has the classes on axis 1.
_TORCH_S_OWN: list[tuple[Callable[..., Tensor], type[nn.Module], Loss]] = [
    (F.cross_entropy, nn.CrossEntropyLoss, CrossEntropyLossFlat(axis=1)),
    (F.nll_loss, nn.NLLLoss, _LogProbabilities(axis=1)),
    (F.binary_cross_entropy_with_logits, nn.BCEWithLogitsLoss, BCEWithLogitsLossFlat()),
    (F.multilabel_soft_margin_loss, nn.MultiLabelSoftMarginLoss, BCEWithLogitsLossFlat()),
    (F.binary_cross_entropy, nn.BCELoss, _Probabilities()),
]


def _same(x: Tensor) -> Tensor:
    return x


def _bare(loss_func: object) -> Any:
    """What a `partial` was made of."""
    return _bare(cast("partial[Any]", loss_func).func) if isinstance(loss_func, partial) else loss_func


def _known(loss_func: object) -> Any:
    """The loss itself, or, for one of torch's, ours that means the same."""
    bare = _bare(loss_func)
    for function, kind, ours in _TORCH_S_OWN:
        if bare is function or isinstance(bare, kind):
            return ours
    return bare


def activation_of(loss_func: object) -> Mapping:
    """The function from a model's outputs to probabilities or values, for this loss; the shape stays.

    A loss of your own says its activation by a method `activation`; without one the outputs are left as they are.

    >>> import torch
    >>> activation_of(F.cross_entropy)(torch.zeros(1, 2))
    tensor([[0.5000, 0.5000]])
    """
    return getattr(_known(loss_func), "activation", _same)


def decoding_of(loss_func: object) -> Mapping:
    """The function from probabilities or values to answers, for this loss.

    For (B, K) probabilities of a class it gives (B,) class numbers, for yes-or-no probabilities a bool each,
    else the values themselves. A loss of your own says it by a method `decodes`.

    >>> import torch
    >>> decoding_of(F.cross_entropy)(torch.tensor([[0.2, 0.8]]))
    tensor([1])
    """
    return getattr(_known(loss_func), "decodes", _same)


def unreduced(loss_func: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """The same loss without its mean: one value for each item or element.

    Raises `LossError` for a function that has no `reduction`.

    >>> import torch
    >>> unreduced(F.l1_loss)(torch.tensor([1.0, 2.0]), torch.zeros(2))
    tensor([1., 2.])
    """
    if isinstance(loss_func, (Loss, nn.Module)) and hasattr(loss_func, "reduction"):
        single: Any = copy.copy(loss_func)
        single.reduction = "none"
        return single
    try:
        takes = "reduction" in inspect.signature(loss_func).parameters
    except (TypeError, ValueError):  # what is written in C may have no signature
        takes = False
    if not takes:
        name = getattr(_bare(loss_func), "__name__", type(loss_func).__name__)
        raise LossError(
            f"the loss {name} has no argument `reduction`, so the loss of a single item is not known",
            try_="giving it reduction='mean' as an argument, and honouring 'none'",
        )
    return partial(loss_func, reduction="none")
