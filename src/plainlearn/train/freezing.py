"""Freezing: which depths of a model learn. `Learner` offers each function as a method."""

from __future__ import annotations

import operator

from plainlearn.core.describe import describe
from plainlearn.core.errors import ArgumentError, ArgumentTypeError
from plainlearn.core.tensors import batch_norms
from plainlearn.optim.groups import split_by_depth
from plainlearn.train.loop import TrainingLoop


def freeze(learner: TrainingLoop, train_bn: bool | None = None) -> None:
    """Let only the last depth learn: `freeze_to(-1)`."""
    freeze_to(learner, -1, train_bn)


def unfreeze(learner: TrainingLoop) -> None:
    """Let every depth learn: `freeze_to(0)`."""
    freeze_to(learner, 0)


def freeze_to(learner: TrainingLoop, n: int, train_bn: bool | None = None) -> None:
    """Let the depths from number `n` on learn, and none before; -1 is the last. Depths are the splitter's groups.

    With `train_bn` the scale and shift of batch norm learn in the frozen depths too. None means what the
    model says by an attribute of that name (pretrained ones of `vision_learner` say no), and yes where it says nothing.
    Raises `ArgumentError` when there are fewer depths, and when all would learn though a frozen one was asked for.
    """
    if isinstance(n, bool) or not hasattr(n, "__index__"):
        raise ArgumentTypeError(f"n is {describe(n)}; expected the number of a depth", try_="freeze_to(-1)")
    model = learner.model
    wanted = {id(parameter): parameter.requires_grad for parameter in model.parameters()}
    model.requires_grad_(True)
    try:
        groups = split_by_depth(model, learner.splitter)
        first = _number(operator.index(n), len(groups))
    except Exception:
        for parameter in model.parameters():
            parameter.requires_grad_(wanted[id(parameter)])
        raise
    keep_norms = getattr(model, "train_bn", True) if train_bn is None else train_bn
    norms: set[int] = set()
    if keep_norms:
        norms = {id(parameter) for norm in batch_norms(model) for parameter in norm.parameters()}
    for group in groups[:first]:
        for parameter in group:
            parameter.requires_grad_(id(parameter) in norms)


def _number(n: int, depths: int) -> int:
    if not -depths <= n < depths:
        raise ArgumentError(
            f"n is {n}, and the model has {depths} depths; expected {-depths} to {depths - 1}",
            try_="freeze_to(-1)",
        )
    first = n % depths
    if n < 0 and first == 0 and depths == 1:
        raise ArgumentError(
            "the model has one depth, so freezing all but the last would freeze nothing",
            try_="splitter=lambda model: [list(model[0].parameters()), list(model[1].parameters())]",
        )
    return first
