"""Focal loss: cross-entropy that looks away from what is known already."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from plainlearn.core.errors import ArgumentError
from plainlearn.losses.losses import CrossEntropyLossFlat, Reduction


class FocalLoss(CrossEntropyLossFlat):
    """Cross-entropy times `(1 - p) ** gamma`, where p is the probability of the target class.

    With `gamma=0` it is cross-entropy; 2 is usual. Shapes, `weight` (one factor a class), `ignore_index` and
    `reduction` are as for `CrossEntropyLossFlat`; so is the mean, which is divided by the items' weights.
    Raises `ArgumentError` for a `gamma` below 0, `LossError` for targets of another shape.
    Source: Lin et al. 2017, arXiv:1708.02002, equation 4.

    >>> FocalLoss()(torch.tensor([[0.0, 0.0]]), torch.tensor([1])) / math.log(2)
    tensor(0.2500)
    """

    def __init__(
        self,
        axis: int = -1,
        gamma: float = 2.0,
        *,
        weight: Tensor | None = None,
        ignore_index: int = -100,
        reduction: Reduction = "mean",
    ) -> None:
        if not 0 <= gamma < math.inf:
            raise ArgumentError(f"gamma is {gamma}; expected 0 or more", try_="gamma=2.0")
        super().__init__(axis, weight=weight, ignore_index=ignore_index, reduction=reduction)
        self.gamma = gamma

    def __call__(self, inp: Tensor, targ: Tensor) -> Tensor:
        targets = self._flat_targets(inp, targ)
        log_p_NK = self._flat_logits(inp).log_softmax(dim=1)
        # The clamp keeps the slope finite where p is 1 and gamma below 1.
        miss_NK = -log_p_NK.expm1()
        miss_NK = miss_NK.clamp_min(torch.finfo(miss_NK.dtype).tiny)
        loss_NK = -(miss_NK**self.gamma) * log_p_NK
        weight_K = loss_NK.new_ones(loss_NK.shape[1]) if self.weight is None else self.weight.to(loss_NK)
        if targets.is_floating_point():
            loss_N = (targets * loss_NK * weight_K).sum(dim=1)
            counted = loss_N.new_tensor(len(loss_N))
        else:
            there = targets != self.ignore_index
            classes = targets.where(there, 0)
            weight_N = weight_K[classes] * there
            loss_N = loss_NK.gather(1, classes[:, None])[:, 0] * weight_N
            counted = weight_N.sum()
        if self.reduction == "none":
            return loss_N
        return loss_N.sum() if self.reduction == "sum" else loss_N.sum() / counted

    def __repr__(self) -> str:
        return f"FlattenedLoss of FocalLoss(gamma={self.gamma:g})"


FocalLossFlat = FocalLoss  # the course's name for the same with the classes on any axis
