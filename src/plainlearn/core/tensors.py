"""Tensors, nests of tensors and modules: make them, move them, count them.

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

from plainlearn.core.describe import describe
from plainlearn.core.errors import ArgumentError, ArgumentTypeError, DataError, ShapeError

__all__ = [
    "Inf",
    "batch_norms",
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
_BATCH_NORMS: Final = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)


# ---- making tensors


def tensor(
    *x: Any,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """A tensor of a number, of several, or of a list, array, image or Series: a copy, unless it is one.

    Without `dtype`, double precision becomes torch's default, float32; Python's whole numbers are
    int64; images are uint8, (H, W) or (H, W, C). Items that are tensors or arrays are stacked.
    Raises `ShapeError` for rows of unequal length, `ArgumentTypeError` for what is no number.

    >>> tensor(1, 2, 3), tensor(np.array([0.5]))
    (tensor([1, 2, 3]), tensor([0.5000]))
    """
    if not x:
        raise ArgumentTypeError("tensor() got nothing; expected numbers, a list, an array or an image")
    source: Any = x[0] if len(x) == 1 else list(x)
    made = _to_tensor(source, dtype)
    if dtype is None and made.dtype is torch.float64:
        dtype = torch.get_default_dtype()
    made = made.to(device=device, dtype=dtype)
    if not requires_grad:
        return made
    return (made.detach().clone() if made is source else made).requires_grad_()


def _to_tensor(source: Any, dtype: torch.dtype | None) -> Tensor:
    if isinstance(source, Tensor):
        return source
    if _has_array(source):
        return _array_to_tensor(np.array(source))
    if isinstance(source, Iterable) and not isinstance(source, str | bytes | Mapping):
        source = [_to_list(row) for row in cast("Iterable[Any]", source)]
        if any(isinstance(row, Tensor) or _has_array(row) for row in source):
            return _stack(source, dtype)
    try:
        return torch.tensor(source, dtype=dtype)
    except (ValueError, TypeError, RuntimeError) as error:
        raise _why_no_tensor(source, error) from error


def _has_array(value: Any) -> bool:
    """Arrays, Series and PIL images say so themselves; a plain number of numpy's does too."""
    return hasattr(value, "__array__") or hasattr(value, "__array_interface__")


def _to_list(row: Any) -> Any:
    """A row that torch can read: a range or generator, which it cannot, becomes a list."""
    if (
        isinstance(row, list | tuple | str | bytes | Mapping)
        or _has_array(row)
        or not isinstance(row, Iterable)
    ):
        return cast("Any", row)
    return list(cast("Iterable[Any]", row))


def _stack(rows: list[Any], dtype: torch.dtype | None) -> Tensor:
    if not any(getattr(row, "ndim", 1) or isinstance(row, Tensor) for row in rows):
        return _array_to_tensor(np.array(rows))  # numpy's numbers, all at once
    parts = [_to_tensor(row, dtype) for row in rows]
    shapes = sorted({tuple(part.shape) for part in parts})
    if len(shapes) > 1:
        raise ShapeError(
            f"items of shapes {', '.join(map(str, shapes))} do not make one tensor; expected one shape"
        )
    return torch.stack(parts)


# torch has these whole numbers in name, but can hardly compute with them.
_WIDER: Final[dict[str, str]] = {"uint16": "int32", "uint32": "int64", "uint64": "int64"}


def _array_to_tensor(array: NDArray[Any]) -> Tensor:
    if array.dtype.kind == "O":  # a table's mixed columns come so, though all may be numbers
        array = np.array(array.tolist())
    if array.dtype.kind not in "biufc":
        raise ArgumentTypeError(f"a tensor cannot be made of values of kind {array.dtype}; expected numbers")
    if array.dtype.kind == "u" and array.size and int(array.max()) >= 2**63:
        raise ArgumentError(f"{array.max()} does not fit in a tensor of int64")
    native = array.dtype.newbyteorder("=")
    return torch.from_numpy(array.astype(_WIDER.get(native.name, native), copy=False))


def _why_no_tensor(source: Any, error: Exception) -> ArgumentTypeError | ArgumentError | ShapeError:
    for leaf in _leaves(source):
        if not isinstance(leaf, int | float | complex):
            return ArgumentTypeError(f"a tensor cannot be made of {describe(leaf)}; expected numbers")
        if isinstance(leaf, int) and not -(2**63) <= leaf < 2**63:
            return ArgumentError(f"{leaf} does not fit in a tensor of int64")
    if isinstance(error, RuntimeError):  # such as a dtype that cannot hold the numbers
        return ArgumentError(f"a tensor cannot be made of {describe(source)}: {error}")
    return ShapeError(f"{describe(source)} has rows of unequal length; expected as many numbers in each")


