"""Tensors and nests of tensors: make them, move them, count them.

A nest is a tensor, or a tuple, list or dict of nests; that is what a batch is. Named tuples stay named,
and whatever is no tensor is left as it is.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping
from typing import Any, Final, TypeVar, cast, overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from plainlearn.core.errors import ArgumentTypeError, DataError, ShapeError

__all__ = [
    "Inf",
    "find_batch_size",
    "first",
    "map_nest",
    "noop",
    "params",
    "tensor",
    "to_cpu",
    "to_device",
    "to_np",
]

T = TypeVar("T")
D = TypeVar("D")
Nest = TypeVar("Nest")

CPU: Final = torch.device("cpu")


# ---- making tensors


def tensor(
    *x: Any, dtype: torch.dtype | None = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """A tensor of a number, of several, or of a list, array, image or Series: a copy, unless it is one.

    Without `dtype`, double precision becomes single, Python's whole numbers are int64, images are uint8.
    Raises `ShapeError` for rows of unequal length, `ArgumentTypeError` for what is no number.

    >>> tensor(1, 2, 3), tensor(np.array([0.5]))
    (tensor([1, 2, 3]), tensor([0.5000]))
    """
    if not x:
        raise ArgumentTypeError("tensor() got nothing; expected numbers, a list, an array or an image")
    source: Any = x[0] if len(x) == 1 else list(x)
    made = _to_tensor(source, dtype)
    if dtype is None and made.dtype is torch.float64:
        made = made.float()
    made = made.to(device=device, dtype=dtype)
    return made.requires_grad_() if requires_grad else made


def _to_tensor(source: Any, dtype: torch.dtype | None) -> Tensor:
    if isinstance(source, Tensor):
        return source
    if isinstance(source, bool | int | float | complex):
        return torch.tensor(source, dtype=dtype)
    if hasattr(source, "__array__") or hasattr(source, "__array_interface__"):
        return _array_to_tensor(np.array(source))
    if isinstance(source, str | bytes | Mapping) or not isinstance(source, Iterable):
        raise ArgumentTypeError(f"a tensor cannot be made of {_short(source)}; expected numbers")
    rows = list(cast("Iterable[Any]", source))
    if rows and any(hasattr(row, "__array__") or hasattr(row, "__array_interface__") for row in rows):
        parts = [_to_tensor(row, dtype) for row in rows]
        shapes = {tuple(part.shape) for part in parts}
        if len(shapes) > 1:
            raise ShapeError(f"items of shapes {sorted(shapes)} cannot be one tensor; expected one shape")
        return torch.stack(parts)
    try:
        return torch.tensor([list(row) if _is_rows(row) else row for row in rows], dtype=dtype)
    except (ValueError, TypeError, RuntimeError) as error:
        kind = ShapeError if isinstance(error, ValueError) else ArgumentTypeError
        raise kind(f"a tensor cannot be made of {_short(rows)}: {error}") from error


def _is_rows(row: Any) -> bool:
    return isinstance(row, Iterable) and not isinstance(row, str | bytes | Mapping)


# torch has these whole-number kinds in name, but adds, compares and sorts next to nothing in them.
_WIDER: Final[dict[str, str]] = {"uint16": "int32", "uint32": "int64", "uint64": "int64"}


def _array_to_tensor(array: NDArray[Any]) -> Tensor:
    if array.dtype.kind not in "biufc":
        raise ArgumentTypeError(f"a tensor cannot be made of values of kind {array.dtype}; expected numbers")
    native = array.dtype.newbyteorder("=")
    return torch.from_numpy(array.astype(_WIDER.get(native.name, native), copy=False))


# ---- nests


def map_nest(f: Callable[[Any], Any], x: Any) -> Any:
    """`f` of every leaf of the nest `x`, in a nest of the same make; `x` itself if no leaf changed.

    >>> map_nest(lambda leaf: leaf * 2, {"a": [1, 2], "b": (3,)})
    {'a': [2, 4], 'b': (6,)}
    """
    if isinstance(x, tuple | list):
        items = cast("tuple[Any, ...] | list[Any]", x)
        new = [map_nest(f, item) for item in items]
        if all(a is b for a, b in zip(new, items, strict=True)):
            return items
        return _rebuild(items, new)
    if isinstance(x, Mapping):
        old = cast("Mapping[Any, Any]", x)
        changed = {key: map_nest(f, value) for key, value in old.items()}
        if all(changed[key] is value for key, value in old.items()):
            return old
        if type(old) is dict:
            return changed
        other = cast(
            "MutableMapping[Any, Any]", copy.copy(old)
        )  # keeps a defaultdict's factory, an order, a name
        other.update(changed)
        return other
    return f(x)


def _rebuild(old: tuple[Any, ...] | list[Any], new: list[Any]) -> Any:
    if type(old) is tuple:
        return tuple(new)
    if isinstance(old, list):
        if type(old) is list:
            return new
        other = copy.copy(old)
        other[:] = new
        return other
    make: Any = getattr(old, "_make", type(old))  # a named tuple takes its fields one by one
    return make(new)


def to_device(x: Nest, device: torch.device | str, non_blocking: bool = False) -> Nest:
    """The nest `x` with its tensors on `device`; `x` itself if they are there already."""

    def move(leaf: Any) -> Any:
        return leaf.to(device, non_blocking=non_blocking) if isinstance(leaf, Tensor) else leaf

    if isinstance(x, PackedSequence):
        return cast("Nest", x.to(device))
    return map_nest(move, x)


def to_cpu(x: Nest) -> Nest:
    """The nest `x` with its tensors in the computer's main memory."""
    return to_device(x, CPU)


