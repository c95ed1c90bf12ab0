"""Items to a batch: tensors are stacked, numbers become a tensor, names stay names."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from plainlearn.core.describe import describe
from plainlearn.core.errors import DataError, ShapeError
from plainlearn.core.tensors import tensor

_Kind = Literal["tensor", "array", "number", "name", "mapping", "fields", "nothing", "object"]


def collate(items: Sequence[Any], numbers: Sequence[int] | None = None) -> Any:
    """Put the items of a batch together, field by field.

    Tensors and arrays of one shape are stacked along a new first axis; numbers become a tensor.
    Tensors keep their dtype, the others get the one that `tensor` gives: float32 for doubles, int64
    for Python's whole numbers. Tuples, lists and mappings are taken apart and put together again
    field by field. Names (strings, bytes, paths) and things of other kinds come as a tuple.

    `numbers` is what messages call the items by: their places in the dataset, or, without it, in the batch.

    Raises `ShapeError` when tensors differ in shape, `DataError` when items differ in kind or
    are None. Both name the items.

    >>> collate([(0, "a"), (1, "b")])
    (tensor([0, 1]), ('a', 'b'))
    """
    if not len(items):
        raise DataError("there are no items to put together; expected one or more")
    return _collate(items, _Where(range(len(items)) if numbers is None else numbers))


@dataclass(frozen=True, slots=True)
class _Where:
    """How messages call the values at hand: `item 7`, or, taken out of it, `item 7[0]['image']`."""

    numbers: Sequence[int]
    path: str = ""

    def name(self, position: int) -> str:
        return f"item {self.numbers[position]}{self.path}"

    def inside(self, key: Any) -> _Where:
        return _Where(self.numbers, f"{self.path}[{key!r}]")


def _collate(items: Sequence[Any], where: _Where) -> Any:
    match _common_kind(items, where):
        case "tensor":
            return _stack_tensors(cast("Sequence[Tensor]", items), where)
        case "array":
            return _stack_arrays(cast("Sequence[NDArray[Any]]", items), where)
        case "number":
            return _as_numbers(items, where)
        case "mapping":
            return _collate_mappings(cast("Sequence[Mapping[Any, Any]]", items), where)
        case "fields":
            return _collate_fields(cast("Sequence[Sequence[Any]]", items), where)
        case _:
            return tuple(items)


def _kind(item: Any) -> _Kind:
    if isinstance(item, Tensor):
        return "tensor"
    if isinstance(item, np.ndarray):
        return "array"
    if isinstance(item, int | float | np.number | np.bool_):
        return "number"
    if isinstance(item, str | bytes | os.PathLike):
        return "name"
    if isinstance(item, Mapping):
        return "mapping"
    if isinstance(item, tuple | list):
        return "fields"
    return "nothing" if item is None else "object"


def _common_kind(items: Sequence[Any], where: _Where) -> _Kind:
    common = _kind(items[0])
    kinds = [common] if len(set(map(type, items))) == 1 else [_kind(item) for item in items]
    for position, kind in enumerate(kinds):
        if kind == "nothing":
            raise DataError(
                f"{where.name(position)} is None, which cannot be put into a batch",
                try_="returning a tensor, a number or a string, or leaving this field out",
            )
        if kind != common:
            raise DataError(
                f"{where.name(0)} is {describe(items[0])} and {where.name(position)} is "
                f"{describe(items[position])}; a batch needs one kind",
                try_="making them alike in the dataset, or a collate_fn of your own",
            )
    return common


def _stack_tensors(tensors: Sequence[Tensor], where: _Where) -> Tensor:
    try:
        return torch.stack(list(tensors))
    except RuntimeError as error:
        _check_shapes(tensors, where, error)
        raise


def _stack_arrays(arrays: Sequence[NDArray[Any]], where: _Where) -> Tensor:
    try:
        # A copy first: torch does not take arrays that run backwards, such as flipped images.
        stacked = np.stack(arrays)
    except ValueError as error:
        _check_shapes(arrays, where, error)
        raise
    return tensor(stacked)


def _check_shapes(items: Sequence[Tensor] | Sequence[NDArray[Any]], where: _Where, error: Exception) -> None:
    shape = tuple(items[0].shape)
    for position, item in enumerate(items):
        if tuple(item.shape) != shape:
            raise ShapeError(
                f"the shapes in a batch differ: {where.name(0)} is {shape}, "
                f"{where.name(position)} is {tuple(item.shape)}; expected one shape",
                try_="item_tfms=Resize(224) for images, or a collate_fn of your own",
            ) from error


_PYTHONS_NUMBERS = {bool, int, float}


def _as_numbers(items: Sequence[Any], where: _Where) -> Tensor:
    if not set(map(type, items)) <= _PYTHONS_NUMBERS:
        return tensor(np.asarray(items))
    try:
        return torch.tensor(items)
    except (RuntimeError, ValueError) as error:  # the one or the other, by how far a number overflows
        for position, item in enumerate(items):
            if isinstance(item, int) and not -(2**63) <= item < 2**63:
                raise DataError(
                    f"{where.name(position)} is {describe(item)}, too large for the 64 bits of a tensor",
                    try_="a float, or a string",
                ) from error
        raise


def _collate_fields(items: Sequence[Sequence[Any]], where: _Where) -> Any:
    head = items[0]
    for position, item in enumerate(items):
        if len(item) != len(head):
            raise DataError(
                f"{where.name(0)} has {len(head)} fields and {where.name(position)} has {len(item)}; "
                "expected the same fields in each",
                try_="as many in each, a tensor instead of a list, or a collate_fn of your own",
            )
    fields = [_collate(column, where.inside(key)) for key, column in enumerate(zip(*items, strict=True))]
    if hasattr(head, "_make"):  # a named tuple
        return cast("Any", head)._make(fields)
    return fields if isinstance(head, list) else tuple(fields)


def _collate_mappings(items: Sequence[Mapping[Any, Any]], where: _Where) -> dict[Any, Any]:
    keys = items[0].keys()
    for position, item in enumerate(items):
        if item.keys() != keys:
            raise DataError(
                f"{where.name(0)} has the keys {list(keys)} and {where.name(position)} has "
                f"{list(item)}; expected the same keys in each"
            )
    return {key: _collate([item[key] for item in items], where.inside(key)) for key in keys}
