"""What a callback may override, and the `Loop` that it is handed: what it may ask there, and what it may set."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeGuard, cast

import torch
from torch import Tensor, nn

from plainlearn.core.describe import describe
from plainlearn.core.errors import ArgumentTypeError
from plainlearn.core.paths import Path
from plainlearn.metrics.meter import Meter
from plainlearn.train.distributed import Ranks
from plainlearn.train.step import Batch, Precision, Result, Step


@dataclass(frozen=True)
class Epoch:
    """A row of the table. Without validation data, `valid_loss` and the metrics are nan."""

    number: int
    train_loss: float
    valid_loss: float
    metrics: tuple[float, ...]
    seconds: float

    @property
    def values(self) -> list[float]:
        """`[train_loss, valid_loss, metric, …]`, as the course keeps them."""
        return [self.train_loss, self.valid_loss, *self.metrics]


class Loaders(Protocol):
    """Training and validation batches: two iterables. Without validation, `valid` is None."""

    @property
    def train(self) -> Any: ...
    @property
    def valid(self) -> Any: ...


class Record(Protocol):
    """What has been recorded of the run so far, a number a step; complete at each epoch's end."""

    @property
    def metric_names(self) -> Sequence[str]: ...
    @property
    def losses(self) -> Sequence[float]: ...
    @property
    def lrs(self) -> Sequence[float]: ...


class Loop(Protocol):
    """The loop as a callback sees it: attributes may be set, properties are only to be asked.

    `TrainingLoop` in `train/loop.py` is one. A loop of your own with these members can have our callbacks.
    """

    #: A sentence ends the run: after this batch the epoch is validated, and is the last.
    stop_reason: str
    #: How many epochs the run has, and the number of the one that it is in, from 0.
    epochs: int
    epoch: int
    #: Batches of this epoch that are done, and how often the optimizer has moved in this run.
    batches_done: int
    steps_done: int
    #: The learning rate of each depth, from the input to the output, of which a schedule takes its share.
    rates: list[float]
    #: The arithmetic of one step.
    step: Step
    #: Says `share_done`, where something other than batches does; None otherwise.
    pace: Callable[[], float] | None
    #: The runs before this one that had a checkpoint, by name and id.
    runs_done: list[dict[str, str]]

    @property
    def dls(self) -> Loaders: ...
    @property
    def model(self) -> nn.Module: ...
    @property
    def loss_func(self) -> Callable[..., Tensor] | None: ...
    @property
    def optimizer(self) -> Any:
        """The optimizer of this run; torch's have `param_groups`, those of a lesson need not."""

    @property
    def precision(self) -> Precision: ...
    @property
    def device(self) -> torch.device: ...
    @property
    def ranks(self) -> Ranks: ...
    @property
    def meters(self) -> Sequence[Meter]:
        """The metrics, in the order of the table."""
        ...

    @property
    def recorder(self) -> Record: ...
    @property
    def callbacks(self) -> Sequence[Callback]:
        """Those of the run, in their order."""
        ...

    @property
    def path(self) -> Path: ...
    @property
    def model_dir(self) -> Path: ...
    @property
    def steps_of_epoch(self) -> int:
        """How many batches an epoch has; 0 when nobody knows."""
        ...

    @property
    def share_done(self) -> float:
        """How much of the run is done, 0..1. Raises `ArgumentError` if nobody knows how long an epoch is."""
        ...

    def current_rates(self) -> list[float]:
        """The learning rates in force, from the lowest up, each once."""
        ...

    def make_optimizer(self) -> None:
        """See to it that the optimizer is one of what is to be trained now, after a callback has changed that."""
        ...

    def as_validated(self) -> AbstractContextManager[None]:
        """The model as validation sees it, inside."""
        ...

    def say(self, line: str) -> None:
        """A line for whoever watches the run."""
        ...


