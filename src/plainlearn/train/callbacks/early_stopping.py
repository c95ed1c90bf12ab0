"""Early stopping: an end to a run that has stopped getting better."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from plainlearn.train.callbacks.monitor import Monitored, checked_patience

if TYPE_CHECKING:
    from plainlearn.train.loop import Learner
    from plainlearn.train.recorder import Epoch


class EarlyStopping(Monitored):
    """Ends the run when `monitor` has not improved for `patience` epochs. For `comp` and `min_delta` see `Monitored`.

    A run that follows a schedule is better trained again, from the beginning, with as many epochs as were
    good: where this one was cut off, its learning rate had not come down. The sentence in `stop_reason` says so.
    """

    def __init__(
        self,
        monitor: str = "valid_loss",
        comp: Callable[[Any, Any], Any] | None = None,
        min_delta: float = 0.0,
        patience: int = 1,
        reset_on_fit: bool = True,
    ) -> None:
        super().__init__(monitor, comp, min_delta, reset_on_fit)
        self.patience = checked_patience(patience)

    def on_epoch(self, learner: Learner, epoch: Epoch) -> None:
        if self.improved(learner, epoch) or self.waited < self.patience or epoch.number + 1 == learner.epochs:
            return
        if self.best_epoch < 0:
            learner.stop_reason = f"{self.monitor} has been nan from the first epoch on"
            return
        good = self.best_epoch + 1
        learner.stop_reason = (
            f"{self.monitor} was best in epoch {self.best_epoch} ({self.best:.6g}) and has not improved in the "
            f"{self.waited} since. The learning rate had no time to come down, so train again from the beginning, "
            f"with a new model, for about {good} epoch{'s' if good > 1 else ''}"
        )


EarlyStoppingCallback = EarlyStopping  # the course's name
