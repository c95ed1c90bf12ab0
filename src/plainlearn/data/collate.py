"""Items to a batch: tensors are stacked, numbers become a tensor, names stay names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from plainlearn.core.errors import DataError, ShapeError


def collate(items: Sequence[Any]) -> Any:
    """Put the items of a batch together, field by field.

    Tensors and arrays of one shape are stacked along a new first axis; numbers become
    a tensor (Python floats float32, ints int64, bools bool); strings and paths a tuple; tuples,
    lists and mappings are taken apart and put together again field by field.

    Raises `ShapeError` when tensors differ in shape (it names the items), `DataError`
    for kinds that cannot be batched. Item numbers in messages count within the batch.

    >>> collate([(0, "a"), (1, "b")])
    (tensor([0, 1]), ('a', 'b'))
    """
    return _collate(items, "item")


def _collate(items: Sequence[Any], where: str) -> Any:
    head = items[0]
    if isinstance(head, Tensor):
        return _stack(items, where)
    if isinstance(head, np.ndarray):
        _same_kind(items, np.ndarray, where)
        return _stack([torch.as_tensor(item) for item in items], where)
    if isinstance(head, (bool, int, float, np.generic)):
        return _numbers(items, where)
    if isinstance(head, Mapping):
        return _fields_by_name(cast(Sequence[Mapping[Any, Any]], items), where)
    if isinstance(head, (tuple, list)) and not isinstance(head, str):
        return _fields(cast(Sequence[Sequence[Any]], items), where)
    if head is None:
        raise DataError(
            f"{where} is None, which cannot be put into a batch",
            try_="returning a tensor, a number or a string, or dropping this field",
        )
    return tuple(items)


def _stack(items: Sequence[Any], where: str) -> Tensor:
    _same_kind(items, Tensor, where)
    tensors = cast(Sequence[Tensor], items)
    shape = tensors[0].shape
    for position, tensor in enumerate(tensors):
        if tensor.shape != shape:
            raise ShapeError(
                f"{where}s of one batch have different shapes: {where} 0 is {tuple(shape)}, "
                f"{where} {position} is {tuple(tensor.shape)}; a batch needs one shape",
                try_="item_tfms=Resize(224) for images, or a collate_fn of your own",
            )
    return torch.stack(list(tensors))


def _numbers(items: Sequence[Any], where: str) -> Tensor:
    for position, item in enumerate(items):
        if not isinstance(item, (bool, int, float, np.generic)):
            raise DataError(f"{where} 0 is a number and {where} {position} is {item!r}; a batch needs one kind")
    numbers = torch.as_tensor(np.asarray(items))
    return numbers.float() if numbers.dtype == torch.float64 and isinstance(items[0], float) else numbers


def _fields(items: Sequence[Sequence[Any]], where: str) -> Any:
    length = len(items[0])
    for position, item in enumerate(items):
        if not isinstance(item, (tuple, list)) or len(item) != length:
            found = f"{len(item)} fields" if isinstance(item, (tuple, list)) else repr(item)
            raise DataError(f"{where} 0 has {length} fields and {where} {position} has {found}; a batch needs one kind")
    fields = [
        _collate(field, f"{where}[{number}]") for number, field in enumerate(zip(*items, strict=True))
    ]
    head = items[0]
    if hasattr(head, "_fields"):  # a namedtuple
        return type(head)(*fields)
    return fields if isinstance(head, list) else tuple(fields)


def _fields_by_name(items: Sequence[Mapping[Any, Any]], where: str) -> dict[Any, Any]:
    keys = items[0].keys()
    for position, item in enumerate(items):
        if not isinstance(item, Mapping) or item.keys() != keys:
            found = sorted(map(str, item)) if isinstance(item, Mapping) else repr(item)
            raise DataError(f"{where} 0 has the keys {sorted(map(str, keys))} and {where} {position} has {found}")
    return {key: _collate([item[key] for item in items], f"{where}[{key!r}]") for key in keys}


def _same_kind(items: Sequence[Any], kind: type, where: str) -> None:
    for position, item in enumerate(items):
        if not isinstance(item, kind):
            raise DataError(
                f"{where} 0 is a {type(items[0]).__name__} and {where} {position} is {item!r}; a batch needs one kind"
            )
