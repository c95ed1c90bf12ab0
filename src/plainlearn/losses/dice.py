"""Dice loss: how little two regions overlap, whatever their size."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from plainlearn.core.errors import ArgumentError, LossError
from plainlearn.losses.losses import Loss, Reduction


class DiceLoss(Loss):
    """One minus the Dice coefficient of each item's regions, mean over the K classes.

    Outputs are (B, K, …) with the classes on `axis`, targets class numbers (B, …) or probabilities
    in the shape of the outputs. K classes of two or more go through softmax; K = 1 is one region, through a
    sigmoid, with targets 0 and 1. The coefficient is `(2 · overlap + smooth) / (both areas + smooth)`, so that a
    class that is neither there nor predicted counts as found. `weight` holds one factor a class, and the mean
    over the classes is weighted. `reduction="none"` gives one loss an item.

    Raises `LossError` for targets of another shape, or of a class that there is no output for.
    Source: Milletari et al. 2016, arXiv:1606.04797, with areas that are not squared.
    """

    def __init__(
        self,
        axis: int = 1,
        smooth: float = 1.0,
        *,
        weight: Tensor | None = None,
        reduction: Reduction = "mean",
    ) -> None:
        if smooth < 0:
            raise ArgumentError(f"smooth is {smooth}; expected 0 or more", try_="smooth=1.0")
        self.axis, self.smooth, self.weight = axis, smooth, weight
        self.reduction = reduction

    def __call__(self, inp: Tensor, targ: Tensor) -> Tensor:
        found_BKP = self.activation(inp).movedim(self.axis, 1).flatten(2)
        true_BKP = self._regions(inp, targ).movedim(self.axis, 1).flatten(2)
        overlap_BK = (found_BKP * true_BKP).sum(dim=2)
        areas_BK = found_BKP.sum(dim=2) + true_BKP.sum(dim=2)
        loss_BK = 1 - (2 * overlap_BK + self.smooth) / (areas_BK + self.smooth)
        if self.weight is None:
            loss_B = loss_BK.mean(dim=1)
        else:
            weight_K = self.weight.to(loss_BK)
            loss_B = (loss_BK * weight_K).sum(dim=1) / weight_K.sum()
        if self.reduction == "none":
            return loss_B
        return loss_B.sum() if self.reduction == "sum" else loss_B.mean()

    def _regions(self, inp: Tensor, targ: Tensor) -> Tensor:
        """The targets as a region a class, in the shape and kind of `inp`."""
        if targ.shape == inp.shape:
            return targ.to(inp.dtype)
        classes = inp.shape[self.axis]
        wanted = inp.movedim(self.axis, -1).shape[:-1]
        if targ.shape != wanted or targ.is_floating_point():
            raise LossError(
                f"predictions of shape {tuple(inp.shape)}, with classes on axis {self.axis}, need class numbers of shape "
                f"{tuple(wanted)}; the targets are {targ.dtype} of shape {tuple(targ.shape)}",
                try_="DiceLoss(axis=-1) if the classes are on the last axis",
            )
        if classes == 1:
            return targ.unsqueeze(self.axis).to(inp.dtype)
        # On other devices a look would wait for them, and torch complains there by itself.
        if (
            targ.device.type == "cpu"
            and targ.numel()
            and not 0 <= int(targ.min()) <= int(targ.max()) < classes
        ):
            raise LossError(
                f"a target is {int(targ.max()) if targ.max() >= classes else int(targ.min())}; the predictions have "
                f"{classes} classes, 0 to {classes - 1}"
            )
        return F.one_hot(targ.long(), classes).movedim(-1, self.axis).to(inp.dtype)

    def activation(self, x: Tensor) -> Tensor:
        return x.sigmoid() if x.shape[self.axis] == 1 else x.softmax(dim=self.axis)

    def decodes(self, x: Tensor) -> Tensor:
        return (x > 0.5).squeeze(self.axis) if x.shape[self.axis] == 1 else x.argmax(dim=self.axis)

    def __repr__(self) -> str:
        return f"DiceLoss(axis={self.axis}, smooth={self.smooth:g})"
