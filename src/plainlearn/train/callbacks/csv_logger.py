"""The table of a run as a file of comma-separated values, complete after each epoch."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path, PurePath
from typing import Any, Final

from plainlearn.core.errors import DataError, StorageError
from plainlearn.core.wholefile import Mark, check_replaceable
from plainlearn.train.callback import Callback, Epoch, Loop

_COLUMNS: Final = ["epoch", "train_loss", "valid_loss"]
_TABLE: Final = Mark(",".join(_COLUMNS).encode(), within=32)


class CSVLogger(Callback):
    """Writes `path/fname`, a row an epoch: `epoch`, `train_loss`, `valid_loss`, the metrics, `time` in seconds.

    Each row is in the file before the next epoch begins, so a run that is killed leaves all that were done. A new run
    replaces the file, if it is such a table; `append=True` goes on below what is there, if its columns are the same. A
    resumed run goes on where it was, and repeats no row.
    Raises `StorageError` when the file cannot be written or is something else, `DataError` for other columns, both before training.
    """

    def __init__(self, fname: str | PurePath = "history.csv", append: bool = False) -> None:
        self.fname, self.append = fname, append
        self._size: int | None = None  # how long the file is with the rows that count

    def fit_scope(self, learner: Loop) -> AbstractContextManager[Any]:
        self._size = None
        if learner.ranks.is_main:
            self._check(learner)
        return nullcontext()

    def _check(self, learner: Loop) -> None:
        file = learner.path / self.fname
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            with file.open(
                "a"
            ):  # what is in it stays until the first row: the run may be one that is resumed
                pass
        except OSError as error:
            raise StorageError(
                f"the table of the run cannot be written to {file}: {error.strerror}"
            ) from error
        if not self.append:
            check_replaceable(file, _TABLE, force=None, other="another fname, or append=True")
        elif file.stat().st_size:
            with file.open(encoding="utf-8", newline="") as lines:
                there = next(csv.reader(lines), list[str]())
            if there != self._columns(learner):
                raise DataError(
                    f"{file} has the columns {', '.join(there)}, and this run {', '.join(self._columns(learner))}",
                    try_="another fname, or append=False",
                )

    def on_epoch(self, learner: Loop, epoch: Epoch) -> None:
        if not learner.ranks.is_main:
            return
        file = learner.path / self.fname
        if self._size is None:
            self._size = file.stat().st_size if self.append else 0
        header = "" if self._size else _line(self._columns(learner))
        numbers = ["" if number != number else repr(number) for number in epoch.values]
        row = _line([str(epoch.number), *numbers, f"{epoch.seconds:.3f}"])
        self._size = _write_at(file, self._size, header + row)

    def _columns(self, learner: Loop) -> list[str]:
        return [*_COLUMNS, *(meter.name for meter in learner.meters), "time"]

    def state_dict(self) -> dict[str, Any]:
        return {"size": self._size}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._size = state["size"]


def _line(cells: Sequence[str]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerow(cells)
    return buffer.getvalue()


def _write_at(file: Path, place: int, text: str) -> int:
    """Write `text` at `place`, and nothing behind it; the size of the file then."""
    with file.open("r+b") as stream:
        stream.seek(place)
        stream.write(text.encode())
        return stream.truncate()
