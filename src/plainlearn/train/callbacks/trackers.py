"""Trackers of experiments: TensorBoard, Weights & Biases, MLflow, each told the same of a run at its epochs' ends."""

from __future__ import annotations

import importlib
import importlib.util
import math
import secrets
import time
from abc import abstractmethod
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePath
from typing import Any, ClassVar, Final

from plainlearn.core.errors import MissingExtraError
from plainlearn.train.callback import Callback, Epoch, Loop
from plainlearn.train.step import loss_name


class Tracker(Callback):
    """Tells a tracker, at each epoch's end, the loss and rate of every step since, and the row of the table.

    Nothing waits for the device within an epoch. The run is opened with its first epoch, so that a resumed
    one goes on in the same; it is closed when training ends, as failed when an exception passes.
    """

    #: The library, as it is imported.
    library: ClassVar[str]

    def __init__(self) -> None:
        if importlib.util.find_spec(self.library) is None:
            raise MissingExtraError(self.library, needed_for=type(self).__name__, extra="tracking")
        self._told = 0  # steps that were told of
        self._open = False
        self._run: str | None = None

    @contextmanager
    def fit_scope(self, learner: Loop) -> Generator[None]:
        self._told, self._run = 0, None
        finished = False
        try:
            yield
            finished = True
        finally:
            if self._open:
                self._open = False
                self.close(finished=finished)

    def on_epoch(self, learner: Loop, epoch: Epoch) -> None:
        if not learner.ranks.is_main:
            return
        if not self._open:
            self._run = self.open(self._run, _facts(learner))
            self._open = True
        recorder = learner.recorder
        losses, rates = (
            recorder.losses[self._told :],
            recorder.lrs[self._told :] or [math.nan] * len(recorder.losses),
        )
        steps = [
            (self._told + number, {"step_loss": loss, "lr": rate})
            for number, (loss, rate) in enumerate(zip(losses, rates, strict=False), start=1)
        ]
        self._told = len(recorder.losses)
        row = dict(zip(recorder.metric_names, epoch.values, strict=True)) | {"epoch_seconds": epoch.seconds}
        told = [(step, _finite(numbers)) for step, numbers in steps]
        self.tell([*told, (self._told, _finite(row) | {"epoch": epoch.number})])

    @abstractmethod
    def open(self, run: str | None, facts: Mapping[str, Any]) -> str:
        """Begin a run, or go on with `run`, and give its name. `facts` say what is trained."""

    @abstractmethod
    def tell(self, steps: Iterable[tuple[int, Mapping[str, float]]]) -> None:
        """Numbers by name at steps, counted from 1 over the whole run; the last are those of an epoch."""

    @abstractmethod
    def close(self, *, finished: bool) -> None:
        """End the run."""

    def part(self, name: str = "") -> Any:
        """The library, or a part of it, imported now: it is heavy, and not everybody has it."""
        return importlib.import_module(f"{self.library}.{name}" if name else self.library)

    def state_dict(self) -> dict[str, Any]:
        return {"run": self._run, "told": self._told}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._run, self._told = state["run"], state["told"]


def _facts(learner: Loop) -> dict[str, Any]:
    return {
        "model": type(learner.model).__name__,
        "loss": loss_name(learner.loss_func),
        "optimizer": type(learner.optimizer).__name__,
        "epochs": learner.epochs,
        "lr": max(learner.rates),
        "batch_size": getattr(learner.dls.train, "bs", None),
        "device": str(learner.device),
    }


def _finite(numbers: Mapping[str, float]) -> dict[str, float]:
    """Those that are numbers: without validation data, or a rate, there is nothing to tell."""
    return {name: number for name, number in numbers.items() if math.isfinite(number)}


# ---- the trackers


