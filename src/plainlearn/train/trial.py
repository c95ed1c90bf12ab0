"""A trial run: it trains, or breaks, as the learner would, and leaves no trace on it."""

from __future__ import annotations

import copy
from collections.abc import Generator, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import torch
from torch import nn

from plainlearn.core.seed import preserve_random_state
from plainlearn.train.callback import Callback
from plainlearn.train.callbacks.finite import FiniteLoss
from plainlearn.train.loop import TrainingLoop

#: A trial is of the class of what it is a trial of.
AnyTraining = TypeVar("AnyTraining", bound=TrainingLoop)


@contextmanager
def trial_of(learner: AnyTraining) -> Generator[AnyTraining]:
    """A second loop over the same model and data, to try things with, and everything as it was afterwards.

    It has an optimizer of its own, fresh, and copies of those callbacks that have a say in a step: the
    ones with `on_batch` or `on_gradients`. Those that only watch, print or save take no part, nor does
    `FiniteLoss`. Put back are the model's values, gradients and modes, the loaders' positions and the random state.
    """
    trial = copy.copy(learner)
    # A function of its own, so that the optimizer that is there, with what it remembers, does not seem to be the one wanted.
    trial.opt_func = partial(learner.opt_func) if callable(learner.opt_func) else learner.opt_func
    trial.callbacks = _copies_of_those_that_affect_a_step(learner)
    with ExitStack() as scopes:
        scopes.enter_context(preserve_random_state())
        for loader in (learner.dls.train, learner.dls.valid):
            scopes.enter_context(undisturbed(loader))
        scopes.enter_context(model_kept(learner.model))
        yield trial


@dataclass(frozen=True)
class TrialLoaders:
    """Training batches and no validation."""

    train: Any
    n_inp: int | None
    valid: None = None


class Cycled:
    """`count` batches of a loader, going round when it has fewer."""

    def __init__(self, loader: Any, count: int) -> None:
        self.loader, self.count = loader, count

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[Any]:
        left = self.count
        while left:
            begun_with = left
            for batch in self.loader:
                yield batch
                left -= 1
                if not left:
                    return
            if left == begun_with:
                return  # there is nothing in it, and the loop says so


def affects_step(callback: Callback) -> bool:
    """Whether a callback may change what a step does. `FiniteLoss` only looks."""
    changes = (
        type(callback).on_batch is not Callback.on_batch
        or type(callback).on_gradients is not Callback.on_gradients
    )
    return changes and not isinstance(callback, FiniteLoss)


def _copies_of_those_that_affect_a_step(learner: TrainingLoop) -> list[Callback]:
    changes = [callback for callback in learner.callbacks if affects_step(callback)]
    # What a callback points at, such as the model, is not copied with it.
    shared: dict[int, Any] = {
        id(learner): learner,
        id(learner.model): learner.model,
        id(learner.dls): learner.dls,
    }
    return copy.deepcopy(changes, shared)


@contextmanager
def model_kept(model: nn.Module) -> Generator[None]:
    """The model's values, gradients and modes are put back, bit for bit. Frozen parameters are not copied."""
    modes = [(part, part.training) for part in model.modules()]
    gradients = [(parameter, parameter.grad) for parameter in model.parameters()]
    learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
    parameters = [(parameter, parameter.detach().clone()) for parameter in learning]
    buffers = [
        (part, name, buffer, buffer.detach().clone())
        for part in model.modules()
        for name, buffer in part.named_buffers(recurse=False)
    ]
    try:
        yield
    finally:
        with torch.no_grad():
            for parameter, value in parameters:
                parameter.copy_(value)
            for part, name, buffer, value in buffers:
                buffer.copy_(value)
                setattr(part, name, buffer)
        for parameter, gradient in gradients:
            parameter.grad = gradient
        for part, mode in modes:
            part.training = mode


@contextmanager
def undisturbed(loader: Any) -> Generator[None]:
    """What is read inside leaves the loader where it stands, as far as it says where that is."""
    own = getattr(loader, "undisturbed", None)
    with ExitStack() as scopes:
        if own is not None:
            scopes.enter_context(own())
        elif hasattr(loader, "state_dict") and hasattr(loader, "load_state_dict"):
            scopes.callback(loader.load_state_dict, copy.deepcopy(loader.state_dict()))
        for generator in _generators(loader):
            scopes.callback(generator.set_state, generator.get_state())
        yield


def _generators(loader: Any) -> Iterable[torch.Generator]:
    """Those that torch's loader and its sampler draw from, each once."""
    held = [getattr(part, "generator", None) for part in (loader, getattr(loader, "sampler", None))]
    return {id(one): one for one in held if isinstance(one, torch.Generator)}.values()
