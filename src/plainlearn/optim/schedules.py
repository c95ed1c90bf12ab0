"""Schedules: functions from how much of the run is done (0..1) to a value."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from plainlearn.core.errors import ArgumentError

Schedule = Callable[[float], float]


@dataclass(frozen=True)
class Constant:
    """The same value throughout."""

    start: float

    def __call__(self, done: float) -> float:
        return self.start


@dataclass(frozen=True)
class Linear:
    """A straight line from `start` to `end`."""

    start: float
    end: float

    def __call__(self, done: float) -> float:
        return self.start + done * (self.end - self.start)


@dataclass(frozen=True)
class Cosine:
    """Half a cosine wave from `start` to `end`: flat, steep, flat.

    >>> Cosine(1.0, 0.0)(0.5)
    0.5
    """

    start: float
    end: float

    def __call__(self, done: float) -> float:
        return self.start + (1 + math.cos(math.pi * (1 - done))) * (self.end - self.start) / 2


@dataclass(frozen=True)
class Exponential:
    """From `start` to `end` by equal factors. Raises `ArgumentError` unless both have one sign."""

    start: float
    end: float

    def __post_init__(self) -> None:
        if not self.start * self.end > 0:
            raise ArgumentError(
                f"an exponential from {self.start:g} to {self.end:g}; expected two numbers of one sign, neither 0",
                try_="Linear or Cosine",
            )

    def __call__(self, done: float) -> float:
        return self.start * (self.end / self.start) ** done


@dataclass(frozen=True)
class Combined:
    """Schedules one after another; `shares` of the run, which sum to one, say how long each lasts.

    Raises `ArgumentError` for shares that do not sum to one, or are not as many as the parts.
    """

    shares: tuple[float, ...]
    parts: tuple[Schedule, ...]

    def __post_init__(self) -> None:
        if len(self.shares) != len(self.parts) or not self.parts:
            raise ArgumentError(
                f"{len(self.parts)} schedules and {len(self.shares)} shares; expected one share each"
            )
        if any(share < 0 for share in self.shares) or not math.isclose(sum(self.shares), 1, abs_tol=1e-6):
            raise ArgumentError(
                f"the shares {self.shares} sum to {sum(self.shares):g}; expected shares of 0 or more that sum to 1"
            )

    def __call__(self, done: float) -> float:
        begun = 0.0
        for share, part in zip(self.shares[:-1], self.parts[:-1], strict=True):
            if done < begun + share:
                return part((done - begun) / share)
            begun += share
        rest = 1.0 - begun
        return self.parts[-1](min((done - begun) / rest, 1.0) if rest > 0 else 1.0)


def combine_scheds(pcts: Sequence[float], scheds: Sequence[Schedule]) -> Combined:
    """The course's name for `Combined`.

    >>> combine_scheds([0.5, 0.5], [Constant(1.0), Linear(1.0, 0.0)])(0.75)
    0.5
    """
    return Combined(tuple(pcts), tuple(scheds))


def combined_cos(pct: float, start: float, middle: float, end: float) -> Combined:
    """One cycle: a cosine from `start` to `middle` in the first `pct` of the run, then one to `end`.

    Source: Smith 2018, arXiv:1803.09820; the cosine form is the course's.
    """
    return Combined(_divided(pct), (Cosine(start, middle), Cosine(middle, end)))


def flat_cosine(pct: float, start: float, end: float) -> Combined:
    """Flat at `start` for the first `pct` of the run, then a cosine to `end`."""
    return Combined(_divided(pct), (Constant(start), Cosine(start, end)))


def _divided(pct: float) -> tuple[float, float]:
    if not 0 <= pct <= 1:
        raise ArgumentError(f"pct is {pct}; expected a share of the run, 0..1", try_="pct_start=0.25")
    return pct, 1 - pct
