"""Batches read and put together: what a job asks for, who does it, and how far ahead of whoever takes them.

`Reader` makes one batch: its items read one by one, and put together. `read_ahead` lets threads do it,
`WorkerProcesses` the worker processes of torch's own DataLoader.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from itertools import islice
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple, Protocol, TypeAlias, TypeVar, cast, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from plainlearn.core.errors import DataError
from plainlearn.data.collating import collate

J = TypeVar("J")
R = TypeVar("R")

AHEAD = 2  # batches a thread or process; enough to hide a slow file, few enough to bound memory
_LOOK_SECONDS = 0.2  # how often an idle thread looks whether the interpreter ends


class HasItems(Protocol):
    """Read by index: a list, a dataset of torch's, one of ours."""

    def __getitem__(self, index: Any, /) -> Any: ...


#: What batches are made of.
Source: TypeAlias = "HasItems | Iterable[Any]"

Collate = Callable[[Sequence[Any]], Any]

#: Asked now and then while a batch is made: does nobody wait for it any more?
Stopped = Callable[[], bool]


@runtime_checkable
class DrawsItems(Protocol):
    """A dataset whose items are partly random: `draw` gets a generator of the item's own.

    One that has `draw`, and yet nothing random on the way, may say so by `draws = False`; it is read by `[i]`.
    """

    def draw(self, index: int, rng: np.random.Generator) -> Any: ...


def draws_items(dataset: object) -> bool:
    """Whether items are drawn with generators of their own, which cost 10 µs each."""
    return isinstance(dataset, DrawsItems) and bool(getattr(dataset, "draws", True))


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
        random = draws_items(self.dataset)
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


# ---- by threads


def read_ahead(jobs: Iterator[J], do: Callable[[J, Stopped], R], threads: int) -> Generator[R]:
    """`do(job, stopped)` of every job, in order, by `threads`, up to `AHEAD * threads` of them ahead.

    `jobs` is read in the caller's thread. An exception in `do` comes out here, in its turn. When this
    generator is closed, for whatever reason, `stopped()` turns true, and the threads are waited for.

    Not an Executor of the standard library: at the end of the interpreter that one first does every job
    which is still waiting, so that a program that ends in the middle of an epoch seems to hang.
    """
    waiting: SimpleQueue[tuple[J, Future[R]] | None] = SimpleQueue()
    closed = threading.Event()
    consumer = threading.current_thread()

    def stopped() -> bool:
        return closed.is_set() or _is_abandoned(consumer)

    def work() -> None:
        while (task := _next_task(waiting, stopped)) is not None:
            job, future = task
            _fulfil(job, future, do, stopped)
            del task, job, future  # or an idle thread would keep the batch alive

    crew: list[threading.Thread] = []
    results: deque[Future[R]] = deque()
    try:
        while True:
            for job in islice(jobs, AHEAD * threads - len(results)):
                results.append(Future())
                waiting.put((job, results[-1]))
                if len(crew) < threads:
                    # No daemon, also of one that is: those are cut off amid whatever library code they are in.
                    name = f"plainlearn-loader-{len(crew)}"
                    thread = threading.Thread(target=work, name=name, daemon=False)
                    thread.start()
                    crew.append(thread)
            if not results:
                return
            yield results.popleft().result()
    finally:
        closed.set()
        for _ in crew:
            waiting.put(None)
        for thread in crew:
            # The garbage collector may close a forgotten generator in any thread, even in one of these.
            if thread is not threading.current_thread():
                thread.join()


def _is_abandoned(consumer: threading.Thread) -> bool:
    """Whether the interpreter ends: it then waits for these threads, and nothing will wait for their results."""
    return not threading.main_thread().is_alive() and (consumer.daemon or not consumer.is_alive())


def _next_task(waiting: SimpleQueue[Any], stopped: Stopped) -> Any:
    while not stopped():
        try:
            return waiting.get(timeout=_LOOK_SECONDS)
        except Empty:
            continue
    return None


