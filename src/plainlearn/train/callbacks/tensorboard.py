"""TensorBoard: a run as event files, looked at with `tensorboard --logdir`."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePath
from typing import Any, ClassVar

from plainlearn.train.callbacks.tracker import Tracker


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
