"""The training loop. This is the file to read first: `fit` and `_train_epoch` are all there is to it."""

from __future__ import annotations

import itertools
import math
import operator
import time
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from pathlib import PurePath
from typing import Any

import torch
from torch import Tensor, nn

from plainlearn.core.describe import describe
from plainlearn.core.device import default_device
from plainlearn.core.errors import ArgumentError, DataError
from plainlearn.core.lists import L
from plainlearn.core.paths import Path
from plainlearn.core.seed import preserve_random_state
from plainlearn.core.tensors import to_device
from plainlearn.metrics.meter import Meter, meter_of
from plainlearn.optim.build import make_optimizer, set_learning_rates
from plainlearn.optim.groups import Splitter, learning_rates, split_by_depth, trainable_params
from plainlearn.optim.optimizers import Adam
from plainlearn.train import (
    ejecting,
    freezing,
    lr_find,
    memory,
    probe,
    recipes,
    saving,
    setup,
    show_loop,
    summary,
    tta,
    tune,
)
from plainlearn.train import precision as numbers
from plainlearn.train import prediction as answering
from plainlearn.train.callback import Callback, overriding
from plainlearn.train.callbacks.finite import FiniteLoss
from plainlearn.train.checkpoint import Checkpointing, as_checkpoint
from plainlearn.train.evaluate import evaluate
from plainlearn.train.precision import Precision
from plainlearn.train.predictions import predict_batches
from plainlearn.train.progress import ProgressTable
from plainlearn.train.ranks import ALONE, Ranks, ranks
from plainlearn.train.recorder import Epoch, Recorder
from plainlearn.train.setup import Callbacks, Loaders
from plainlearn.train.step import Step, SupervisedStep, loss_name


