"""What the index of a list means: a position, a slice, several positions, or a mask.

It knows nothing of torch or numpy; their vectors are told by `ndim` and `tolist`.
"""

from __future__ import annotations

import itertools
import operator
from collections.abc import Iterable
from typing import Any, TypeAlias, cast

from plainlearn.core.describe import describe
from plainlearn.core.errors import ArgumentError, ArgumentTypeError, PlainlearnError

__all__ = ["PositionError", "Positions", "is_array", "read_index"]

Positions: TypeAlias = "int | slice[Any, Any, Any] | list[int]"


class PositionError(PlainlearnError, IndexError):
    """A list was asked for a position that it does not have."""


def is_array(value: Any) -> bool:
    """Is it an array, a tensor or a Series? Told without importing what makes them."""
    return hasattr(value, "ndim") and hasattr(value, "tolist")


def read_index(index: Any, size: int) -> Positions:
    """What `index` means for a list of `size` items; every position is checked to be there.

    Raises `PositionError` for one that is not, `ArgumentError` for a mask of another length,
    `ArgumentTypeError` for what is no index.

    >>> read_index([True, False, True], 3), read_index((2, -1), 3), read_index(1, 3)
    ([0, 2], [2, -1], 1)
    """
    if type(index) is int:  # nearly always: no time for the questions below
        _check(index, size)
        return index
    if isinstance(index, slice):
        return cast("slice[Any, Any, Any]", index)
    if is_array(index):
        if index.ndim > 1:
            raise ArgumentTypeError(f"a list was indexed by {describe(index)}; expected one axis")
        index = index.tolist()
    if isinstance(index, Iterable) and not isinstance(index, str | bytes):
        return _read_several(list(cast("Iterable[Any]", index)), size)
    if isinstance(index, str | bytes | bool) or not hasattr(index, "__index__"):
        raise ArgumentTypeError(
            f"a list of {size} items was indexed by {describe(index)}; "
            "expected a position, a slice, several positions or a mask"
        )
    position = operator.index(index)
    _check(position, size)
    return position


def _read_several(indices: list[Any], size: int) -> list[int]:
    kinds = set(map(type, indices))
    if not kinds <= {int, bool}:
        indices = [_plain(index) for index in indices]
        kinds = set(map(type, indices))
    if kinds == {bool}:
        if len(indices) != size:
            raise ArgumentError(f"a mask of {len(indices)} for a list of {size} items; expected as many")
        return list(itertools.compress(range(size), indices))
    if bool in kinds:
        raise ArgumentTypeError(f"{describe(indices)} mixes positions and bools; expected only one of them")
    for position in indices if indices and (min(indices) < -size or max(indices) >= size) else ():
        _check(position, size)  # one of them is bad: say which
    return indices


def _plain(index: Any) -> int | bool:
    """Python's own number, of a numpy number or a tensor of rank 0."""
    if getattr(index, "ndim", None) == 0:
        index = index.item()
    if isinstance(index, bool):
        return index
    if not hasattr(index, "__index__") or getattr(index, "ndim", 0):
        raise ArgumentTypeError(
            f"{describe(index)} is among the positions; expected whole numbers, or a mask"
        )
    return operator.index(index)


def _check(position: int, size: int) -> None:
    if not -size <= position < size:
        expected = f"expected {-size} to {size - 1}" if size else "it is empty"
        raise PositionError(f"position {position} in a list of {size} items; {expected}")
