"""Checkpoints: a run that is killed at any moment goes on, in another process, to the very same weights.

    learn.fit_one_cycle(10, checkpoint=True)      # writes path/model_dir/checkpoint-1.safetensors as it goes
    learn.fit_one_cycle(10, resume=True)          # goes on from there; from the beginning when nothing is there

Each run has one file, which holds all that the rest of the run depends on. A script of several fits, or
a recipe of several phases, needs no more than that each fit is given `resume`: the second that is finished
under a name has its own file, NAME-2, and so on, and a fit that was finished takes up its end and trains nothing.
So a recipe hands `checkpoint` and `resume` on to each of its fits, and does between them what it always does.
"""

from __future__ import annotations

import secrets
import signal
import sys
import threading
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, is_dataclass
from typing import Any, Final

from plainlearn.core.describe import describe
from plainlearn.core.errors import ArgumentError, ArgumentTypeError, DataError
from plainlearn.core.paths import Path
from plainlearn.core.seed import random_state, set_random_state
from plainlearn.core.tensorfile import read_tree, write_tree
from plainlearn.train import state
from plainlearn.train.callback import Callback, Epoch, Loop
from plainlearn.train.callbacks.schedule import Scheduled
from plainlearn.train.saving import file_of
from plainlearn.train.step import Result

KIND: Final = "checkpoint of a run"

# A write within an epoch waits until training has taken so many times the seconds of the last write: 5 % at the most.
_TRAINING_PER_WRITE: Final = 20


