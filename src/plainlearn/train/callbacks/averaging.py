"""Averaged weights: a model that is the mean of those on the way, often better than the last of them."""

from __future__ import annotations

import itertools
from abc import abstractmethod
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase  # pyright: ignore[reportPrivateUsage]
from torch.optim.swa_utils import get_ema_multi_avg_fn, get_swa_multi_avg_fn

from plainlearn.core.errors import ArgumentError, DataError
from plainlearn.core.seed import preserve_random_state
from plainlearn.core.tensors import find_batch_size, to_device
from plainlearn.train.callback import Callback, Loop
from plainlearn.train.step import Result, apply_model, split_batch


class _Averaging(Callback):
    """Keeps `average`, the mean of the weights by name, and puts it in place for validation and, if asked, at the end.

    Averaged are the parameters that learn when the run begins, and the running means and variances of all
    batch norms, learning or not. Frozen ones are what they are, and take no memory.
    """

    def __init__(self, at_end: bool) -> None:
        self.at_end = at_end
        self.average: dict[str, Tensor] = {}
        self.count = 0  # how many steps are in it
        self._seen = 0  # how many steps the optimizer had made when it last looked
        self._live: dict[str, Tensor] = {}

    @contextmanager
    def fit_scope(self, learner: Loop) -> Generator[None]:
        self._live = dict(_averaged(learner.model))
        if not self._live:
            raise ArgumentError(
                f"{type(self).__name__} has nothing to average: no parameter of the model learns",
                try_="learn.unfreeze()",
            )
        self.average = {name: value.detach().clone() for name, value in self._live.items()}
        self.count, self._seen = 0, learner.steps_done
        try:
            yield
            if self.at_end and self.count:
                _copy(self.average, self._live)
                self.settle(learner)
        finally:
            self._live = {}

    @contextmanager
    def validation_scope(self, learner: Loop) -> Generator[None]:
        if not self.count:
            yield
            return
        last = {name: value.detach().clone() for name, value in self._live.items()}
        _copy(self.average, self._live)
        try:
            yield
        finally:
            _copy(last, self._live)

    def on_step(self, learner: Loop, result: Result) -> None:
        moved, self._seen = learner.steps_done != self._seen, learner.steps_done
        if not moved or not self.begins(learner):  # gradients of several batches may be gathering
            return
        for average, live in _by_kind(self.average, self._live):
            self.take_in(average, live)
        self.count += 1

    def begins(self, learner: Loop) -> bool:
        """Whether the step just made counts."""
        return True

    @abstractmethod
    def take_in(self, average: list[Tensor], live: list[Tensor]) -> None:
        """Move the averages towards the weights of a step; `count` were before it."""

    def settle(self, learner: Loop) -> None:
        """What the model needs once it has the averaged weights for good."""

    def state_dict(self) -> dict[str, Any]:
        return {"count": self.count, "seen": self._seen, "average": self.average}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        saved = cast("Mapping[str, Tensor]", state.get("average", {}))
        odd = {name for name in saved.keys() | self.average.keys()
               if name not in saved or name not in self.average
               or saved[name].shape != self.average[name].shape}  # fmt: skip
        if odd or "count" not in state:
            raise DataError(
                f"this is not the state of {type(self).__name__} for this model: "
                f"{', '.join(sorted(odd)[:4]) or 'count'} differ{'s' if len(odd) < 2 else ''}",
                try_="the model, and what is frozen of it, as they were",
            )
        _copy(saved, self.average)
        self.count, self._seen = state["count"], state.get("seen", 0)


class EMA(_Averaging):
    """An exponential moving average of the weights: at each step it keeps `decay` of itself, and takes the rest.

    Rows show the average's validation. At the end of the run the model is the average, unless `at_end=False`;
    a second `fit` starts from it, with an average of its own. `decay` near 1 remembers about `1 / (1 - decay)`
    steps. With `warm_up`, a short run is not held back by where it began: the n-th step keeps at most
    `n / (n + 9)`. Memory: one more copy of what learns.

    >>> EMA(decay=0.99).decay
    0.99
    """

    def __init__(self, decay: float = 0.999, *, warm_up: bool = True, at_end: bool = True) -> None:
        if not 0 <= decay < 1:
            raise ArgumentError(f"decay is {decay}; expected 0 or more and below 1", try_="EMA(decay=0.999)")
        super().__init__(at_end)
        self.decay, self.warm_up = decay, warm_up

    def take_in(self, average: list[Tensor], live: list[Tensor]) -> None:
        step = self.count + 1
        decay = min(self.decay, step / (step + 9)) if self.warm_up else self.decay
        get_ema_multi_avg_fn(decay)(average, live, self.count)