class TensorBoardCallback(Tracker):
    """Writes steps and epochs to a folder of its own in `log_dir`. Needs `plainlearn[tracking]`.

    learn.fit(1, cbs=TensorBoardCallback("runs"))
    """

    library: ClassVar[str] = "tensorboard"

    def __init__(self, log_dir: str | PurePath = "runs", name: str | None = None) -> None:
        super().__init__()
        self.log_dir, self.name = Path(log_dir), name
        self._writer: Any = None

    def open(self, run: str | None, facts: Mapping[str, Any]) -> str:
        from torch.utils.tensorboard import SummaryWriter

        chosen = run or self.name or f"{facts['model']}-{secrets.token_hex(4)}"
        # What a killed run wrote after the state that it resumes from is to be told again, and hidden until then.
        purge: Any = self._told + 1 if run else None
        self._writer = SummaryWriter(str(self.log_dir / chosen), purge_step=purge)
        if not run:
            self._writer.add_text("facts", "  \n".join(f"{name}: {value}" for name, value in facts.items()))
        return chosen

    def tell(self, steps: Iterable[tuple[int, Mapping[str, float]]]) -> None:
        for step, numbers in steps:
            for name, number in numbers.items():
                self._writer.add_scalar(name, number, step)
        self._writer.flush()

    def close(self, *, finished: bool) -> None:
        self._writer.close()
        self._writer = None


class WandbCallback(Tracker):
    """Tells `wandb` of steps and epochs. Needs `plainlearn[tracking]`.

    A run that is open already (`wandb.init` was called) is told and left open. Otherwise one is begun with
    `options`, the arguments of `wandb.init`, and finished at the end.

        learn.fit(1, cbs=WandbCallback(project="pets", mode="offline"))
    """

    library: ClassVar[str] = "wandb"

    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.options = options
        self._ours = False
        self._active: Any = None

    def open(self, run: str | None, facts: Mapping[str, Any]) -> str:
        library = self.part()
        self._ours = library.run is None
        if self._ours:
            # A name of its own for the run lets a resumed one find it.
            resumed = {"id": run, "resume": "allow"} if run else {}
            self._active = library.init(**{"config": dict(facts), **self.options, **resumed})
        else:
            self._active = library.run
            self._active.config.update(dict(facts), allow_val_change=True)
        return str(self._active.id)

    def tell(self, steps: Iterable[tuple[int, Mapping[str, float]]]) -> None:
        by_step: dict[int, dict[str, float]] = {}
        for step, numbers in steps:
            by_step.setdefault(step, {}).update(numbers)
        for step, numbers in by_step.items():
            # Not `step=`: that is wandb's own count, which goes up with whatever else is logged.
            self._active.log({"train_step": step, **numbers})

    def close(self, *, finished: bool) -> None:
        if self._ours:
            self._active.finish(exit_code=0 if finished else 1)
        self._active = None


_METRICS_A_CALL: Final = 1000  # MLflow takes no more at once


class MLflowCallback(Tracker):
    """Tells MLflow of steps and epochs. Needs `plainlearn[tracking]`.

    `tracking_uri` is the store (`sqlite:///runs.db` is a file; None is what MLflow itself is set to). The
    run belongs to the experiment of that name, which is made if it is not there. MLflow's own settings, and a run
    that is active in it, are left as they are.

        learn.fit(1, cbs=MLflowCallback("sqlite:///runs.db", experiment="pets"))
    """

    library: ClassVar[str] = "mlflow"

    def __init__(
        self, tracking_uri: str | None = None, experiment: str = "plainlearn", run_name: str | None = None
    ) -> None:
        super().__init__()
        self.tracking_uri, self.experiment, self.run_name = tracking_uri, experiment, run_name
        self._client: Any = None

    def open(self, run: str | None, facts: Mapping[str, Any]) -> str:
        client: Any = self.part("tracking").MlflowClient(tracking_uri=self.tracking_uri)
        self._client = client
        if run is not None:
            client.set_terminated(run, status="RUNNING")
            return run
        known: Any = client.get_experiment_by_name(self.experiment)
        experiment_id = client.create_experiment(self.experiment) if known is None else known.experiment_id
        made: Any = client.create_run(experiment_id, run_name=self.run_name)
        param = self.part("entities").Param
        parameters: list[Any] = [param(name, str(value)) for name, value in facts.items()]
        client.log_batch(made.info.run_id, params=parameters)
        return str(made.info.run_id)

    def tell(self, steps: Iterable[tuple[int, Mapping[str, float]]]) -> None:
        metric = self.part("entities").Metric
        now = int(time.time() * 1000)
        metrics: list[Any] = [
            metric(name, number, now, step) for step, numbers in steps for name, number in numbers.items()
        ]
        for begin in range(0, len(metrics), _METRICS_A_CALL):
            self._client.log_batch(self._run, metrics=metrics[begin : begin + _METRICS_A_CALL])

    def close(self, *, finished: bool) -> None:
        self._client.set_terminated(self._run, status="FINISHED" if finished else "FAILED")
        self._client = None
