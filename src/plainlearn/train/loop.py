"""The training loop. This is the file to read first: `fit` and `_train_epoch` are all there is to it."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from plainlearn.core.device import default_device
from plainlearn.core.errors import ArgumentError, ArgumentTypeError, DataError
from plainlearn.core.lists import L
from plainlearn.core.seed import preserve_random_state
from plainlearn.core.tensors import to_device
from plainlearn.metrics.meter import Meter, meter_of
from plainlearn.optim.groups import Splitter, learning_rates, parameter_groups, split_by_depth, trainable_params
from plainlearn.optim.optimizers import Adam
from plainlearn.train import recipes
from plainlearn.train.callback import Callback, overriding
from plainlearn.train.callbacks.finite import FiniteLoss
from plainlearn.train.evaluate import evaluate
from plainlearn.train.predictions import predict_batches
from plainlearn.train.progress import ProgressTable
from plainlearn.train.recorder import Epoch, Recorder
from plainlearn.train.step import Step, SupervisedStep, loss_name


class Loaders(Protocol):
    """Training and validation batches: two iterables. Without validation, `valid` is None."""

    @property
    def train(self) -> Any: ...
    @property
    def valid(self) -> Any: ...


class Learner:
    """Data, a model, a loss and an optimizer, and the loop that brings them together.

    `dls` has `train` and `valid`, two iterables of batches. `opt_func(params, lr=…)` makes the
    optimizer: one of ours, any of torch's, or your own with `step` and `zero_grad`. `splitter(model)`
    gives the parameters, or groups of them by depth. `metrics` are functions of predictions and
    targets, or torchmetrics objects. `step` replaces the arithmetic of one step.

    >>> data = [(torch.ones(4, 1), torch.ones(4, 1))]
    >>> learn = Learner(DataLoaders(data, data), nn.Linear(1, 1), loss_func=nn.functional.mse_loss)
    >>> with learn.no_logging():
    ...     learn.fit(1, lr=0.1)
    """

    # No other attribute can be set: a typo on the learner names the learner.
    __slots__ = (
        "__weakref__", "_autocast", "_device", "_loss_func", "_metrics", "_rehearsed", "batches_done", "callbacks",
        "dls", "epoch", "epochs", "lr", "meters", "model", "model_dir", "opt_func", "optimizer", "path", "progress",
        "rates", "recorder", "splitter", "step", "steps_of_epoch", "stop_reason", "wd",
    )  # fmt: skip

    def __init__(
        self,
        dls: Loaders,
        model: nn.Module,
        loss_func: Callable[..., Tensor] | None = None,
        opt_func: Callable[..., Any] = Adam,
        lr: float | slice = 1e-3,
        splitter: Splitter = trainable_params,
        cbs: Callback | Sequence[Callback] | None = None,
        metrics: Any = None,
        path: str | Path | None = None,
        model_dir: str | Path = "models",
        wd: float | None = None,
        *,
        step: Step | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        self.dls = _checked_loaders(dls)
        self.model = _checked_model(model)
        self._loss_func = loss_func or getattr(dls, "loss_func", None)
        if step is None and self._loss_func is None:
            raise ArgumentError(
                "no loss was given and the data do not imply one; expected a function of predictions and targets",
                try_="loss_func=F.cross_entropy",
            )
        self.step: Step = step or self._supervised()
        self.opt_func, self.splitter, self.lr, self.wd = opt_func, splitter, lr, wd
        self.metrics = metrics
        self.path = Path(path if path is not None else getattr(dls, "path", "."))
        self.model_dir = Path(model_dir)
        self._device = torch.device(device or getattr(dls, "device", None) or default_device())
        self._autocast: AbstractContextManager[Any] = nullcontext()
        self.optimizer: Any = None
        self.recorder, self.progress = Recorder(), ProgressTable()
        self.callbacks: list[Callback] = [self.recorder, FiniteLoss(), self.progress, *_as_list(cbs)]
        self.epochs = self.epoch = self.batches_done = self.steps_of_epoch = 0
        self.rates: list[float] = []
        self.stop_reason = ""
        self._rehearsed: Any = None

    # ---- the loop

    def fit(
        self,
        n_epoch: int,
        lr: float | slice | None = None,
        wd: float | None = None,
        cbs: Callback | Sequence[Callback] | None = None,
    ) -> None:
        """Train for `n_epoch` epochs, validating after each. `lr` is a number, or a slice over the depths."""
        self._prepare(n_epoch, lr, wd)
        outer = self.callbacks
        self.callbacks = [*outer, *_as_list(cbs)]
        try:
            with ExitStack() as scopes:
                for callback in self.callbacks:
                    scopes.enter_context(callback.fit_scope(self))
                for self.epoch in range(n_epoch):
                    started = time.perf_counter()
                    self._train_epoch()
                    train_loss = self.recorder.smooth_loss()
                    valid_loss, *metrics = self._validated(self.dls.valid)
                    seconds = time.perf_counter() - started
                    row = Epoch(self.epoch, train_loss, valid_loss, tuple(metrics), seconds)
                    for callback in overriding(self.callbacks, "on_epoch"):
                        callback.on_epoch(self, row)
                    if self.stop_reason:
                        break
        finally:
            self.callbacks = outer

    def _train_epoch(self) -> None:
        on_batch = overriding(self.callbacks, "on_batch")
        on_gradients = overriding(self.callbacks, "on_gradients")
        on_step = overriding(self.callbacks, "on_step")
        self.model.train()
        self.batches_done = 0
        for host_batch in self.dls.train:
            batch = to_device(host_batch, self._device)
            for callback in on_batch:
                batch = callback.on_batch(self, batch)
            with self._autocast:
                result = self.step(self.model, batch)
            result.loss.backward()
            for callback in on_gradients:
                callback.on_gradients(self, result)
            self.optimizer.step()
            self.optimizer.zero_grad()
            self.batches_done += 1
            result = result.detached()
            for callback in on_step:
                callback.on_step(self, result)
            if self.stop_reason:
                break
        if not self.batches_done:
            raise DataError(f"the training loader gave no batch in epoch {self.epoch}; expected at least one")

    def _validated(self, batches: Any) -> list[float]:
        if batches is None:
            return [math.nan] * (1 + len(self.meters))
        with self._autocast:
            return evaluate(self.model, self.step, batches, meters=self.meters, device=self._device)

    # ---- before the loop

    def _prepare(self, n_epoch: int, lr: float | slice | None, wd: float | None) -> None:
        if isinstance(n_epoch, bool) or not isinstance(n_epoch, int):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ArgumentTypeError(f"n_epoch is {n_epoch!r}; expected a whole number of 1 or more", try_="learn.fit(1)")
        if n_epoch < 1:
            raise ArgumentError(f"n_epoch is {n_epoch}; expected 1 or more", try_="learn.fit(1)")
        self.steps_of_epoch = _checked_length("training", self.dls.train, n_epoch)
        _checked_length("validation", self.dls.valid, n_epoch)
        self.model.to(self._device)
        groups = split_by_depth(self.model, self.splitter)
        self.rates = learning_rates(self.lr if lr is None else lr, len(groups))
        self._prepare_optimizer(groups, wd)
        self.epochs, self.epoch, self.batches_done, self.stop_reason = n_epoch, 0, 0, ""
        self._rehearse()

    def _prepare_optimizer(self, groups: list[list[nn.Parameter]], wd: float | None) -> None:
        """Keep the optimizer, with what it remembers, as long as it moves the same parameters."""
        wd = self.wd if wd is None else wd
        wanted = [parameter for group in groups for parameter in group]
        kept = getattr(self.optimizer, "param_groups", [])
        same = {id(p) for group in kept for p in group["params"]} == {id(p) for p in wanted}
        if self.optimizer is None or not same:
            self.optimizer = _made_optimizer(self.opt_func, groups, self.rates, wd)
        for group in getattr(self.optimizer, "param_groups", []):
            group["lr"] = self.rates[group.get("depth", 0)]
            if wd is not None and group.get("weight_decay"):
                group["weight_decay"] = wd
        if getattr(self.optimizer, "param_groups", None) is None:  # a bare one, such as the lesson's BasicOptim
            self.optimizer.lr = self.rates[-1]
        self.optimizer.zero_grad()

    def _rehearse(self) -> None:
        """Try one validation batch first: a loss or metric that cannot work must not cost an epoch."""
        trial = (id(self.dls), id(self.step), tuple(map(id, self.meters)))
        if self._rehearsed == trial or self.dls.valid is None:
            return
        with preserve_random_state():
            first = list(itertools.islice(self.dls.valid, 1))
        self._validated(first)
        self._rehearsed = trial

    # ---- what the loop's callbacks ask

    @property
    def device(self) -> torch.device:
        return self._device

    @property
    def share_done(self) -> float:
        """How much of the run is done, 0..1. Needs a training loader that knows its length."""
        if not self.steps_of_epoch:
            raise ArgumentError(
                "a schedule needs to know how long an epoch is, and the training loader has no length",
                try_="learn.fit (a constant rate), or a loader with len",
            )
        return (self.epoch + self.batches_done / self.steps_of_epoch) / self.epochs

    def current_rates(self) -> list[float]:
        """The learning rates in force, one a group of the optimizer."""
        groups = getattr(self.optimizer, "param_groups", None)
        return list(self.rates) if groups is None else sorted({group["lr"] for group in groups})

    # ---- what its user asks

    @property
    def loss_func(self) -> Any:
        return self._loss_func

    @loss_func.setter
    def loss_func(self, loss_func: Callable[..., Tensor]) -> None:
        self._loss_func = loss_func
        self.step = self._supervised()

    def _supervised(self) -> Step:
        return SupervisedStep(self._loss_func, getattr(self.dls, "n_inp", None))

    @property
    def metrics(self) -> L[Any]:
        return self._metrics

    @metrics.setter
    def metrics(self, metrics: Any) -> None:
        listed: list[Any] = list(metrics) if isinstance(metrics, (list, tuple, L)) else ([] if metrics is None else [metrics])
        self.meters: list[Meter] = [meter_of(metric) for metric in listed]
        self._metrics: L[Any] = L(listed)

    def fit_one_cycle(
        self,
        n_epoch: int,
        lr_max: float | slice | None = None,
        div: float = 25.0,
        div_final: float = 1e5,
        pct_start: float = 0.25,
        wd: float | None = None,
        moms: tuple[float, float, float] = (0.95, 0.85, 0.95),
        cbs: Callback | Sequence[Callback] | None = None,
    ) -> None:
        """Train with the learning rate rising to `lr_max` and falling again, momentum mirrored (see `recipes`)."""
        recipes.fit_one_cycle(self, n_epoch, lr_max, div=div, div_final=div_final, pct_start=pct_start, wd=wd,
                              moms=moms, cbs=_as_list(cbs))  # fmt: skip

    def fit_flat_cos(
        self,
        n_epoch: int,
        lr: float | slice | None = None,
        div_final: float = 1e5,
        pct_start: float = 0.75,
        wd: float | None = None,
        cbs: Callback | Sequence[Callback] | None = None,
    ) -> None:
        """Train at a constant rate for `pct_start` of the run, then let it fall along a cosine."""
        recipes.fit_flat_cos(self, n_epoch, lr, div_final=div_final, pct_start=pct_start, wd=wd, cbs=_as_list(cbs))

    def validate(self, ds_idx: int = 1, dl: Any = None) -> L[float]:
        """`[loss, metric, …]` on the validation set, or on `dl`, any iterable of batches."""
        batches = self._batches(ds_idx, dl)
        self.model.to(self._device)
        return L(self._validated(batches))

    def get_preds(
        self,
        ds_idx: int = 1,
        dl: Any = None,
        with_input: bool = False,
        with_decoded: bool = False,
        with_loss: bool = False,
        act: Callable[[Tensor], Tensor] | None = None,
    ) -> tuple[Any, ...]:
        """`(predictions, targets)` over the validation set, or over `dl`, any iterable of batches.

        Predictions have the loss's activation applied (`act` replaces it): probabilities for
        classes. `with_input` puts the inputs first, `with_decoded` and `with_loss` add the answers and
        the loss of each item behind. Targets are None when the batches have none.
        """
        batches = self._batches(ds_idx, dl)
        self.model.to(self._device)
        with self._autocast:
            return predict_batches(
                self.model, batches, self._loss_func, device=self._device, inputs=getattr(self.dls, "n_inp", None),
                with_input=with_input, with_decoded=with_decoded, with_loss=with_loss, act=act,
            )  # fmt: skip

    def _batches(self, ds_idx: int, dl: Any) -> Any:
        if dl is not None:
            return dl
        batches = (self.dls.train, self.dls.valid)[ds_idx]
        if batches is None:
            raise DataError("there is no validation data", try_="dl=a list of batches, or ds_idx=0 for the training data")
        return batches

    @contextmanager
    def no_bar(self) -> Iterator[Learner]:
        """No progress bar inside; rows are printed as plain lists."""
        with self.progress.style("lists"):
            yield self

    @contextmanager
    def no_logging(self) -> Iterator[Learner]:
        """Nothing is printed inside."""
        with self.progress.style("silent"):
            yield self

    def __repr__(self) -> str:
        return f"Learner({type(self.model).__name__}, loss_func={loss_name(self._loss_func)}, on {self._device})"


def _made_optimizer(
    opt_func: Callable[..., Any], groups: list[list[nn.Parameter]], rates: list[float], wd: float | None
) -> Any:
    """The optimizer, with groups by depth where it understands groups and there is a reason for them."""
    flat = [parameter for group in groups for parameter in group]
    optimizer = opt_func(flat, lr=rates[-1])
    missing = [name for name in ("step", "zero_grad") if not callable(getattr(optimizer, name, None))]
    if missing:
        raise ArgumentTypeError(
            f"opt_func gave {optimizer!r}, which has no {' and no '.join(missing)}; expected an optimizer",
            try_="opt_func=SGD",
        )
    if not isinstance(optimizer, torch.optim.Optimizer):
        if len(groups) > 1:
            raise ArgumentError(
                f"{type(optimizer).__name__} takes one learning rate, and the model has {len(groups)} parameter groups",
                try_="opt_func=SGD, or a splitter that gives one group",
            )
        return optimizer
    decay = optimizer.defaults.get("weight_decay", 0) if wd is None else wd
    if len(groups) == 1 and not decay:
        return optimizer
    return opt_func(parameter_groups(groups, decay), lr=rates[-1])


def _as_list(callbacks: Callback | Sequence[Callback] | None) -> list[Callback]:
    if callbacks is None:
        return []
    listed = list(callbacks) if isinstance(callbacks, Sequence) else [callbacks]
    made = [callback() if isinstance(callback, type) else callback for callback in listed]
    for callback in made:
        if not isinstance(callback, Callback):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ArgumentTypeError(f"cbs has {callback!r}; expected a Callback", try_="class Mine(Callback): ...")
    return made


def _checked_loaders(dls: Any) -> Loaders:
    if not hasattr(dls, "train") or not hasattr(dls, "valid"):
        raise ArgumentTypeError(
            f"dls is a {type(dls).__name__}; expected loaders with train and valid", try_="DataLoaders(dl, valid_dl)"
        )
    return dls


def _checked_model(model: Any) -> nn.Module:
    if isinstance(model, nn.Module):
        return model
    hint = f"{model.__name__}(...), an instance" if isinstance(model, type) else "a subclass of nn.Module"
    raise ArgumentTypeError(f"the model is {model!r}; expected an nn.Module", try_=hint)


def _checked_length(which: str, batches: Any, n_epoch: int) -> int:
    """Batches of an epoch, 0 when nobody knows. What cannot be read `n_epoch` times is refused now, not then."""
    if batches is None:
        return 0
    if isinstance(batches, Iterator):
        raise DataError(
            f"the {which} batches are an iterator ({type(batches).__name__}), which can be read only once",
            try_="list(batches), or a DataLoader",
        )
    try:
        length = len(batches)
    except TypeError:
        return 0
    if length == 0:
        raise DataError(
            f"the {which} loader has no batch; expected at least one",
            try_="a smaller bs, drop_last=False, or more items",
        )
    return length
