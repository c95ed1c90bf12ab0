"""The loader: batches from anything indexable or iterable, in an order that a seed repeats.

    order  = get_idxs()                          a permutation when shuffled
    for every bs of them:                        by threads, a few batches ahead
        items = dataset[i] for i in these
        batch = collate(items) -> device -> after_batch
        yield batch                              position + 1

It knows nothing of files, images or models. What is random is drawn from the epoch's
seed and the item's place in the epoch, so the number of workers changes nothing.
"""

from __future__ import annotations

import itertools
import operator
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sized
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Any, Final, TypeVar, cast

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import IterableDataset

from plainlearn.core.describe import describe
from plainlearn.core.device import shard_round_robin
from plainlearn.core.errors import ArgumentError, ArgumentTypeError, DataError
from plainlearn.core.seed import drawn_seed, preserve_random_state, set_seed
from plainlearn.core.tensors import to_device
from plainlearn.data.collating import collate
from plainlearn.data.columns import ColumnFinder, Columns, cut
from plainlearn.data.reading import (
    Collate,
    DrawsItems,
    Job,
    OrdersItems,
    Reader,
    Source,
    Stopped,
    WorkerProcesses,
    draws_items,
    generator,
    read_ahead,
    read_stream,
)

__all__ = ["BatchTransform", "DataLoader", "DrawsItems"]

BatchTransform = Callable[[Any, np.random.Generator], Any]
Make = Callable[[Job, Stopped], Any]
F = TypeVar("F", bound=Callable[..., Any])

_MOST_ITEMS_OF_AN_ITERATOR = 10_000_000


