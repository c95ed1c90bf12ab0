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
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sized
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import replace
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from plainlearn.core.errors import ArgumentError, DataError
from plainlearn.core.seed import preserve_random_state, set_seed
from plainlearn.core.tensors import to_device
from plainlearn.data import loader_input as check
from plainlearn.data.collating import collate
from plainlearn.data.columns import ColumnFinder, Columns, cut
from plainlearn.data.place import ALL, Position, Share
from plainlearn.data.processes import WorkerProcesses
from plainlearn.data.read_ahead import read_ahead
from plainlearn.data.reading import (
    Collate,
    DrawsItems,
    Job,
    OrdersItems,
    Reader,
    Stopped,
    generator,
    read_stream,
)

__all__ = ["BatchTransform", "DataLoader", "DrawsItems"]

BatchTransform = Callable[[Any, np.random.Generator], Any]
Make = Callable[[Job, Stopped], Any]


class DataLoader:
    """Batches of `dataset`, which is anything with `[i]` and `len`, or anything iterable.

    `batch_size` (or `bs`, 64) items make a batch; the last may be shorter unless
    `drop_last`. `shuffle=True` draws a new order each epoch: from `seed` when given,
    else from torch's global generator, so `set_seed` before `fit` repeats it.
    `collate_fn` puts items together; `device` is where batches go; `after_batch(batch, rng)`
    changes whole batches there.

    `num_workers` threads read ahead (0: the calling thread reads) and, except on a GPU, run `after_batch`
    too: both it and the dataset must bear to be used by several at once. With `processes=True` each
    thread has a process that reads, for datasets that hold the interpreter's lock; these stay until
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
        dataset: Any,
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
        self.bs = check.batch_size(batch_size, bs)
        self.dataset = check.readable_again(dataset)
        self.shuffle = shuffle
        self.drop_last = drop_last
        self.seed = check.seed(seed)
        self.processes = processes
        self.num_workers = check.num_workers(num_workers)
        self.collate_fn = check.function("collate_fn", collate_fn)
        self.after_batch = None if after_batch is None else check.function("after_batch", after_batch)
        self.device = None if device is None else torch.device(device)
        #: How many iterations have been begun; `one_batch` is none.
        self.epochs_begun = 0
        self._position: Position | None = None
        self._to_resume: Position | None = None
        self._find_columns = ColumnFinder()
        self._workers: WorkerProcesses | None = None
        self._check_dataset()

    def _check_dataset(self) -> None:
        if not check.is_indexable(self.dataset):
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
        indexable = check.is_indexable(self.dataset)
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
        epochs_begun, epoch_seed, batches = check.loader_state(state, self._identity())
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
        if self._workers is not None:
            self._workers.close()
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
        draws = self.shuffle or self.after_batch is not None or isinstance(self.dataset, DrawsItems)
        if not draws and not self._order_is_replaced():
            return 0  # nothing is random: leave the global generator alone
        return int(torch.empty((), dtype=torch.int64, device="cpu").random_().item())

    # ---- its batches

    def _batches(self, start: Position, num_workers: int, share: Share) -> Generator[Any]:
        """The batches of this share from `start` on, ready for the model."""
        # On the CPU a batch is finished where it is made, so that this overlaps with training; a GPU gets its
        # work from one thread, the caller's.
        elsewhere = self.device is not None and self.device.type != "cpu"
        jobs, make, threads = self._work(start, num_workers, overlaps=not elsewhere)
        jobs = share.of(jobs)
        seed = start.epoch_seed

        def make_and_finish(job: Job, stopped: Stopped) -> Any:
            return self._finish(make(job, stopped), job.number, seed)

        nothing_to_do = self.device is None and self.after_batch is None
        do = make if elsewhere or nothing_to_do else make_and_finish
        made = read_ahead(jobs, do, threads) if threads else _one_by_one(jobs, do)
        numbers = itertools.count(start.batches + share.rank, share.size)
        return self._finish_each(made, numbers, seed) if elsewhere else made

    def _work(self, start: Position, num_workers: int, *, overlaps: bool) -> tuple[Iterator[Job], Make, int]:
        """The jobs from `start` on, who makes batches of them, and how many threads that is worth."""
        reader = Reader(self.dataset, self.collate_fn)
        if not check.is_indexable(self.dataset):
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
        make = self._worker_processes(reader) if self.processes and num_workers else reader
        return self._jobs(indices, start), make, num_workers

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
        device = cast(torch.device, self.device).type
        with closing(made):
            for batch in made:
                with _without_autocast(device):
                    finished = self._finish(batch, next(numbers), epoch_seed)
                del batch
                yield finished
                del finished

    def _worker_processes(self, reader: Reader) -> WorkerProcesses:
        workers = self._workers
        if workers is None or not workers.serve(reader, self.num_workers):
            self.close()
            self._workers = workers = WorkerProcesses(reader, self.num_workers)
        return workers

    def _identity(self) -> dict[str, Any]:
        """What must be the same for a place within an epoch to mean the same batches."""
        items = len(self.dataset) if check.is_indexable(self.dataset) else None
        return {"bs": self.bs, "items": items, "shuffle": bool(self.shuffle)}

    def __repr__(self) -> str:
        kind = type(self.dataset).__name__
        what = (
            f"{kind} of {len(self.dataset)} items" if check.is_indexable(self.dataset) else f"stream {kind}"
        )
        return f"DataLoader({what}, bs={self.bs}, shuffle={self.shuffle}, drop_last={self.drop_last})"

    def _no_batch(self) -> DataError:
        return DataError(
            f"an epoch over {type(self.dataset).__name__} had no batch; expected at least one",
            try_="drop_last=False, more items, or, for a stream, an __iter__ that starts anew each time",
        )


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
