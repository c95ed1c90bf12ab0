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
import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any, Protocol, cast, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from plainlearn.core.errors import ArgumentError, ArgumentTypeError, DataError
from plainlearn.core.tensors import map_nest, to_device
from plainlearn.data.collate import collate
from plainlearn.data.columns import columns_of

_MOST_ITEMS_OF_AN_ITERATOR = 10_000_000
_BATCHES_AHEAD = 2  # per worker; enough to hide a slow file, few enough to bound memory


@runtime_checkable
class DrawsItems(Protocol):
    """A dataset whose items are partly random: `draw` gets a generator of the item's own."""

    def draw(self, index: int, rng: np.random.Generator) -> Any: ...


BatchTransform = Callable[[Any, np.random.Generator], Any]


class DataLoader:
    """Batches of `dataset`, which is anything with `[i]` and `len`, or anything iterable.

    `batch_size` (or `bs`, 64) items make a batch; the last may be shorter unless
    `drop_last`. `shuffle=True` draws a new order each epoch: from `seed` when given,
    else from torch's global generator, so `set_seed` before `fit` repeats it.
    `num_workers` threads read ahead (0: the calling thread reads); with
    `processes=True` they are processes, for datasets that hold the interpreter lock.
    `collate_fn` puts items together; `device` is where batches go; `after_batch(batch, rng)`
    changes whole batches there.

    An iterator (`zip(x, y)`, a generator) is read into a list here, once. Iterables
    without `[i]` are read anew each epoch, in their own order.

    Raises `ArgumentError` for a batch size below 1, `DataError` for a dataset that is
    empty, or shorter than one batch when `drop_last`.

    >>> list(DataLoader(range(5), batch_size=2))
    [tensor([0, 1]), tensor([2, 3]), tensor([4])]
    """

    def __init__(
        self,
        dataset: Any,
        batch_size: int | None = None,
        shuffle: bool = False,
        num_workers: int = 0,
        *,
        bs: int | None = None,
        drop_last: bool = False,
        seed: int | None = None,
        processes: bool = False,
        collate_fn: Callable[[Sequence[Any]], Any] = collate,
        after_batch: BatchTransform | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        self.bs = _checked_batch_size(batch_size, bs)
        self.dataset = _readable_again(dataset)
        self.shuffle = shuffle
        self.drop_last = drop_last
        self.seed = seed
        self.processes = processes
        self.num_workers = _checked_count("num_workers", num_workers)
        self.collate_fn = collate_fn
        self.after_batch = after_batch
        self.device = None if device is None else torch.device(device)
        self.epoch = 0
        self._items = len(self.dataset) if _is_indexable(self.dataset) else None
        self._columns = _Columns(self.dataset)
        self._pool: Executor | None = None
        self._running: _Position | None = None
        self._resume: _Position | None = None
        self._check_length()

    def _check_length(self) -> None:
        if self._items is None:
            if self.shuffle:
                raise ArgumentError(
                    f"shuffle=True needs a dataset with [i] and len; {type(self.dataset).__name__} can only be read in order",
                    try_="DataLoader(list(dataset), shuffle=True)",
                )
        elif self._items == 0:
            raise DataError("the dataset is empty; expected at least one item")
        elif self.drop_last and self._items < self.bs:
            raise DataError(
                f"the dataset has {self._items} items, fewer than one batch of {self.bs}, and drop_last=True drops it",
                try_=f"bs={self._items}, or drop_last=False",
            )

    # ---- what a caller asks

    def __len__(self) -> int:
        """The number of batches of an epoch; `TypeError` when only reading would tell."""
        if self._items is None:
            try:
                items = len(self.dataset)
            except TypeError:
                raise TypeError(
                    f"a loader over {type(self.dataset).__name__} has no length: it is read until it ends"
                ) from None
        else:
            items = self._items
        return items // self.bs if self.drop_last else -(-items // self.bs)

    def __iter__(self) -> Iterator[Any]:
        start = self._resume or _Position(self.epoch, self._draw_epoch_seed(), 0)
        self._resume = None
        position, outer = start.copy(), self._running
        self._running = position
        try:
            for batch in self._batches(start):
                position.batches += 1
                self._running = position
                yield self._finish(batch, start.epoch_seed, position.batches - 1)
            self.epoch = start.epoch + 1
        finally:
            # An iterator that was begun inside another's life must not leave its own position behind.
            self._running = outer

    def one_batch(self) -> Any:
        """The first batch of an epoch, as the model would get it."""
        for batch in self:
            return batch
        raise DataError(f"the loader over {type(self.dataset).__name__} gave no batch")

    def get_idxs(self) -> Iterable[int] | Tensor:
        """The indices of an epoch, in order. Replace it to choose others; it may be endless."""
        return torch.arange(cast(int, self._items))

    def state_dict(self) -> dict[str, Any]:
        """Where this loader stands: plain numbers, enough to go on in another process."""
        state = self._running or self._resume
        if state is None or state.batches == self._batches_of_an_epoch():
            return {"epoch": self.epoch + (state is not None), "epoch_seed": None, "batches": 0}
        return {"epoch": state.epoch, "epoch_seed": state.epoch_seed, "batches": state.batches}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from `state`: the next epoch that is begun gives the batches that remained."""
        missing = {"epoch", "epoch_seed", "batches"} - set(state)
        if missing:
            raise DataError(f"this is not a loader's state: it lacks {', '.join(sorted(missing))}")
        self.epoch = int(state["epoch"])
        self._resume = (
            None
            if state["epoch_seed"] is None
            else _Position(self.epoch, int(state["epoch_seed"]), int(state["batches"]))
        )

    def close(self) -> None:
        """End the worker processes, if any. They also end with the loader."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._pool = None

    # ---- the order

    def _draw_epoch_seed(self) -> int:
        if self.seed is not None:
            return self.seed * 1_000_003 + self.epoch  # the factor keeps the epochs of two seeds apart
        if not self.shuffle and self.after_batch is None and not isinstance(self.dataset, DrawsItems):
            return 0  # nothing is random: leave the global generator alone
        return int(torch.empty((), dtype=torch.int64).random_().item())

    def _order(self, epoch_seed: int) -> Iterable[int] | Tensor:
        chosen = self.get_idxs()
        if not self.shuffle:
            return chosen
        generator = torch.Generator().manual_seed(epoch_seed % 2**63)
        if isinstance(chosen, Tensor):
            return chosen[torch.randperm(len(chosen), generator=generator)]
        return chosen  # replaced by the user, who said which

    def _batches_of_an_epoch(self) -> int | None:
        try:
            return len(self)
        except TypeError:
            return None

    # ---- the batches

    def _batches(self, start: _Position) -> Iterator[Any]:
        if self._items is None:
            return self._streamed(start)
        order = self._order(start.epoch_seed)
        columns = self._columns.of(self.dataset)
        if columns is not None and self.collate_fn is collate and isinstance(order, Tensor):
            return self._indexed(columns, order, start.batches)
        jobs = itertools.islice(
            enumerate(_chunks(order, self.bs, self.drop_last)), start.batches, None
        )
        if self.num_workers == 0:
            return (self._make(number, indices, start.epoch_seed) for number, indices in jobs)
        return self._prefetched(jobs, start.epoch_seed)

    def _indexed(self, columns: Tensor | tuple[Tensor, ...], order: Tensor, first: int) -> Iterator[Any]:
        single = isinstance(columns, Tensor)
        tensors = (columns,) if single else columns
        ends = len(order) - (len(order) % self.bs if self.drop_last else 0)
        for start in range(first * self.bs, ends, self.bs):
            rows = order[start : start + self.bs]
            batch = tuple(tensor.index_select(0, rows.to(tensor.device)) for tensor in tensors)
            yield batch[0] if single else batch

    def _streamed(self, start: _Position) -> Iterator[Any]:
        items = itertools.islice(self.dataset, start.batches * self.bs, None)
        while chunk := list(itertools.islice(items, self.bs)):
            if len(chunk) < self.bs and self.drop_last:
                return
            yield self.collate_fn(chunk)

    def _make(self, number: int, indices: Sequence[int], epoch_seed: int) -> Any:
        return _make_batch(self.dataset, self.collate_fn, number * self.bs, indices, epoch_seed, _never)

    def _prefetched(self, jobs: Iterator[tuple[int, list[int]]], epoch_seed: int) -> Iterator[Any]:
        stop = threading.Event()
        pending: deque[Future[Any]] = deque()
        pool = self._worker_pool()

        def submit(number: int, indices: list[int]) -> Future[Any]:
            if self.processes:
                return pool.submit(_make_in_process, number * self.bs, indices, epoch_seed)
            first = number * self.bs
            return pool.submit(_make_batch, self.dataset, self.collate_fn, first, indices, epoch_seed, stop.is_set)

        try:
            for job in itertools.islice(jobs, self.num_workers * _BATCHES_AHEAD):
                pending.append(submit(*job))
            while pending:
                batch = pending[0].result()
                pending.popleft()
                for job in itertools.islice(jobs, 1):
                    pending.append(submit(*job))
                yield map_nest(_from_process, batch) if self.processes else batch
        except BrokenProcessPool as error:
            self._pool = None
            raise DataError(
                f"a worker process died while reading {type(self.dataset).__name__} (killed, or out of memory)",
                try_="processes=False (threads), or fewer num_workers",
            ) from error
        finally:
            stop.set()  # workers look at it between items, so an interrupt does not wait for whole batches
            for future in pending:
                future.cancel()
            if not self.processes:
                pool.shutdown(wait=True, cancel_futures=True)

    def _worker_pool(self) -> Executor:
        if not self.processes:
            return ThreadPoolExecutor(self.num_workers, thread_name_prefix="plainlearn-loader")
        if self._pool is None:
            # Processes cost seconds to start (each imports torch), so they stay between epochs. They are
            # not forked: a fork copies the locks of torch's threads in whatever state they are.
            import multiprocessing

            method = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
            self._pool = ProcessPoolExecutor(
                self.num_workers,
                mp_context=multiprocessing.get_context(method),
                initializer=_start_process,
                initargs=(self.dataset, self.collate_fn),
            )
            weakref.finalize(self, self._pool.shutdown, wait=False, cancel_futures=True)
        return self._pool

    def _finish(self, batch: Any, epoch_seed: int, number: int) -> Any:
        if self.device is not None:
            batch = to_device(batch, self.device)
        if self.after_batch is not None:
            batch = self.after_batch(batch, np.random.default_rng([1, epoch_seed % 2**63, number]))
        return batch

    def __repr__(self) -> str:
        kind = type(self.dataset).__name__
        items = "a stream" if self._items is None else f"{self._items} items"
        return f"DataLoader({kind} of {items}, bs={self.bs}, shuffle={self.shuffle}, drop_last={self.drop_last})"


class _Position:
    """A place in an epoch: which epoch, the seed of its order, how many batches were handed out."""

    __slots__ = ("batches", "epoch", "epoch_seed")

    def __init__(self, epoch: int, epoch_seed: int, batches: int) -> None:
        self.epoch, self.epoch_seed, self.batches = epoch, epoch_seed, batches

    def copy(self) -> _Position:
        return _Position(self.epoch, self.epoch_seed, self.batches)


class _Columns:
    """Remembers the tensors behind a dataset while its items remain the same objects."""

    def __init__(self, dataset: Any) -> None:
        self.tensors = columns_of(dataset)
        self.seen = list(dataset) if self.tensors is not None and isinstance(dataset, list) else None

    def of(self, dataset: Any) -> Tensor | tuple[Tensor, ...] | None:
        if self.seen is not None and not (
            len(self.seen) == len(dataset) and all(map(operator.is_, self.seen, dataset))
        ):
            self.__init__(dataset)
        return self.tensors


# ---- reading, in whatever thread or process


def _make_batch(
    dataset: Any,
    collate_fn: Callable[[Sequence[Any]], Any],
    first: int,
    indices: Sequence[int],
    epoch_seed: int,
    stopped: Callable[[], bool],
) -> Any:
    random = isinstance(dataset, DrawsItems)
    items: list[Any] = []
    for place, index in enumerate(indices, first):
        if stopped():
            return None
        try:
            if random:
                rng = np.random.default_rng([0, epoch_seed % 2**63, place])
                items.append(dataset.draw(index, rng))
            else:
                items.append(dataset[index])
        except Exception as error:
            error.add_note(f"while reading item {index} of {type(dataset).__name__}")
            raise
    try:
        return collate_fn(items)
    except Exception as error:
        error.add_note(f"while putting together the items {_listed(indices)} of {type(dataset).__name__}")
        raise


_process_data: tuple[Any, Callable[[Sequence[Any]], Any]] | None = None


def _start_process(dataset: Any, collate_fn: Callable[[Sequence[Any]], Any]) -> None:
    global _process_data
    torch.set_num_threads(1)  # the processes share the cores already
    _process_data = (dataset, collate_fn)


def _make_in_process(first: int, indices: Sequence[int], epoch_seed: int) -> Any:
    assert _process_data is not None
    batch = _make_batch(*_process_data, first, indices, epoch_seed, _never)
    # Arrays travel by value; a tensor would travel as a handle that dies with its process.
    return map_nest(lambda value: _Sent(value.numpy()) if isinstance(value, Tensor) else value, batch)


class _Sent:
    """A tensor on its way from a worker process."""

    def __init__(self, array: np.ndarray[Any, Any]) -> None:
        self.array = array


def _from_process(value: Any) -> Any:
    return torch.from_numpy(value.array) if isinstance(value, _Sent) else value


def _never() -> bool:
    return False


def _chunks(order: Iterable[int] | Tensor, size: int, drop_last: bool) -> Iterator[list[int]]:
    indices: Iterator[int] = iter(order.tolist() if isinstance(order, Tensor) else order)
    while chunk := list(itertools.islice(indices, size)):
        if len(chunk) == size or not drop_last:
            yield chunk


def _listed(indices: Sequence[int]) -> str:
    shown = ", ".join(map(str, indices[:8]))
    return f"{shown}, …" if len(indices) > 8 else shown


# ---- what comes in


def _is_indexable(dataset: Any) -> bool:
    return hasattr(dataset, "__getitem__") and hasattr(dataset, "__len__")


def _readable_again(dataset: Any) -> Any:
    if _is_indexable(dataset):
        return dataset
    if not isinstance(dataset, Iterable):
        raise ArgumentTypeError(
            f"the dataset is {dataset!r}; expected something with [i] and len, or something to iterate over"
        )
    if iter(cast(Iterable[Any], dataset)) is not dataset:
        return cast(Any, dataset)
    items = list(itertools.islice(cast(Iterator[Any], dataset), _MOST_ITEMS_OF_AN_ITERATOR + 1))
    if len(items) > _MOST_ITEMS_OF_AN_ITERATOR:
        raise DataError(
            f"the iterator gave more than {_MOST_ITEMS_OF_AN_ITERATOR:,} items; it can be read only once, so it is kept in memory",
            try_="an object whose __iter__ starts again, such as a torch IterableDataset",
        )
    return items


def _checked_batch_size(batch_size: int | None, bs: int | None) -> int:
    if batch_size is not None and bs is not None and batch_size != bs:
        raise ArgumentError(f"batch_size={batch_size} and bs={bs} are two names of one thing; give one")
    size = 64 if batch_size is None and bs is None else (batch_size if bs is None else bs)
    if isinstance(size, bool) or not isinstance(size, (int, np.integer)):
        raise ArgumentTypeError(f"bs is {size!r}; expected a whole number of 1 or more", try_="bs=64")
    if size < 1:
        raise ArgumentError(f"bs is {size}; expected 1 or more", try_="bs=64")
    return int(size)


def _checked_count(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 0:
        raise ArgumentError(f"{name} is {value!r}; expected a whole number of 0 or more")
    return int(value)
