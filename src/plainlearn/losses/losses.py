"""The usual losses as thin classes: a function of torch's, plus what its activations mean."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Literal

import torch.nn.functional as F
from torch import Tensor

Reduction = Literal["mean", "sum", "none"]


class Loss(ABC):
    """A loss that knows its `activation` (logits to probabilities) and `decodes` (to an answer)."""

    @abstractmethod
    def __call__(self, inp: Tensor, targ: Tensor) -> Tensor: ...

    def activation(self, x: Tensor) -> Tensor:
        return x

    def decodes(self, x: Tensor) -> Tensor:
        return x


class CrossEntropyLossFlat(Loss):
    """Softmax cross-entropy over `axis`; targets are class numbers.

    `inp` is (B, K), (B, K, …) with axis=1, or (B, …, K); all but the class axis are flattened together.
    `reduction='none'` gives one loss an item. `decodes` is the most likely class.
    """

    def __init__(
        self,
        axis: int = -1,
        *,
        weight: Tensor | None = None,
        ignore_index: int = -100,
        reduction: Reduction = "mean",
        label_smoothing: float = 0.0,
    ) -> None:
        self.axis, self.weight, self.ignore_index = axis, weight, ignore_index
        self.reduction: Reduction = reduction
        self.label_smoothing = label_smoothing

    def __call__(self, inp: Tensor, targ: Tensor) -> Tensor:
        logits = inp.movedim(self.axis, -1)
        weight = None if self.weight is None else self.weight.to(logits)
        return F.cross_entropy(
            logits.reshape(-1, logits.shape[-1]),
            targ.reshape(-1).long(),
            weight=weight,
            ignore_index=self.ignore_index,
            reduction=self.reduction,
            label_smoothing=self.label_smoothing,
        )

    def activation(self, x: Tensor) -> Tensor:
        return x.softmax(dim=self.axis)

    def decodes(self, x: Tensor) -> Tensor:
        return x.argmax(dim=self.axis)

    def __repr__(self) -> str:
        return "FlattenedLoss of CrossEntropyLoss()"


class BCEWithLogitsLossFlat(Loss):
    """Sigmoid cross-entropy, for targets of 0 and 1 of the same shape as the logits.

    `thresh` is on the probability: 0.5 there is 0 on the logit.
    """

    def __init__(
        self, *, thresh: float = 0.5, pos_weight: Tensor | None = None, reduction: Reduction = "mean"
    ) -> None:
        self.thresh, self.pos_weight = thresh, pos_weight
        self.reduction: Reduction = reduction

    def __call__(self, inp: Tensor, targ: Tensor) -> Tensor:
        pos_weight = None if self.pos_weight is None else self.pos_weight.to(inp)
        return F.binary_cross_entropy_with_logits(
            inp.reshape(-1) if pos_weight is None else inp,
            targ.reshape(-1).to(inp.dtype) if pos_weight is None else targ.to(inp.dtype),
            pos_weight=pos_weight,
            reduction=self.reduction,
        )

    def activation(self, x: Tensor) -> Tensor:
        return x.sigmoid()

    def decodes(self, x: Tensor) -> Tensor:
        return x > self.thresh

    def __repr__(self) -> str:
        return "FlattenedLoss of BCEWithLogitsLoss()"


class MSELossFlat(Loss):
    """Mean squared error of predictions and targets of the same number of values."""

    def __init__(self, *, reduction: Reduction = "mean") -> None:
        self.reduction: Reduction = reduction

    def __call__(self, inp: Tensor, targ: Tensor) -> Tensor:
        return F.mse_loss(inp.reshape(-1), targ.reshape(-1).to(inp.dtype), reduction=self.reduction)

    def __repr__(self) -> str:
        return "FlattenedLoss of MSELoss()"


class L1LossFlat(Loss):
    """Mean absolute error of predictions and targets of the same number of values."""

    def __init__(self, *, reduction: Reduction = "mean") -> None:
        self.reduction: Reduction = reduction

    def __call__(self, inp: Tensor, targ: Tensor) -> Tensor:
        return F.l1_loss(inp.reshape(-1), targ.reshape(-1).to(inp.dtype), reduction=self.reduction)

    def __repr__(self) -> str:
        return "FlattenedLoss of L1Loss()"


