"""Recipes: whole ways of training, as functions that take a learner. `Learner` offers each as a method."""

from __future__ import annotations

from collections.abc import Sequence

from plainlearn.core.errors import ArgumentError
from plainlearn.optim.groups import checked_rate
from plainlearn.optim.schedules import Combined, Cosine, combined_cos, flat_cosine
from plainlearn.train import probe as probing
from plainlearn.train.callback import Callbacks, as_callbacks
from plainlearn.train.callbacks.schedule import Scheduled
from plainlearn.train.checkpoint import Checkpointing
from plainlearn.train.freezing import freeze, unfreeze
from plainlearn.train.loop import TrainingLoop, checked_epochs

_STEPS_TO_SETTLE = 100


def fit_one_cycle(
    learner: TrainingLoop,
    n_epoch: int,
    lr_max: float | slice | None = None,
    div: float = 25.0,
    div_final: float = 1e5,
    pct_start: float = 0.25,
    wd: float | None = None,
    moms: tuple[float, float, float] | None = (0.95, 0.85, 0.95),
    cbs: Callbacks = None,
    *,
    checkpoint: Checkpointing = None,
    resume: bool = False,
) -> None:
    """One cycle: the rate climbs from `lr_max / div` in `pct_start` of the run, then falls to `lr_max / div_final`.

    Momentum goes the other way, through the three values of `moms`; None leaves it alone, and so
    does an optimizer that has none. Both follow cosines.
    Raises `ArgumentError` for a division by 0 or less, a share outside 0..1, a momentum outside 0..1.
    Source: Smith and Topin 2017, arXiv:1708.07120.
    """
    _check_above_0(div=div, div_final=div_final)
    momentum = None if moms is None else combined_cos(pct_start, *_checked_momentums(moms))
    factor = combined_cos(pct_start, 1 / div, 1.0, 1 / div_final)
    learner.fit(
        n_epoch,
        lr_max,
        wd,
        cbs=[*as_callbacks(cbs), Scheduled(factor, momentum)],
        checkpoint=checkpoint,
        resume=resume,
    )


def fit_flat_cos(
    learner: TrainingLoop,
    n_epoch: int,
    lr: float | slice | None = None,
    div_final: float = 1e5,
    pct_start: float = 0.75,
    wd: float | None = None,
    cbs: Callbacks = None,
    *,
    checkpoint: Checkpointing = None,
    resume: bool = False,
) -> None:
    """A constant rate for `pct_start` of the run, then a cosine down to `lr / div_final`.

    Raises `ArgumentError` for a division by 0 or less, or a share outside 0..1.
    """
    _check_above_0(div_final=div_final)
    factor = flat_cosine(pct_start, 1.0, 1 / div_final)
    learner.fit(
        n_epoch, lr, wd, cbs=[*as_callbacks(cbs), Scheduled(factor)], checkpoint=checkpoint, resume=resume
    )


def fine_tune(
    learner: TrainingLoop,
    epochs: int,
    base_lr: float = 2e-3,
    freeze_epochs: int = 1,
    lr_mult: float = 100.0,
    pct_start: float = 0.3,
    div: float = 5.0,
    wd: float | None = None,
    cbs: Callbacks = None,
    *,
    features: bool | None = None,
    checkpoint: Checkpointing = None,
    resume: bool = False,
) -> None:
    """First the head alone, `freeze_epochs` long, then all depths for `epochs`: two tables, the record is the second's.

    The head learns at up to `base_lr`; then the last depth at half of it, the first at that over `lr_mult`, those between
    by equal factors, in one cycle each. `freeze_epochs=0` leaves the first part out.

    While only the head learns, what reaches it need not be computed again and again. So where the head is one linear
    layer and the loss one of classes, it is fitted to features computed once, of the training items as validation sees
    them: one pass through the body in place of `freeze_epochs`, and the best layer there is instead of a few steps
    towards it (its strength of regularisation chosen by cross-validation, see `learn.probe`). `features=False` trains
    ordinary epochs, on augmented items; True insists. A callback that has a say in a step (MixUp) makes them ordinary too.
    From a head that is as good as it can be, the first full steps lead away. So after features a second part of fewer than
    100 steps, too few to come back, has its rates lowered in proportion.

    Raises `ArgumentError` for a model of one depth, and when `features=True` cannot be done.
    Source: the recipe is the course's; probing before tuning, Kumar et al. 2022, arXiv:2202.10054.
    """
    _check_above_0(lr_mult=lr_mult, div=div)
    rate = checked_rate(base_lr)
    own, serve = as_callbacks(cbs), False
    freeze(learner)
    if freeze_epochs:
        checked_epochs(freeze_epochs)
        serve = features is not False and not own and probing.can_fit_head_on_features(learner)
        if features and not serve:
            raise ArgumentError(
                "features=True needs a linear head behind a frozen body, a loss of classes, loaders of a DataBlock, "
                "and no callback that has a say in a step; this learner lacks one of these",
                try_="features=None, which trains ordinary epochs then",
            )
        if serve:
            probing.fit_head(learner)
        else:
            fit_one_cycle(
                learner, freeze_epochs, slice(rate), pct_start=0.99, wd=wd, cbs=own,
                checkpoint=checkpoint, resume=resume,
            )  # fmt: skip
    unfreeze(learner)
    rate /= 2
    if serve:
        rate *= min(1.0, checked_epochs(epochs) * len(learner.dls.train) / _STEPS_TO_SETTLE)
    fit_one_cycle(
        learner, epochs, slice(rate / lr_mult, rate), div=div, pct_start=pct_start, wd=wd, cbs=own,
        checkpoint=checkpoint, resume=resume,
    )  # fmt: skip


def fit_sgdr(
    learner: TrainingLoop,
    n_cycles: int,
    cycle_len: int,
    lr_max: float | slice | None = None,
    cycle_mult: int = 2,
    wd: float | None = None,
    cbs: Callbacks = None,
    *,
    checkpoint: Checkpointing = None,
    resume: bool = False,
) -> None:
    """Warm restarts: the rate falls along a cosine from `lr_max` to 0, `n_cycles` times.

    The first cycle lasts `cycle_len` epochs, each following one `cycle_mult` times as long as the one before it.
    Raises `ArgumentError` for less than one cycle, epoch, or multiple.
    Source: Loshchilov and Hutter 2016, arXiv:1608.03983.
    """
    for name, value in (("n_cycles", n_cycles), ("cycle_len", cycle_len), ("cycle_mult", cycle_mult)):
        if value < 1:
            raise ArgumentError(f"{name} is {value}; expected 1 or more", try_="fit_sgdr(3, 1)")
    lengths = [cycle_len * cycle_mult**cycle for cycle in range(n_cycles)]
    epochs = sum(lengths)
    fall = Combined(tuple(length / epochs for length in lengths), (Cosine(1.0, 0.0),) * n_cycles)
    learner.fit(
        epochs, lr_max, wd, cbs=[*as_callbacks(cbs), Scheduled(fall)], checkpoint=checkpoint, resume=resume
    )


def _check_above_0(**divisors: float) -> None:
    for name, value in divisors.items():
        if not value > 0:
            raise ArgumentError(f"{name} is {value}; expected a number above 0", try_=f"{name}=25")


def _checked_momentums(moms: Sequence[float]) -> tuple[float, float, float]:
    if len(moms) != 3 or not all(0 <= momentum < 1 for momentum in moms):
        raise ArgumentError(
            f"moms is {moms}; expected three numbers of 0 or more and below 1: start, middle and end",
            try_="moms=(0.95, 0.85, 0.95)",
        )
    start, middle, end = moms
    return start, middle, end
