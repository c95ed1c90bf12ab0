"""A place in an epoch, and the share of its batches that is one process's."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

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
        if self.size == 1:
            return jobs
        return self._of_rounds(jobs)

    def _of_rounds(self, jobs: Iterator[Job]) -> Iterator[Job]:
        while round_ := list(itertools.islice(jobs, self.size)):
            if self.rank < len(round_) and not (self.whole_rounds and len(round_) < self.size):
                yield round_[self.rank]


#: Every batch: that of a process alone.
ALL: Final = Share(0, 1, False, int)
