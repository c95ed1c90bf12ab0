"""The table of a run, as it grows: in a terminal with a bar, in a notebook as HTML, elsewhere as plain lines."""

from __future__ import annotations

import html
import math
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal, cast

from plainlearn.train.callback import Callback

if TYPE_CHECKING:
    from plainlearn.train.loop import Learner
    from plainlearn.train.recorder import Epoch
    from plainlearn.train.step import Result

Style = Literal["auto", "terminal", "notebook", "plain", "lists", "silent"]

_BETWEEN_UPDATES_SECONDS = 0.2


class ProgressTable(Callback):
    """Prints a header, a row an epoch, and where somebody watches, how far the epoch is.

    It looks at where the output goes when a run starts: a notebook, a terminal, or a file.
    """

    def __init__(self) -> None:
        self._style: Style = "auto"
        self._display: _Display | None = None

    @contextmanager
    def style(self, style: Style) -> Iterator[None]:
        """Another style inside the `with`: `lists` for plain rows, `silent` for nothing."""
        outer, self._style = self._style, style
        try:
            yield
        finally:
            self._style = outer

    @contextmanager
    def fit_scope(self, learner: Learner) -> Iterator[None]:
        chosen = _where() if self._style == "auto" else self._style
        if chosen == "silent":
            yield
            return
        names = ["epoch", *learner.recorder.metric_names, "time"]
        self._display = _DISPLAYS[chosen](names, learner.epochs, learner.steps_of_epoch)
        try:
            yield
        finally:
            self._display.end(learner.stop_reason)
            self._display = None

    def on_step(self, learner: Learner, result: Result) -> None:
        if self._display is not None and self._display.live:
            self._display.step(learner.epoch, learner.batches_done)

    def on_epoch(self, learner: Learner, epoch: Epoch) -> None:
        if self._display is not None:
            self._display.row([str(epoch.number), *map(_number, epoch.values), clock(epoch.seconds)], epoch)


class _Display(ABC):
    live = True  # whether it wants to hear of single steps

    def __init__(self, names: Sequence[str], epochs: int, steps: int) -> None:
        self.names, self.epochs, self.steps = names, epochs, steps
        self.start()

    def start(self) -> None:
        """Show the header."""

    def step(self, epoch: int, done: int) -> None:
        """A step of an epoch is done."""

    @abstractmethod
    def row(self, cells: Sequence[str], epoch: Epoch) -> None: ...

    def end(self, reason: str) -> None:
        if reason:
            print(f"Stopped: {reason}", flush=True)


class _Plain(_Display):
    """Aligned lines, each written at once: for logs and for machines."""

    live = False

    def start(self) -> None:
        self.widths = [max(len(name), 8) if name != "epoch" else 5 for name in self.names]
        self._write(self.names)

    def row(self, cells: Sequence[str], epoch: Epoch) -> None:
        self._write(cells)

    def _write(self, cells: Sequence[str]) -> None:
        print("  ".join(f"{c:>{w}}" for c, w in zip(cells, self.widths, strict=True)), flush=True)


class _Lists(_Display):
    """Rows as the course prints them without a bar."""

    live = False

    def row(self, cells: Sequence[str], epoch: Epoch) -> None:
        print([epoch.number, *epoch.values, cells[-1]], flush=True)


class _Terminal(_Plain):
    """The same lines, and below them a bar for the epoch that runs; it leaves no trace."""

    live = True

    def start(self) -> None:
        from tqdm import tqdm

        class Bar(tqdm):  # pyright: ignore[reportMissingTypeArgument, reportUntypedBaseClass]
            monitor_interval = 0  # no watching thread: it would outlive an interrupted run

        self._bar_class: Any = Bar
        self._bar: Any = None
        super().start()

    def step(self, epoch: int, done: int) -> None:
        if self._bar is None:
            self._bar = self._bar_class(
                total=self.steps or None, desc=f"epoch {epoch + 1}/{self.epochs}", leave=False,
                dynamic_ncols=True, mininterval=_BETWEEN_UPDATES_SECONDS, unit="batch",
            )  # fmt: skip
        self._bar.update(1)
        if done == self.steps:
            self._bar.set_description(f"epoch {epoch + 1}/{self.epochs}, validating")

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
        from IPython.display import display  # pyright: ignore[reportMissingImports, reportUnknownVariableType]

        self._rows: list[Sequence[str]] = []
        self._shown = time.monotonic()
        self._handle: Any = cast(Any, display)(self._html(""), display_id=True)

    def step(self, epoch: int, done: int) -> None:
        now = time.monotonic()
        if now - self._shown < _BETWEEN_UPDATES_SECONDS and done != self.steps:
            return
        self._shown = now
        what = "validating" if done == self.steps else f"batch {done}" + (f" of {self.steps}" if self.steps else "")
        within = done / self.steps if self.steps else 0.0
        bar = f'<progress value="{epoch + within:.4f}" max="{self.epochs}" style="width:20em"></progress>'
        self._handle.update(self._html(f"<div>{bar} epoch {epoch + 1} of {self.epochs}, {what}</div>"))

    def row(self, cells: Sequence[str], epoch: Epoch) -> None:
        self._rows.append(cells)
        self._handle.update(self._html(""))

    def end(self, reason: str) -> None:
        self._handle.update(self._html(f"<div>Stopped: {html.escape(reason)}</div>" if reason else ""))

    def _html(self, below: str) -> Any:
        from IPython.display import HTML  # pyright: ignore[reportMissingImports, reportUnknownVariableType]

        head = "".join(f"<th>{html.escape(name)}</th>" for name in self.names)
        rows = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in self._rows)
        return cast(Any, HTML)(f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>{below}")


_DISPLAYS: dict[str, type[_Display]] = {
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


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.6f}"


def clock(seconds: float) -> str:
    """`mm:ss`, or `h:mm:ss` from an hour on."""
    whole = int(seconds)
    hours, minutes = divmod(whole // 60, 60)
    return f"{hours}:{minutes:02d}:{whole % 60:02d}" if hours else f"{minutes:02d}:{whole % 60:02d}"
