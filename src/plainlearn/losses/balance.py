"""Losses that do not let frequent classes drown the rare ones: factors from how often each occurs."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import Tensor

from plainlearn.core.describe import describe
from plainlearn.core.errors import ArgumentError, DataError
from plainlearn.losses.losses import BCEWithLogitsLossFlat, CrossEntropyLossFlat, Loss


def class_weights(counts: object, beta: float | None = None) -> Tensor:
    """A factor for each of K classes, float32 (K,), whose mean over the items is 1.

    `counts` says how often each class occurs: loaders with `counts()`, of which training counts, a dict, or a list.
    By default a class counts as its inverse frequency, `items / (K · count)`. With `beta`, 0..1, it is
    the inverse of the effective number `(1 - beta ** count) / (1 - beta)`, which grows less
    and less with the count: milder, for sets in which some classes are hundreds of times as frequent.
    A class without items has the factor of a class with one.

    Raises `DataError` when nothing is counted, `ArgumentError` for a `beta` outside 0..1.
    Source: Cui et al. 2019, arXiv:1901.05555, for the effective number.

    >>> class_weights({"cat": 30, "dog": 10})
    tensor([0.6667, 2.0000])
    """
    if beta is not None and not 0 <= beta < 1:
        raise ArgumentError(f"beta is {beta}; expected 0 or more and below 1", try_="beta=0.999")
    occurring = torch.tensor(_numbers(counts), dtype=torch.float64)
    seen = occurring.clamp_min(1)
    inverse = 1 / seen if beta is None else (1 - beta) / (1 - beta**seen)
    return (inverse * occurring.sum() / (inverse * occurring).sum()).float()


def balanced_loss(dls: object, beta: float | None = None) -> Loss:
    """The loss that `dls` imply, with each class as important as any other, however rare.

    For classes it is cross-entropy with `class_weights`; for several labels an item, each label's yes counts
    as much as its no: `pos_weight` is how many training items lack it for each that has it.
    Raises `ArgumentError` when the loss is about neither, `DataError` when the classes cannot be counted.
    """
    implied = getattr(dls, "loss_func", None)
    if isinstance(implied, CrossEntropyLossFlat):
        weighted = copy.copy(implied)
        weighted.weight = class_weights(dls, beta)
        return weighted
    if isinstance(implied, BCEWithLogitsLossFlat):
        have = torch.tensor(_numbers(dls), dtype=torch.float64).clamp_min(1)
        one_by_one = copy.copy(implied)
        one_by_one.pos_weight = ((len(cast("Any", dls).train_ds) - have).clamp_min(1) / have).float()
        return one_by_one
    raise ArgumentError(
        f"the loss of these data is {implied!r}, and there are no classes in it to balance; "
        "expected loaders of a CategoryBlock or MultiCategoryBlock",
        try_="weight=class_weights({...}) in the loss itself",
    )


def _numbers(counts: Any) -> list[float]:
    counted = counts.counts()["train"] if hasattr(counts, "counts") else counts
    if isinstance(counted, Mapping):
        counted = list(cast("Mapping[Any, float]", counted).values())
    numbers = cast("list[float]", torch.as_tensor(counted, dtype=torch.float64).reshape(-1).tolist())
    if not numbers or not min(numbers) >= 0 or not 0 < sum(numbers) < math.inf:
        raise DataError(
            f"the counts are {describe(counts)}; expected how often each class occurs",
            try_="class_weights(dls), or class_weights({'cat': 30, 'dog': 10})",
        )
    return numbers