@overload
def to_np(x: Tensor) -> NDArray[Any]: ...
@overload
def to_np(x: Any) -> Any: ...
def to_np(x: Any) -> Any:
    """The nest `x` with its tensors as arrays, free of their gradients; bfloat16 becomes float32.

    >>> to_np((torch.tensor([1.5], requires_grad=True), "name"))
    (array([1.5], dtype=float32), 'name')
    """
    return map_nest(_leaf_to_np, x)


def _leaf_to_np(leaf: Any) -> Any:
    if not isinstance(leaf, Tensor):
        return leaf
    values = leaf.detach().cpu()
    if values.dtype is torch.bfloat16:
        values = values.float()
    return values.resolve_conj().resolve_neg().numpy()


def find_batch_size(batch: Any) -> int:
    """How many samples a batch holds: the length of its first tensor or array.

    A batch without any, such as one of names, holds as many as its first column.
    Raises `DataError` if there is nothing to count.

    >>> find_batch_size((torch.zeros(4, 3), torch.zeros(4)))
    4
    """
    for leaf in _leaves(batch):
        if isinstance(leaf, Tensor | np.ndarray) and cast("Tensor", leaf).ndim:
            return int(cast("Tensor", leaf).shape[0])
    column: Any = batch
    while isinstance(column, tuple | list | Mapping) and column:
        inner: Any = next(iter(column.values() if isinstance(column, Mapping) else column))
        if not isinstance(inner, tuple | list | Mapping):
            if isinstance(column, Mapping):
                break
            return len(cast("list[Any]", column))
        column = inner
    raise DataError(
        f"the size of a batch cannot be told from {_short(batch)}; expected tensors of one length"
    )


def _leaves(x: Any) -> Iterator[Any]:
    if isinstance(x, tuple | list):
        for item in cast("list[Any]", x):
            yield from _leaves(item)
    elif isinstance(x, Mapping):
        for value in cast("Mapping[Any, Any]", x).values():
            yield from _leaves(value)
    else:
        yield x


# ---- small tools of the course


@overload
def first(x: Iterable[T]) -> T | None: ...
@overload
def first(x: Iterable[T], default: D) -> T | D: ...
def first(x: Iterable[Any], default: Any = None) -> Any:
    """The first item of an iterable, or `default` if it has none.

    >>> first("abc"), first([])
    ('a', None)
    """
    return next(iter(x), default)


def params(module: nn.Module) -> list[nn.Parameter]:
    """All parameters of a module."""
    return list(module.parameters())


def noop(x: T = None, *args: Any, **kwargs: Any) -> T:
    """Do nothing: `x`, whatever else is given."""
    return x


class _Inf:
    """Iterators without end; each look at one starts a fresh one."""

    __slots__ = ()

    @property
    def count(self) -> Iterator[int]:
        """0, 1, 2, 3, ..."""
        return itertools.count()

    @property
    def zeros(self) -> Iterator[int]:
        """0, 0, 0, ..."""
        return itertools.repeat(0)

    @property
    def ones(self) -> Iterator[int]:
        """1, 1, 1, ..."""
        return itertools.repeat(1)

    @property
    def nones(self) -> Iterator[None]:
        """None, None, None, ..."""
        return itertools.repeat(None)


Inf: Final = _Inf()


def _short(value: Any) -> str:
    shown = repr(value)
    return f"{type(value).__name__} {shown if len(shown) <= 80 else shown[:77] + '...'}"
