"""A metric that says what a test wants, epoch by epoch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest


class Scripted:
    """A metric with a value an epoch; the first evaluation, the learner's rehearsal, is not one."""

    def __init__(self, name: str, values: Sequence[float]) -> None:
        self.__name__ = name
        self._values = iter([0.0, *values])

    def reset(self) -> None: ...

    def update(self, inp: Any, targ: Any) -> None: ...

    def compute(self) -> float:
        return next(self._values)


@pytest.fixture
def scripted() -> Callable[..., Scripted]:
    return Scripted
