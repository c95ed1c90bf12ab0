"""One batch: its items read one by one and put together. What a loader's threads and processes do."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, cast, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from plainlearn.data.collating import collate

Collate = Callable[[Sequence[Any]], Any]

#: Asked now and then while a batch is made: does nobody wait for it any more?
Stopped = Callable[[], bool]


@runtime_checkable
class DrawsItems(Protocol):
    """A dataset whose items are partly random: `draw` gets a generator of the item's own."""

    def draw(self, index: int, rng: np.random.Generator) -> Any: ...


@runtime_checkable
class OrdersItems(Protocol):
    """A dataset of which some random orders are cheaper to read than others."""

    def shuffled_order(self, draws: torch.Generator) -> Tensor | None:
        """A permutation of its indices, drawn from `draws`; None, with nothing drawn, if any will do."""
        ...


class Job(NamedTuple):
    """A batch to be made."""

    #: The how-manieth of its epoch.
    number: int
    #: How many items of the epoch come before it.
    first: int
    #: Which items: their indices; of tensors in memory, the rows to cut; of a stream, the items themselves.
    rows: slice | Tensor | list[Any]
    epoch_seed: int

    @property
    def indices(self) -> list[int]:
        """The rows of a job for a `Reader`."""
        return cast("list[int]", self.rows)


class BrokenOffError(Exception):
    """A batch was not finished, as nobody waits for it; it never reaches a user."""


def generator(purpose: int, epoch_seed: int, place: int) -> np.random.Generator:
    """What is random about one item (purpose 0) or one batch (1), whoever makes it: a generator of its own."""
    return np.random.default_rng([purpose, epoch_seed % 2**63, place])


@dataclass(frozen=True)
class Reader:
    """Makes batches of a dataset that is read by index."""

    dataset: Any
    collate_fn: Collate

    def __call__(self, job: Job, stopped: Stopped) -> Any:
        """The batch. An error comes out as it was raised, with a note of the item."""
        return self._collated(self._items(job, stopped), job.indices)

    def put_together(self, job: Job, _: Stopped) -> Any:
        """The batch of a job that holds not indices, but the items themselves."""
        items = cast("list[Any]", job.rows)
        return self._collated(items, range(job.first, job.first + len(items)))

    def _collated(self, items: Sequence[Any], numbers: Sequence[int]) -> Any:
        try:
            # Our own names the items by their numbers; anybody else's gets the items alone.
            return collate(items, numbers) if self.collate_fn is collate else self.collate_fn(items)
        except Exception as error:
            named = ", ".join(map(str, numbers))
            error.add_note(f"while putting together the items {named} of {type(self.dataset).__name__}")
            raise

    def _items(self, job: Job, stopped: Stopped) -> list[Any]:
        random = isinstance(self.dataset, DrawsItems)
        items: list[Any] = []
        for place, index in enumerate(job.indices, job.first):
            if stopped():
                raise BrokenOffError
            try:
                if random:
                    items.append(self.dataset.draw(index, generator(0, job.epoch_seed, place)))
                else:
                    items.append(self.dataset[index])
            except Exception as error:
                error.add_note(f"while reading item {index} of {type(self.dataset).__name__}")
                raise
        return items


def read_stream(stream: Iterable[Any]) -> Iterator[Any]:
    """The items of a stream; its errors get a note of where it was."""
    number = 0
    try:
        for item in stream:
            yield item
            number += 1
    except Exception as error:
        error.add_note(f"while reading item {number} of {type(stream).__name__}")
        raise