class Checkpoint(Callback):
    """Writes the state of a run at its start, at each epoch's end, and within an epoch every `every_seconds`.

    Give it to `fit` as `checkpoint=`: True means `Checkpoint()`, a name `Checkpoint(name)`. `every_batches` writes after
    each so many batches too, whatever it costs; writes by the clock cost at most a twentieth of the time.
    Within an epoch needs a training loader that has a length and `state_dict` (ours has); with another, it writes at
    epochs' ends. Of several processes the first writes the one file, for all, and by the clock none does.

    Ctrl-C in the middle of a batch waits for its end and writes the state; a second one does not wait.
    Raises `DataError` when the file to resume from is damaged or of another run, and says in what it differs.
    """

    def __init__(
        self,
        name: str = "checkpoint",
        *,
        every_seconds: float = 60.0,
        every_batches: int | None = None,
        resume: bool = False,
    ) -> None:
        if not every_seconds > 0 or (every_batches is not None and every_batches < 1):
            raise ArgumentError(
                f"every_seconds is {every_seconds} and every_batches {every_batches}; expected numbers above 0",
                try_="Checkpoint(every_seconds=60)",
            )
        self.name, self.every_seconds, self.every_batches = name, every_seconds, every_batches
        self.resume = resume
        self._path = Path()
        self._run: dict[str, Any] = {}
        self._interrupts = Interrupts()
        self._written_at = self._write_seconds = 0.0

    @contextmanager
    def fit_scope(self, learner: Loop) -> Generator[None]:
        if learner.callbacks[-1] is not self:
            raise ArgumentError(
                "a Checkpoint must come behind all other callbacks, or it would not see what they do",
                try_="checkpoint=Checkpoint(…) instead of cbs=",
            )
        number = 1 + sum(run["name"] == self.name for run in learner.runs_done)
        self._path = file_of(learner, f"{self.name}-{number}")
        self._run = {
            "name": self.name,
            "id": f"{learner.ranks.agree(secrets.randbits(62)):x}",
            "after": list(learner.runs_done),
        }
        self._run["facts"] = _facts(learner)
        if not (self.resume and self._resume(learner)):
            # At once: or a run that was killed before its first checkpoint would resume an older one.
            self._write(learner, learner.epoch, 0)
        with deferred_interrupts(lambda: self._can_defer(learner)) as self._interrupts:
            yield
        learner.runs_done.append({"name": self.name, "id": self._run["id"]})

    def on_step(self, learner: Loop, result: Result) -> None:
        if (self._interrupts.asked or self._is_due(learner)) and self._can_write_within(learner):
            self._write(learner, learner.epoch, learner.batches_done)
            self._interrupts.give_way()

    def on_epoch(self, learner: Loop, epoch: Epoch) -> None:
        self._write(learner, learner.epoch + 1, 0)
        self._interrupts.give_way()

    # ---- writing

    def _can_write_within(self, learner: Loop) -> bool:
        # Not behind an epoch's last batch: a loader that goes on from there would begin another epoch.
        within = learner.batches_done < learner.steps_of_epoch and not learner.stop_reason
        return within and _place_of(learner.dls.train) is not None

    def _can_defer(self, learner: Loop) -> bool:
        return learner.ranks.size == 1 and self._can_write_within(learner)

    def _is_due(self, learner: Loop) -> bool:
        if self.every_batches is not None:
            steps = learner.epoch * learner.steps_of_epoch + learner.batches_done
            if steps % self.every_batches == 0:
                return True
        if learner.ranks.size > 1:
            return False  # their clocks do not agree on when to write
        wait = max(self.every_seconds, _TRAINING_PER_WRITE * self._write_seconds)
        return time.monotonic() - self._written_at >= wait

    def _write(self, learner: Loop, epoch: int, batches_done: int) -> None:
        begun = time.monotonic()
        within = batches_done > 0
        tree = {
            "run": self._run,
            "place": {
                "epoch": epoch,
                "batches_done": batches_done,
                "steps_done": learner.steps_done,
                "stop_reason": learner.stop_reason,
                "rates": list(learner.rates),
            },
            "model": state.model_state(learner.model),
            "trainable": state.trainable(learner.model),
            "optimizer": state.optimizer_state(learner.model, learner.optimizer),
            "precision": learner.precision.state_dict(),
            "loaders": {
                "train": _place_of(learner.dls.train) if within else None,
                "epochs_begun": [_epochs_begun(learner.dls.train), _epochs_begun(learner.dls.valid)],
            },
            "processes": learner.ranks.of_all(
                {
                    "random": random_state(),
                    "callbacks": _states(learner.callbacks),
                    "gradients": state.gradients(learner.model),
                }
            ),
        }
        if learner.ranks.is_main:
            write_tree(self._path, tree, kind=KIND)
        self._written_at = time.monotonic()
        self._write_seconds = self._written_at - begun

    # ---- resuming

    def _resume(self, learner: Loop) -> bool:
        """Put the learner where the file's run was. False, and a word why, when there is nothing to go on from."""
        if not learner.ranks.agree(
            self._path.exists()
        ):  # or one process might see what another has just written
            learner.say(f"There is no checkpoint {self._path}: the run begins.")
            return False
        saved = read_tree(self._path, kind=KIND)
        run = saved["run"]
        if run["after"] != self._run["after"]:
            learner.say(f"{self._path} continues a run that this learner has not done: the run begins anew.")
            return False
        lines = state.differences(run["facts"], self._run["facts"])
        here, there = _states(learner.callbacks), saved["processes"][0]["callbacks"]
        lines += state.differences({"callbacks": _with_state(there)}, {"callbacks": _with_state(here)})
        state.refuse(
            self._path,
            lines,
            try_="resume=False, to begin anew, or the data, model and arguments of that run",
        )
        for line in state.differences({"callbacks": list(there)}, {"callbacks": list(here)}):
            learner.say(f"The run was begun with other callbacks; {line}.")
        try:
            self._restore(learner, saved)
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            if not isinstance(error, DataError):
                error.add_note(f"while resuming from {self._path}")
            raise
        self._run = run
        where = f"epoch {learner.epoch}, batch {learner.batches_done}"
        if learner.epoch >= learner.epochs or learner.stop_reason:
            where = "its end; there is nothing left to train"
        learner.say(f"Resumed from {self._path}, at {where}.")
        return True

    def _restore(self, learner: Loop, saved: Mapping[str, Any]) -> None:
        state.load_model_state(learner.model, saved["model"])
        if saved["trainable"] != state.trainable(learner.model):
            state.set_trainable(learner.model, saved["trainable"])
            learner.make_optimizer()
        state.load_optimizer_state(learner.model, learner.optimizer, saved["optimizer"], settings=True)
        own = saved["processes"][learner.ranks.rank]
        state.set_gradients(learner.model, own["gradients"])
        learner.precision.load_state_dict(saved["precision"])
        for name, callback in _named(learner.callbacks).items():
            if name in own["callbacks"]:
                callback.load_state_dict(own["callbacks"][name])
        place, loaders = saved["place"], saved["loaders"]
        learner.epoch, learner.batches_done = place["epoch"], place["batches_done"]
        learner.steps_done = place["steps_done"]
        learner.stop_reason, learner.rates = place["stop_reason"], place["rates"]
        for loader, begun in zip(
            (learner.dls.train, learner.dls.valid), loaders["epochs_begun"], strict=True
        ):
            if begun is not None:
                loader.epochs_begun = begun
        if loaders["train"] is not None:
            learner.dls.train.load_state_dict(loaders["train"])
        self._written_at = time.monotonic()
        set_random_state(own["random"])  # last: nothing draws between here and the next batch


#: What `fit` takes: nothing, True, a name of the run, or a `Checkpoint` that says when to write.
Checkpointing = bool | str | Checkpoint | None


