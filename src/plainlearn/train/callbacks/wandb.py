"""Weights & Biases: a run on its server, or, with `mode="offline"`, in a folder to be sent there later."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from plainlearn.train.callbacks.tracker import Tracker


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
