"""Gathers what many ask at the same time into single runs. It knows asyncio and threads, not models nor the web.

An item goes through two stages: `read`, each by itself in a pool of threads, and `answer`, one call for all that wait. What
comes while nothing runs is answered at once; what comes while all lanes run waits for the next run, with all that
came meanwhile. A run that could start waits at most `patience_seconds` more, and only for what is being read already.
"""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

__all__ = ["Batcher", "Budget", "Full"]

Item = TypeVar("Item")
Sample = TypeVar("Sample")
Answer = TypeVar("Answer")
Given = TypeVar("Given")
Made = TypeVar("Made")


class Full(Exception):
    """No room for another item: those that wait are as many as may."""


class Budget:
    """So many units to be held at a time; who wants more than are left waits for their turn, first come first served."""

    def __init__(self, units: int) -> None:
        self.units: Final = units
        self._left = units
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    async def take(self, units: int) -> None:
        """Wait until `units`, which are at most all there are, can be had."""
        units = min(units, self.units)
        if not self._waiting and units <= self._left:
            self._left -= units
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append((units, turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # it was given and is not wanted any more
                self.give(units)
            raise

    def give(self, units: int) -> None:
        """Give back what was taken."""
        self._left += min(units, self.units)
        while self._waiting and (self._waiting[0][1].done() or self._waiting[0][0] <= self._left):
            wanted, turn = self._waiting.popleft()
            if not turn.done():
                self._left -= wanted
                turn.set_result(None)


@dataclass(eq=False)
class _Waiting(Generic[Sample, Answer]):
    sample: Sample
    since: float
    answer: asyncio.Future[Answer]


class Batcher(Generic[Item, Sample, Answer]):
    """Answers items by as few runs as come naturally.

    `most` is how many one run takes, `room` how many items may be inside at a time, in whatever stage. `lanes` runs
    go on side by side; `alone` stands for `answer` when an item is the only one inside, and may use all cores.
    `weigh`, called like `read`, tells what an item takes of `budget` from its reading until its answer.
    `on_run` is told the size of each run and its seconds.
    """

    def __init__(
        self,
        read: Callable[[Item], Sample],
        answer: Callable[[list[Sample]], Sequence[Answer]],
        *,
        alone: Callable[[list[Sample]], Sequence[Answer]] | None = None,
        lanes: int = 1,
        most: int = 16,
        room: int = 64,
        threads: int | None = None,
        patience_seconds: float = 0.002,
        weigh: Callable[[Item], int] | None = None,
        budget: Budget | None = None,
        on_run: Callable[[int, float], Any] = lambda _size, _seconds: None,
    ) -> None:
        assert min(most, room, lanes) >= 1
        self._read, self._answer, self._weigh, self._on_run = read, answer, weigh, on_run
        self._alone, self._lanes = alone or answer, lanes
        self._most, self._room, self._patience = most, room, patience_seconds
        self._budget = Budget(0) if budget is None else budget
        self._readers = ThreadPoolExecutor(threads or os.cpu_count() or 1, thread_name_prefix="read")
        self._runner = ThreadPoolExecutor(lanes, thread_name_prefix="answer")
        self._inside = self._reading = 0
        self._queue: deque[_Waiting[Sample, Answer]] = deque()
        self._runs: set[asyncio.Task[None]] = set()
        self._later: asyncio.TimerHandle | None = None

    @property
    def inside(self) -> int:
        """How many items are being read, wait, or are being answered."""
        return self._inside

    @property
    def waiting(self) -> int:
        """How many are read and wait for a run."""
        return len(self._queue)

    def room_for(self, count: int) -> bool:
        """Whether so many more items may come in."""
        return self._inside + count <= self._room

    async def ask(self, items: Sequence[Item]) -> list[Answer | Exception]:
        """The answer to each item, or the error that it met; one that fails does no harm to the others.

        Raises `Full`, at once, when there is no room for all of them. A caller that is cancelled leaves the queue.
        """
        if not self.room_for(len(items)):
            raise Full
        tasks = [self._begin(item) for item in items]
        try:
            return [await task for task in tasks]
        finally:
            for task in tasks:
                task.cancel()

    async def close(self) -> None:
        """Wait for all that is inside, and end the threads."""
        while self._inside:
            await asyncio.sleep(0.01)
        self._readers.shutdown()
        self._runner.shutdown()

    # ---- one item

    def _begin(self, item: Item) -> asyncio.Task[Answer | Exception]:
        def left(_: object) -> None:  # not in the task itself: one that is cancelled at once never begins
            self._inside -= 1

        self._inside += 1
        task = asyncio.get_running_loop().create_task(self._one(item))
        task.add_done_callback(left)
        return task

    async def _one(self, item: Item) -> Answer | Exception:
        try:
            weight = 0 if self._weigh is None else await _in_thread(self._readers, self._weigh, item)
            await self._budget.take(weight)
            try:
                return await self._enqueued(await self._sample_of(item))
            finally:
                self._budget.give(weight)
        except Exception as error:  # noqa: BLE001 - it is handed to who asked
            return error

    async def _sample_of(self, item: Item) -> Sample:
        self._reading += 1
        try:
            return await _in_thread(self._readers, self._read, item)
        finally:
            self._reading -= 1
            # Once this one is in the queue too; or without it, if it failed.
            asyncio.get_running_loop().call_soon(self._consider)

    async def _enqueued(self, sample: Sample) -> Answer:
        loop = asyncio.get_running_loop()
        waiting = _Waiting[Sample, Answer](sample, loop.time(), loop.create_future())
        self._queue.append(waiting)
        return await waiting.answer

    # ---- runs

    def _consider(self) -> None:
        """Start runs, if a lane is free and there is no reason to wait for more."""
        loop = asyncio.get_running_loop()
        while self._queue and (free := self._lanes - len(self._runs)):
            left = self._queue[0].since + self._patience - loop.time()
            if self._reading and len(self._queue) < self._most and left > 0:
                if self._later is None:
                    self._later = loop.call_later(left, self._considered)
                return
            batch = self._next_batch(min(self._most, -(-len(self._queue) // free)))
            if batch:
                run = loop.create_task(self._run(batch))
                self._runs.add(run)
                run.add_done_callback(self._ended)
        if self._later is not None:
            self._later.cancel()
            self._later = None

    def _next_batch(self, most: int) -> list[_Waiting[Sample, Answer]]:
        batch: list[_Waiting[Sample, Answer]] = []
        while self._queue and len(batch) < most:
            waiting = self._queue.popleft()
            if not waiting.answer.done():  # nobody wants it any more
                batch.append(waiting)
        return batch

    def _considered(self) -> None:
        self._later = None
        self._consider()

    def _ended(self, run: asyncio.Task[None]) -> None:
        self._runs.discard(run)
        self._consider()

    async def _run(self, batch: list[_Waiting[Sample, Answer]]) -> None:
        loop = asyncio.get_running_loop()
        start = loop.time()
        try:
            answer = self._alone if self._inside == 1 else self._answer
            answers = await _in_thread(self._runner, answer, [each.sample for each in batch])
            if len(answers) != len(batch):
                raise RuntimeError(f"{len(batch)} were asked and {len(answers)} answered")
        except Exception as error:  # noqa: BLE001
            if len(batch) > 1:  # one of them may be at fault: each by itself
                for each in batch:
                    await self._run([each])
            elif not batch[0].answer.done():
                batch[0].answer.set_exception(error)
            return
        self._on_run(len(batch), loop.time() - start)
        for each, answer in zip(batch, answers, strict=True):
            if not each.answer.done():
                each.answer.set_result(answer)


async def _in_thread(pool: ThreadPoolExecutor, function: Callable[[Given], Made], given: Given) -> Made:
    """Its result; who is cancelled meanwhile stays until the thread has let go of what it was given."""
    work = pool.submit(function, given)
    made = asyncio.wrap_future(work)
    try:
        return await asyncio.shield(made)
    except asyncio.CancelledError:
        if not work.cancel():
            await asyncio.wait([made])
        raise
