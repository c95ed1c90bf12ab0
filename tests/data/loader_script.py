"""Run by test_processes.py in an interpreter of its own: loaders that are interrupted, left, killed, resumed.

The first argument says what to do; answers go to stdout, one line of JSON each.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import sys
import threading
import time
from typing import Any

import numpy as np
import torch

from plainlearn.core.errors import DataError
from plainlearn.data.collating import collate
from plainlearn.data.loader import DataLoader

MISSING, CLUMSY, DEADLY, NONE = range(100, 104)


class ClumsyError(Exception):
    """Cannot be made again from its arguments, so it cannot travel."""

    def __init__(self, what: str, *, why: str) -> None:
        super().__init__(f"{what}: {why}")


class Data:
    """Items of many kinds, partly random, and some that end badly."""

    def __len__(self) -> int:
        return 11

    def draw(self, index: int, rng: np.random.Generator) -> Any:
        if index == MISSING:
            raise FileNotFoundError(2, "gone", "cat.jpg")
        if index == CLUMSY:
            raise ClumsyError("clumsy", why="by nature")
        if index == DEADLY:
            os.kill(os.getpid(), signal.SIGKILL)
        if index == NONE:
            return None
        return {
            "index": index,
            "name": f"item {index}",
            "random": rng.random(),
            "bfloat16": torch.full((2,), index, dtype=torch.bfloat16),
            "complex": torch.tensor([index * 1j]).conj(),
            "empty": torch.zeros(0, 3),
            "bool": torch.tensor([index > 3])[::1],
            "across": torch.arange(6.0).reshape(2, 3).T,
            "scalar": torch.tensor(index, dtype=torch.int16),
        }

    def __getitem__(self, index: int) -> Any:
        raise AssertionError("draw is to be asked")


class Slow:
    """The first batch of 1000 comes at once, the others take minutes each."""

    def __len__(self) -> int:
        return 10_000

    def __getitem__(self, index: int) -> int:
        time.sleep(0 if index < 1000 else 0.1)
        return index


def tell(**what: Any) -> None:
    print(json.dumps(what), flush=True)


def plain(batch: Any) -> Any:
    def of(value: Any) -> Any:
        return f"{value.dtype} {tuple(value.shape)} {value.tolist()}" if hasattr(value, "dtype") else value

    return {key: of(value) for key, value in batch.items()}


def loader_of(num_workers: int, processes: bool) -> DataLoader:
    return DataLoader(
        Data(), 2, shuffle=True, seed=4, num_workers=num_workers, processes=processes, after_batch=noise
    )


def noise(batch: Any, rng: np.random.Generator) -> Any:
    return batch | {"noise": rng.random(2)}


def children() -> list[int]:
    return sorted(process.pid or 0 for process in multiprocessing.active_children())


def resume(state: dict[str, Any]) -> None:
    """What remains of the epoch, and the epoch after."""
    for num_workers in (0, 2):
        loader = loader_of(num_workers, False)
        loader.load_state_dict(state)
        tell(rest=[[plain(batch) for batch in loader] for _ in range(2)])


def error_of(loader: DataLoader, *indices: int) -> dict[str, Any]:
    loader.get_idxs = lambda: indices
    try:
        list(loader)
    except Exception as error:  # noqa: BLE001 (it is told)
        return {
            "type": type(error).__name__,
            "text": str(error),
            "notes": getattr(error, "__notes__", []),
            "names": [getattr(error, "filename", None), error.__cause__.__class__.__name__],
        }
    return {}


def processes() -> None:
    """All that two worker processes go through, in one interpreter, as each start costs seconds."""
    multiprocessing.set_forkserver_preload(["torch"])  # or each of two dozen processes would import it
    loader, quiet = loader_of(2, True), loader_of(0, False)
    drawn = torch.get_rng_state()
    expected = [plain(batch) for batch in quiet]
    tell(same=[plain(batch) for batch in loader] == expected, batches=len(expected))
    born = children()
    tell(same=[plain(batch) for batch in loader] == [plain(batch) for batch in quiet])
    tell(kept=children() == born == sorted(set(born)), drawn=not torch.equal(torch.get_rng_state(), drawn))

    expected = [plain(batch) for batch in quiet]
    batches = iter(loader)
    came = [plain(next(batches)) for _ in range(3)]
    state = loader.state_dict()
    batches.close()
    tell(left=children())
    # What was read ahead is thrown away: the rest comes as if it had never been.
    loader.load_state_dict(state)
    rest = [plain(batch) for batch in loader]
    tell(resumed=came + rest == expected)

    loader.get_idxs = lambda: range(6)
    nested = iter(loader)
    next(nested)
    tell(inner=[batch["index"].tolist() for batch in loader])
    tell(outer=[batch["index"].tolist() for batch in nested])

    tell(missing=error_of(loader, 1, 2, MISSING, 3))
    tell(clumsy=error_of(loader, 1, CLUMSY))
    tell(none=error_of(loader, 1, NONE))
    tell(killed=error_of(loader, 1, 2, DEADLY, 3, 4, 5))
    loader.get_idxs = lambda: range(4)
    tell(again=[batch["index"].tolist() for batch in loader], children=children())
    del loader, batches, nested
    tell(forgotten=children())

    unsendable = DataLoader([lambda: 1] * 3, num_workers=1, processes=True)
    try:
        list(unsendable)
    except DataError as error:
        tell(unsendable=str(error))
        del error
    del unsendable
    tell(forgotten=children())


def middle(processes: bool, then: str) -> None:
    """In the middle of an epoch: wait for the next batch, or come to the end of the program."""
    global still_open
    loader = DataLoader(Slow(), 1000, num_workers=1 if processes else 2, processes=processes)
    still_open = iter(loader)
    next(still_open)
    tell(children=children())
    if then == "wait":
        next(still_open)


def other_thread(daemon: bool) -> None:
    """Another thread goes through an epoch, and the main one ends when it has begun."""
    begun = threading.Event()

    def train() -> None:
        # torch's own code aborts in a daemon thread that the interpreter's end cuts off within it, so there is none there.
        put_together: Any = list if daemon else collate
        for batch in DataLoader(Slow(), 250, num_workers=2, collate_fn=put_together):
            begun.set()
            if not daemon:  # which could be ended in the middle of a line
                tell(first=batch[0].item())
                if batch[0] >= 750:
                    break  # the next would take minutes

    threading.Thread(target=train, daemon=daemon).start()
    begun.wait()


still_open: Any = None

if __name__ == "__main__":
    match sys.argv[1:]:
        case ["resume", state]:
            resume(json.loads(state))
        case ["processes"]:
            processes()
        case ["other thread", kind]:
            other_thread(kind == "daemon")
        case ["middle", kind, then]:
            middle(kind == "processes", then)
