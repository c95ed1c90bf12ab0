"""The batcher: who waits is answered together, in order and within bounds, and nobody suffers for another."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import pytest
from patience import PATIENCE

from plainlearn.app.batcher import Batcher, Budget, Full


def run(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(20):
            await work()

    asyncio.run(bounded())


class Gate:
    """A stage that answers only when it is let, and writes down what it was given."""

    def __init__(self, open_: bool = False) -> None:
        self.calls: list[list[int]] = []
        self.begun, self.opened = threading.Semaphore(0), threading.Semaphore(1000 if open_ else 0)

    def __call__(self, samples: list[int]) -> Sequence[int]:
        self.calls.append(samples)
        self.begun.release()
        assert self.opened.acquire(timeout=PATIENCE)
        return [10 * sample for sample in samples]

    async def entered(self) -> None:
        assert await asyncio.to_thread(self.begun.acquire, timeout=PATIENCE)


def same(item: int) -> int:
    return item


async def settled(holds: Callable[[], bool]) -> None:
    while not holds():
        await asyncio.sleep(0.001)


def test_what_waits_during_a_run_is_answered_by_the_next_one_in_order() -> None:
    async def work() -> None:
        gate = Gate()
        batcher = Batcher(same, gate, threads=1)
        first = asyncio.create_task(batcher.ask([1]))
        await gate.entered()
        others = [asyncio.create_task(batcher.ask([number])) for number in range(2, 7)]
        await settled(lambda: batcher.waiting == 5)
        gate.opened.release(2)
        assert await first == [10]
        assert [await each for each in others] == [[20], [30], [40], [50], [60]]
        assert gate.calls == [[1], [2, 3, 4, 5, 6]]
        assert batcher.inside == 0
        await batcher.close()

    run(work)


def test_a_run_takes_no_more_than_it_may() -> None:
    async def work() -> None:
        gate = Gate(open_=True)
        batcher = Batcher(same, gate, most=3)
        assert await batcher.ask(range(10)) == [10 * number for number in range(10)]
        assert max(map(len, gate.calls)) <= 3 and sum(map(len, gate.calls)) == 10
        await batcher.close()

    run(work)


def test_who_comes_while_nothing_is_read_or_run_does_not_wait() -> None:
    async def work() -> None:
        batcher = Batcher(same, Gate(open_=True), patience_seconds=3600)
        assert await batcher.ask([1]) == [10]  # it would be cut off at 20 seconds
        await batcher.close()

    run(work)


def test_a_run_waits_for_what_is_being_read_but_not_beyond_its_patience() -> None:
    async def work(patience: float, expected: list[list[int]]) -> None:
        gate, slow = Gate(open_=True), threading.Event()

        def read(item: int) -> int:
            assert item != 2 or slow.wait(PATIENCE)
            return item

        batcher = Batcher(read, gate, threads=2, patience_seconds=patience)
        second = asyncio.create_task(batcher.ask([2]))
        first = asyncio.create_task(batcher.ask([1]))
        if patience < 1:
            assert await first == [10]
        else:
            await settled(lambda: batcher.waiting == 1)
        slow.set()
        assert (await first, await second) == ([10], [20])
        assert gate.calls == expected
        await batcher.close()

    run(lambda: work(0.001, [[1], [2]]))
    run(lambda: work(3600, [[1, 2]]))


def test_more_than_there_is_room_for_are_refused_at_once_and_those_inside_are_answered() -> None:
    async def work() -> None:
        gate = Gate()
        batcher = Batcher(same, gate, room=3)
        inside = asyncio.create_task(batcher.ask([1, 2]))
        await gate.entered()
        assert batcher.room_for(1) and not batcher.room_for(2)
        with pytest.raises(Full):
            await batcher.ask([3, 4])
        gate.opened.release(9)
        assert await inside == [10, 20]
        assert await batcher.ask([3, 4, 5]) == [30, 40, 50]
        await batcher.close()

    run(work)


def test_lanes_run_side_by_side_and_share_what_waits() -> None:
    async def work() -> None:
        gate = Gate()
        batcher = Batcher(same, gate, lanes=2, patience_seconds=3600)
        asked = asyncio.create_task(batcher.ask([1, 2, 3, 4]))
        await gate.entered()
        await gate.entered()
        assert sorted(map(sorted, gate.calls)) == [[1, 2], [3, 4]]
        more = asyncio.create_task(batcher.ask([5]))
        await settled(lambda: batcher.waiting == 1)
        gate.opened.release(9)
        assert await asked == [10, 20, 30, 40] and await more == [50]
        await batcher.close()

    run(work)


def test_who_is_the_only_one_inside_may_have_all_cores() -> None:
    async def work() -> None:
        gate, wide = Gate(open_=True), Gate(open_=True)
        batcher = Batcher(same, gate, alone=wide, patience_seconds=3600)
        assert await batcher.ask([1]) == [10]
        assert await batcher.ask([2, 3]) == [20, 30]
        assert (wide.calls, gate.calls) == ([[1]], [[2, 3]])
        await batcher.close()

    run(work)


def test_what_cannot_be_read_does_not_hurt_the_others() -> None:
    def read(item: int) -> int:
        if item % 2:
            raise ValueError(f"{item} is odd")
        return item

    async def work() -> None:
        batcher = Batcher(read, Gate(open_=True))
        answers = await batcher.ask([0, 1, 2, 3])
        assert [str(answer) for answer in answers] == ["0", "1 is odd", "20", "3 is odd"]
        assert await batcher.ask([4]) == [40]
        await batcher.close()

    run(work)


def test_what_fails_within_a_run_fails_alone() -> None:
    def answer(samples: list[int]) -> Sequence[int]:
        if 2 in samples:
            raise ArithmeticError("no 2")
        return samples

    async def work() -> None:
        batcher = Batcher(same, answer, patience_seconds=1)
        assert [str(each) for each in await batcher.ask([1, 2, 3])] == ["1", "no 2", "3"]
        await batcher.close()

    run(work)


def test_a_run_that_answers_too_few_is_an_error_and_not_a_mix_up() -> None:
    async def work() -> None:
        batcher = Batcher(same, lambda samples: samples[:-1], patience_seconds=1)
        answers = await batcher.ask([1, 2])
        assert [str(each) for each in answers] == ["1 were asked and 0 answered"] * 2
        await batcher.close()

    run(work)


def test_who_gives_up_leaves_the_queue_and_its_room() -> None:
    async def work() -> None:
        gate = Gate()
        batcher = Batcher(same, gate, room=4)
        first = asyncio.create_task(batcher.ask([1]))
        await gate.entered()
        given_up = asyncio.create_task(batcher.ask([2, 3]))
        stays = asyncio.create_task(batcher.ask([4]))
        await settled(lambda: batcher.waiting == 3)
        given_up.cancel()
        await settled(lambda: batcher.inside == 2)
        gate.opened.release(2)
        assert (await first, await stays) == ([10], [40])
        assert gate.calls == [[1], [4]]
        await batcher.close()

    run(work)


def test_who_gives_up_before_anything_began_leaves_no_trace() -> None:
    async def work() -> None:
        batcher = Batcher(same, Gate(open_=True), room=1)
        for _ in range(3):
            task = asyncio.create_task(batcher.ask([1]))
            await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])
        await settled(lambda: batcher.inside == 0)
        assert await batcher.ask([1]) == [10]
        await batcher.close()

    run(work)


def test_closing_waits_for_all_that_is_inside() -> None:
    async def work() -> None:
        gate = Gate()
        batcher = Batcher(same, gate)
        asked = asyncio.create_task(batcher.ask([1, 2]))
        await gate.entered()
        closing = asyncio.create_task(batcher.close())
        await asyncio.sleep(0.03)
        assert not closing.done()
        gate.opened.release(9)
        await closing
        assert await asked == [10, 20]

    run(work)


def test_no_more_is_held_at_a_time_than_the_budget_has() -> None:
    async def work() -> None:
        gate, reading = Gate(), 0

        def read(item: int) -> int:
            nonlocal reading
            reading += 1
            return item

        batcher = Batcher(read, gate, weigh=lambda item: item, budget=Budget(10))
        asked = asyncio.create_task(batcher.ask([6, 5, 4]))
        await gate.entered()
        await asyncio.sleep(0.03)
        assert gate.calls == [[6]] and reading == 1  # 4 would fit, but 5 was first
        gate.opened.release(9)
        assert await asked == [60, 50, 40]
        assert await batcher.ask([1000]) == [10000]  # more than there is: alone, then
        await batcher.close()

    run(work)


def test_a_place_in_the_budget_that_is_not_wanted_any_more_goes_to_the_next() -> None:
    async def work() -> None:
        budget = Budget(1)
        await budget.take(1)
        second, third = asyncio.create_task(budget.take(1)), asyncio.create_task(budget.take(1))
        await asyncio.sleep(0)
        budget.give(1)
        second.cancel()  # given already, and never told
        with pytest.raises(asyncio.CancelledError):
            await second
        await third

    run(work)
