"""The training loop. This is the file to read first: `fit` and `_train_epoch` are all there is to it."""

from __future__ import annotations

import itertools
import math
import operator
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import PurePath
from typing import Any, cast

import torch
from torch import Tensor, nn

from plainlearn.core.describe import describe
from plainlearn.core.device import default_device
from plainlearn.core.errors import ArgumentError, ArgumentTypeError, DataError
from plainlearn.core.lists import L
from plainlearn.core.paths import Path
from plainlearn.core.seed import preserve_random_state
from plainlearn.core.tensors import to_device
from plainlearn.metrics.meter import Meter, meter_of
from plainlearn.optim.groups import (
    Splitter,
    learning_rates,
    make_optimizer,
    set_learning_rates,
    split_by_depth,
    trainable_params,
)
from plainlearn.optim.optimizers import Adam
from plainlearn.train import setup
from plainlearn.train.callback import Callback, Callbacks, Epoch, Loaders, as_callbacks, overriding
from plainlearn.train.callbacks.finite import FiniteLoss
from plainlearn.train.checkpoint import Checkpointing, as_checkpoint
from plainlearn.train.distributed import ALONE, Ranks, ranks
from plainlearn.train.evaluate import evaluate
from plainlearn.train.progress import ProgressTable
from plainlearn.train.recorder import Recorder
from plainlearn.train.step import Precision, Step, SupervisedStep, loss_name, place