def _fulfil(job: J, future: Future[R], do: Callable[[J, Stopped], R], stopped: Stopped) -> None:
    try:
        future.set_result(do(job, stopped))
    except BrokenOffError:
        return  # nobody waits; or only a daemon, until the interpreter has ended
    except BaseException as error:  # noqa: BLE001 (it is raised where the result is taken)
        future.set_exception(error)
        del future  # the exception knows this frame: a cycle that would keep what the job holds


# ---- by processes


class WorkerProcesses:
    """Makes batches as `reader` does, by `count` worker processes of torch's own DataLoader, which live as long as this.

    They are not forked: a fork copies the locks of torch's threads in whatever state they are. So each
    imports torch, which takes seconds, and keeps the dataset as it was at the start.
    """

    def __init__(self, reader: Reader, count: int) -> None:
        self._reader, self._count = reader, count
        self._epoch = _Epoch(iter(()))
        methods = multiprocessing.get_all_start_methods()
        self._loader = torch.utils.data.DataLoader[Any](
            cast(Any, _BatchOfJob(reader)),
            batch_size=None,  # a job is a batch already
            sampler=self._epoch,
            collate_fn=_as_it_is,
            worker_init_fn=_end_with_loader,
            num_workers=count,
            prefetch_factor=AHEAD,
            persistent_workers=True,
            multiprocessing_context="forkserver" if "forkserver" in methods else "spawn",
            generator=torch.Generator(),  # or every epoch would draw from the global one
        )

    def serve(self, reader: Reader, count: int) -> bool:
        """Whether these are so many processes that do what `reader` does."""
        same = self._reader.dataset is reader.dataset and self._reader.collate_fn is reader.collate_fn
        return same and self._count == count

    def batches(self, jobs: Iterator[Job]) -> Generator[Any]:
        """The batch of every job, in order; one iteration at a time.

        An error of the dataset comes out as torch makes it again: with its type, and what the process tells as
        its text. Raises `DataError` if the dataset cannot be sent to a process, `RuntimeError` for one that died.
        """
        self._epoch.jobs = jobs
        try:
            made = iter(self._loader)
        except Exception as error:
            if _is_death(error):
                raise
            raise DataError(
                f"{type(self._reader.dataset).__name__}, or the collate_fn, cannot be sent to a process: {error}",
                try_="processes=False (threads), or classes and functions at the top level of a module",
            ) from error
        try:
            yield from made
        except Exception as error:
            if _is_death(error):
                error.add_note(
                    "  Try processes=False (threads), fewer num_workers if memory ran out, or all of the script "
                    'below `if __name__ == "__main__":`'
                )
            # torch's frames make a cycle with the error, which would keep the processes until it is collected.
            del made
            error.__traceback__ = None
            raise


def _is_death(error: Exception) -> bool:
    """Whether torch tells by this error that a process has died."""
    return isinstance(error, RuntimeError) and str(error).startswith("DataLoader worker (pid")


@dataclass
class _Epoch:
    """The jobs of the epoch at hand: torch's loader asks for its indices anew each time, and these are jobs."""

    jobs: Iterator[Job]

    def __iter__(self) -> Iterator[Job]:
        return self.jobs


@dataclass(frozen=True)
class _BatchOfJob:
    """A dataset for torch's workers, whose items are batches."""

    reader: Reader

    def __getitem__(self, job: Job) -> Any:
        return self.reader(job, lambda: False)


def _end_with_loader(_: int) -> None:
    """In a worker process: end when the loader's has died, were it killed. torch looks after the parent, which here is
    the fork server: that lives as long as its workers, so all would stay for ever."""
    loader = multiprocessing.parent_process()

    def end() -> None:
        if loader is not None:
            loader.join()
            os._exit(1)

    threading.Thread(target=end, daemon=True).start()


def _as_it_is(batch: Any) -> Any:
    return batch
