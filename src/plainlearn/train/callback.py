"""What a callback may override. The loop calls it by a visible `for`; what nobody overrides is not called."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, Final

from plainlearn.core.errors import ArgumentTypeError

if TYPE_CHECKING:
    from plainlearn.train.loop import Learner
    from plainlearn.train.recorder import Epoch
    from plainlearn.train.step import Result


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

    def fit_scope(self, learner: Learner) -> AbstractContextManager[Any]:
        """Entered before the first epoch and left after the last, also when an exception passes."""
        return nullcontext()

    def on_batch(self, learner: Learner, batch: Any) -> Any:
        """A training batch on the device, before the model sees it. Return the batch to use."""
        return batch

    def on_gradients(self, learner: Learner, result: Result) -> bool | None:
        """The gradients are there; the optimizer has not moved.

        Returning False keeps it from moving: the gradients stay, the next batch adds its own, and the
        callbacks that follow are not asked. Nothing is scaled for fp16 after `learner.precision.unscale(learner.optimizer)`.
        """

    def on_step(self, learner: Learner, result: Result) -> None:
        """The optimizer has moved. `result` holds no way back through the model."""

    def on_epoch(self, learner: Learner, epoch: Epoch) -> None:
        """An epoch has been trained and validated; `epoch` is its row of the table."""

    def validation_scope(self, learner: Learner) -> AbstractContextManager[Any]:
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
    """The callbacks that override `hook`, in their order."""
    return [
        callback for callback in callbacks if getattr(type(callback), hook) is not getattr(Callback, hook)
    ]
