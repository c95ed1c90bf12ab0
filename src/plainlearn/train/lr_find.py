"""A learning rate from a mock run: rates climb, the loss falls and then explodes, and somewhere before is a good one."""

from __future__ import annotations

import math
import operator
import warnings
from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate
from typing import Any, Final, NamedTuple

from plainlearn.core.describe import describe
from plainlearn.core.errors import ArgumentError, ArgumentTypeError
from plainlearn.optim.groups import checked_rate
from plainlearn.optim.schedules import Exponential
from plainlearn.train.callback import Callback, Loop
from plainlearn.train.callbacks.schedule import Scheduled
from plainlearn.train.loop import TrainingLoop
from plainlearn.train.recorder import Smoothed
from plainlearn.train.step import Result, loss_name
from plainlearn.train.trial import Cycled, TrialLoaders, trial_of

#: From the rates, the smoothed losses there and `num_it`, the rate to use.
Suggestion = Callable[[Sequence[float], Sequence[float], int], float]

_FEWEST: Final = 10  # points of a curve that can say something
_EXPLODED: Final = 4  # times the lowest loss


def lr_find(
    learner: TrainingLoop,
    start_lr: float = 1e-7,
    end_lr: float = 10.0,
    num_it: int = 100,
    stop_div: bool = True,
    show_plot: bool = True,
    suggest_funcs: Suggestion | Sequence[Suggestion] | None = None,
) -> SuggestedLRs:
    """Try rates from `start_lr` to `end_lr` on `num_it` batches, draw the loss over them, and suggest one.

    The result is a named tuple with a rate for each of `suggest_funcs` (`valley`, unless told; also `slide`,
    `minimum`, `steep`), in their order. With `stop_div` it ends when the loss is four times its lowest.
    A loader with fewer batches goes round again. All groups of parameters get the same rate.
    Nothing is changed: model, optimizer, records, callbacks, the loader's position and the random state are as before.

    When the curve says nothing (flat, never falling, too short, nan from the start), a warning says why, and
    the suggestions are nan. Raises `ArgumentError` for rates that do not climb, or fewer than 10 batches.
    Source: Smith 2015, arXiv:1506.01186.
    """
    start, end = checked_rate(start_lr), checked_rate(end_lr)
    if start >= end:
        raise ArgumentError(
            f"start_lr is {start:g} and end_lr {end:g}; expected rates that climb",
            try_="start_lr=1e-7, end_lr=10",
        )
    if operator.index(num_it) < _FEWEST:
        raise ArgumentError(f"num_it is {num_it}; expected {_FEWEST} or more batches", try_="num_it=100")
    functions = _checked_functions((valley,) if suggest_funcs is None else suggest_funcs)
    curve = _curve(learner, start, end, num_it, stop_div)
    useless = _useless(curve)
    suggested = [math.nan if useless else float(function(*curve, num_it)) for function in functions]
    names = [loss_name(function) for function in functions]
    if show_plot and len(curve.lrs) > 1:
        _plot(curve, {} if useless else dict(zip(names, suggested, strict=True)))
    if useless:
        warnings.warn(f"lr_find suggests nothing: {useless}", stacklevel=2)
    return SuggestedLRs(names, suggested)


class SuggestedLRs(tuple[float, ...]):
    """A rate for each function that was asked, in their order, and by their names.

    >>> found = SuggestedLRs(["valley", "slide"], [1e-3, 1e-2])
    >>> lr, _ = found
    >>> lr, found.slide
    (0.001, 0.01)
    """

    _fields: tuple[str, ...]

    def __new__(cls, names: Iterable[str], rates: Iterable[float]) -> SuggestedLRs:
        made = super().__new__(cls, rates)
        made._fields = tuple(names)
        return made

    def __getattr__(self, name: str) -> float:
        if name in vars(self).get("_fields", ()):
            return self[self._fields.index(name)]
        raise AttributeError(
            f"no rate was suggested by {name}; there are {', '.join(self._fields)}", name=name, obj=self
        )

    def __getnewargs__(self) -> tuple[tuple[str, ...], tuple[float, ...]]:
        return self._fields, tuple(self)

    def __repr__(self) -> str:
        named = ", ".join(f"{name}={rate!r}" for name, rate in zip(self._fields, self, strict=True))
        return f"SuggestedLRs({named})"


class Curve(NamedTuple):
    """The rates that were tried, and the smoothed loss at each."""

    lrs: list[float]
    losses: list[float]


def _curve(learner: TrainingLoop, start: float, end: float, num_it: int, stop_div: bool) -> Curve:
    with trial_of(learner) as trial:
        watch = _Watch(stop_div)
        climb = Scheduled(Exponential(start / end, 1.0))
        trial.dls = TrialLoaders(Cycled(learner.dls.train, num_it), getattr(learner.dls, "n_inp", None))
        trial.fit(1, end, cbs=[climb, watch])
    return Curve(watch.lrs, watch.losses)


class _Watch(Callback):
    """Notes the smoothed loss at each rate, and ends the run when it is nan or has exploded."""

    def __init__(self, stop_div: bool) -> None:
        self.stop_div = stop_div
        self.lrs: list[float] = []
        self.losses: list[float] = []
        self._smoothed = Smoothed()

    def on_step(self, learner: Loop, result: Result) -> None:
        loss = result.loss.item()
        if not math.isfinite(loss):
            learner.stop_reason = "the loss is no longer finite"
            return
        self._smoothed.add(loss)
        self.lrs.append(learner.optimizer.param_groups[-1]["lr"])
        self.losses.append(self._smoothed.value)
        if self.stop_div and self.losses[-1] > _EXPLODED * min(self.losses) > 0:
            learner.stop_reason = "the loss has exploded"


