"""Training and validation batches, side by side."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from plainlearn.core.describe import describe
from plainlearn.core.errors import ArgumentError, ArgumentTypeError, DataError
from plainlearn.data.columns import TensorRows
from plainlearn.data.loader import DataLoader
from plainlearn.data.weighted import weighted


class DataLoaders:
    """A pair of loaders: `train`, `valid`, and any further ones by number.

    Each is any iterable of batches: a `DataLoader` of ours, one of torch's, a list. With only
    one, `valid` is None and a run reports no validation. `n_inp` is how many fields of a batch go
    into the model; the rest are targets (by default all but the last).

    >>> dls = DataLoaders([(torch.zeros(2, 3), torch.zeros(2))], [])
    >>> len(dls.train)
    1
    """

    #: What the kind of data implies; the applications' loaders say it, plain ones leave it to the learner.
    loss_func: Any = None

    def __init__(
        self,
        *loaders: Iterable[Any],
        path: str | Path = ".",
        n_inp: int | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        if not loaders:
            raise ArgumentError(
                "DataLoaders got no loader; expected training and validation batches",
                try_="DataLoaders(dl, valid_dl)",
            )
        for position, loader in enumerate(loaders):
            # The last would be iterated over row by row, or key by key, each taken for a batch.
            if not isinstance(loader, Iterable) or isinstance(  # pyright: ignore[reportUnnecessaryIsInstance]
                loader, str | bytes | Mapping | Tensor | np.ndarray
            ):
                raise ArgumentTypeError(
                    f"loader {position} is {describe(loader)}; expected an iterable of batches",
                    try_="DataLoader(dataset, bs=64)",
                )
        self.loaders: list[Any] = list(loaders)
        self.path = Path(path)
        self.n_inp = n_inp
        self.device = None if device is None else torch.device(device)

    @property
    def train(self) -> Any:
        return self.loaders[0]

    @property
    def valid(self) -> Any:
        return self.loaders[1] if len(self.loaders) > 1 else None

    def __getitem__(self, index: int) -> Any:
        return self.loaders[index]

    def __len__(self) -> int:
        return len(self.loaders)

    @property
    def train_ds(self) -> Any:
        """What the training loader reads from."""
        return _dataset_of("training", self.train)

    @property
    def valid_ds(self) -> Any:
        """What the validation loader reads from."""
        return _dataset_of("validation", self.valid)

    def one_batch(self) -> Any:
        """The first training batch, as the loader gives it. Raises `ValueError` if there is none."""
        if isinstance(self.train, DataLoader):
            return self.train.one_batch()  # which leaves the loader's position as it is
        for batch in self.train:
            return batch
        raise DataError(
            "the training loader gave no batch; expected at least one",
            try_="a list of batches, or a DataLoader: an iterator can be read only once",
        )

    def weighted(self, weights: Sequence[float] | NDArray[Any] | Tensor | Literal["auto"] = "auto") -> Self:
        """The same loaders, but training draws by chance, each item with its weight; see `WeightedDataLoader`.

        `weights` are one number an item; "auto" lets every class come equally often, however rare. An epoch is as
        long as before. Raises `DataError` for "auto" where items have no classes.
        """
        other = copy.copy(self)
        other.loaders = [weighted(self.train, weights), *self.loaders[1:]]
        return other

    @classmethod
    def from_tensors(
        cls,
        train: tuple[Tensor, ...],
        valid: tuple[Tensor, ...],
        *,
        bs: int = 64,
        shuffle: bool = True,
        seed: int | None = None,
        device: torch.device | str | None = None,
    ) -> DataLoaders:
        """Loaders over tensors whose rows belong together, such as `(x, y)`.

        With `device`, the tensors are moved there once and batches are cut there.
        Raises `DataError` when tensors of one part have different numbers of rows.
        """
        return cls(
            DataLoader(_rows("train", train, device), bs=bs, shuffle=shuffle, seed=seed),
            DataLoader(_rows("valid", valid, device), bs=bs),
            device=device,
        )

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(map(repr, self.loaders))})"


def _rows(part: str, tensors: Any, device: torch.device | str | None) -> TensorRows:
    # A tensor alone would do as a tuple of its rows, each taken for a column.
    if not isinstance(tensors, tuple | list):
        raise ArgumentTypeError(
            f"{part} is {describe(tensors)}; expected a tuple of tensors",
            try_="DataLoaders.from_tensors((x, y), (valid_x, valid_y))",
        )
    rows = TensorRows(*cast("tuple[Tensor, ...]", tensors))
    return TensorRows(*(column.to(device) for column in rows.columns))


def _dataset_of(which: str, loader: Any) -> Any:
    if not hasattr(loader, "dataset"):
        found = "there is none" if loader is None else f"they are a {type(loader).__name__}"
        raise AttributeError(f"the {which} batches have no dataset: {found}")
    return loader.dataset