class SWA(_Averaging):
    """The plain mean of the weights at every step of the end of a run, from the share `start` of it on.

    Rows from there show the mean's validation, and at the end of the run the model is the mean, unless
    `at_end=False`. Batch norms average their statistics on the way; with `update_bn` those of the final model are
    then measured anew, by one pass over the training batches. It is meant for rates that stay up,
    as in `fit` or `fit_flat_cos`; one cycle ends in steps so small that there is little to average.

    Raises `ArgumentError` for a share outside 0..1, or when nobody knows how long an epoch is.
    Source: Izmailov et al. 2018, arXiv:1803.05407; here each step counts, not each epoch.
    """

    def __init__(self, start: float = 0.75, *, update_bn: bool = True, at_end: bool = True) -> None:
        if not 0 <= start < 1:
            raise ArgumentError(
                f"start is {start}; expected a share of the run, 0 or more and below 1", try_="SWA(0.75)"
            )
        super().__init__(at_end)
        self.start, self.update_bn = start, update_bn
        self._ran: dict[_NormBase, int] = {}

    @contextmanager
    def fit_scope(self, learner: Loop) -> Generator[None]:
        learner.share_done  # noqa: B018  found out now whether it is known
        self._ran = {norm: _batches_seen(norm) for norm in _norms(learner.model)}
        try:
            with super().fit_scope(learner):
                yield
        finally:
            self._ran = {}

    def begins(self, learner: Loop) -> bool:
        return learner.share_done >= self.start

    def take_in(self, average: list[Tensor], live: list[Tensor]) -> None:
        get_swa_multi_avg_fn()(average, live, self.count)

    def settle(self, learner: Loop) -> None:
        # Not torch's `update_bn`: that measures frozen norms too, and under dropout.
        norms = [norm for norm, before in self._ran.items() if _batches_seen(norm) != before]
        if self.update_bn and norms:
            with preserve_random_state():
                measure_norms(learner, norms)


def measure_norms(learner: Loop, norms: Sequence[_NormBase]) -> None:
    """Give batch norms the mean and variance of their inputs over one pass through the training batches.

    All else is in evaluation mode. The loader begins an epoch for it.
    """
    inputs = getattr(learner.dls, "n_inp", None)
    were_training = [part for part in learner.model.modules() if part.training]
    momentums = [norm.momentum for norm in norms]
    learner.model.eval()
    try:
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # the plain mean over all batches
            norm.train()
        with torch.no_grad():
            for host_batch in learner.dls.train:
                batch = to_device(host_batch, learner.device)
                if find_batch_size(batch) > 1:  # one item has no variance
                    apply_model(learner.model, split_batch(batch, inputs)[0])
    finally:
        for norm, momentum in zip(norms, momentums, strict=True):
            norm.momentum = momentum
        learner.model.eval()
        for part in were_training:
            part.training = True


def _averaged(model: nn.Module) -> Iterable[tuple[str, Tensor]]:
    """What is averaged, by name."""
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            yield name, parameter
    parts = cast("Iterable[tuple[str, nn.Module]]", model.named_modules())
    names = {id(part): name for name, part in parts}
    for norm in _norms(model):
        yield f"{names[id(norm)]}.running_mean", cast(Tensor, norm.running_mean)
        yield f"{names[id(norm)]}.running_var", cast(Tensor, norm.running_var)


def _norms(model: nn.Module) -> list[_NormBase]:
    return [part for part in model.modules() if isinstance(part, _NormBase) and part.running_mean is not None]


def _batches_seen(norm: _NormBase) -> int:
    return int(cast(Tensor, norm.num_batches_tracked))


def _by_kind(
    average: Mapping[str, Tensor], live: Mapping[str, Tensor]
) -> Iterable[tuple[list[Tensor], list[Tensor]]]:
    """Both in groups of one device and kind of number, as torch's functions for many tensors want them."""
    names = sorted(average, key=lambda name: (str(average[name].device), str(average[name].dtype)))
    for _, group in itertools.groupby(names, key=lambda name: (average[name].device, average[name].dtype)):
        chosen = list(group)
        yield [average[name] for name in chosen], [live[name].detach() for name in chosen]


def _copy(source: Mapping[str, Tensor], target: Mapping[str, Tensor]) -> None:
    with torch.no_grad():
        for name, value in target.items():
            value.copy_(source[name])
