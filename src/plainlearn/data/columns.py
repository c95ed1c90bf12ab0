"""Data that already lie in memory as tensors: taken by index, never item by item.

A course notebook writes `list(zip(train_x, train_y))`. Its items are views of two
tensors; stacking 256 views a batch costs more than the linear model that reads them.
`columns_of` finds the tensors again, so that a batch is one indexing operation each.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor

from plainlearn.core.errors import DataError


class TensorRows:
    """A dataset whose items are the rows of tensors of equal length.

    `TensorRows(x, y)[i]` is `(x[i], y[i])`. The tensors are kept, not copied.
    Raises `DataError` when the lengths differ, naming each.

    >>> TensorRows(torch.arange(3), torch.arange(3) * 10)[2]
    (tensor(2), tensor(20))
    """

    def __init__(self, *columns: Tensor) -> None:
        if not columns:
            raise DataError("no tensor was given; expected one or more", try_="TensorRows(x, y)")
        for position, column in enumerate(columns):
            if not isinstance(column, Tensor) or column.ndim == 0:  # pyright: ignore[reportUnnecessaryIsInstance]
                raise DataError(f"column {position} is {type(column).__name__}; expected a tensor with rows")
        lengths = [len(column) for column in columns]
        if len(set(lengths)) > 1:
            raise DataError(
                f"the tensors have {', '.join(map(str, lengths))} rows; expected the same number in each",
                try_="checking which rows have no target",
            )
        self.columns = columns

    def __len__(self) -> int:
        return len(self.columns[0])

    def __getitem__(self, index: int) -> tuple[Tensor, ...]:
        return tuple(column[index] for column in self.columns)

    def __repr__(self) -> str:
        return f"TensorRows({', '.join(str(tuple(column.shape)) for column in self.columns)})"


def columns_of(dataset: Any) -> Tensor | tuple[Tensor, ...] | None:
    """The tensors whose rows are the items of `dataset`, or None if it is not so made.

    A single tensor means that the items are its rows, a tuple that they are tuples of rows.
    Nothing is copied: the answer shares memory with the items, so later changes in
    place to their values are seen.
    """
    if isinstance(dataset, TensorRows):
        return dataset.columns
    if isinstance(dataset, torch.utils.data.TensorDataset):
        return dataset.tensors
    if isinstance(dataset, Tensor) and dataset.ndim > 0:
        return dataset
    if not isinstance(dataset, Sequence) or isinstance(dataset, (str, bytes, range)) or len(dataset) < 2:
        return None
    items = cast(Sequence[Any], dataset)
    head = items[0]
    if isinstance(head, Tensor):
        return _whole(items)
    if type(head) is not tuple or not head or not all(isinstance(field, Tensor) for field in head):
        return None
    if any(type(item) is not tuple or len(item) != len(head) for item in items):
        return None
    columns = [_whole(column) for column in zip(*items, strict=True)]
    return None if any(column is None for column in columns) else tuple(cast(list[Tensor], columns))


def _whole(rows: Sequence[Any]) -> Tensor | None:
    """The tensor of which `rows` are the consecutive rows, or None."""
    head, second = rows[0], rows[1]
    if not isinstance(second, Tensor) or head.requires_grad or head.layout != torch.strided:
        return None
    start, stride, memory = head.storage_offset(), head.stride(), head.untyped_storage().data_ptr()
    step = second.storage_offset() - start
    if step <= 0:
        return None
    shape, dtype = head.shape, head.dtype
    for number, row in enumerate(rows):
        if (
            not isinstance(row, Tensor)
            or row.storage_offset() != start + number * step
            or row.shape != shape
            or row.dtype != dtype
            or row.stride() != stride
            or row.untyped_storage().data_ptr() != memory
        ):
            return None
    return torch.as_strided(head, (len(rows), *shape), (step, *stride), start)
