"""A place in an epoch, and the share of its batches that is one process's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from plainlearn.core.rounds import shard_round_robin
from plainlearn.data.reading import Job


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
        return (
            jobs
            if self.size == 1
            else shard_round_robin(jobs, self.rank, self.size, whole_rounds=self.whole_rounds)
        )


#: Every batch: that of a process alone.
ALL: Final = Share(0, 1, False, int)