class Callback:
    """Behaviour in time. Override what you need; order is the order of the list.

        with fit_scope:                        all of them, around the whole run
            for each epoch:
                for each batch:
                    batch = on_batch(batch)
                    step: model, loss, backward
                    on_gradients(result)
                    optimizer.step, zero_grad
                    on_step(result)
                with validation_scope: validate
                on_epoch(row)

    To end a run, set `learner.stop_reason` to a sentence: the epoch then ends after this batch, is
    validated, and is the last. To undo something when the run ends, however it ends, return a
    context manager from `fit_scope`. What a resumed run must know is given by `state_dict`.

    Raises `ArgumentTypeError` when a subclass defines a hook that the loop does not call.

    >>> class Patience(Callback):
    ...     def on_epoch(self, learner, epoch):
    ...         if epoch.valid_loss < 0.1:
    ...             learner.stop_reason = "good enough"
    """

    def fit_scope(self, learner: Loop) -> AbstractContextManager[Any]:
        """Entered before the first epoch and left after the last, also when an exception passes."""
        return nullcontext()

    def on_batch(self, learner: Loop, batch: Batch) -> Batch:
        """A training batch on the device, before the model sees it. Return the batch to use."""
        return batch

    def on_gradients(self, learner: Loop, result: Result) -> bool | None:
        """The gradients are there; the optimizer has not moved.

        Returning False keeps it from moving: the gradients stay, the next batch adds its own, and the
        callbacks that follow are not asked. Nothing is scaled for fp16 after `learner.precision.unscale(learner.optimizer)`.
        """

    def on_step(self, learner: Loop, result: Result) -> None:
        """The optimizer has moved. `result` holds no way back through the model."""

    def on_epoch(self, learner: Loop, epoch: Epoch) -> None:
        """An epoch has been trained and validated; `epoch` is its row of the table."""

    def validation_scope(self, learner: Loop) -> AbstractContextManager[Any]:
        """Around each validation, and whatever else wants the model as it is validated: averaged weights, say."""
        return nullcontext()

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs to know of this one: numbers, strings, tensors, and lists and dicts of them.

        It is asked after `on_step` or `on_epoch`. What is empty, as here, is not stored.
        """
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` gave; called inside `fit_scope`, with tensors on the CPU."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        # A hook with a misspelt name would be there and never run.
        for name in vars(cls):
            if name.startswith(_LOOKS_LIKE_A_HOOK) and name not in HOOKS:
                near = difflib.get_close_matches(name, HOOKS, n=1, cutoff=0.7)
                raise ArgumentTypeError(
                    f"{cls.__name__} defines {name}, which the loop never calls; it calls {', '.join(HOOKS)}",
                    try_=near[0] if near else f"_{name}, if it is a method of your own",
                )


HOOKS: Final = ("fit_scope", "on_batch", "on_gradients", "on_step", "on_epoch", "validation_scope")
_LOOKS_LIKE_A_HOOK: Final = ("on_", "before_", "after_", "begin_")


def overriding(callbacks: Iterable[Callback], hook: str) -> list[Callback]:
    """The callbacks that override `hook`, in their order; nobody else is called."""
    return [
        callback for callback in callbacks if getattr(type(callback), hook) is not getattr(Callback, hook)
    ]


#: One callback, several, or none.
Callbacks = Callback | Sequence[Callback] | None


def as_callbacks(callbacks: Callbacks | type[Callback]) -> list[Callback]:
    """One callback, several, or none, as a list; of a class, an object."""
    if callbacks is None:
        return []
    listed: list[Any] = [callbacks]
    if isinstance(callbacks, Sequence) and not isinstance(callbacks, str):
        listed = list(cast("Sequence[Any]", callbacks))
    made = [callback() if _is_callback_class(callback) else callback for callback in listed]
    for callback in made:
        if not isinstance(callback, Callback):
            raise ArgumentTypeError(
                f"cbs has {describe(callback)}; expected a Callback",
                try_="class Mine(Callback): …, and cbs=Mine()",
            )
    return made


def _is_callback_class(value: object) -> TypeGuard[type[Callback]]:
    return isinstance(value, type) and issubclass(value, Callback)
