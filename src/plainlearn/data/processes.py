"""Worker processes, for datasets that hold the interpreter's lock. A thread of the loader talks to each.

    the loader's thread                process
      send(job)                          reads the items; between two of them it looks
      wait: an answer, its               whether something was sent, which means: break off
      death, or a stop                   send(the batch, or the error)

A process ends when its pipe does: with the loader, with the interpreter, and if that is killed.
"""

from __future__ import annotations

import multiprocessing
import signal
import time
import traceback
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from multiprocessing.reduction import ForkingPickler
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from plainlearn.core.errors import DataError
from plainlearn.core.tensors import map_nest
from plainlearn.data.reading import BrokenOffError, Job, Reader, Stopped

_LOOK_SECONDS = 0.1  # how often a thread that waits for its process looks whether it should stop
_GRACE_SECONDS = 1.0  # for processes to end by themselves


class WorkerProcesses:
    """Makes batches as `reader` does, in `count` processes that stay until `close`, or until this is forgotten.

    They are not forked: a fork copies the locks of torch's threads in whatever state they
    are. So each imports torch, which takes seconds, and keeps the dataset as it was at the start.

    Raises `DataError` if the dataset cannot be sent to another process.
    """

    def __init__(self, reader: Reader, count: int) -> None:
        self.reader, self.count = reader, count
        self._processes: list[_Process] = []
        self._free: SimpleQueue[_Process] = SimpleQueue()
        self._end = weakref.finalize(self, _end, self._processes)
        try:
            for _ in range(count):
                self._processes.append(_Process(reader))
                self._free.put(self._processes[-1])
        except Exception as error:
            self.close()
            raise DataError(
                f"{type(reader.dataset).__name__}, or the collate_fn, cannot be sent to a process: {error}",
                try_="processes=False (threads), or classes and functions at the top level of a module",
            ) from error

    def serve(self, reader: Reader, count: int) -> bool:
        """Whether these are so many processes, all alive, that do what `reader` does."""
        same = self.reader.dataset is reader.dataset and self.reader.collate_fn is reader.collate_fn
        alive = self._end.alive and all(process.process.is_alive() for process in self._processes)
        return same and alive and self.count == count

    def __call__(self, job: Job, stopped: Stopped) -> Any:
        """The batch. An error of the dataset comes out with its type; a process that died is a `DataError`."""
        process = self._borrow(stopped)
        try:
            return process.make(job, stopped)
        finally:
            self._free.put(process)

    def _borrow(self, stopped: Stopped) -> _Process:
        # There may be more threads than processes, when one iteration is begun inside another.
        while not stopped():
            try:
                return self._free.get(timeout=_LOOK_SECONDS)
            except Empty:
                continue
        raise BrokenOffError

    def close(self) -> None:
        """End the processes, and wait until they have ended."""
        self._end()


class _Answer(NamedTuple):
    """What comes back: a batch, or an error, as bytes, with its story; neither, if the job was broken off."""

    batch: Any = None
    error: bytes | None = None
    story: str = ""


