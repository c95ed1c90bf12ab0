"""Jobs done by threads: a bounded number ahead of whoever takes the results, in order, and gone when he is.

Not an Executor of the standard library: at the end of the interpreter that one first does every job
which is still waiting, so that a program that ends in the middle of an epoch seems to hang.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future
from itertools import islice
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from plainlearn.data.reading import BrokenOffError, Stopped

J = TypeVar("J")
R = TypeVar("R")

AHEAD = 2  # batches a thread; enough to hide a slow file, few enough to bound memory
_LOOK_SECONDS = 0.2  # how often an idle thread looks whether the interpreter ends


def read_ahead(jobs: Iterator[J], do: Callable[[J, Stopped], R], threads: int) -> Generator[R]:
    """`do(job, stopped)` of every job, in order, by `threads`, up to `AHEAD * threads` of them ahead.

    `jobs` is read in the caller's thread. An exception in `do` comes out here, in its turn. When this
    generator is closed, for whatever reason, `stopped()` turns true, and the threads are waited for.
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
