"""Recipes: whole ways of training, as functions that take a learner."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from plainlearn.core.errors import ArgumentError
from plainlearn.optim.schedules import combined_cos, flat_cosine
from plainlearn.train.callback import Callback
from plainlearn.train.callbacks.schedule import Scheduled

if TYPE_CHECKING:
    from plainlearn.train.loop import Learner


def fit_one_cycle(
    learner: Learner,
    n_epoch: int,
    lr_max: float | slice | None = None,
    *,
    div: float = 25.0,
    div_final: float = 1e5,
    pct_start: float = 0.25,
    wd: float | None = None,
    moms: tuple[float, float, float] = (0.95, 0.85, 0.95),
    cbs: Sequence[Callback] = (),
) -> None:
    """One cycle: the rate climbs from `lr_max / div` in `pct_start` of the run, then falls to `lr_max / div_final`.

    Momentum goes the other way, through the three values of `moms`. Both follow cosines.
    Source: Smith and Topin 2017, arXiv:1708.07120.
    """
    if len(moms) != 3:
        raise ArgumentError(f"moms has {len(moms)} values; expected start, middle and end", try_="moms=(0.95, 0.85, 0.95)")
    factor = combined_cos(pct_start, 1 / div, 1.0, 1 / div_final)
    learner.fit(n_epoch, lr_max, wd, cbs=[*cbs, Scheduled(factor, combined_cos(pct_start, *moms))])


def fit_flat_cos(
    learner: Learner,
    n_epoch: int,
    lr: float | slice | None = None,
    *,
    div_final: float = 1e5,
    pct_start: float = 0.75,
    wd: float | None = None,
    cbs: Sequence[Callback] = (),
) -> None:
    """A constant rate for `pct_start` of the run, then a cosine down to `lr / div_final`."""
    learner.fit(n_epoch, lr, wd, cbs=[*cbs, Scheduled(flat_cosine(pct_start, 1.0, 1 / div_final))])
