"""The usual losses as thin classes: a function of torch's, plus what its activations mean."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Literal

import torch.nn.functional as F
from torch import Tensor

from plainlearn.core.errors import ArgumentError, LossError

Reduction = Literal["mean", "sum", "none"]


class Loss(ABC):
    """A loss that knows what a model's outputs mean: their `activation`, and how the result `decodes`."""

    reduction: Reduction

    @abstractmethod
    def __call__(self, inp: Tensor, targ: Tensor) -> Tensor:
        """The loss of the outputs `inp` against the targets `targ`: one number, unless `reduction` is "none"."""

    def activation(self, x: Tensor) -> Tensor:
        """Outputs to probabilities, or to values: the same shape."""
        return x

    def decodes(self, x: Tensor) -> Tensor:
        """Probabilities, or values, to the answer."""
        return x


class CrossEntropyLossFlat(Loss):
    """Softmax cross-entropy over `axis`, the axis of the K classes; the other axes are flattened together.

    Outputs are (B, K), (B, …, K), or with `axis=1` (B, K, …). Targets are class numbers 0..K-1, one
    for each item, or probabilities in the shape of the outputs. `weight` holds one factor a class;
    targets equal to `ignore_index` do not count; `label_smoothing` is a share 0..1. `reduction="none"`
    gives one loss an item. `decodes` is the most likely class. `temperature` divides the outputs before the softmax
    of `activation`, not in the loss; `learn.calibrate()` finds it.

    Raises `LossError` for targets of another shape, or that are neither, `ArgumentError` for another smoothing.
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
        if not 0 <= label_smoothing <= 1:
            raise ArgumentError(
                f"the share of label smoothing is {label_smoothing}; expected 0 to 1",
                try_="0.1, which is usual",
            )
        self.axis, self.weight, self.ignore_index = axis, weight, ignore_index
        self.reduction = reduction
        self.label_smoothing = label_smoothing
        self.temperature = 1.0

    def __call__(self, inp: Tensor, targ: Tensor) -> Tensor:
        logits = self._flat_logits(inp)
        return F.cross_entropy(
            logits,
            self._flat_targets(inp, targ),
            weight=None if self.weight is None else self.weight.to(logits),
            ignore_index=self.ignore_index,
            reduction=self.reduction,
            label_smoothing=self.label_smoothing,
        )

    def _flat_logits(self, inp: Tensor) -> Tensor:
        logits = inp.movedim(self.axis, -1)
        return logits.reshape(-1, logits.shape[-1])

    def _flat_targets(self, inp: Tensor, targ: Tensor) -> Tensor:
        logits = inp.movedim(self.axis, -1)
        if targ.is_floating_point():
            if targ.shape != inp.shape:
                raise LossError(
                    f"the targets are {targ.dtype} of shape {tuple(targ.shape)}; expected whole class numbers, "
                    f"or probabilities of shape {tuple(inp.shape)} like the predictions",
                    try_="targets.long()",
                )
            return targ.movedim(self.axis, -1).reshape(-1, logits.shape[-1])
        if _sizes(logits[..., 0]) != _sizes(targ):
            raise LossError(
                f"predictions of shape {tuple(inp.shape)}, with classes on axis {self.axis}, need one class number "
                f"for each item; the targets have the shape {tuple(targ.shape)}",
                try_="CrossEntropyLossFlat(axis=1) if the classes are on axis 1",
            )
        return targ.reshape(-1).long()

    def activation(self, x: Tensor) -> Tensor:
        return (x if self.temperature == 1 else x / self.temperature).softmax(dim=self.axis)

    def decodes(self, x: Tensor) -> Tensor:
        return x.argmax(dim=self.axis)

    def __repr__(self) -> str:
        return "FlattenedLoss of CrossEntropyLoss()"


class LabelSmoothingCrossEntropy(CrossEntropyLossFlat):
    """Cross-entropy against targets of which a share `eps` is spread evenly over all classes; the rest as there.

    Source: Szegedy et al. 2015, arXiv:1512.00567, section 7.
    """

    def __init__(
        self,
        axis: int = -1,
        eps: float = 0.1,
        *,
        weight: Tensor | None = None,
        ignore_index: int = -100,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__(
            axis, weight=weight, ignore_index=ignore_index, reduction=reduction, label_smoothing=eps
        )

    @property
    def eps(self) -> float:
        """The share that is spread."""
        return self.label_smoothing

    def __repr__(self) -> str:
        return f"FlattenedLoss of LabelSmoothingCrossEntropy(eps={self.label_smoothing:g})"


LabelSmoothingCrossEntropyFlat = LabelSmoothingCrossEntropy  # the course's name for it with other axes


class BCEWithLogitsLossFlat(Loss):
    """Sigmoid cross-entropy: each output is a yes-or-no answer of its own, each target 0 or 1.

    Shapes are equal, but for axes of one: (B, 1) and (B,) are flattened together. `weight` holds one factor an
    output, `pos_weight` one for its yes alone. `thresh` is on the probability: 0.5 there is 0 on the logit.
    `decodes` says which exceed it. `temperature` divides the outputs before the sigmoid of `activation`, not in the
    loss; `learn.calibrate()` finds it.

    Raises `LossError` when the shapes differ otherwise.
    """

    def __init__(
        self,
        *,
        thresh: float = 0.5,
        weight: Tensor | None = None,
        pos_weight: Tensor | None = None,
        reduction: Reduction = "mean",
    ) -> None:
        self.thresh, self.weight, self.pos_weight = thresh, weight, pos_weight
        self.reduction = reduction
        self.temperature = 1.0

    def __call__(self, inp: Tensor, targ: Tensor) -> Tensor:
        # The factors belong to the last axis, so the loss is taken before it is flattened.
        weight = None if self.weight is None else self.weight.to(inp)
        pos_weight = None if self.pos_weight is None else self.pos_weight.to(inp)
        targets = _beside(inp, targ).reshape(inp.shape)
        loss = F.binary_cross_entropy_with_logits(
            inp, targets, weight=weight, pos_weight=pos_weight, reduction=self.reduction
        )
        return loss.reshape(-1) if self.reduction == "none" else loss

    def activation(self, x: Tensor) -> Tensor:
        return (x if self.temperature == 1 else x / self.temperature).sigmoid()

    def decodes(self, x: Tensor) -> Tensor:
        return x > self.thresh

    def __repr__(self) -> str:
        return "FlattenedLoss of BCEWithLogitsLoss()"


class MSELossFlat(Loss):
    """Mean squared error, in squared units of the target. Shapes are equal, but for axes of one.

    Raises `LossError` when the shapes differ otherwise.
    """

    def __init__(self, *, reduction: Reduction = "mean") -> None:
        self.reduction = reduction

    def __call__(self, inp: Tensor, targ: Tensor) -> Tensor:
        return F.mse_loss(inp.reshape(-1), _beside(inp, targ), reduction=self.reduction)

    def __repr__(self) -> str:
        return "FlattenedLoss of MSELoss()"


class L1LossFlat(Loss):
    """Mean absolute error, in units of the target. Shapes are equal, but for axes of one.

    Raises `LossError` when the shapes differ otherwise.
    """

    def __init__(self, *, reduction: Reduction = "mean") -> None:
        self.reduction = reduction

    def __call__(self, inp: Tensor, targ: Tensor) -> Tensor:
        return F.l1_loss(inp.reshape(-1), _beside(inp, targ), reduction=self.reduction)

    def __repr__(self) -> str:
        return "FlattenedLoss of L1Loss()"


def _beside(inp: Tensor, targ: Tensor) -> Tensor:
    """The targets, flat, so that each stands beside its output; only axes of one may differ."""
    if inp.shape != targ.shape and _sizes(inp) != _sizes(targ):
        raise LossError(
            f"predictions have the shape {tuple(inp.shape)} and targets {tuple(targ.shape)}; "
            "expected one target for each prediction"
        )
    return targ.reshape(-1).to(inp.dtype)


def _sizes(tensor: Tensor) -> list[int]:
    return [size for size in tensor.shape if size != 1]
