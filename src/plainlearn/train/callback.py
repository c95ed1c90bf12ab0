"""What a callback may override. The loop calls it by a visible `for`; what nobody overrides is not called."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from plainlearn.train.loop import Learner
    from plainlearn.train.recorder import Epoch
    from plainlearn.train.step import Result


class Callback:
    """Behaviour in time. Override what you need; order is the order of the list.

    To end a run, set `learner.stop_reason` to a sentence. To undo something when the
    run ends, however it ends, return a context manager from `fit_scope`.
    """

    def fit_scope(self, learner: Learner) -> AbstractContextManager[Any]:
        """Entered before the first epoch and left after the last, also when an exception passes."""
        return nullcontext()

    def on_batch(self, learner: Learner, batch: Any) -> Any:
        """A training batch on the device, before the model sees it. Return the batch to use."""
        return batch

    def on_gradients(self, learner: Learner, result: Result) -> None:
        """The gradients are there; the optimizer has not moved."""

    def on_step(self, learner: Learner, result: Result) -> None:
        """The optimizer has moved. `result` holds no way back through the model."""

    def on_epoch(self, learner: Learner, epoch: Epoch) -> None:
        """An epoch has been trained and validated; `epoch` is its row of the table."""


def overriding(callbacks: list[Callback], method: str) -> list[Callback]:
    """The callbacks that override `method`."""
    return [callback for callback in callbacks if getattr(type(callback), method) is not getattr(Callback, method)]
