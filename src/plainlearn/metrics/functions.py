"""Metrics as functions of one batch's predictions and targets; a run averages them by batch size."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from plainlearn.core.errors import ArgumentError, MetricError


def accuracy(inp: Tensor, targ: Tensor, axis: int = -1) -> Tensor:
    """The share of items, 0..1, whose largest activation is that of the target class.

    `inp` holds activations or probabilities, (B, K), or with `axis=1` (B, K, …); `targ` one class
    number an item, (B,), (B, 1) or (B, …).
    Raises `MetricError` when there is one activation an item (the largest of one is always
    the same), or not one target an item.

    >>> accuracy(torch.tensor([[0.1, 0.9], [0.8, 0.2]]), torch.tensor([1, 1]))
    tensor(0.5000)
    """
    _check_classes("accuracy", inp, axis)
    decided = inp.argmax(dim=axis)
    return (decided == _like(decided, targ, inp, "accuracy")).float().mean()


def error_rate(inp: Tensor, targ: Tensor, axis: int = -1) -> Tensor:
    """One minus `accuracy`: the share of items, 0..1, for which another class is thought more likely.

    >>> error_rate(torch.tensor([[0.1, 0.9], [0.8, 0.2]]), torch.tensor([1, 0]))
    tensor(0.)
    """
    return 1 - accuracy(inp, targ, axis=axis)


def top_k_accuracy(inp: Tensor, targ: Tensor, k: int = 5, axis: int = -1) -> Tensor:
    """The share of items, 0..1, whose target is among the `k` largest activations; shapes as for `accuracy`.

    With `k` classes or fewer it is 1. Raises `ArgumentError` for a `k` below 1.

    >>> top_k_accuracy(torch.tensor([[0.5, 0.3, 0.2]]), torch.tensor([1]), k=2)
    tensor(1.)
    """
    if k < 1:
        raise ArgumentError(f"k is {k}; expected 1 or more", try_="partial(top_k_accuracy, k=5)")
    _check_classes("top_k_accuracy", inp, axis)
    among = inp.topk(k=min(k, inp.shape[axis]), dim=axis).indices.movedim(axis, -1)
    wanted = _like(among[..., 0], targ, inp, "top_k_accuracy")
    return (among == wanted.unsqueeze(-1)).any(dim=-1).float().mean()


def accuracy_multi(inp: Tensor, targ: Tensor, thresh: float = 0.5, sigmoid: bool = True) -> Tensor:
    """The share of single yes-or-no answers, 0..1, that are right.

    `inp` and `targ` have one shape, but for axes of one; targets are 0 or 1. `sigmoid=True` says that
    `inp` are logits: they are squashed to 0..1 first, and `thresh` is on that side, so 0.5 there means 0
    on the logit. With `sigmoid=False` `thresh` is compared with `inp` as it is.
    Raises `MetricError` when the shapes differ.

    >>> accuracy_multi(torch.tensor([[0.2, -3.0]]), torch.tensor([[1, 0]]))
    tensor(1.)
    """
    targets = _like(inp, targ, inp, "accuracy_multi")
    return (((inp.sigmoid() if sigmoid else inp) > thresh) == targets).float().mean()


def mse(inp: Tensor, targ: Tensor) -> Tensor:
    """Mean squared error, in squared units of the target; the shapes are equal, but for axes of one.

    >>> mse(torch.tensor([[1.0], [2.0]]), torch.tensor([1.0, 4.0]))
    tensor(2.)
    """
    return F.mse_loss(inp, _like(inp, targ, inp, "mse").to(inp.dtype))


def mae(inp: Tensor, targ: Tensor) -> Tensor:
    """Mean absolute error, in units of the target; the shapes are equal, but for axes of one.

    >>> mae(torch.tensor([[1.0], [2.0]]), torch.tensor([1.0, 4.0]))
    tensor(1.)
    """
    return F.l1_loss(inp, _like(inp, targ, inp, "mae").to(inp.dtype))


class rmse:
    """Root of the mean squared error over the whole set, in units of the target; shapes as for `mse`.

    A class, because the root of a mean is not the mean of the roots of its parts:
    batches of different size would give another number. `metrics=rmse` is enough.

    >>> metric = rmse()
    >>> metric.update(torch.tensor([0.0, 0.0]), torch.tensor([3.0, 4.0]))
    >>> metric.compute()
    tensor(3.5355)
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget what was seen."""
        self._squares: list[Tensor] = []
        self._count = 0

    def update(self, inp: Tensor, targ: Tensor) -> None:
        """See a batch."""
        error = inp.detach() - _like(inp, targ, inp, "rmse")
        self._squares.append(error.square().sum())
        self._count += error.numel()

    def compute(self) -> Tensor:
        """The value over all that was seen since `reset`. Raises `MetricError` when that is nothing."""
        if not self._count:
            raise MetricError("rmse has seen no value; expected an update before compute")
        return (torch.stack(self._squares).sum() / self._count).sqrt()


def _check_classes(name: str, inp: Tensor, axis: int) -> None:
    if inp.ndim < 2 or inp.shape[axis] < 2:
        raise MetricError(
            f"{name} compares two or more activations an item; the predictions have the shape {tuple(inp.shape)}",
            try_="accuracy_multi (a threshold on each activation)",
        )


def _like(values: Tensor, targ: Tensor, inp: Tensor, name: str) -> Tensor:
    """The targets in the shape of `values`; only axes of one may differ, so that none is held against another's."""
    if values.shape == targ.shape:
        return targ
    if [size for size in values.shape if size != 1] == [size for size in targ.shape if size != 1]:
        return targ.reshape(values.shape)
    other = "accuracy_multi for targets of zeros and ones" if values is not inp else ""
    raise MetricError(
        f"{name} needs {'one class number an item' if values is not inp else 'a target for each prediction'}; "
        f"the predictions have the shape {tuple(inp.shape)} and the targets {tuple(targ.shape)}",
        try_=other,
    )
