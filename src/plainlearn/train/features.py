"""Features: what reaches a model's head of each item, computed once while nothing on the way to it changes."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from plainlearn.core.errors import ArgumentError, DataError, ShapeError
from plainlearn.core.tensors import to_device
from plainlearn.optim.groups import split_by_depth
from plainlearn.train.evaluate import evaluating
from plainlearn.train.loop import TrainingLoop
from plainlearn.train.step import apply_model, described, split_batch


@dataclass(frozen=True)
class Head:
    """Where the head of a model begins: its `first` layer with weights. `linear` if that is all there is of it."""

    first: nn.Module
    linear: nn.Linear | None


@dataclass(frozen=True)
class Features:
    """One row an item, (N, F), on the device of the model, and the class number of each, (N,)."""

    rows: Tensor
    targets: Tensor


def head_of(learner: TrainingLoop) -> Head:
    """The head: the layers whose parameters are the last depth.

    Raises `ArgumentError` for a model of one depth, where there is nothing before the head.
    """
    depths = _all_depths(learner)
    if len(depths) < 2:
        raise ArgumentError(
            f"{type(learner.model).__name__} has one depth, so where its head begins is not known",
            try_="splitter=lambda model: [list(model[0].parameters()), list(model[1].parameters())]",
        )
    wanted = set(map(id, depths[-1]))
    layers = [
        layer
        for layer in learner.model.modules()
        if any(id(parameter) in wanted for parameter in layer.parameters(recurse=False))
    ]
    first = layers[0]
    linear = (
        first if len(layers) == 1 and type(first) is nn.Linear and _is_last(learner.model, first) else None
    )
    return Head(first, linear)


def body_is_fixed(learner: TrainingLoop) -> bool:
    """Whether nothing before the head learns, and no batch norm there compares the items of a batch in training."""
    *before, head = _all_depths(learner)
    if any(parameter.requires_grad for group in before for parameter in group):
        return False
    inside = set(map(id, head))
    with _training(learner.model):
        return not any(
            part.training and getattr(part, "track_running_stats", False)
            for part in learner.model.modules()
            if not any(id(parameter) in inside for parameter in part.parameters(recurse=False))
        )


def features_of(learner: TrainingLoop, batches: Iterable[Any], head: Head) -> Features:
    """What reaches the head of each item of `batches`, in one pass in evaluation mode.

    Raises `ShapeError` unless it is one row an item, and one class number each; `DataError` when there is no batch.
    """
    caught: list[Tensor] = []
    rows: list[Tensor] = []
    aimed: list[Tensor] = []

    def catch(_layer: nn.Module, given: tuple[Any, ...]) -> None:
        caught[:] = [given[0].float()]

    hook = head.first.register_forward_pre_hook(catch)
    try:
        with evaluating(learner.model):
            for host_batch in batches:
                batch = to_device(host_batch, learner.device)
                given, targets = split_batch(batch, getattr(learner.dls, "n_inp", None))
                with learner.precision.autocast():
                    apply_model(learner.model, given)
                if caught[0].ndim != 2 or len(targets) != 1 or targets[0].shape != caught[0].shape[:1]:
                    raise ShapeError(
                        f"the head gets {described(caught[0])} and the targets are {' and '.join(map(described, targets))}; "
                        "expected one row of features and one class number for each item"
                    )
                rows.append(caught[0])
                aimed.append(targets[0].long())
    finally:
        hook.remove()
    if not rows:
        raise DataError("there is no batch to compute features of; expected at least one")
    return Features(torch.cat(rows), torch.cat(aimed))


def unaugmented_batches(learner: TrainingLoop) -> Iterable[Any]:
    """The training items as validation would see them, where the loaders can give them so; else as they come."""
    unaugmented = getattr(learner.dls, "unaugmented", None)
    return learner.dls.train if unaugmented is None else unaugmented()


def _all_depths(learner: TrainingLoop) -> list[list[nn.Parameter]]:
    """The depths of the model with their frozen parameters too."""
    parameters = list(learner.model.parameters())
    frozen = [parameter for parameter in parameters if not parameter.requires_grad]
    for parameter in frozen:
        parameter.requires_grad_(True)
    try:
        return split_by_depth(learner.model, learner.splitter)
    finally:
        for parameter in frozen:
            parameter.requires_grad_(False)


def _is_last(model: nn.Module, layer: nn.Module) -> bool:
    """Whether the output of `layer` is that of the model, as far as the order of a Sequential's parts tells."""
    while isinstance(model, nn.Sequential) and len(model):
        model = model[-1]
    return model is layer


@contextmanager
def _training(model: nn.Module) -> Generator[None]:
    """The model as it trains; every part's own mode comes back afterwards."""
    modes = [(part, part.training) for part in model.modules()]
    model.train()
    try:
        yield
    finally:
        for part, mode in modes:
            part.training = mode
