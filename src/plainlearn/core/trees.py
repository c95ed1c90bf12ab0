"""Nested state as flat tensors and plain JSON, and back, without loss.

{"step": 3, "state": {0: {"mean": tensor}}}
-> {"state.0.mean": tensor}, {"step": 3, "state": {"$dict": [[0, {"mean": {"$tensor": "state.0.mean"}}]]}}
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, cast

from plainlearn.core.describe import describe
from plainlearn.core.errors import ArgumentTypeError, DataError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["flatten", "unflatten"]

# A list of at least so many numbers is kept as a tensor: exact, small and quick.
_MANY: Final = 32
_NUMBERS: Final[dict[type, str]] = {float: "float64", int: "int64"}


def flatten(tree: object) -> tuple[dict[str, Tensor], Any]:
    """The tensors of `tree` by their place in it, and the rest as what JSON can hold.

    A tree is None, a bool, int, float, string or tensor, or a list, tuple or dict of trees; the keys of dicts
    are None, bools, ints, floats or strings. All come back from `unflatten` as they were: whole numbers
    whole, tuples as tuples, nan and infinity too. (Of a named tuple or other subclass the plain kind comes back.)
    Raises `ArgumentTypeError` naming the place of anything else.

    >>> import math, torch
    >>> tensors, plain = flatten({"rate": math.inf, "sizes": (1, 2), "weight": torch.ones(2)})
    >>> plain
    {'rate': {'$float': 'inf'}, 'sizes': {'$tuple': [1, 2]}, 'weight': {'$tensor': 'weight'}}
    >>> unflatten(tensors, plain)["rate"]
    inf
    """
    tensors: dict[str, Tensor] = {}
    return tensors, _flatten(tree, "", tensors)


def _flatten(value: Any, place: str, tensors: dict[str, Tensor]) -> Any:
    import torch

    if value is None or type(value) in (bool, int, str):
        return value
    if type(value) is float:
        return value if math.isfinite(value) else {"$float": repr(value)}
    if isinstance(value, torch.Tensor):
        return {"$tensor": _keep(value, place, tensors)}
    if isinstance(value, list | tuple):
        items = cast("list[Any]", value)
        kind = _kind_of_numbers(items)
        if kind is not None:
            inner: Any = {"$numbers": _keep(torch.tensor(items, dtype=getattr(torch, kind)), place, tensors)}
        else:
            inner = [_flatten(item, _below(place, i), tensors) for i, item in enumerate(items)]
        return {"$tuple": inner} if isinstance(value, tuple) else inner
    if isinstance(value, Mapping):
        given = cast("Mapping[Any, Any]", value)
        entries = [
            (_flatten_key(key, place), _flatten(item, _below(place, key), tensors))
            for key, item in given.items()
        ]
        if all(isinstance(key, str) and not key.startswith("$") for key, _ in entries):
            return dict(entries)
        return {"$dict": [list(entry) for entry in entries]}
    raise ArgumentTypeError(
        f"{place or 'the state'} is {describe(value)}; expected tensors, numbers, strings, None, and lists, tuples "
        "and dicts of them"
    )


def _flatten_key(key: Any, place: str) -> Any:
    if key is None or isinstance(key, bool | int | float | str):
        return _flatten(key, place, {})
    raise ArgumentTypeError(f"{place or 'the state'} has the key {key!r}; expected a string or a number")


def _below(place: str, key: Any) -> str:
    return f"{place}.{key}" if place else str(key)


def _kind_of_numbers(items: Any) -> str | None:
    if len(items) < _MANY:
        return None
    kinds = set(map(type, items))
    kind = _NUMBERS.get(kinds.pop()) if len(kinds) == 1 else None
    fits = kind != "int64" or -(2**63) <= min(items) <= max(items) < 2**63
    return kind if fits else None


def _keep(tensor: Tensor, place: str, tensors: dict[str, Tensor]) -> str:
    name = place or "value"
    while name in tensors:  # {"a.b": …} and {"a": {"b": …}}
        name += "'"
    tensors[name] = tensor.detach()
    return name


def unflatten(tensors: Mapping[str, Any], plain: object) -> Any:
    """The tree that `flatten` has taken apart, with whatever stands for its tensors, such as arrays.

    Raises `DataError` if this is nothing that `flatten` gives.
    """
    try:
        return _unflatten(plain, tensors)
    except (KeyError, TypeError, ValueError, IndexError, RecursionError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"the state does not fit together: {type(error).__name__} {error}") from error


def _unflatten(plain: Any, tensors: Mapping[str, Any]) -> Any:
    if isinstance(plain, list):
        return [_unflatten(item, tensors) for item in cast("list[Any]", plain)]
    if not isinstance(plain, dict):
        return plain
    given = cast("dict[str, Any]", plain)
    if len(given) != 1 or not next(iter(given)).startswith("$"):
        return {key: _unflatten(item, tensors) for key, item in given.items()}
    ((tag, inner),) = given.items()
    match tag:
        case "$tensor":
            return tensors[inner]
        case "$numbers":
            return cast("list[Any]", tensors[inner].tolist())
        case "$float":
            return float(inner)
        case "$tuple":
            return tuple(_unflatten(inner, tensors))
        case "$dict":
            return {_unflatten(key, tensors): _unflatten(item, tensors) for key, item in inner}
        case _:
            raise DataError(f"the state has the tag {tag!r}, which this version of plainlearn does not know")