def as_checkpoint(checkpoint: Checkpointing, resume: bool) -> list[Checkpoint]:
    """The callback that `checkpoint=` and `resume=` of `fit` ask for, or none."""
    if checkpoint is None:
        checkpoint = resume
    if checkpoint is False:
        if resume:
            raise ArgumentError(
                "resume=True with checkpoint=False; to resume is to write on", try_="resume=True alone"
            )
        return []
    if checkpoint is True:
        return [Checkpoint(resume=resume)]
    if isinstance(checkpoint, str):
        return [Checkpoint(checkpoint, resume=resume)]
    if not isinstance(checkpoint, Checkpoint):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ArgumentTypeError(
            f"checkpoint is {describe(checkpoint)}; expected True, a name, or a Checkpoint",
            try_="checkpoint=True",
        )
    made = checkpoint
    return [
        Checkpoint(
            made.name,
            every_seconds=made.every_seconds,
            every_batches=made.every_batches,
            resume=resume or made.resume,
        )
    ]


# ---- what is in a checkpoint


def _facts(learner: Loop) -> dict[str, Any]:
    """What must be the same for a run to go on as it would have."""
    groups: list[dict[str, Any]] = getattr(learner.optimizer, "param_groups", [])
    settings = [
        {k: str(v) for k, v in group.items() if k not in ("params", "lr", "initial_lr")} for group in groups
    ]
    return {
        **state.facts(learner),
        "processes": learner.ranks.size,
        "epochs": learner.epochs,
        "learning rates": str(learner.rates),
        "optimizer": type(learner.optimizer).__name__,
        "optimizer's groups": {str(number): str(group) for number, group in enumerate(settings)},
        "trainable": state.trainable(learner.model),
        "schedule": [
            str(schedule)
            for callback in learner.callbacks
            if isinstance(callback, Scheduled)
            for schedule in (callback.factor, callback.momentum)
            if is_dataclass(schedule)  # which say what they are; a function of the user's does not
        ],
        "training data": _data_facts(learner.dls.train, learner.steps_of_epoch),
    }


def _data_facts(loader: Any, batches: int) -> dict[str, Any]:
    known = {
        name: getattr(loader, name, None) for name in ("bs", "batch_size", "shuffle", "drop_last", "seed")
    }
    try:
        known["items"] = len(loader.dataset)
    except (AttributeError, TypeError):  # a list of batches, a stream
        known["items"] = None
    return {"batches": batches} | {
        name: value for name, value in known.items() if isinstance(value, bool | int)
    }


def _named(callbacks: Sequence[Callback]) -> dict[str, Callback]:
    """Callbacks by the names of their classes; the second of a class is NAME 2."""
    named: dict[str, Callback] = {}
    for callback in callbacks:
        name = kind = type(callback).__name__
        number = 1
        while name in named:
            number += 1
            name = f"{kind} {number}"
        named[name] = callback
    return named


def _states(callbacks: Sequence[Callback]) -> dict[str, Any]:
    return {name: callback.state_dict() for name, callback in _named(callbacks).items()}


def _with_state(states: Mapping[str, Any]) -> list[str]:
    return [name for name, kept in states.items() if kept]


def _place_of(loader: Any) -> Any:
    """Where a loader stands within an epoch; None if it cannot say or not go on from there."""
    ask = getattr(loader, "state_dict", None)
    return ask() if callable(ask) and callable(getattr(loader, "load_state_dict", None)) else None


def _epochs_begun(loader: Any) -> int | None:
    begun = getattr(loader, "epochs_begun", None)
    return begun if isinstance(begun, int) else None


# ---- Ctrl-C waits for a moment at which nothing is half done


@dataclass
class Interrupts:
    """Whether somebody has pressed Ctrl-C."""

    asked: bool = False

    def give_way(self) -> None:
        """Raise the `KeyboardInterrupt` that has waited, if one has."""
        if self.asked:
            self.asked = False
            raise KeyboardInterrupt


@contextmanager
def deferred_interrupts(worth_it: Callable[[], bool]) -> Generator[Interrupts]:
    """Inside, Ctrl-C waits for `give_way` while it is `worth_it`; a second one does not wait.

    Only in the main thread, and only where Ctrl-C does what Python does with it: who has a handler of
    his own keeps it. Afterwards all is as before.
    """
    interrupts = Interrupts()

    def wait(number: int, frame: object) -> None:
        if interrupts.asked or not worth_it():
            raise KeyboardInterrupt
        interrupts.asked = True
        print("Stopping after this batch, to save; Ctrl-C again stops at once.", file=sys.stderr, flush=True)

    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield interrupts
        return
    signal.signal(signal.SIGINT, wait)
    try:
        yield interrupts
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
