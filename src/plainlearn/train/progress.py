"""The table of a run, as it grows: in a terminal with a bar, in a notebook as HTML, elsewhere as plain lines."""

from __future__ import annotations

import html
import shutil
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any, Final, Literal, cast

from plainlearn.train.callback import Callback, Epoch, Loop
from plainlearn.train.step import Result

Style = Literal["auto", "terminal", "notebook", "plain", "lists", "silent"]

_BETWEEN_UPDATES_SECONDS: Final = 0.2
_NUMBER_WIDTH: Final = 10
_EPOCH_WIDTH: Final = 5


class ProgressTable(Callback):
    """Prints a header, a row an epoch, and where somebody watches, how far the epoch is.

    It looks at where the output goes when a run starts: a notebook, a terminal, or a file. A number that
    there is none of (no validation data) is shown as -.
    """

    def __init__(self) -> None:
        self._style: Style = "auto"
        self._display: _Display | None = None
        self._other = False  # another process of the same run prints

    @contextmanager
    def style(self, style: Style) -> Generator[None]:
        """Another style inside the `with`: `lists` for plain rows, `silent` for nothing."""
        outer, self._style = self._style, style
        try:
            yield
        finally:
            self._style = outer

    def say(self, line: str) -> None:
        """A line for whoever watches the run."""
        if self._style != "silent" and not self._other:
            print(line, flush=True)

    @contextmanager
    def fit_scope(self, learner: Loop) -> Generator[None]:
        chosen = _where() if self._style == "auto" else self._style
        self._other = not learner.ranks.is_main
        if chosen == "silent" or self._other:
            yield
            return
        names = ["epoch", "train_loss", "valid_loss", *(meter.name for meter in learner.meters), "time"]
        self._display = _DISPLAYS[chosen](names, learner.epochs, learner.steps_of_epoch)
        try:
            yield
        finally:
            self._display.end(learner.stop_reason)
            self._display = None

    def on_step(self, learner: Loop, result: Result) -> None:
        if self._display is not None:
            self._display.step(learner.epoch, learner.batches_done)

    def on_epoch(self, learner: Loop, epoch: Epoch) -> None:
        if self._display is None:
            return
        there = len(epoch.values) if learner.dls.valid is not None else 1
        numbers = [shown_number(value) if i < there else "-" for i, value in enumerate(epoch.values)]
        self._display.row([str(epoch.number), *numbers, clock(epoch.seconds)], epoch)


class _Display(ABC):
    def __init__(self, names: Sequence[str], epochs: int, steps: int) -> None:
        self.names, self.epochs, self.steps = names, epochs, steps
        self.start()

    @abstractmethod
    def start(self) -> None: ...

    @abstractmethod
    def step(self, epoch: int, done: int) -> None: ...

    @abstractmethod
    def row(self, cells: Sequence[str], epoch: Epoch) -> None: ...

    def end(self, reason: str) -> None:
        if reason:
            print(f"Stopped: {reason}", flush=True)


class _Plain(_Display):
    """Aligned lines, each written at once: for logs and for machines."""

    def start(self) -> None:
        self._write(self.names)

    def step(self, epoch: int, done: int) -> None:
        """A file has no bar."""

    def row(self, cells: Sequence[str], epoch: Epoch) -> None:
        self._write(cells)

    def _write(self, cells: Sequence[str]) -> None:
        print(aligned(cells, self.names), flush=True)


class _Lists(_Plain):
    """Rows as the course prints them without a bar."""

    def start(self) -> None:
        """There is no header."""

    def row(self, cells: Sequence[str], epoch: Epoch) -> None:
        print([epoch.number, *epoch.values, cells[-1]], flush=True)


class _Terminal(_Plain):
    """The same lines, and below them a bar for the epoch that runs; it leaves no trace."""

    def start(self) -> None:
        from tqdm import tqdm

        class Bar(tqdm):  # pyright: ignore[reportMissingTypeArgument, reportUntypedBaseClass]
            monitor_interval = 0  # no watching thread: it would outlive an interrupted run

        Bar.set_lock(threading.RLock())  # its own lock is for processes, and may start one
        self._bar_class: Any = Bar
        self._bar: Any = None
        self.names = _shortened(self.names, shutil.get_terminal_size().columns)
        super().start()

    def step(self, epoch: int, done: int) -> None:
        where = f"epoch {epoch + 1}/{self.epochs}"
        if self._bar is None:
            self._bar = self._bar_class(
                desc=where, total=self.steps or None, unit="batch", leave=False, dynamic_ncols=True,
                mininterval=_BETWEEN_UPDATES_SECONDS, delay=_BETWEEN_UPDATES_SECONDS,
            )  # fmt: skip
        self._bar.update(done - self._bar.n)
        if done == self.steps:
            shown = self._bar.last_print_t >= self._bar.start_t + self._bar.delay
            self._bar.set_description(f"{where}, validating", refresh=shown)

    def row(self, cells: Sequence[str], epoch: Epoch) -> None:
        self._close()
        super().row(cells, epoch)

    def end(self, reason: str) -> None:
        self._close()
        super().end(reason)

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None


