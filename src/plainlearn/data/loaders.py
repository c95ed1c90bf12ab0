"""Training and validation batches, side by side."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from plainlearn.core.errors import ArgumentError, ArgumentTypeError
from plainlearn.data.columns import TensorRows
from plainlearn.data.loader import DataLoader


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
        *loaders: Any,
        path: str | Path = ".",
        n_inp: int | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        if not loaders:
            raise ArgumentError("DataLoaders got no loader; expected training and validation batches",
                                try_="DataLoaders(dl, valid_dl)")
        for position, loader in enumerate(loaders):
            if not isinstance(loader, Iterable):
                raise ArgumentTypeError(
                    f"loader {position} is {loader!r}; expected an iterable of batches",
                    try_="DataLoader(dataset, bs=64)",
                )
        self.loaders = list(loaders)
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
        return self.train.dataset

    @property
    def valid_ds(self) -> Any:
        return self.valid.dataset

    def one_batch(self) -> Any:
        """The first training batch, as the model would get it. Raises `ValueError` if there is none."""
        for batch in self.train:
            return batch
        raise ArgumentError("the training loader gave no batch; expected at least one")

    @classmethod
    def from_tensors(
        cls,
        train: tuple[torch.Tensor, ...],
        valid: tuple[torch.Tensor, ...],
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
        def rows(tensors: tuple[torch.Tensor, ...]) -> TensorRows:
            return TensorRows(*(tensor.to(device) for tensor in tensors))

        return cls(
            DataLoader(rows(train), bs=bs, shuffle=shuffle, seed=seed),
            DataLoader(rows(valid), bs=bs),
            device=device,
        )

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(map(repr, self.loaders))})"
