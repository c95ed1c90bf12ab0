"""Metrics as functions of one batch's predictions and targets; a run averages them by batch size."""

from __future__ import annotations

import torch
from torch import Tensor

from plainlearn.core.errors import MetricError


def accuracy(inp: Tensor, targ: Tensor, axis: int = -1) -> Tensor:
    """The share of items whose largest activation is that of the target class.

    `inp` is (B, K) activations or probabilities, `targ` (B,) or (B, 1) class numbers.
    Raises `MetricError` when there is one activation an item: the largest of one is always the same.

    >>> accuracy(torch.tensor([[0.1, 0.9], [0.8, 0.2]]), torch.tensor([1, 1]))
    tensor(0.5000)
    """
    if inp.ndim < 2 or inp.shape[axis] < 2:
        raise MetricError(
            f"accuracy compares two or more activations an item; the predictions have the shape {tuple(inp.shape)}",
            try_="accuracy_multi (a threshold on each activation)",
        )
    decided = inp.argmax(dim=axis)
    if decided.numel() != targ.numel():
        raise MetricError(
            f"accuracy needs one class number an item; predictions {tuple(inp.shape)} decide {decided.numel()} "
            f"and the targets have the shape {tuple(targ.shape)}",
            try_="accuracy_multi for targets of zeros and ones",
        )
    return (decided.reshape(-1) == targ.reshape(-1)).float().mean()


def error_rate(inp: Tensor, targ: Tensor, axis: int = -1) -> Tensor:
    """One minus `accuracy`."""
    return 1 - accuracy(inp, targ, axis=axis)


def accuracy_multi(inp: Tensor, targ: Tensor, thresh: float = 0.5, sigmoid: bool = True) -> Tensor:
    """The share of single yes-or-no answers that are right.

    `inp` and `targ` have one shape; targets are 0 or 1. `sigmoid=True` says that `inp` are
    logits: they are squashed to 0..1 first, and `thresh` is on that side, so 0.5 there means 0
    on the logit. With `sigmoid=False` `thresh` is compared with `inp` as it is.

    >>> accuracy_multi(torch.tensor([[0.2, -3.0]]), torch.tensor([[1, 0]]))
    tensor(1.)
    """
    if inp.numel() != targ.numel():
        raise MetricError(
            f"accuracy_multi needs one target for each activation; predictions have the shape {tuple(inp.shape)} "
            f"and targets {tuple(targ.shape)}",
            try_="accuracy for targets that are class numbers",
        )
    squashed = inp.sigmoid() if sigmoid else inp
    return ((squashed.reshape(-1) > thresh) == targ.reshape(-1).bool()).float().mean()


def top_k_accuracy(inp: Tensor, targ: Tensor, k: int = 5, axis: int = -1) -> Tensor:
    """The share of items whose target is among the `k` largest activations."""
    among = inp.topk(k=min(k, inp.shape[axis]), dim=axis).indices
    return (among == targ.unsqueeze(axis)).any(dim=axis).float().mean()


def mse(inp: Tensor, targ: Tensor) -> Tensor:
    """Mean squared error, in squared units of the target."""
    return torch.nn.functional.mse_loss(inp.reshape(-1), targ.reshape(-1).to(inp.dtype))


def mae(inp: Tensor, targ: Tensor) -> Tensor:
    """Mean absolute error, in units of the target."""
    return torch.nn.functional.l1_loss(inp.reshape(-1), targ.reshape(-1).to(inp.dtype))


class rmse:
    """Root of the mean squared error over the whole set, in units of the target.

    A class, because the root of a mean is not the mean of the roots of its parts:
    batches of different size would give another number.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self._squares: list[Tensor] = []
        self._count = 0

    def update(self, inp: Tensor, targ: Tensor) -> None:
        self._squares.append((inp.reshape(-1) - targ.reshape(-1)).square().sum())
        self._count += targ.numel()

    def compute(self) -> Tensor:
        return (torch.stack(self._squares).sum() / self._count).sqrt()
