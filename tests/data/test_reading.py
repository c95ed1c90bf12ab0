"""Threads that read ahead: in order, within bounds, with the error that was raised, and gone afterwards."""

from __future__ import annotations

import gc
import threading
import time
import weakref
from collections.abc import Iterator
from typing import Any

import pytest
from patience import PATIENCE

from plainlearn.data.reading import AHEAD, Stopped, read_ahead


@pytest.fixture(autouse=True)
def _no_thread_stays() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) <= before


@pytest.mark.parametrize("threads", [1, 2, 8])
@pytest.mark.parametrize("jobs", [0, 1, 3, 50])
def test_results_come_in_order(threads: int, jobs: int) -> None:
    def do(job: int, stopped: Stopped) -> int:
        time.sleep(0.002 * (job % 3 == 0))  # so that others finish first
        return job * 10

    assert list(read_ahead(iter(range(jobs)), do, threads)) == [job * 10 for job in range(jobs)]


def test_so_many_threads_work_at_a_time() -> None:
    together = threading.Barrier(3)

    def do(job: int, stopped: Stopped) -> str:
        together.wait(PATIENCE)  # passes only if three are here
        return threading.current_thread().name

    names = set(read_ahead(iter(range(6)), do, 3))
    assert names == {f"plainlearn-loader-{number}" for number in range(3)}


@pytest.mark.parametrize("threads", [1, 3])
def test_never_more_than_the_bound_is_read_ahead(threads: int) -> None:
    asked: list[int] = []
    done = threading.Semaphore(0)

    def jobs() -> Iterator[int]:
        for job in range(100):
            asked.append(job)
            yield job

    def do(job: int, stopped: Stopped) -> int:
        done.release()
        return job

    bound = AHEAD * threads
    results = read_ahead(jobs(), do, threads)
    assert asked == []
    for taken in range(1, 20):
        assert next(results) == taken - 1
        for _ in range(bound if taken == 1 else 1):
            assert done.acquire(timeout=PATIENCE)  # the threads do all that they may
        # What is taken, and the bound beyond it.
        assert len(asked) <= taken + bound
        assert not done.acquire(timeout=0.01)
    results.close()


def test_an_error_comes_out_in_its_turn_and_ends_the_rest() -> None:
    class OwnError(Exception):
        pass

    def do(job: int, stopped: Stopped) -> int:
        if job == 2:
            raise OwnError("two")
        time.sleep(0.01)  # the error is there first
        return job

    taken: list[int] = []
    with pytest.raises(OwnError, match="two"):
        taken.extend(read_ahead(iter(range(100)), do, 4))
    results = read_ahead(iter(range(100)), do, 4)
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(OwnError):
        next(results)


def test_an_error_among_the_jobs_comes_out() -> None:
    def jobs() -> Iterator[int]:
        yield 1
        raise KeyError("jobs")

    with pytest.raises(KeyError, match="jobs"):
        list(read_ahead(jobs(), lambda job, stopped: job, 2))


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_what_is_no_exception_comes_out_too(error: type[BaseException]) -> None:
    def do(job: int, stopped: Stopped) -> int:
        raise error

    with pytest.raises(error):
        next(read_ahead(iter(range(3)), do, 2))


def test_closing_tells_the_threads_to_stop_and_waits_for_them() -> None:
    begun = threading.Event()
    ended: list[int] = []

    def do(job: int, stopped: Stopped) -> int:
        if job:
            begun.set()
            while not stopped():
                time.sleep(0.001)
            ended.append(job)
        return job

    results = read_ahead(iter(range(100)), do, 2)
    next(results)
    assert begun.wait(PATIENCE)
    results.close()
    # Those that were begun ended; of the others, none was begun: not all that wait are done.
    assert 1 <= len(ended) <= 2
    assert not [t for t in threading.enumerate() if t.name.startswith("plainlearn-loader")]


def test_an_exception_in_the_loop_leaves_no_thread() -> None:
    def consume() -> None:
        for _ in read_ahead(iter(range(100)), lambda job, stopped: job, 3):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        consume()


class Batch:
    """Something that can be seen to be alive."""


def test_no_result_is_kept_once_it_has_been_taken() -> None:
    alive: list[weakref.ref[Batch]] = []

    def do(job: int, stopped: Stopped) -> Batch:
        batch = Batch()
        alive.append(weakref.ref(batch))
        return batch

    gc.disable()
    try:
        results = read_ahead(iter(range(6)), do, 1)
        for taken in range(6):
            held: Batch | None = next(results)
            assert alive[taken]() is held
            held = None
            wait_until(lambda taken=taken: alive[taken]() is None)
    finally:
        gc.enable()


def test_an_error_is_not_kept_with_what_its_job_held() -> None:
    alive: list[weakref.ref[Batch]] = []

    def do(job: Any, stopped: Stopped) -> Any:
        raise ValueError

    def jobs() -> Iterator[Batch]:
        batch = Batch()
        alive.append(weakref.ref(batch))
        yield batch

    gc.disable()
    try:
        with pytest.raises(ValueError) as caught:
            list(read_ahead(jobs(), do, 1))
        del caught
        wait_until(lambda: alive[0]() is None)
    finally:
        gc.enable()


def wait_until(true: Any) -> None:
    """Another thread may be between two lines."""
    deadline = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_a_forgotten_generator_can_be_closed_by_one_of_its_own_threads() -> None:
    # As the garbage collector would, if it ran there.
    holder: list[Any] = []
    closed = threading.Event()

    def do(job: int, stopped: Stopped) -> int:
        if job == 1:
            while not holder:
                time.sleep(0.001)
            holder.pop().close()
            closed.set()
        return job

    results = read_ahead(iter(range(10)), do, 1)
    next(results)
    holder.append(results)
    assert closed.wait(PATIENCE)
    wait_until(lambda: not [t for t in threading.enumerate() if t.name.startswith("plainlearn-loader")])