class DataLoader:
    """Batches of `dataset`, which is anything with `[i]` and `len`, or anything iterable.

    `batch_size` (or `bs`, 64) items make a batch; the last may be shorter unless
    `drop_last`. `shuffle=True` draws a new order each epoch: from `seed` when given,
    else from torch's global generator, so `set_seed` before `fit` repeats it.
    `collate_fn` puts items together; `device` is where batches go; `after_batch(batch, rng)`
    changes whole batches there.

    `num_workers` threads read ahead (0: the calling thread reads) and, except on a GPU, run `after_batch`
    too: both it and the dataset must bear to be used by several at once. With `processes=True` the items are
    read by worker processes of torch's own DataLoader instead, for datasets that hold the interpreter's
    lock, and `after_batch` is run by the calling thread. The processes stay from one whole epoch to the next, until
    `close`, and see the dataset as it was when they started.

    An iterator (`zip(x, y)`, a generator) is read into a list here, once. Iterables without `[i]`
    are read anew each epoch, in their own order and by the calling thread. Tensors in memory, also
    as `list(zip(x, y))`, are not read at all: batches are cut out of them.

    Raises `ArgumentError` for a batch size below 1, `DataError` for a dataset that is
    empty, or shorter than one batch when `drop_last`.

    >>> list(DataLoader(range(5), batch_size=2))
    [tensor([0, 1]), tensor([2, 3]), tensor([4])]
    """

    def __init__(
        self,
        dataset: Source,
        batch_size: int | None = None,
        shuffle: bool = False,
        num_workers: int = 0,
        *,
        bs: int | None = None,
        drop_last: bool = False,
        seed: int | None = None,
        processes: bool = False,
        collate_fn: Collate = collate,
        after_batch: BatchTransform | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        self.bs = _checked_batch_size(batch_size, bs)
        self.dataset: Any = _readable_again(dataset)
        self.shuffle = shuffle
        self.drop_last = drop_last
        self.seed = _checked_seed(seed)
        self.processes = processes
        self.num_workers = _checked_num_workers(num_workers)
        self.collate_fn = _checked_function("collate_fn", collate_fn)
        self.after_batch = None if after_batch is None else _checked_function("after_batch", after_batch)
        self.device = None if device is None else torch.device(device)
        #: How many iterations have been begun; `one_batch` is none.
        self.epochs_begun = 0
        self._position: Position | None = None
        self._to_resume: Position | None = None
        self._find_columns = ColumnFinder()
        self._workers: WorkerProcesses | None = None
        self._check_dataset()

    def _check_dataset(self) -> None:
        if not _is_indexable(self.dataset):
            for setting in ("shuffle", "processes"):
                if getattr(self, setting):
                    raise ArgumentError(
                        f"{setting}=True needs a dataset with [i] and len; {type(self.dataset).__name__} can only be read in order",
                        try_=f"DataLoader(list(dataset), {setting}=True)",
                    )
            return
        items = len(self.dataset)
        if items == 0:
            raise DataError("the dataset is empty; expected at least one item")
        if self.drop_last and items < self.bs:
            raise DataError(
                f"the dataset has {items} items, fewer than one batch of {self.bs}, and drop_last=True drops it",
                try_=f"bs={items}, or drop_last=False",
            )

    # ---- what a caller asks

    def __len__(self) -> int:
        """The number of batches of an epoch; `TypeError` when only reading would tell."""
        indexable = _is_indexable(self.dataset)
        what: Any = self.get_idxs() if indexable else self.dataset
        if not isinstance(what, Sized):
            source = "get_idxs()" if indexable else type(self.dataset).__name__
            raise TypeError(f"the loader has no length: {source} has none, and is read until it ends")
        return len(what) // self.bs if self.drop_last else -(-len(what) // self.bs)

    def __iter__(self) -> Iterator[Any]:
        return self._iterate(ALL)

    def shared(
        self, rank: int, size: int, *, whole_rounds: bool, agree: Callable[[int], int]
    ) -> Iterator[Any]:
        """An epoch's batches number `rank`, `rank + size`, …: those of one of `size` processes. Others are not read.

        `agree` makes the epoch's seed the same for all. With `whole_rounds` a last round of fewer than `size`
        batches is left out. The loader's position counts the batches of all processes.
        """
        return self._iterate(Share(rank, size, whole_rounds, agree))

    def _iterate(self, share: Share) -> Generator[Any]:
        resumed, self._to_resume = self._to_resume, None
        if resumed is not None:
            before = resumed.batches
            yield from self._epoch(resumed, share)
            if resumed.batches > before:
                return
            # It had been left behind the last batch, so what remained was the next epoch.
        start = Position(share.agree(self._draw_epoch_seed()))
        self.epochs_begun += 1
        yield from self._epoch(start, share)

    def one_batch(self) -> Any:
        """The first batch that an iteration would give. The loader's position stays as it is."""
        if self._to_resume is not None:
            for batch in self._first(self._to_resume):
                return batch
        for batch in self._first(Position(self._draw_epoch_seed())):
            return batch
        raise self._no_batch()

    def _first(self, start: Position) -> list[Any]:
        with closing(self._batches(start, 0, ALL)) as batches:
            return list(itertools.islice(batches, 1))

    def get_idxs(self) -> Iterable[int]:
        """The indices of an epoch, in order. Replace it to choose others; they are not shuffled, and may be endless.

        What it draws at random when it is called, it draws from generators that are seeded for the epoch.
        """
        return range(len(self.dataset))

    def state_dict(self) -> dict[str, Any]:
        """Where this loader stands: plain numbers, enough to go on in another process.

        That is behind the last batch handed out, also when the loop was left there by `break` or
        an exception. A batch that is looked at with `next(iter(loader))` counts; `one_batch` does not.
        """
        state = {"epochs_begun": self.epochs_begun, "epoch_seed": None, "batches": 0, **self._identity()}
        position = self._to_resume or self._position
        if position is not None and not position.ended:
            state |= {"epoch_seed": position.epoch_seed, "batches": position.batches}
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from `state`: the next iteration gives the batches that remained.

        Raises `DataError` if it is no state, or, within an epoch, one of a loader that cuts other batches.
        """
        epochs_begun, epoch_seed, batches = _checked_state(state, self._identity())
        self.epochs_begun = epochs_begun
        self._to_resume = None if epoch_seed is None else Position(epoch_seed, batches)
        self._position = None

    @contextmanager
    def undisturbed(self) -> Generator[None]:
        """Iterations inside leave this loader where it stands, as `one_batch` does."""
        begun, position = self.epochs_begun, self._position
        to_resume = None if self._to_resume is None else replace(self._to_resume)
        try:
            yield
        finally:
            self.epochs_begun, self._position, self._to_resume = begun, position, to_resume

    def settings(self) -> dict[str, Any]:
        """The arguments that would make this loader, at its beginning: for one that differs in a few."""
        names = ("dataset", "bs", "shuffle", "num_workers", "drop_last", "seed", "processes", "collate_fn",
                 "after_batch", "device")  # fmt: skip
        return {name: getattr(self, name) for name in names}

    def close(self) -> None:
        """End the worker processes, if any. They also end with the loader."""
        self._workers = None

    # ---- an epoch

    def _epoch(self, position: Position, share: Share) -> Generator[Any]:
        outer = self._position
        self._position = position
        position.open = True
        try:
            with closing(self._batches(position, self.num_workers, share)) as batches:
                for batch in batches:
                    position.batches += share.size
                    self._position = position
                    yield batch
                    del batch  # or it would live on while the next is made
            if position.batches == 0 and (share.size == 1 or share.whole_rounds):
                raise self._no_batch()
            position.ended = True
        finally:
            position.open = False
            # An iteration within another must not leave its own position behind.
            if outer is not None and outer.open:
                self._position = outer

    def _draw_epoch_seed(self) -> int:
        if self.seed is not None:
            # The factor keeps the epochs of two seeds apart.
            return self.seed * 1_000_003 + self.epochs_begun
        draws = self.shuffle or self.after_batch is not None or draws_items(self.dataset)
        if not draws and not self._order_is_replaced():
            return 0  # nothing is random: leave the global generator alone
        return drawn_seed()

    # ---- its batches

    def _batches(self, start: Position, num_workers: int, share: Share) -> Generator[Any]:
        """The batches of this share from `start` on, ready for the model."""
        # On the CPU a batch is finished where it is made, so that this overlaps with training; a GPU gets its
        # work from one thread, the caller's.
        elsewhere = self.device is not None and self.device.type != "cpu"
        jobs, make, threads = self._work(start, num_workers, overlaps=not elsewhere)
        jobs = share.of(jobs)
        seed = start.epoch_seed
        numbers = itertools.count(start.batches + share.rank, share.size)

        def make_and_finish(job: Job, stopped: Stopped) -> Any:
            return self._finish(make(job, stopped), job.number, seed)

        if self.processes and threads and isinstance(make, Reader):
            return self._finish_each(self._made_by_processes(make, jobs), numbers, seed)
        nothing_to_do = self.device is None and self.after_batch is None
        do = make if elsewhere or nothing_to_do else make_and_finish
        made = read_ahead(jobs, do, threads) if threads else _one_by_one(jobs, do)
        return self._finish_each(made, numbers, seed) if elsewhere else made

    def _work(self, start: Position, num_workers: int, *, overlaps: bool) -> tuple[Iterator[Job], Make, int]:
        """The jobs from `start` on, who makes batches of them, and how many threads that is worth."""
        reader = Reader(self.dataset, self.collate_fn)
        if not _is_indexable(self.dataset):
            return self._jobs(read_stream(self.dataset), start), reader.put_together, 0
        if self._order_is_replaced():
            # Whoever did it says which and in what order; if by chance, a resumed epoch needs the same again.
            with preserve_random_state():
                set_seed(start.epoch_seed)
                indices: Any = self.get_idxs()
        else:
            indices = self._everything(start.epoch_seed)
            columns = self._find_columns(self.dataset) if self.collate_fn is collate else None
            if columns is not None:
                threads = num_workers if overlaps and self.after_batch is not None else 0
                return self._row_jobs(indices, columns, start), lambda job, _: cut(columns, job.rows), threads
        indices = indices.tolist() if hasattr(indices, "tolist") else indices
        return self._jobs(indices, start), reader, num_workers

    def _order_is_replaced(self) -> bool:
        return getattr(self.get_idxs, "__func__", None) is not DataLoader.get_idxs

    def _everything(self, epoch_seed: int) -> range | Tensor:
        items = len(self.dataset)
        if not self.shuffle:
            return range(items)
        source = torch.Generator("cpu").manual_seed(epoch_seed % 2**63)
        if isinstance(self.dataset, OrdersItems):
            order = self.dataset.shuffled_order(source)
            if order is not None:
                return order
        return torch.randperm(items, generator=source, device="cpu")

    def _jobs(self, things: Iterable[Any], start: Position) -> Iterator[Job]:
        """Jobs of `bs` things each: indices, or, of a stream, the items themselves."""
        first, seed = start.batches, start.epoch_seed
        rest = itertools.islice(things, first * self.bs, None)
        for number in itertools.count(first):
            rows = list(itertools.islice(rest, self.bs))
            short = len(rows) < self.bs
            if rows and not (short and self.drop_last):
                yield Job(number, number * self.bs, rows, seed)
            if short:
                return
            del rows  # or the items of a stream would live on

    def _row_jobs(self, order: range | Tensor, columns: Columns, start: Position) -> Iterator[Job]:
        """Jobs of `bs` rows each, to be cut out of `columns`."""
        items, bs, seed = len(order), self.bs, start.epoch_seed
        if isinstance(order, Tensor):
            order = order.to((columns if isinstance(columns, Tensor) else columns[0]).device)
        end = items - items % bs if self.drop_last else items
        for at in range(start.batches * bs, end, bs):
            rows = order[at : at + bs] if isinstance(order, Tensor) else slice(at, min(at + bs, end))
            yield Job(at // bs, at, rows, seed)

    def _finish(self, batch: Any, number: int, epoch_seed: int) -> Any:
        if self.device is not None:
            batch = to_device(batch, self.device)
        if self.after_batch is None:
            return batch
        try:
            return self.after_batch(batch, generator(1, epoch_seed, number))
        except Exception as error:
            error.add_note(f"in after_batch, on batch {number} of the epoch")
            raise

    def _finish_each(self, made: Generator[Any], numbers: Iterator[int], epoch_seed: int) -> Generator[Any]:
        device = "cpu" if self.device is None else self.device.type
        with closing(made):
            for batch in made:
                with _without_autocast(device):
                    finished = self._finish(batch, next(numbers), epoch_seed)
                del batch
                yield finished
                del finished

    def _made_by_processes(self, reader: Reader, jobs: Iterator[Job]) -> Generator[Any]:
        """Batches by the processes of the epoch before, if they do what `reader` does, else by new ones."""
        # Taken out while they are used: an iteration inside this one gets its own. They come back after a
        # whole epoch; those of one that is left in the middle still read what nobody waits for, and end.
        workers, self._workers = self._workers, None
        if workers is None or not workers.serve(reader, self.num_workers):
            workers = WorkerProcesses(reader, self.num_workers)
        yield from workers.batches(jobs)
        self._workers = workers

    def _identity(self) -> dict[str, Any]:
        """What must be the same for a place within an epoch to mean the same batches."""
        items = len(self.dataset) if _is_indexable(self.dataset) else None
        return {"bs": self.bs, "items": items, "shuffle": bool(self.shuffle)}

    def __repr__(self) -> str:
        kind = type(self.dataset).__name__
        what = f"{kind} of {len(self.dataset)} items" if _is_indexable(self.dataset) else f"stream {kind}"
        return f"DataLoader({what}, bs={self.bs}, shuffle={self.shuffle}, drop_last={self.drop_last})"

    def _no_batch(self) -> DataError:
        return DataError(
            f"an epoch over {type(self.dataset).__name__} had no batch; expected at least one",
            try_="drop_last=False, more items, or, for a stream, an __iter__ that starts anew each time",
        )


# ---- where an epoch is, and which of its batches


@dataclass(slots=True)
class Position:
    """A place in an epoch: the seed of what is random in it, how many batches were handed out."""

    epoch_seed: int
    batches: int = 0
    open: bool = False
    ended: bool = False


@dataclass(frozen=True, slots=True)
class Share:
    """Of every `size` batches, number `rank`."""

    rank: int
    size: int
    whole_rounds: bool
    agree: Callable[[int], int]

    def of(self, jobs: Iterator[Job]) -> Iterator[Job]:
        """This share's jobs. A stream's items are read past all the same."""
        if self.size == 1:
            return jobs
        return shard_round_robin(jobs, self.rank, self.size, whole_rounds=self.whole_rounds)


#: Every batch: that of a process alone.
ALL: Final = Share(0, 1, False, int)


# ---- making batches in the calling thread


def _one_by_one(jobs: Iterator[Job], do: Make) -> Generator[Any]:
    for job in jobs:
        with _without_autocast("cpu"):
            batch = do(job, lambda: False)
        del job
        yield batch
        del batch


def _without_autocast(device: str) -> AbstractContextManager[Any]:
    """Evaluation under autocast asks for batches; they must be those that other threads would have made."""
    if torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device):
        return torch.autocast(device, enabled=False)
    return _NOTHING


_NOTHING = nullcontext()


# ---- what it is given


def _is_indexable(dataset: Any) -> bool:
    """Whether items are read by their index. An IterableDataset only seems so: it has inherited a `[i]`."""
    return (
        hasattr(dataset, "__getitem__")
        and hasattr(dataset, "__len__")
        and not isinstance(dataset, IterableDataset)
    )


def _readable_again(dataset: Source) -> Any:
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
    if _is_indexable(dataset) and _has_length(dataset):
        return dataset
    if not isinstance(dataset, Iterable) or getattr(cast(Any, dataset), "ndim", 1) == 0:
        raise ArgumentTypeError(
            f"the dataset is {describe(dataset)}; expected something with [i] and len, or something to iterate over",
            try_="list(zip(x, y))",
        )
    if not isinstance(dataset, Iterator):
        return cast(Any, dataset)
    items = list(itertools.islice(dataset, _MOST_ITEMS_OF_AN_ITERATOR + 1))
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


def _checked_batch_size(batch_size: Any, bs: Any) -> int:
    """The batch size, given by either of its names."""
    sizes = [_whole_number(name, size, 1, "bs=64")
             for name, size in (("batch_size", batch_size), ("bs", bs)) if size is not None]  # fmt: skip
    if len(set(sizes)) > 1:
        raise ArgumentError(f"batch_size={batch_size} and bs={bs} are two names of one thing; expected one")
    return sizes[0] if sizes else 64


def _checked_num_workers(value: Any) -> int:
    """The number of threads that read, if it is one."""
    return _whole_number("num_workers", value, 0, "num_workers=2")


def _checked_seed(value: Any) -> int | None:
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


def _checked_function(name: str, value: F) -> F:
    """What can be called."""
    if not callable(value):
        raise ArgumentTypeError(f"{name} is {describe(value)}; expected a function")
    return value


def _checked_state(state: Any, identity: Mapping[str, Any]) -> tuple[int, int | None, int]:
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
