"""Data that already lie in memory as tensors: taken by index, never item by item.

A course notebook writes `list(zip(train_x, train_y))`. Its items are views of two
tensors; stacking 256 views a batch costs more than the linear model that reads them.
`columns_of` finds the tensors again, so that a batch is one indexing operation each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import count
from operator import attrgetter, eq, is_
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from plainlearn.core.describe import describe
from plainlearn.core.errors import ArgumentError, ArgumentTypeError, DataError
from plainlearn.core.lists import L

#: A tensor whose rows are the items, or several, if items are tuples of a row of each.
Columns = Tensor | tuple[Tensor, ...]


class TensorRows:
    """A dataset whose items are the rows of tensors of equal length.

    `TensorRows(x, y)[i]` is `(x[i], y[i])`. The tensors are kept, not copied.
    Raises `DataError` when the lengths differ, naming each.

    >>> TensorRows(torch.arange(3), torch.arange(3) * 10)[2]
    (tensor(2), tensor(20))
    """

    def __init__(self, *columns: Tensor) -> None:
        if not columns:
            raise ArgumentError("no tensor was given; expected one or more", try_="TensorRows(x, y)")
        for position, column in enumerate(columns):
            if not isinstance(column, Tensor) or column.ndim == 0:  # pyright: ignore[reportUnnecessaryIsInstance]
                raise ArgumentTypeError(
                    f"column {position} is {describe(column)}; expected a tensor with rows",
                    try_="tensor(column)",
                )
        lengths = [len(column) for column in columns]
        if len(set(lengths)) > 1:
            raise DataError(
                f"the tensors have {', '.join(map(str, lengths))} rows; expected the same number in each",
                try_="x.shape, y.shape to see which rows have no target",
            )
        self.columns = columns

    def __len__(self) -> int:
        return len(self.columns[0])

    def __getitem__(self, index: int) -> tuple[Tensor, ...]:
        return tuple(column[index] for column in self.columns)

    def __repr__(self) -> str:
        return f"TensorRows({', '.join(str(tuple(column.shape)) for column in self.columns)})"


def cut(columns: Columns, rows: slice | Tensor | list[Any]) -> Columns:
    """A batch of these rows: copies, also of neighbours, as a model that changes its input must not change the data."""
    if isinstance(columns, Tensor):
        return _copied(columns, rows)
    return tuple([_copied(column, rows) for column in columns])


def _copied(column: Tensor, rows: slice | Tensor | list[Any]) -> Tensor:
    return column.index_select(0, rows) if isinstance(rows, Tensor) else column[rows].clone()


class ColumnFinder:
    """`columns_of` for one dataset after the other: it looks at a list again only if its items are others now."""

    def __init__(self) -> None:
        self._dataset: Any = None
        self._seen: Sequence[Any] = ()
        self._columns: Columns | None = None

    def __call__(self, dataset: Any) -> Columns | None:
        if type(dataset) not in _PLAIN_LISTS:
            return columns_of(dataset)
        if dataset is not self._dataset or not self._has_seen(dataset):
            self._dataset, self._columns = dataset, columns_of(dataset)
            # Where nothing was found, nothing is remembered: items may be read one by one in any case.
            self._seen = list(dataset) if self._columns is not None else ()
        return self._columns

    def _has_seen(self, items: Sequence[Any]) -> bool:
        # The same objects, not equal ones: an equal tensor in another place may be changed later. 0.15 ms for 12,000.
        return self._columns is None or (len(items) == len(self._seen) and all(map(is_, items, self._seen)))


# Exactly these: a subclass, or a sequence of somebody's own, may do more than hand out what it holds.
_PLAIN_LISTS = (list, tuple, L)


def columns_of(dataset: Any) -> Columns | None:
    """The tensors whose rows are the items of `dataset`, or None if it is not so made.

    Nothing is copied: the answer shares memory with the items, so later changes in
    place to their values are seen.
    """
    kind = cast("type[Any]", type(dataset))
    if kind is TensorRows:
        return _together(dataset.columns)
    if kind is TensorDataset:
        return _together(dataset.tensors)
    if kind in (Tensor, nn.Parameter):
        return dataset if dataset.ndim and dataset.layout == torch.strided else None
    if kind not in _PLAIN_LISTS or len(dataset) < 2:
        return None
    items = cast("Sequence[Any]", dataset)
    head = items[0]
    if isinstance(head, Tensor):
        return _whole(items)
    if type(head) is not tuple or not head or not all(isinstance(field, Tensor) for field in cast(Any, head)):
        return None
    width = len(cast("tuple[Any, ...]", head))
    if any(type(item) is not tuple or len(item) != width for item in items):
        return None
    columns: list[Tensor] = []
    for rows in zip(*items, strict=True):
        column = _whole(rows)
        if column is None:
            return None
        columns.append(column)
    return _together(tuple(columns))


def _together(columns: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
    """`columns`, if one index tensor can be used on all."""
    fit = all(column.device == columns[0].device and column.layout == torch.strided for column in columns)
    return columns if columns and fit else None


# What rows of one tensor have in common. `type` and `layout` come first: not every kind has the rest.
_TRAITS: tuple[Callable[[Any], Any], ...] = (
    *(type, attrgetter("layout"), attrgetter("dtype"), attrgetter("shape"), Tensor.stride),
    *(attrgetter("requires_grad"), Tensor.is_conj, Tensor.is_neg),
)


def _whole(rows: Sequence[Any]) -> Tensor | None:
    """The tensor of which `rows` are the rows, one after the other and evenly spaced in memory, or None."""
    head, second = rows[0], rows[1]
    if type(head) is not Tensor or head.layout != torch.strided:
        return None
    if head.requires_grad or head.is_conj() or head.is_neg():
        return None  # part of a graph, or of other values than memory holds
    if any(len(set(map(trait, rows))) > 1 for trait in _TRAITS):
        return None
    start, step = head.storage_offset(), second.storage_offset() - head.storage_offset()
    if step <= 0 or not _is_even(map(Tensor.storage_offset, rows), start, step):
        return None
    # The offsets may count from different places in memory; then the addresses are not even.
    if not _is_even(map(Tensor.data_ptr, rows), head.data_ptr(), step * head.element_size()):
        return None
    return torch.as_strided(head, (len(rows), *head.shape), (step, *head.stride()), start)


def _is_even(numbers: Iterable[Any], start: Any, step: Any) -> bool:
    return all(map(eq, numbers, count(start, step)))
