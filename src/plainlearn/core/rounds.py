"""Things dealt out in rounds, as cards are: to each of several processes its own."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")


def shard_round_robin(things: Iterable[T], rank: int, size: int, *, whole_rounds: bool) -> Iterator[T]:
    """Of every `size` things number `rank`; `whole_rounds` leaves out a last round that is not full.

    >>> list(shard_round_robin("abcde", 0, 2, whole_rounds=True))
    ['a', 'c']
    """
    each = iter(things)
    while round_ := list(itertools.islice(each, size)):
        if rank < len(round_) and not (whole_rounds and len(round_) < size):
            yield round_[rank]
