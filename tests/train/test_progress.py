"""The table is the same everywhere: lines in a log, lines and a bar in a terminal, one HTML table in a notebook."""

from __future__ import annotations

import fcntl
import io
import math
import os
import pty
import re
import struct
import sys
import termios
import threading
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from patience import PATIENCE

from plainlearn.metrics import mae
from plainlearn.train import Callback, Epoch, Learner, Recorder
from plainlearn.train import progress as module
from plainlearn.train.progress import clock

Make = Callable[..., Learner]


def wide_name(predictions: Any, targets: Any) -> Any:
    return (predictions - targets).abs().mean() * 1e7


# ---------------------------------------------------------------- lines


def test_a_log_holds_a_header_and_a_row_an_epoch(
    make_learner: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    learn = make_learner(metrics=[mae, wide_name])
    learn.fit(12, lr=0.01)
    header, *rows = capsys.readouterr().out.splitlines()
    assert header == "epoch  train_loss  valid_loss         mae   wide_name   time"
    assert [row.split()[0] for row in rows] == [str(number) for number in range(12)]
    for row, values in zip(rows, learn.recorder.values, strict=True):
        assert [float(cell) for cell in row.split()[1:-1]] == pytest.approx(values, rel=1e-3)
        assert re.fullmatch(r"\d\d:\d\d", row.split()[-1])
    assert {len(line) for line in rows} == {len(header)}


def test_a_column_is_as_wide_as_its_name(make_learner: Make, capsys: pytest.CaptureFixture[str]) -> None:
    def a_metric_with_quite_a_long_name(predictions: Any, targets: Any) -> float:
        return 0.5

    make_learner(metrics=a_metric_with_quite_a_long_name).fit(2)
    header, *rows = capsys.readouterr().out.splitlines()
    assert "a_metric_with_quite_a_long_name" in header
    assert {len(row) for row in rows} == {len(header)}
    assert rows[0].endswith(" 0.500000  00:00")


def test_each_line_is_written_at_once(make_learner: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    class Log(io.StringIO):
        def flush(self) -> None:
            flushed.append(self.getvalue())

    flushed: list[str] = []
    monkeypatch.setattr(sys, "stdout", Log())
    make_learner().fit(2)
    assert [text.count("\n") for text in flushed] == [1, 2, 3]


def test_what_there_is_not_is_a_dash_and_nan_is_nan(
    make_learner: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    make_learner(valid=None, metrics=mae).fit(1)
    assert capsys.readouterr().out.splitlines()[1].split()[2:4] == ["-", "-"]
    make_learner(metrics=[lambda p, y: math.nan, lambda p, y: math.inf]).fit(1)
    assert capsys.readouterr().out.splitlines()[1].split()[3:5] == ["nan", "inf"]


def test_the_table_does_not_need_the_record(make_learner: Make, capsys: pytest.CaptureFixture[str]) -> None:
    learn = make_learner(metrics=mae)
    learn.callbacks = [callback for callback in learn.callbacks if not isinstance(callback, Recorder)]
    learn.fit(1)
    header, row = capsys.readouterr().out.splitlines()
    assert len(header.split()) == len(row.split()) == 5


def test_without_a_bar_rows_are_lists_as_in_the_course(
    make_learner: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    learn = make_learner(metrics=mae)
    with learn.no_bar() as same:
        assert same is learn
        learn.fit(2)
    lines = capsys.readouterr().out.splitlines()
    assert lines == [str([n, *row, "00:00"]) for n, row in enumerate(learn.recorder.values)]


def test_without_logging_nothing_is_printed(make_learner: Make, capsys: pytest.CaptureFixture[str]) -> None:
    class Stop(Callback):
        def on_epoch(self, learner: Learner, epoch: Epoch) -> None:
            learner.stop_reason = "enough"

    learn = make_learner(cbs=Stop())
    with learn.no_logging():
        learn.fit(2)
    assert capsys.readouterr() == ("", "")
    with pytest.raises(ZeroDivisionError), learn.no_logging():
        raise ZeroDivisionError
    learn.fit(1)
    assert capsys.readouterr().out.startswith("epoch"), "the quiet outlived its `with`"


@given(st.floats(allow_nan=True, allow_infinity=True) | st.floats(-1e4, 1e4))
def test_a_number_fits_its_column_and_says_what_it_is(value: float) -> None:
    shown = module.shown_number(value)
    assert len(shown) <= 10
    if math.isfinite(value) and abs(value) < 1e99:
        assert float(shown) == pytest.approx(value, rel=0.06)  # 1e-5 has one digit among the six decimals
    if -99 < value < 999 and abs(value) > 1e-5:
        assert shown == f"{value:.6f}"


@given(st.lists(st.text("abc_", min_size=1, max_size=40), max_size=12), st.integers(20, 250))
def test_names_are_cut_only_where_a_line_would_not_fit(metrics: list[str], columns: int) -> None:
    names = ["epoch", "train_loss", "valid_loss", *metrics, "time"]
    shown = module._shortened(names, columns)
    fits = len(module.aligned(names, names)) <= columns
    assert (shown == names) or not fits
    least = [name[:10] for name in names]
    assert len(module.aligned(shown, shown)) <= max(columns, len(module.aligned(least, least)))
    for name, short in zip(names, shown, strict=True):
        assert short == name or (short.endswith("…") and name.startswith(short[:-1]))


def test_a_clock_shows_minutes_and_hours() -> None:
    assert [clock(s) for s in (0, 59.9, 60, 3599, 3600, 36061)] == [
        "00:00", "00:59", "01:00", "59:59", "1:00:00", "10:01:01",
    ]  # fmt: skip


# ---------------------------------------------------------------- a terminal

SCRIPT = """
import sys, threading, time, torch
from types import SimpleNamespace
from torch import nn
from plainlearn.optim import SGD
from plainlearn.train import Callback, Learner, progress

class Slow:
    def __init__(self, seconds): self.seconds = seconds
    def __len__(self): return 8
    def __iter__(self):
        for _ in range(8):
            time.sleep(self.seconds)
            yield torch.ones(4, 3), torch.ones(4, 1)

class Interrupt(Callback):
    def on_step(self, learner, result):
        if learner.epoch == 1 and learner.batches_done == 6:
            raise KeyboardInterrupt

def fit(seconds, **given):
    torch.manual_seed(0)
    dls = SimpleNamespace(train=Slow(seconds), valid=Slow(0))
    learn = Learner(dls, nn.Linear(3, 1), nn.functional.mse_loss, SGD, lr=0.01, device="cpu")
    try:
        learn.fit(2, **given)
    except KeyboardInterrupt:
        print("interrupted")

"""


def in_a_terminal(code: str, columns: int = 80) -> str:
    """What a terminal is sent when `code` runs in it."""
    pid, terminal = pty.fork()
    if pid == 0:  # the child, whose terminal it is
        os.execv(sys.executable, [sys.executable, "-c", SCRIPT + code])
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 25, columns, 0, 0))
    sent = b""
    while True:
        try:
            part = os.read(terminal, 65536)
        except OSError:  # Linux's way of saying that the other end is closed
            break
        if not part:
            break
        sent += part
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0, sent.decode()
    return sent.decode()


def screen(sent: str) -> list[str]:
    """What is left to see: a carriage return goes back to the line's start, and what follows writes over it."""
    lines: list[str] = []
    for line in sent.replace("\r\n", "\n").split("\n"):
        seen = ""
        for part in line.split("\r"):
            seen = part + seen[len(part) :]
        lines.append(seen.rstrip())
    return lines


@pytest.fixture(scope="module")
def session() -> list[str]:
    """Three runs in one terminal: of quick epochs, of slow ones, and one that is interrupted in its second."""
    code = """
progress._BETWEEN_UPDATES_SECONDS = 3600  # what is quick does not depend on the machine
fit(0)
print("--")
progress._BETWEEN_UPDATES_SECONDS = 0.1
fit(0.05)
print("--")
fit(0.05, cbs=Interrupt())
print(threading.active_count(), "thread")
"""
    return in_a_terminal(code).split("--\r\n")


def test_a_quick_epoch_has_no_bar(session: list[str]) -> None:
    assert "batch/s" not in session[0]
    assert len(screen(session[0])) == 4


def test_in_a_terminal_a_bar_runs_and_leaves_no_trace(session: list[str]) -> None:
    assert "epoch 1/2" in session[1]
    assert "batch/s" in session[1], "no bar was shown"
    assert "epoch 2/2, validating: 100%" in session[1]
    header, *rows, last = screen(session[1])
    assert header == "epoch  train_loss  valid_loss   time"
    digits = [re.sub(r"\d", "0", row[5:]) for row in rows]  # on a busy machine it may be a second or two
    assert [row[:5] for row in rows] == ["    0", "    1"]
    assert digits == ["    0.000000    0.000000  00:00"] * 2
    assert last == ""


def test_an_interrupt_leaves_the_rows_and_no_bar_and_no_thread(session: list[str]) -> None:
    assert "epoch 2/2" in session[2]
    _header, row, *rest = screen(session[2])
    assert row.startswith("    0 ")
    assert rest == ["interrupted", "1 thread", ""]


def test_output_that_goes_to_a_file_has_no_bar(
    make_learner: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    make_learner().fit(2)
    out, err = capsys.readouterr()
    assert "\r" not in out
    assert err == ""


# ---------------------------------------------------------------- a notebook


class Handle:
    def __init__(self, shown: list[dict[str, str]]) -> None:
        self.shown = shown

    def update(self, bundle: dict[str, str], *, raw: bool) -> None:
        assert raw
        self.shown.append(bundle)


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, str]]:
    """What a notebook is sent, one drawing after the other, of which it shows the last."""
    from IPython import display

    shown: list[dict[str, str]] = []

    def show(bundle: dict[str, str], *, raw: bool, display_id: bool) -> Handle:
        assert raw
        assert display_id
        shown.append(bundle)
        return Handle(shown)

    monkeypatch.setattr(display, "display", show)
    monkeypatch.setattr(module, "_where", lambda: "notebook")
    return shown


def test_in_a_notebook_one_table_grows(
    make_learner: Make,
    drawn: list[dict[str, str]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(module, "_BETWEEN_UPDATES_SECONDS", 0)
    learn = make_learner(metrics=mae)
    learn.fit(2)
    assert len(drawn) == 1 + 2 * (3 + 1) + 1  # the header, three batches and a row an epoch, the end
    html = [bundle["text/html"] for bundle in drawn]
    assert [text.count("<tr>") for text in html] == [1, 1, 1, 1, 2, 2, 2, 2, 3, 3]
    assert '<progress value="0.3333" max="2"' in html[1]
    assert "epoch 1 of 2, batch 1 of 3" in html[1]
    assert "epoch 2 of 2, validating" in html[7]
    assert "<progress" not in html[-1]
    assert "<th>epoch</th><th>train_loss</th><th>valid_loss</th><th>mae</th><th>time</th>" in html[-1]
    assert f"<td>{learn.recorder.values[-1][2]:.6f}</td>" in html[-1]
    assert drawn[-1]["text/plain"].splitlines()[0] == "epoch  train_loss  valid_loss         mae   time"
    assert len(drawn[-1]["text/plain"].splitlines()) == 3
    assert capsys.readouterr() == ("", "")


def test_a_notebook_is_not_flooded_by_quick_epochs(
    make_learner: Make, drawn: list[dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_BETWEEN_UPDATES_SECONDS", 3600)
    make_learner().fit(50)
    assert len(drawn) == 2
    assert drawn[-1]["text/html"].count("<tr>") == 51


def test_a_notebook_shows_names_and_reasons_as_text(
    make_learner: Make, drawn: list[dict[str, str]], capsys: pytest.CaptureFixture[str]
) -> None:
    class Stop(Callback):
        def on_epoch(self, learner: Learner, epoch: Epoch) -> None:
            learner.stop_reason = "loss < 3 & falling"

    make_learner(metrics=lambda p, y: 0.0, cbs=Stop()).fit(3)
    assert "<th>&lt;lambda&gt;</th>" in drawn[-1]["text/html"]
    assert "Stopped: loss &lt; 3 &amp; falling" in drawn[-1]["text/html"]
    assert capsys.readouterr().out == ""


def test_a_real_notebook_keeps_one_output_for_a_run() -> None:
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    cells = [
        "import torch; from torch import nn; from types import SimpleNamespace; from plainlearn.train import Learner",
        "data = [(torch.ones(4, 3), torch.ones(4, 1))] * 3\n"
        "learn = Learner(SimpleNamespace(train=data, valid=data), nn.Linear(3, 1), nn.functional.mse_loss)\n"
        "learn.fit(3)",
        "with learn.no_bar(): learn.fit(1)",
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    nbclient.NotebookClient(notebook, timeout=PATIENCE, kernel_name="python3").execute()
    (output,) = notebook.cells[1].outputs
    assert output.output_type == "display_data"
    assert output.data["text/html"].count("<tr>") == 4
    assert len(output.data["text/plain"].splitlines()) == 4
    assert notebook.cells[2].outputs[0].text.startswith("[0, ")


def test_no_thread_is_left_behind(make_learner: Make) -> None:
    before = threading.active_count()
    make_learner().fit(1)
    assert threading.active_count() == before
