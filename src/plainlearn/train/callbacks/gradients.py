"""What happens to gradients before the optimizer moves: gathering those of several batches, and clipping them."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

import torch
from torch import Tensor

from plainlearn.core.describe import describe
from plainlearn.core.errors import ArgumentError
from plainlearn.core.tensors import find_batch_size
from plainlearn.train.callback import Callback, Loop
from plainlearn.train.step import Batch, Result


class GradientAccumulation(Callback):
    """The optimizer moves after every `n_acc` items, by the mean gradient over them: a large batch in small pieces.

    It moves as soon as that many or more have been seen, and at the end of an epoch by what there is. For models without
    batch norm, batches of 8 and `n_acc=16` give the weights that batches of 16 give. A loss must be a mean over the items.
    Raises `ArgumentError` for less than one item.
    """

    def __init__(self, n_acc: int = 32) -> None:
        if isinstance(n_acc, bool) or not isinstance(n_acc, int) or n_acc < 1:  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ArgumentError(f"n_acc is {describe(n_acc)}; expected 1 item or more", try_="n_acc=64")
        self.n_acc = n_acc
        self._seen = self._latest = 0  # items since the last move, and in the batch before

    @contextmanager
    def fit_scope(self, learner: Loop) -> Generator[None]:
        self._seen = self._latest = 0
        yield

    def on_batch(self, learner: Loop, batch: Batch) -> Batch:
        items = find_batch_size(batch)
        if self._seen and items != self._latest:
            # What is there counts in units of this batch, whose gradient is about to be added.
            _scale(learner, self._latest / items)
        self._seen, self._latest = self._seen + items, items
        return batch

    def on_gradients(self, learner: Loop, result: Result) -> bool:
        ends = learner.batches_done + 1 == learner.steps_of_epoch
        if self._seen < self.n_acc and not ends:
            return False
        if self._seen != self._latest:
            _scale(learner, self._latest / self._seen)
        self._seen = self._latest = 0
        return True


class GradientClip(Callback):
    """Gradients longer than `max_norm`, all taken together, are shortened to it.

    Raises `ArgumentError` for a norm of 0 or less, and in a list before `GradientAccumulation`: pieces would be clipped.
    Source: Pascanu et al. 2012, arXiv:1211.5063.
    """

    def __init__(self, max_norm: float = 1.0, norm_type: float = 2.0) -> None:
        if not max_norm > 0:
            raise ArgumentError(f"max_norm is {max_norm}; expected a number above 0", try_="max_norm=1.0")
        self.max_norm, self.norm_type = max_norm, norm_type

    @contextmanager
    def fit_scope(self, learner: Loop) -> Generator[None]:
        behind = learner.callbacks[learner.callbacks.index(self) + 1 :]
        if any(isinstance(callback, GradientAccumulation) for callback in behind):
            raise ArgumentError(
                "GradientClip stands before GradientAccumulation, so it would clip the gradient of each piece",
                try_="cbs=[GradientAccumulation(64), GradientClip(1.0)]",
            )
        yield

    def on_gradients(self, learner: Loop, result: Result) -> None:
        learner.precision.unscale(learner.optimizer)
        torch.nn.utils.clip_grad_norm_(learner.model.parameters(), self.max_norm, self.norm_type)


def _scale(learner: Loop, factor: float) -> None:
    gradients: list[Tensor] = [p.grad for p in learner.model.parameters() if p.grad is not None]
    torch._foreach_mul_(gradients, factor)  # pyright: ignore[reportPrivateUsage, reportPrivateImportUsage]
