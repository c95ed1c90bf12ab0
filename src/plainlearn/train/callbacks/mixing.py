"""MixUp and CutMix: training batches in which each item is partly another one, inputs and targets alike."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor

from plainlearn.core.errors import ArgumentError, ArgumentTypeError
from plainlearn.train.callback import Callback, Loop
from plainlearn.train.step import Batch, SupervisedStep, described, loss_name, split_batch


class MixedTarget(NamedTuple):
    """Class numbers that cannot be blended: each item's own, those of its partner, and the share of its own."""

    own: Tensor
    partner: Tensor
    share: float


@dataclass(frozen=True)
class MixedLoss:
    """A loss that takes `MixedTarget`s too, as the loss of both in their shares. So any loss will do."""

    loss_func: Callable[..., Tensor]

    def __call__(self, predictions: Any, *targets: Any) -> Tensor:
        mixed = [target for target in targets if isinstance(target, MixedTarget)]
        if not mixed:
            return self.loss_func(predictions, *targets)
        own = [target.own if isinstance(target, MixedTarget) else target for target in targets]
        partner = [target.partner if isinstance(target, MixedTarget) else target for target in targets]
        share = mixed[0].share
        return share * self.loss_func(predictions, *own) + (1 - share) * self.loss_func(predictions, *partner)

    @property
    def __name__(self) -> str:
        return loss_name(self.loss_func)


class _Mixing(Callback):
    """Blends every training batch with itself in another order; validation sees plain batches."""

    def __init__(self, alpha: float) -> None:
        if not 0 < alpha < math.inf:
            raise ArgumentError(f"alpha is {alpha}; expected a number above 0", try_=f"{self._name}(0.4)")
        self.alpha = alpha

    @property
    def _name(self) -> str:
        return type(self).__name__

    @contextmanager
    def fit_scope(self, learner: Loop) -> Generator[None]:
        step = learner.step
        if not isinstance(step, SupervisedStep):
            raise ArgumentTypeError(
                f"{self._name} mixes targets for a loss, and this learner's step is the user's own, {loss_name(step)}",
                try_="loss_func= instead of step=",
            )
        if isinstance(step.loss_func, MixedLoss):
            raise ArgumentError(
                f"{self._name} is not the only one that mixes batches in this run; expected one",
                try_=f"cbs={self._name}()",
            )
        learner.step = SupervisedStep(MixedLoss(step.loss_func), step.inputs)
        try:
            yield
        finally:
            learner.step = step

    def on_batch(self, learner: Loop, batch: Batch) -> Batch:
        inputs, targets = split_batch(batch, cast(SupervisedStep, learner.step).inputs)
        for part in inputs:
            if not isinstance(part, Tensor) or not part.is_floating_point():
                raise ArgumentTypeError(
                    f"{self._name} blends inputs of fractional numbers; an input is {described(part)}",
                    try_=f"training without {self._name}",
                )
        order = torch.randperm(len(inputs[0]), device=inputs[0].device)
        share = self.draw_share()
        blended, share = self.blend(list(inputs), order, share)
        return (*blended, *(self._target(target, order, share) for target in targets))

    def draw_share(self) -> float:
        """The share that each item keeps of itself in the next batch, 0..1, from torch's generator on the CPU."""
        return float(torch.distributions.Beta(self.alpha, self.alpha).sample())

    @abstractmethod
    def blend(self, inputs: list[Tensor], order: Tensor, share: float) -> tuple[list[Tensor], float]:
        """The inputs, each item blended with that of `order`, and the share of its own that came of it."""

    def _target(self, target: Any, order: Tensor, share: float) -> Any:
        if not isinstance(target, Tensor) or target.ndim > 2:
            raise ArgumentTypeError(
                f"{self._name} cannot mix targets of {described(target)}: masks, points and boxes lie at places, and "
                "two in one are neither; expected a class, labels or numbers for each item",
                try_=f"training without {self._name}",
            )
        if target.is_floating_point():
            return target.lerp(target[order], 1 - share)
        return MixedTarget(target, target[order], share)


class MixUp(_Mixing):
    """Each item is a blend of two, `share` of itself and the rest of another, and so is its target.

    One share a batch is drawn from Beta(`alpha`, `alpha`): below 1, most are near 0 or 1. Targets that
    are class numbers cost the loss of both, in their shares; zeros and ones of several labels, and numbers to
    predict, are blended themselves. Any loss of predictions and targets will do. The training loss of a row is that
    of blends, and so higher than it would be.

    Raises `ArgumentTypeError` for inputs of whole numbers, and for masks, points and boxes.
    Source: Zhang et al. 2018, arXiv:1710.09412.
    """

    def __init__(self, alpha: float = 0.4) -> None:
        super().__init__(alpha)

    def blend(self, inputs: list[Tensor], order: Tensor, share: float) -> tuple[list[Tensor], float]:
        return [part.lerp(part[order], 1 - share) for part in inputs], share


class CutMix(_Mixing):
    """Each picture has a rectangle of another in it, the same place in the whole batch; targets are as for `MixUp`.

    The share that stays is drawn from Beta(`alpha`, `alpha`), the rectangle's middle anywhere; what lies
    beyond the edge is cut off, and the targets' share is that of the pixels in the end. Inputs are (B, C, H, W).

    Raises `ArgumentTypeError` for other inputs, and for masks, points and boxes.
    Source: Yun et al. 2019, arXiv:1905.04899.
    """

    def __init__(self, alpha: float = 1.0) -> None:
        super().__init__(alpha)

    def blend(self, inputs: list[Tensor], order: Tensor, share: float) -> tuple[list[Tensor], float]:
        sizes = {tuple(part.shape[2:]) for part in inputs}
        if len(sizes) != 1 or inputs[0].ndim != 4:
            found = " and ".join(described(part) for part in inputs)
            raise ArgumentTypeError(
                f"CutMix cuts pictures of one size (B, C, H, W); the inputs are {found}", try_="MixUp()"
            )
        height, width = inputs[0].shape[2:]
        rows, columns, share = self.draw_rectangle(height, width, share)
        cut = [part.clone() for part in inputs]
        for part, whole in zip(cut, inputs, strict=True):
            part[:, :, rows, columns] = whole[order, :, rows, columns]
        return cut, share

    def draw_rectangle(self, height: int, width: int, share: float) -> tuple[slice, slice, float]:
        """Rows and columns of about `1 - share` of the pixels around a random middle, and the share outside of them."""
        half = math.sqrt(1 - share) / 2
        y, x = cast("list[float]", torch.rand(2).tolist())
        top, bottom = (round(min(max(y + side, 0), 1) * height) for side in (-half, half))
        left, right = (round(min(max(x + side, 0), 1) * width) for side in (-half, half))
        inside = (bottom - top) * (right - left) / (height * width)
        return slice(top, bottom), slice(left, right), 1 - inside