class Learner:
    """Data, a model, a loss and an optimizer, and the loop that brings them together.

    `dls` has `train` and `valid`, two iterables of batches. `loss_func` takes predictions and targets; None
    means the one that the data imply. `opt_func(params, lr=…)` makes the optimizer: one of
    ours, any of torch's, or your own with `step` and `zero_grad`. `lr` is used where `fit` names none, `wd`
    likewise; None leaves the weight decay to the optimizer. `splitter(model)` gives the parameters, or groups of
    them by depth. `metrics` are functions of predictions and targets, or torchmetrics objects. `step`
    replaces the arithmetic of one step. `device` None means the data's, else the best of this machine.

    Raises `ArgumentError` or `ArgumentTypeError` for what cannot work, as far as it can be told by now.

    >>> from plainlearn.data import DataLoaders
    >>> data = [(torch.ones(4, 1), torch.ones(4, 1))]
    >>> learn = Learner(DataLoaders(data, data), nn.Linear(1, 1), loss_func=nn.functional.mse_loss)
    >>> with learn.no_logging():
    ...     learn.fit(1, lr=0.1)
    >>> len(learn.recorder.values)
    1
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
        metrics: Any = None,
        path: str | PurePath | None = None,
        model_dir: str | PurePath = "models",
        wd: float | None = None,
        *,
        step: Step | None = None,
        device: torch.device | str | None = None,
    ) -> None:
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
        self.callbacks += setup.as_callbacks(cbs)
        self._optimizer: Any = None
        self._made_of: Any = None
        self.ranks, self._together = ALONE, self.model
        self._rehearsed: tuple[Any, ...] = ()
        self.rates: list[float] = []
        self.runs_done: list[dict[str, str]] = []  # those that had a checkpoint, by name and id
        # Of a run: epochs, and which one it is in; batches of this epoch; how often the optimizer has moved.
        self.epochs = self.epoch = self.batches_done = self.steps_done = self.steps_of_epoch = 0
        self.stop_reason = ""
        self.pace: Callable[[], float] | None = (
            None  # `share_done`, where something other than batches says it
        )

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
        own, more = self.callbacks, [*setup.as_callbacks(cbs), *as_checkpoint(checkpoint, resume)]
        self._prepare(n_epoch, lr, wd)
        try:
            self.callbacks = [*own, *more]
            with memory.explained(self), ExitStack() as scopes:
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
        autocast = self.precision.autocast
        return evaluate(
            self.model,
            self.step,
            batches,
            meters=self.meters,
            device=self._device,
            autocast=autocast,
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
        self.epochs = setup.checked_epochs(n_epoch)
        self.epoch = self.batches_done = self.steps_done = 0
        self.stop_reason = ""
        self.ranks = ranks(self._device)
        self.steps_of_epoch = self.ranks.steps_of(setup.count_batches("training", self.dls.train))
        if self.dls.valid is not None:
            setup.count_batches("validation", self.dls.valid)
        setup.place(self.model, self._device)
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
    def metrics(self, metrics: Any) -> None:
        given = setup.as_metrics(metrics)
        self.meters: list[Meter] = [meter_of(metric) for metric in given]
        self._metrics: L[Any] = L(given)

    # ---- what its user asks

    # A way of training, or of keeping what was trained, is a function that takes a learner; each is a method too.
    fit_one_cycle, fit_flat_cos, fit_sgdr = recipes.fit_one_cycle, recipes.fit_flat_cos, recipes.fit_sgdr
    fine_tune, lr_find, probe = recipes.fine_tune, lr_find.lr_find, probe.probe
    freeze, freeze_to, unfreeze = freezing.freeze, freezing.freeze_to, freezing.unfreeze
    predict, calibrate = answering.predict, answering.calibrate
    to_fp16, to_bf16, to_fp32 = numbers.to_fp16, numbers.to_bf16, numbers.to_fp32
    speed_up, find_batch_size = tune.speed_up, memory.find_batch_size
    summary, show_training_loop = summary.summary, show_loop.show_training_loop
    save, load, tta, eject = saving.save, saving.load, tta.tta, ejecting.eject

    def validate(self, ds_idx: int = 1, dl: Any = None) -> L[float]:
        """`[loss, metric, …]` on the validation set, or on `dl`, any iterable of batches.

        `ds_idx=0` means the training data. Raises `DataError` when there is no batch.
        """
        batches = self._batches(ds_idx, dl)
        setup.place(self.model, self._device)
        return L(self._evaluate(batches, ranks(self._device)))

    def get_preds(
        self,
        ds_idx: int = 1,
        dl: Any = None,
        with_input: bool = False,
        with_decoded: bool = False,
        with_loss: bool = False,
        act: Callable[[Any], Any] | None = None,
    ) -> tuple[Any, ...]:
        """`(predictions, targets)` over the validation set, or over `dl`, any iterable of batches.

        Predictions have the loss's activation applied (`act` replaces it): probabilities for
        classes. `with_input` puts the inputs first, `with_decoded` and `with_loss` add the answers and
        the loss of each item behind. Targets are None when the batches have none. All are on the CPU.
        Raises `DataError` when there is no batch, `LossError` when the loss of an item is not known.
        """
        batches = self._batches(ds_idx, dl)
        setup.place(self.model, self._device)
        return predict_batches(
            self.model, batches, self._loss_func, device=self._device, inputs=getattr(self.dls, "n_inp", None),
            with_input=with_input, with_decoded=with_decoded, with_loss=with_loss, act=act,
            autocast=self.precision.autocast,
        )  # fmt: skip

    def _batches(self, ds_idx: int, dl: Any) -> Any:
        if dl is not None:
            return dl
        known: dict[Any, Any] = {0: self.dls.train, 1: self.dls.valid}
        if ds_idx not in known:
            raise ArgumentError(
                f"ds_idx is {describe(ds_idx)}; expected 0, training, or 1, validation",
                try_="dl=learn.dls[2]",
            )
        if known[ds_idx] is None:
            raise DataError(
                "there is no validation data", try_="dl=a list of batches, or ds_idx=0 for the training data"
            )
        return known[ds_idx]

    @contextmanager
    def no_bar(self) -> Generator[Learner]:
        """No progress bar inside; rows are printed as plain lists."""
        with self.progress.style("lists"):
            yield self

    @contextmanager
    def no_logging(self) -> Generator[Learner]:
        """Nothing is printed inside."""
        with self.progress.style("silent"):
            yield self

    def __repr__(self) -> str:
        model = getattr(self.model, "short_name", type(self.model).__name__)
        return f"Learner({model}, loss_func={loss_name(self._loss_func)}, on {self._device})"