def _checked_functions(given: Any) -> list[Suggestion]:
    functions: list[Any] = [given] if callable(given) else list(given)
    for function in functions:
        if not callable(function):
            raise ArgumentTypeError(
                f"suggest_funcs has {describe(function)}; expected functions",
                try_="suggest_funcs=(minimum, steep)",
            )
    return functions


def _useless(curve: Curve) -> str:
    """Why nothing can be told from this curve; empty when something can."""
    losses = curve.losses
    if not losses:
        return "the loss is nan or infinite at the first batch. Look for nan in learn.dls.one_batch()"
    level = max(abs(losses[0]), 1e-12)
    ends = f"It ended at {curve.lrs[-1]:.1g} after {len(losses)} batches"
    if len(losses) < _FEWEST:
        return f"the loss exploded, or became nan, too soon. {ends}. Try a smaller start_lr, or a new model"
    _, settled = _trimmed(*curve, len(losses))  # the first few are noise
    falls = (high - low for high, low in zip(accumulate(settled, max), settled, strict=True))
    if max(falls) > 0.005 * level:
        return ""
    if max(losses) - min(losses) <= 0.005 * level:
        return (
            f"the curve is flat: the loss stays near {losses[0]:.4g} from {curve.lrs[0]:.1g} to {curve.lrs[-1]:.1g}. "
            "Try a larger end_lr, and look whether the loss depends on the model"
        )
    return (
        f"the loss never falls, it only rises from {losses[0]:.4g}. {ends}. "
        "A model that is trained already has nothing to gain; else try num_it=300, or a larger batch"
    )


# ---- suggestions: where on the curve


def valley(lrs: Sequence[float], losses: Sequence[float], num_it: int) -> float:
    """The middle of the longest fall: steep enough there, and far from the explosion.

    That fall is the longest subsequence in which each loss is lower than the one before.
    """
    lrs, losses = _trimmed(lrs, losses, num_it)
    lengths, before = [1] * len(losses), [-1] * len(losses)
    for here in range(1, len(losses)):
        for earlier in range(here):
            if (
                losses[earlier] > losses[here] and lengths[earlier] + 1 >= lengths[here]
            ):  # of equals, the latest
                lengths[here], before[here] = lengths[earlier] + 1, earlier
    at = lengths.index(max(lengths))
    fall: list[int] = []
    while at >= 0:
        fall.append(at)
        at = before[at]
    begin, end = fall[-1], fall[0]
    return lrs[begin + (end - begin) // 2]


def minimum(lrs: Sequence[float], losses: Sequence[float], num_it: int) -> float:
    """A tenth of the rate where the loss is lowest."""
    lrs, losses = _trimmed(lrs, losses, num_it)
    return lrs[losses.index(min(losses))] / 10


def steep(lrs: Sequence[float], losses: Sequence[float], num_it: int) -> float:
    """The rate where the loss falls most steeply, over the logarithm of the rate."""
    lrs, losses = _trimmed(lrs, losses, num_it)
    slopes = _slopes(lrs, losses)
    return lrs[slopes.index(min(slopes))]


def slide(lrs: Sequence[float], losses: Sequence[float], num_it: int) -> float:
    """A quarter of the largest rate at which the loss still falls at half of its steepest pace."""
    lrs, losses = _trimmed(lrs, losses, num_it)
    slopes = _slopes(lrs, losses)
    return lrs[max(at for at, slope in enumerate(slopes) if slope <= min(slopes) / 2)] / 4


def _trimmed(lrs: Sequence[float], losses: Sequence[float], num_it: int) -> tuple[list[float], list[float]]:
    """The curve without its noisy beginning, a tenth of the batches, and its explosion, the last five."""
    begin, end = num_it // 10, len(lrs) - 5
    if end - begin < 5:  # a curve that ended early
        begin, end = 0, len(lrs)
    return list(lrs[begin:end]), list(losses[begin:end])


def _slopes(lrs: Sequence[float], losses: Sequence[float]) -> list[float]:
    """The slope at each point over the logarithm of the rate, from a few points before it to as many after."""
    last, reach = len(lrs) - 1, max(1, len(lrs) // 15)
    pairs = [(max(at - reach, 0), min(at + reach, last)) for at in range(len(lrs))]
    return [(losses[b] - losses[a]) / math.log(lrs[b] / lrs[a]) for a, b in pairs]


def _plot(curve: Curve, marked: dict[str, float]) -> None:
    from plainlearn.core.figures import subplots

    _, axes = subplots(1, 1, figsize=(5.5, 3.8), layout="constrained")
    ax = axes.flat[0]
    lrs, losses = curve
    shown = len(losses) - 5 if len(losses) > 2 * _FEWEST else len(losses)  # the explosion would hide the rest
    ax.plot(lrs[:shown], losses[:shown])
    ax.set(xscale="log", xlabel="learning rate", ylabel="smoothed loss")
    for name, lr in marked.items():
        nearest = min(range(len(lrs)), key=lambda at: abs(math.log(lrs[at] / lr)))
        ax.plot(lr, losses[nearest], "o", label=f"{name} {lr:.1e}")
    if marked:
        ax.legend()