class _Notebook(_Display):
    """One HTML table that is redrawn in place; the bar is the browser's own `<progress>`."""

    def start(self) -> None:
        from IPython import display as ipython

        self._rows: list[Sequence[str]] = []
        self._shown = time.monotonic()
        # Beside the HTML the same as text, for whoever reads the notebook without a browser.
        self._handle: Any = cast("Any", ipython).display(self._bundle(""), raw=True, display_id=True)

    def step(self, epoch: int, done: int) -> None:
        if not self._is_time():
            return
        of = f" of {self.steps}" if self.steps else ""
        what = "validating" if done == self.steps else f"batch {done}{of}"
        within = done / self.steps if self.steps else 0.0
        bar = f'<progress value="{epoch + within:.4f}" max="{self.epochs}" style="width:20em"></progress>'
        self._draw(f"{bar} epoch {epoch + 1} of {self.epochs}, {what}")

    def row(self, cells: Sequence[str], epoch: Epoch) -> None:
        self._rows.append(cells)
        if self._is_time():
            self._draw("")

    def end(self, reason: str) -> None:
        self._draw(f"Stopped: {html.escape(reason)}" if reason else "")

    def _is_time(self) -> bool:
        # Rows too: a thousand quick epochs would send half a million rows to the browser.
        return time.monotonic() - self._shown >= _BETWEEN_UPDATES_SECONDS

    def _draw(self, below: str) -> None:
        self._handle.update(self._bundle(below), raw=True)
        self._shown = time.monotonic()

    def _bundle(self, below: str) -> dict[str, str]:
        head = "".join(f"<th>{html.escape(name)}</th>" for name in self.names)
        rows = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in self._rows)
        table = f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
        text = "\n".join(aligned(row, self.names) for row in (self.names, *self._rows))
        return {"text/html": table + (f"<div>{below}</div>" if below else ""), "text/plain": text}


_DISPLAYS: Final[dict[str, type[_Display]]] = {
    "terminal": _Terminal,
    "notebook": _Notebook,
    "plain": _Plain,
    "lists": _Lists,
}


def _where() -> Style:
    """Where the output goes: a notebook's kernel, a terminal, or neither."""
    if "IPython" in sys.modules:
        shell: Any = sys.modules["IPython"].get_ipython()
        if shell is not None and hasattr(shell, "kernel"):
            return "notebook"
    return "terminal" if sys.stderr.isatty() and sys.stdout.isatty() else "plain"


def aligned(cells: Sequence[str], names: Sequence[str]) -> str:
    """A line whose cells stand to the right of the columns, each as wide as its name or its numbers."""
    widths = [max(len(name), _NUMBER_WIDTH) for name in names]
    widths[0] = widths[-1] = _EPOCH_WIDTH
    return "  ".join(f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=True))


def _shortened(names: Sequence[str], columns: int) -> list[str]:
    """The names, cut where a line would be wider than the terminal; no column is narrower than its numbers."""
    width = max((columns - 2 * _EPOCH_WIDTH) // max(len(names) - 2, 1) - 2, _NUMBER_WIDTH)
    fits = len(aligned(names, names)) <= columns
    return [name if fits or len(name) <= width else name[: width - 1] + "…" for name in names]


def shown_number(value: float) -> str:
    """Six decimals, as in the course, where they say something and fit the column."""
    tiny = 0 < abs(value) < 1e-5
    forms = (".3e", ".2e") if tiny else (".6f", ".2f", ".3e", ".2e")
    return next(shown for form in forms if len(shown := f"{value:{form}}") <= _NUMBER_WIDTH)


def clock(seconds: float) -> str:
    """`mm:ss`, or `h:mm:ss` from an hour on.

    >>> clock(75.2), clock(3675)
    ('01:15', '1:01:15')
    """
    hours, within = divmod(int(seconds), 3600)
    minutes_seconds = f"{within // 60:02d}:{within % 60:02d}"
    return f"{hours}:{minutes_seconds}" if hours else minutes_seconds