class _Process:
    """One process, seen from the loader."""

    def __init__(self, reader: Reader) -> None:
        methods = multiprocessing.get_all_start_methods()
        context: Any = multiprocessing.get_context("forkserver" if "forkserver" in methods else "spawn")
        self.connection: Connection
        self.connection, theirs = context.Pipe()
        self.process: BaseProcess = context.Process(
            target=_serve, args=(theirs, reader), name="plainlearn-loader", daemon=True
        )
        self.process.start()
        theirs.close()  # so that the pipe ends with the process
        self.reads = type(reader.dataset).__name__
        self.has_answered = self.owes_answer = False

    def make(self, job: Job, stopped: Stopped) -> Any:
        try:
            answer = self._ask(job, stopped)
        except (EOFError, OSError) as error:
            raise self._describe_end(job) from error
        if answer.story:
            raise _rebuilt(answer)
        return map_nest(_unpacked, answer.batch)

    def _ask(self, job: Job, stopped: Stopped) -> _Answer:
        if self.owes_answer:  # to a job that was broken off
            self._await(stopped)
        self.connection.send(job)
        self.owes_answer = True
        return _from_bytes(self._await(stopped))

    def _await(self, stopped: Stopped) -> bytes:
        while self.connection not in (
            ready := wait([self.connection, self.process.sentinel], timeout=_LOOK_SECONDS)
        ):
            if ready:
                raise EOFError
            if stopped():
                self.connection.send(None)
                raise BrokenOffError
        answer = self.connection.recv_bytes()
        self.owes_answer, self.has_answered = False, True
        return answer

    def _describe_end(self, job: Job) -> DataError:
        self.process.join(_GRACE_SECONDS)
        code = self.process.exitcode
        how = f"killed by signal {-code}" if code is not None and code < 0 else f"exit code {code}"
        if self.has_answered or (code is not None and code < 0):
            death = DataError(
                f"a worker process ended ({how}) while reading {self.reads}; it may have run out of memory",
                try_="processes=False (threads), or fewer num_workers",
            )
            death.add_note(f"while reading the items {', '.join(map(str, job.indices))}")
            return death
        return DataError(
            f"a worker process ended ({how}) before it could read {self.reads}; it has printed why",
            try_='all of the script below `if __name__ == "__main__":`, or processes=False (threads)',
        )


def _end(processes: Sequence[_Process]) -> None:
    for process in processes:
        process.connection.close()
    deadline = time.monotonic() + _GRACE_SECONDS
    for process in processes:
        process.process.join(max(0.0, deadline - time.monotonic()))
        process.process.kill()  # does nothing to one that has ended
        process.process.join()


def _from_bytes(data: bytes) -> Any:
    return cast(Any, ForkingPickler).loads(data)


def _rebuilt(answer: _Answer) -> Exception:
    """The error of a process, with its own type if it can travel."""
    try:
        error = _from_bytes(answer.error) if answer.error else None
    except Exception:  # noqa: BLE001 (whatever its class does when it is made again; the story tells the error)
        error = None
    if isinstance(error, Exception):
        error.add_note(f"in a worker process:\n{answer.story}")
        return error
    return DataError(f"reading failed in a worker process:\n{answer.story}")


# ---- in the process


def _serve(connection: Connection, reader: Reader) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the loader, which ends this
    torch.set_num_threads(1)  # the processes share the cores already
    while True:
        try:
            job = connection.recv()
            if job is not None:  # None, or anything, breaks off the job before, if that is not done yet
                connection.send_bytes(_answer(reader, job, connection.poll))
        except (EOFError, OSError):
            return  # the loader has gone


def _answer(reader: Reader, job: Job, stopped: Stopped) -> Any:
    try:
        return _as_bytes(_Answer(map_nest(_packed, reader(job, stopped))))
    except BrokenOffError:
        return _as_bytes(_Answer())
    except Exception as error:  # noqa: BLE001 (it is raised in the loader)
        story = "".join(traceback.format_exception(error))
        try:
            return _as_bytes(_Answer(error=bytes(_as_bytes(error)), story=story))
        except Exception:  # noqa: BLE001 (an error that cannot travel; its story can)
            return _as_bytes(_Answer(story=story))


def _as_bytes(value: Any) -> Any:
    return ForkingPickler.dumps(value, 5)  # 5: arrays without a further copy


@dataclass(frozen=True)
class _Packed:
    """A tensor on its way: by value, as a tensor itself would travel as a handle that dies with its process."""

    values: NDArray[np.uint8]
    dtype: torch.dtype
    shape: tuple[int, ...]


def _packed(value: Any) -> Any:
    if not isinstance(value, Tensor):
        return value
    flat = value.detach().resolve_conj().resolve_neg().reshape(-1).contiguous()
    flat = flat.as_strided((len(flat),), (1,))  # of a single number, contiguous leaves the stride as it is
    return _Packed(flat.view(torch.uint8).numpy(), value.dtype, tuple(value.shape))


def _unpacked(value: Any) -> Any:
    if not isinstance(value, _Packed):
        return value
    if not len(value.values):
        return torch.empty(value.shape, dtype=value.dtype)
    return torch.from_numpy(value.values).view(value.dtype).reshape(value.shape)
