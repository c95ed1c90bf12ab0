"""What a loader is given, checked where it enters."""

from __future__ import annotations

import itertools
import operator
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar, cast

from torch.utils.data import IterableDataset

from plainlearn.core.describe import describe
from plainlearn.core.errors import ArgumentError, ArgumentTypeError, DataError

F = TypeVar("F", bound=Callable[..., Any])

_MOST_ITEMS_OF_AN_ITERATOR = 10_000_000


def is_indexable(dataset: Any) -> bool:
    """Whether items are read by their index. An IterableDataset only seems so: it has inherited a `[i]`."""
    return (
        hasattr(dataset, "__getitem__")
        and hasattr(dataset, "__len__")
        and not isinstance(dataset, IterableDataset)
    )


def readable_again(dataset: Any) -> Any:
    """The dataset, or, of an iterator, which can be read only once, the list of its items."""
    if isinstance(dataset, Mapping) or hasattr(cast(Any, type(dataset)), "iloc"):
        raise ArgumentTypeError(
            f"the dataset is a {type(cast('Any', dataset)).__name__}, whose [i] is no i-th item; expected a list of items",
            try_="list(data.values()), or list(data.items())"
            if isinstance(dataset, Mapping)
            else 'data.to_dict("records")',
        )
    if isinstance(dataset, type):
        name = cast("type[Any]", dataset).__name__
        raise ArgumentTypeError(
            f"the dataset is the class {name}; expected an object of it", try_=f"{name}(…)"
        )
    if is_indexable(dataset) and _has_length(dataset):
        return dataset
    if not isinstance(dataset, Iterable) or getattr(cast(Any, dataset), "ndim", 1) == 0:
        raise ArgumentTypeError(
            f"the dataset is {describe(dataset)}; expected something with [i] and len, or something to iterate over",
            try_="list(zip(x, y))",
        )
    if not isinstance(dataset, Iterator):
        return cast(Any, dataset)
    items = list(itertools.islice(cast("Iterator[Any]", dataset), _MOST_ITEMS_OF_AN_ITERATOR + 1))
    if len(items) > _MOST_ITEMS_OF_AN_ITERATOR:
        raise DataError(
            f"the iterator gave more than {_MOST_ITEMS_OF_AN_ITERATOR:,} items; it can be read only once, so it is kept in memory",
            try_="an object whose __iter__ starts again, such as a torch IterableDataset",
        )
    return items


def _has_length(dataset: Any) -> bool:
    try:
        len(dataset)
    except TypeError:  # a tensor without rows
        return False
    return True


def batch_size(batch_size: Any, bs: Any) -> int:
    """The batch size, given by either of its names."""
    sizes = [_whole_number(name, size, 1, "bs=64")
             for name, size in (("batch_size", batch_size), ("bs", bs)) if size is not None]  # fmt: skip
    if len(set(sizes)) > 1:
        raise ArgumentError(f"batch_size={batch_size} and bs={bs} are two names of one thing; expected one")
    return sizes[0] if sizes else 64


def num_workers(value: Any) -> int:
    """The number of threads that read, if it is one."""
    return _whole_number("num_workers", value, 0, "num_workers=2")


def seed(value: Any) -> int | None:
    """The seed of the order, if it is one."""
    return None if value is None else _whole_number("seed", value, None, "seed=42")


def _whole_number(name: str, value: Any, least: int | None, example: str) -> int:
    expected = "a whole number" if least is None else f"a whole number of {least} or more"
    if isinstance(value, bool) or not hasattr(value, "__index__") or getattr(value, "ndim", 0):
        raise ArgumentTypeError(f"{name} is {describe(value)}; expected {expected}", try_=example)
    number = operator.index(value)
    if least is not None and number < least:
        raise ArgumentError(f"{name} is {number}; expected {expected}", try_=example)
    return number


def function(name: str, value: F) -> F:
    """What can be called."""
    if not callable(value):
        raise ArgumentTypeError(f"{name} is {describe(value)}; expected a function")
    return value


def loader_state(state: Any, identity: Mapping[str, Any]) -> tuple[int, int | None, int]:
    """Iterations begun, the seed and the batches of the one that goes on, from what `state_dict` gave."""
    keys = ("epochs_begun", "epoch_seed", "batches", *identity)
    if not isinstance(state, Mapping) or any(key not in state for key in keys):
        raise DataError(f"this is not a loader's state: {describe(state)}; expected {', '.join(keys)}")
    known = cast("Mapping[str, Any]", state)
    for key in ("epochs_begun", "batches", *(["epoch_seed"] if known["epoch_seed"] is not None else [])):
        least = None if key == "epoch_seed" else 0
        _whole_number(f"{key} of a loader's state", known[key], least, "the dict that state_dict() gave")
    if known["epoch_seed"] is not None:
        for key, value in identity.items():
            if known[key] != value:
                raise DataError(
                    f"the state was saved with {key}={known[key]}, and this loader has {key}={value}; "
                    "what remained of the epoch would be other batches",
                    try_=f"{key}={known[key]}, or beginning a new epoch",
                )
    return known["epochs_begun"], known["epoch_seed"], known["batches"]
