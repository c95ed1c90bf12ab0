"""An end, in a sentence, to a run whose loss is no number any more."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from plainlearn.core.errors import NonFiniteLossError
from plainlearn.train.callback import Callback

if TYPE_CHECKING:
    from plainlearn.train.loop import Learner


class TerminateOnNaN(Callback):
    """Turns the error of a loss that is nan or infinite into the `stop_reason` of the run, which ends before its next line.

    Every learner looks at its losses anyway (`FiniteLoss`), and raises before the optimizer moves; this
    callback catches that. So a program goes on, with the weights of the last good step, and the epoch is
    not validated. Callbacks before it in the list see a run that ended; those behind it, one that failed.
    """

    @contextmanager
    def fit_scope(self, learner: Learner) -> Generator[None]:
        try:
            yield
        except NonFiniteLossError as error:
            learner.stop_reason = error.what


TerminateOnNaNCallback = TerminateOnNaN  # the course's name