class TrainingLoop:
    """Data, a model, a loss and an optimizer, and the loop that brings them together. To callbacks it is a `Loop`.

    `Learner` is this with everything that one does with it as methods: fine-tuning, looking for a rate, predicting.
    """

    # No other attribute can be set: a typo on the learner names the learner.
    __slots__ = (
        "__weakref__", "_device", "_dls", "_loss_func", "_made_of", "_metrics", "_optimizer",
        "_rehearsed", "_together", "batches_done", "callbacks", "epoch", "epochs", "lr", "meters", "model",
        "model_dir", "opt_func", "pace", "path", "precision", "progress", "ranks", "rates", "recorder", "runs_done",
        "splitter", "step", "steps_done", "steps_of_epoch", "stop_reason", "wd",
    )  # fmt: skip

    def __init__(
        self,
        dls: Loaders,
        model: nn.Module,
        loss_func: Callable[..., Tensor] | None = None,
        opt_func: Callable[..., Any] = Adam,
        lr: float | slice = 1e-3,
        splitter: Splitter = trainable_params,
        cbs: Callbacks = None,
        metrics: setup.Metrics = None,
        path: str | PurePath | None = None,
        model_dir: str | PurePath = "models",
        wd: float | None = None,
        *,
        step: Step | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        """`dls` has `train` and `valid`, two iterables of batches.

        `loss_func` takes predictions and targets; None means the one that the data imply. `opt_func(params, lr=…)`
        makes the optimizer: one of ours, any of torch's, or your own with `step` and `zero_grad`. `lr` is used where `fit`
        names none, `wd` likewise; None leaves the weight decay to the optimizer. `splitter(model)` gives the parameters,
        or groups of them by depth. `metrics` are functions of predictions and targets, or torchmetrics objects.
        `step` replaces the arithmetic of one step. `device` None means the data's, else the best of this machine.

        Raises `ArgumentError` or `ArgumentTypeError` for what cannot work, as far as it can be told by now.
        """
        self._dls = setup.checked_loaders(dls)
        self.model = setup.checked_model(model)
        self._device = default_device(getattr(dls, "device", None) if device is None else device)
        implied = getattr(dls, "loss_func", None) if loss_func is None else loss_func
        # Only a step of the user's own can do without a loss.
        no_loss = step is not None and implied is None
        self._loss_func: Callable[..., Tensor] | None = None if no_loss else setup.checked_loss(implied)
        self.step: Step = self._supervised() if step is None else step
        self.opt_func, self.splitter, self.lr, self.wd = opt_func, splitter, lr, wd
        self.metrics = metrics
        self.path = Path(path if path is not None else getattr(dls, "path", "."))
        self.model_dir = Path(model_dir)
        self.precision = Precision("fp32", self._device)
        self.recorder, self.progress = Recorder(), ProgressTable()
        self.callbacks: list[Callback] = [FiniteLoss(), self.recorder, self.progress]
        self.callbacks += as_callbacks(cbs)
        self._optimizer: Any = None
        self._made_of: Any = None
        self.ranks, self._together = ALONE, self.model
        self._rehearsed: tuple[Any, ...] = ()
        self.rates: list[float] = []
        self.runs_done: list[dict[str, str]] = []  # those that had a checkpoint, by name and id
        # Of a run: epochs, and which one it is in; batches of this epoch; how often the optimizer has moved.
        self.epochs = self.epoch = self.batches_done = self.steps_done = self.steps_of_epoch = 0
        self.stop_reason = ""
        #: Says `share_done`, where something other than batches does.
        self.pace: Callable[[], float] | None = None

    # ---- the loop

    def fit(
        self, n_epoch: int, lr: float | slice | None = None, wd: float | None = None, cbs: Callbacks = None,
        *, checkpoint: Checkpointing = None, resume: bool = False,
    ) -> None:  # fmt: skip
        """Train for `n_epoch` epochs, validating after each.

        `lr` is a number, or a slice over the depths of the model; `wd` the weight decay; `cbs` are callbacks
        for this run, behind the learner's own. What they raise comes out unchanged.
        `checkpoint` True, a name or a `Checkpoint` writes the run's state as it goes; `resume=True` goes on from it, if any.
        """
        own, more = self.callbacks, as_callbacks(cbs)
        more += as_checkpoint(checkpoint, resume) if checkpoint or resume else []
        self._prepare(n_epoch, lr, wd)
        try:
            self.callbacks = [*own, *more]
            with ExitStack() as scopes:
                for callback in overriding(self.callbacks, "fit_scope"):
                    scopes.enter_context(callback.fit_scope(self))
                while self.epoch < self.epochs and not self.stop_reason:
                    started = time.perf_counter()
                    self._train_epoch()
                    train_loss = self.recorder.smooth_loss()
                    with self.as_validated():
                        valid_loss, *metrics = self._evaluate(self.dls.valid, self.ranks)
                    seconds = time.perf_counter() - started
                    row = Epoch(self.epoch, train_loss, valid_loss, tuple(metrics), seconds)
                    for callback in overriding(self.callbacks, "on_epoch"):
                        callback.on_epoch(self, row)
                    self.epoch, self.batches_done = self.epoch + 1, 0
        except torch.OutOfMemoryError as error:
            error.add_note(self._what_was_too_large())
            raise
        finally:
            self.callbacks, self._together = own, self.model

    def _train_epoch(self) -> None:
        on_batch = overriding(self.callbacks, "on_batch")
        on_gradients = overriding(self.callbacks, "on_gradients")
        on_step = overriding(self.callbacks, "on_step")
        begun_at = self.batches_done  # 0, unless a callback resumes a run in the middle of an epoch
        # A batch travels to a GPU while the program goes on; to other kinds of device it has to be waited for.
        travels_alone = self._device.type == "cuda"
        take_step = self.precision.step_of(self.optimizer)
        self.model.train()
        for host_batch in self.ranks.share(self.dls.train, whole_rounds=True):
            batch = to_device(host_batch, self._device, non_blocking=travels_alone)
            for callback in on_batch:
                batch = callback.on_batch(self, batch)
            with self.precision.autocast():
                result = self.step(self._together, batch)
            self.precision.scaled(result.loss).backward()
            for callback in on_gradients:
                if callback.on_gradients(self, result) is False:
                    break  # the gradients gather, and the optimizer waits
            else:
                take_step()
                self.optimizer.zero_grad()
                self.steps_done += 1
            self.batches_done += 1
            result = result.detached()
            for callback in on_step:
                callback.on_step(self, result)
            if self.stop_reason:
                break
        if self.batches_done == begun_at:
            raise DataError(f"the training loader gave no batch in epoch {self.epoch}; expected at least one")

    def _evaluate(self, batches: Any, ranks: Ranks) -> list[float]:
        if batches is None:
            return [math.nan] * (1 + len(self.meters))
        ranks.same_buffers(self.model)
        return evaluate(
            self.model,
            self.step,
            batches,
            meters=self.meters,
            device=self._device,
            autocast=self.precision.autocast,
            ranks=ranks,
        )

    @contextmanager
    def as_validated(self) -> Generator[None]:
        """The model as validation sees it, inside: a callback may have put averaged weights in place of the last."""
        with ExitStack() as scopes:
            for callback in overriding(self.callbacks, "validation_scope"):
                scopes.enter_context(callback.validation_scope(self))
            yield

    # ---- before the loop

    def _prepare(self, n_epoch: int, lr: float | slice | None, wd: float | None) -> None:
        self.epochs = checked_epochs(n_epoch)
        self.epoch = self.batches_done = self.steps_done = 0
        self.stop_reason = ""
        self.ranks = ranks(self._device)
        self.steps_of_epoch = self.ranks.steps_of(_count_batches("training", self.dls.train))
        if self.dls.valid is not None:
            _count_batches("validation", self.dls.valid)
        place(self.model, self._device)
        self.make_optimizer(lr, wd)
        self._rehearse()

    def make_optimizer(self, lr: float | slice | None = None, wd: float | None = None) -> None:
        """See to it that there is an optimizer of what is to be trained now; `fit` does."""
        groups = split_by_depth(self.model, self.splitter)
        self.rates = learning_rates(self.lr if lr is None else lr, len(groups))
        self._together = self.ranks.together(self.model, self._device)
        # The optimizer stays, with what it remembers, as long as it would be made of the same.
        made_of = self.opt_func, self.wd if wd is None else wd, [list(map(id, group)) for group in groups]
        if made_of != self._made_of:
            self._optimizer = make_optimizer(self.opt_func, groups, self.rates, made_of[1])
            self._made_of = made_of
        set_learning_rates(self.optimizer, self.rates)
        self.optimizer.zero_grad()

    def _rehearse(self) -> None:
        """Try one validation batch first: a loss or metric that cannot work must not cost an epoch."""
        trial = (self.dls.valid, self.model, self.step, *self.meters)
        tried = len(trial) == len(self._rehearsed) and all(map(operator.is_, trial, self._rehearsed))
        if tried or self.dls.valid is None:
            return
        with preserve_random_state():
            first: list[Any] = list(itertools.islice(self.dls.valid, 1))
            self._evaluate(first, ALONE)
        self._rehearsed = trial

    # ---- what callbacks ask

    @property
    def optimizer(self) -> Any:
        """The optimizer of the last run; None before the first."""
        return self._optimizer

    @property
    def device(self) -> torch.device:
        """Where the model and the batches are."""
        return self._device

    @property
    def share_done(self) -> float:
        """How much of the run is done, 0..1. Raises `ArgumentError` if the training loader has no length."""
        if self.pace is not None:
            return self.pace()
        if not self.steps_of_epoch:
            raise ArgumentError(
                "a schedule needs to know how long an epoch is, and the training loader has no length",
                try_="learn.fit (a constant rate), or a loader with len",
            )
        return (self.epoch + self.batches_done / self.steps_of_epoch) / self.epochs

    def current_rates(self) -> list[float]:
        """The learning rates in force, from the lowest up, each once."""
        groups = getattr(self.optimizer, "param_groups", None)
        return sorted(set(self.rates) if groups is None else {group["lr"] for group in groups})

    def say(self, line: str) -> None:
        """A line for whoever watches the run."""
        self.progress.say(line)

    # ---- what its user may change between runs

    @property
    def dls(self) -> Loaders:
        """The data: `train` and `valid`."""
        return self._dls

    @dls.setter
    def dls(self, dls: Loaders) -> None:
        self._dls = setup.checked_loaders(dls)
        if isinstance(self.step, SupervisedStep):
            self.step = self._supervised()

    @property
    def loss_func(self) -> Callable[..., Tensor] | None:
        """The loss; None if only a `step` of your own knows it."""
        return self._loss_func

    @loss_func.setter
    def loss_func(self, loss_func: Callable[..., Tensor]) -> None:
        self._loss_func = setup.checked_loss(loss_func)
        if isinstance(self.step, SupervisedStep):
            self.step = self._supervised()

    def _supervised(self) -> Step:
        assert self._loss_func is not None
        return SupervisedStep(self._loss_func, getattr(self.dls, "n_inp", None))

    @property
    def metrics(self) -> L[Any]:
        """The metrics, as they were given; one, several in a list, or None may be set."""
        return self._metrics

    @metrics.setter
    def metrics(self, metrics: setup.Metrics) -> None:
        given = setup.as_metrics(metrics)
        self.meters: list[Meter] = [meter_of(metric) for metric in given]
        self._metrics: L[Any] = L(given)

    def __repr__(self) -> str:
        model = getattr(self.model, "short_name", type(self.model).__name__)
        return f"{type(self).__name__}({model}, loss_func={loss_name(self._loss_func)}, on {self._device})"

    # ---- when memory is short

    def _what_was_too_large(self) -> str:
        """For who ran out of memory: what was tried, and what to do."""
        bs = getattr(self.dls.train, "bs", None)
        of = f" with batches of {bs}" if bs else ""
        used = ""
        if self.device.type == "cuda":
            free, total = torch.cuda.mem_get_info(self.device)
            used = f", where {(total - free) / 2**30:.1f} of {total / 2**30:.1f} GiB are taken"
        smaller = f"bs={max(1, bs // 2)}" if bs else "a smaller batch"
        return (
            f"This happened in epoch {self.epoch}, batch {self.batches_done}{of}, "
            f"in {self.precision} on {self.device}{used}.\n"
            f"  Try {smaller} with GradientAccumulation({bs or 64}), learn.find_batch_size(use=True), or learn.to_bf16()"
        )


def checked_epochs(n_epoch: int) -> int:
    """The number of epochs, if it is a whole number above 0."""
    if isinstance(n_epoch, bool) or not hasattr(n_epoch, "__index__"):
        raise ArgumentTypeError(
            f"n_epoch is {describe(n_epoch)}; expected a whole number of 1 or more", try_="learn.fit(1)"
        )
    if (epochs := operator.index(n_epoch)) < 1:
        raise ArgumentError(f"n_epoch is {epochs}; expected 1 or more", try_="learn.fit(1)")
    return epochs


def _count_batches(which: str, batches: Any) -> int:
    """Batches of an epoch, 0 when nobody knows. What cannot be read again and again is refused now, not then."""
    if isinstance(batches, Iterator):
        raise DataError(
            f"the {which} batches are an iterator ({type(cast('Any', batches)).__name__}), which can be read only once",
            try_="list(batches), or a DataLoader",
        )
    if not hasattr(batches, "__iter__") and not hasattr(batches, "__getitem__"):
        raise ArgumentTypeError(
            f"the {which} batches are {describe(batches)}; expected an iterable of batches",
            try_="a DataLoader, or a list of (xb, yb)",
        )
    try:
        length = len(batches)
    except TypeError:  # a stream has none
        return 0
    if length == 0:
        raise DataError(
            f"the {which} loader has no batch; expected at least one",
            try_="a smaller bs, drop_last=False, or more items",
        )
    return length
