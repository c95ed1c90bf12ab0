"""Drawing with weights: some items come often, others seldom, and an epoch is as long as ever."""

from __future__ import annotations

import math
import zlib
from collections import Counter
from collections.abc import Hashable, Sequence
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from plainlearn.core.describe import describe
from plainlearn.core.errors import ArgumentError, ArgumentTypeError, DataError, ShapeError
from plainlearn.data.loader import DataLoader
from plainlearn.data.reading import Source


class WeightedDataLoader(DataLoader):
    """A `DataLoader` whose epoch is as many draws as there are items, each with the chances that `weights` give.

    One weight an item, 0 or more; they need no sum. Items are put back, so that an item may come twice in an
    epoch, and others not at all. The draws are of the epoch's seed, as a shuffled order is, and resume like it.
    Other arguments are those of `DataLoader`.

    Raises `ShapeError` when there are not as many weights as items, `ArgumentError` for weights that are negative,
    not finite, or all 0.

    >>> loader = WeightedDataLoader(range(3), [0, 1, 0], bs=3)
    >>> list(loader)
    [tensor([1, 1, 1])]
    """

    def __init__(
        self, dataset: Source, weights: ArrayLike, batch_size: int | None = None, **settings: Any
    ) -> None:
        if not settings.setdefault("shuffle", True):
            raise ArgumentError(
                "weights say by chance which item comes next; shuffle=False leaves nothing to chance"
            )
        super().__init__(dataset, batch_size, **settings)
        self.weights = _checked_weights(weights, len(self.dataset))

    def _everything(self, epoch_seed: int) -> Tensor:
        source = torch.Generator("cpu").manual_seed(epoch_seed % 2**63)
        # Not torch.multinomial, which ends at 16 million items.
        reached = self.weights.cumsum(0)
        points = torch.rand(len(reached), generator=source, dtype=torch.float64) * reached[-1]
        # Rounding could put a point on the very end; the last item with a chance is there.
        return torch.searchsorted(reached, points, right=True).clamp_max(int(self.weights.nonzero()[-1]))

    def _identity(self) -> dict[str, Any]:
        return super()._identity() | {"weights": zlib.crc32(self.weights.numpy().tobytes())}

    def settings(self) -> dict[str, Any]:
        return super().settings() | {"weights": self.weights}


def weighted(loader: object, weights: ArrayLike) -> WeightedDataLoader:
    """A loader like `loader`, at its beginning, that draws with `weights`: one an item, or "auto" for `balancing_weights`."""
    if not isinstance(loader, DataLoader):
        raise ArgumentTypeError(
            f"the training batches are a {type(loader).__name__}; expected a DataLoader of ours to draw from",
            try_="DataLoader(dataset)",
        )
    if isinstance(weights, str):
        if weights != "auto":
            raise ArgumentError(
                f"weights is {weights!r}; expected 'auto', or one weight an item", try_="weights='auto'"
            )
        weights = balancing_weights(loader.dataset)
    settings: dict[str, Any] = loader.settings() | {"shuffle": True, "weights": weights}
    return WeightedDataLoader(**settings)


def balancing_weights(dataset: object) -> Tensor:
    """A weight for each item such that every class is drawn equally often, float64 (N,).

    An item weighs one over the number of items of its class. Of several labels the rarest counts, so that is then
    drawn more often, not all equally; items without a label are a class by themselves.
    Raises `DataError` for a dataset whose items have no classes.
    """
    labels = _labels_of_items(dataset)
    occurring = Counter(label for those in labels for label in those)
    rarest = [min(occurring[label] for label in those) for those in labels]
    return 1 / torch.tensor(rarest, dtype=torch.float64)


def _labels_of_items(dataset: object) -> list[tuple[Hashable, ...]]:
    if not hasattr(dataset, "labels"):
        raise DataError(
            f"the items of {type(dataset).__name__} do not say their classes; expected a dataset of blocks",
            try_="weights=[…], one an item",
        )
    return [
        tuple(those) or ("no label",)
        for those in cast("Sequence[Sequence[Hashable]]", cast(Any, dataset).labels())
    ]


def _checked_weights(weights: ArrayLike, items: int) -> Tensor:
    try:
        values = torch.as_tensor(np.asarray(weights, dtype=np.float64))
    except (TypeError, ValueError) as error:
        raise ArgumentTypeError(f"weights is {describe(weights)}; expected one number an item") from error
    if values.shape != (items,):
        raise ShapeError(
            f"the weights have the shape {tuple(values.shape)}; expected one for each of {items} items"
        )
    numbers = cast("list[float]", values.tolist())
    odd = [number for number in numbers if not 0 <= number < math.inf]
    if odd or not sum(numbers) > 0:
        found = f"a weight is {odd[0]:g}" if odd else "all weights are 0"
        raise ArgumentError(f"{found}; expected numbers of 0 or more, and one above")
    return values
