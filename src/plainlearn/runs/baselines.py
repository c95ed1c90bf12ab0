"""What the simplest answers reach: a model that does no better has learned nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import torch
from torch import Tensor

from plainlearn.core.lists import L
from plainlearn.core.seed import preserve_random_state
from plainlearn.data.block_loaders import BlockLoaders
from plainlearn.runs.training_data import Pictures

__all__ = ["commonest_class", "nearest_mean", "simple_baselines"]

_SIDE: Final = 32
_MOST: Final = 2000  # pictures of each side, or a few more


def simple_baselines(pictures: Pictures) -> dict[str, float]:
    """The accuracy on the validation images of always saying the commonest class, and of the nearest mean picture."""
    with preserve_random_state():
        dls = pictures.loaders(_SIDE, 64)
        train, valid = (_sample(dls, side.items) for side in (dls.datasets.train, dls.datasets.valid))
    return {
        "always the commonest class": commonest_class(train[1], valid[1]),
        "the nearest mean picture": nearest_mean(*train, *valid),
    }


def commonest_class(train_targets: Tensor, valid_targets: Tensor) -> float:
    """The share of validation targets (N,) that are the class that is commonest among the training targets.

    >>> commonest_class(torch.tensor([0, 1, 1]), torch.tensor([1, 0]))
    0.5
    """
    return float((valid_targets == train_targets.bincount().argmax()).float().mean())


def nearest_mean(train_x: Tensor, train_y: Tensor, valid_x: Tensor, valid_y: Tensor) -> float:
    """The accuracy of naming each picture (N, …) after the class whose mean picture is nearest, by absolute differences.

    The lesson's pixel similarity.

    >>> nearest_mean(torch.tensor([[0.0], [1.0]]), torch.tensor([0, 1]), torch.tensor([[0.2]]), torch.tensor([0]))
    1.0
    """
    numbers = [number for number, count in enumerate(train_y.bincount()) if count]
    means = torch.stack([train_x[train_y == number].mean(0) for number in numbers]).flatten(1)
    nearest = torch.cdist(valid_x.flatten(1), means, p=1).argmin(dim=1)
    return float((torch.tensor(numbers)[nearest] == valid_y).float().mean())


def _sample(dls: BlockLoaders, items: Sequence[Any]) -> tuple[Tensor, Tensor]:
    """Some of the pictures, from all over, and their classes, on the CPU."""
    chosen = L(items)[:: max(1, len(items) // _MOST)]
    batches = list(dls.test_dl(chosen, with_labels=True))
    return torch.cat([batch[0].float().cpu() for batch in batches]), torch.cat(
        [batch[1].cpu() for batch in batches]
    )