# ---- nests


def map_nest(f: Callable[[Any], Any], x: Any) -> Any:
    """`f` of every leaf of the nest `x`, in a nest of the same make; `x` itself if no leaf changed.

    >>> map_nest(lambda leaf: leaf * 2, {"a": [1, 2], "b": (3,)})
    {'a': [2, 4], 'b': (6,)}
    """
    if isinstance(x, tuple | list) and not isinstance(x, PackedSequence):
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
        other = cast("MutableMapping[Any, Any]", copy.copy(old))  # keeps what else it is: a default, a name
        other.update(changed)
        return other
    return f(x)


def _rebuild(old: tuple[Any, ...] | list[Any], new: list[Any]) -> Any:
    if type(old) is list:
        return new
    if isinstance(old, list):
        other = copy.copy(old)
        other[:] = new
        return other
    make: Any = getattr(old, "_make", type(old))  # a named tuple takes its fields one by one
    return make(new)


def to_device(x: Nest, device: torch.device | str, non_blocking: bool = False) -> Nest:
    """The nest `x` with its tensors on `device`; `x` itself if they are there already.

    `non_blocking` lets the program go on while tensors from pinned memory travel to a GPU.
    """
    if type(x) is tuple:  # a batch that is in place already, at every step of a run: half a microsecond
        for item in cast("tuple[Any, ...]", x):
            if not isinstance(item, Tensor) or item.device != device:
                break
        else:
            return cast("Nest", x)

    def move(leaf: Any) -> Any:
        if isinstance(leaf, Tensor | PackedSequence):
            return cast("Tensor", leaf).to(device=device, non_blocking=non_blocking)
        return leaf

    return map_nest(move, x)


def to_cpu(x: Nest) -> Nest:
    """The nest `x` with its tensors in the computer's main memory."""
    return to_device(x, CPU)


@overload
def to_np(x: Tensor) -> NDArray[Any]: ...
@overload
def to_np(x: object) -> Any: ...
def to_np(x: object) -> Any:
    """The nest `x` with its tensors as arrays, free of their gradients; bfloat16 becomes float32.

    >>> to_np((torch.tensor([1.5], requires_grad=True), "name"))
    (array([1.5], dtype=float32), 'name')
    """
    return map_nest(_leaf_to_np, x)


def _leaf_to_np(leaf: Any) -> Any:
    if not isinstance(leaf, Tensor):
        return leaf
    values = leaf.detach().cpu()
    if values.dtype is torch.bfloat16:  # which numpy does not know
        values = values.float()
    return values.resolve_conj().resolve_neg().numpy()


def find_batch_size(batch: object) -> int:
    """How many samples a batch holds: the length of its first tensor or array.

    A batch of names only holds as many as its first tuple or list of them.
    Raises `DataError` if there is nothing to count.

    >>> find_batch_size((torch.zeros(4, 3), torch.zeros(4))), find_batch_size(("a", "b", "c"))
    (4, 3)
    """
    if type(batch) is tuple and batch and isinstance(batch[0], Tensor) and batch[0].ndim:
        return len(batch[0])  # the usual batch, at every step of a validation
    for leaf in _leaves(batch):
        if isinstance(leaf, Tensor | np.ndarray) and cast("Tensor", leaf).ndim:
            return len(cast("Tensor", leaf))
    size = _count_names(batch)
    if size is None:
        raise DataError(f"there is no telling how many samples are in {describe(batch)}; expected tensors")
    return size


def _count_names(nest: Any) -> int | None:
    if isinstance(nest, Mapping):
        nest = list(cast("Mapping[Any, Any]", nest).values())
        return _count_names(nest[0]) if nest else None
    if not isinstance(nest, tuple | list) or not nest:
        return None
    items = cast("list[Any]", nest)
    return len(items) if isinstance(items[0], str | bytes) else _count_names(items[0])


def _leaves(x: Any) -> Iterator[Any]:
    if isinstance(x, tuple | list):
        for item in cast("list[Any]", x):
            yield from _leaves(item)
    elif isinstance(x, Mapping):
        for value in cast("Mapping[Any, Any]", x).values():
            yield from _leaves(value)
    else:
        yield x


# ---- modules


def params(module: nn.Module) -> list[nn.Parameter]:
    """All parameters of a module."""
    return list(module.parameters())


def batch_norms(module: nn.Module) -> list[nn.Module]:
    """The layers of `module` that compare the items of a batch."""
    return [part for part in module.modules() if isinstance(part, _BATCH_NORMS)]


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


def noop(x: Any = None, *args: Any, **kwargs: Any) -> Any:
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
