"""What the comparisons share: workers in their own interpreters, CPU seconds, medians, the closing JSON line.

It knows nothing of plainlearn, torch or any peer, and uses the standard library alone, because
it also runs inside the peers' environment.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import gc
import json
import os
import platform
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

try:
    import resource
except ImportError:  # Windows: children are then not counted
    resource = None  # type: ignore[assignment]

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent

# ---------------------------------------------------------------- time


def cpu_seconds() -> float:
    """CPU seconds of this process: all its threads, its children that have ended, and those still alive."""
    total = time.process_time()
    if resource is not None:
        ended = resource.getrusage(resource.RUSAGE_CHILDREN)
        total += ended.ru_utime + ended.ru_stime
    return total + sum(_cpu_of(child) for child in _descendants(os.getpid()))


def _descendants(parent: int) -> list[int]:
    """Live processes below `parent`, by Linux's /proc; elsewhere none are seen."""
    found: list[int] = []
    for listing in Path(f"/proc/{parent}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for child in map(int, listing.read_text().split()):
                found += [child, *_descendants(child)]
    return found


def _cpu_of(process: int) -> float:
    try:
        # The name, in brackets, may hold blanks; utime, stime, cutime and cstime are fields 14 to 17.
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0  # ended just now: its time has moved to the ended children
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def timed(work: Callable[[], Any]) -> dict[str, float]:
    """`{cpu, wall}` seconds of one call. What lies about from earlier is collected before."""
    gc.collect()
    cpu, wall = cpu_seconds(), time.perf_counter()
    work()
    return {"wall": time.perf_counter() - wall, "cpu": cpu_seconds() - cpu}


def interleaved(systems: Sequence[str], rounds: int) -> Iterator[tuple[int, str]]:
    """Each round runs every system once; every other round backwards, so that drift hits all alike."""
    for number in range(rounds):
        for system in systems if number % 2 == 0 else reversed(systems):
            yield number, system


# ---------------------------------------------------------------- workers


def child_environment(threads: int | None = None) -> dict[str, str]:
    """The environment of a measured process: the same for all systems, and bytecode may be kept as usual."""
    environment = dict(os.environ)
    # Without bytecode every import would compile its sources, which no user's does.
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    environment["CUDA_VISIBLE_DEVICES"] = ""  # CPU seconds are compared
    environment["PYTHONPATH"] = os.pathsep.join(
        [str(ROOT / "src"), *filter(None, [os.environ.get("PYTHONPATH")])]
    )
    if threads is not None:
        for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
            environment[name] = str(threads)
    return environment


class Worker:
    """A long-lived process that answers one JSON object a line: `worker.ask("linear", seed=0)`."""

    def __init__(self, python: str | Path, script: Path, *arguments: str, threads: int | None = None) -> None:
        self.name = f"{script.name} {' '.join(arguments)}"
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 - lives as long as the process
        self._process = subprocess.Popen(
            [str(python), str(script), *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=self._errors, text=True, env=child_environment(threads),
        )  # fmt: skip

    def ask(self, command: str, **arguments: Any) -> dict[str, Any]:
        assert self._process.stdin and self._process.stdout
        with contextlib.suppress(BrokenPipeError):  # its last words say more than ours
            print(json.dumps({"do": command, **arguments}), file=self._process.stdin, flush=True)
        answer = self._process.stdout.readline()
        if not answer:
            self._process.wait()
            self._errors.seek(0)
            raise SystemExit(f"{self.name} ended while doing {command!r}:\n{self._errors.read()[-4000:]}")
        return json.loads(answer)

    def close(self) -> None:
        assert self._process.stdin
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()  # the worker's loop ends with its input
        try:
            self._process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._errors.close()

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def serve(make_commands: Callable[[], dict[str, Callable[..., dict[str, Any]]]]) -> None:
    """A worker's side: answer commands until the input ends. Whatever else is printed goes to stderr."""
    channel = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    commands = make_commands()
    for line in sys.stdin:
        request = json.loads(line)
        answer = commands[request.pop("do")](**request)
        print(json.dumps(answer), file=channel, flush=True)


# ---------------------------------------------------------------- the report


def median(values: Sequence[float]) -> float:
    return statistics.median(values)


def paired_ratios(ours: Sequence[float], peer: Sequence[float]) -> list[float]:
    """Ours over the peer's, round by round: both halves of a pair met the same weather."""
    return [mine / theirs for mine, theirs in zip(ours, peer, strict=True)]


@dataclass
class Row:
    """One line of the table. `ours`, `peer` and `ratio` are medians, `spread` the lowest and highest ratio or figure.

    `value` is what `asked` is held against: the ratio where there is a peer, else our figure.
    """

    what: str
    ours: float
    peer: float | None = None
    ratio: float | None = None
    asked: str = ""
    verdict: str = ""
    n: int = 1
    spread: tuple[float, float] | None = None
    unit: str = ""


@dataclass
class Report:
    """Gathers rows and figures while a script runs; `close` prints the table, then the one JSON line."""

    benchmark: str
    title: str
    peer: str = ""
    versions: dict[str, Any] = field(default_factory=dict)
    threads: int | None = None
    gpu: str = ""
    rounds: dict[str, int] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)
    figures: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def compare(
        self,
        what: str,
        ours: Sequence[float],
        peer: Sequence[float],
        *,
        at_most: float | None = None,
        unit: str = "s",
    ) -> Row:
        """A row of ours against the peer's. The ratio is that of the medians; its spread is the pairs'."""
        ratio = median(ours) / median(peer)
        pairs = paired_ratios(ours, peer)
        row = Row(
            what, median(ours), median(peer), ratio, n=len(ours), spread=(min(pairs), max(pairs)), unit=unit
        )
        if at_most is not None:
            row.asked, row.verdict = f"≤ {at_most:g} ×", _verdict(ratio <= at_most)
        return self.add(row)

    def figure(
        self,
        what: str,
        values: Sequence[float],
        *,
        at_least: float | None = None,
        at_most: float | None = None,
        exactly: str | None = None,
        peer: Sequence[float] = (),
        unit: str = "",
    ) -> Row:
        """A row of our figure alone, beside the peer's if there is one. `exactly` compares its decimals as text."""
        value = median(values)
        row = Row(what, value, median(peer) if peer else None, n=len(values), unit=unit)
        if len(values) > 1:
            row.spread = (min(values), max(values))
        if at_least is not None:
            row.asked, row.verdict = f"≥ {at_least:g}", _verdict(value >= at_least)
        if at_most is not None:
            row.asked, row.verdict = f"≤ {at_most:g}", _verdict(value <= at_most)
        if exactly is not None:
            digits = len(exactly.partition(".")[2])
            row.asked, row.verdict = (
                exactly,
                _verdict(f"{value:.{digits}f}" == f"{float(exactly):.{digits}f}"),
            )
        return self.add(row)

    def add(self, row: Row) -> Row:
        self.rows.append(row)
        return row

    def close(self) -> None:
        """Print the table and end with the JSON line. Exits 0 whatever the verdicts: a figure may be lost."""
        print(f"\n{self.title}\n")
        print(as_table(self.rows, self.peer))
        for note in self.notes:
            print(f"  {note}")
        record = {
            "benchmark": self.benchmark,
            "title": self.title,
            "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "command": shlex.join([Path(sys.executable).name, _relative(sys.argv[0]), *sys.argv[1:]]),
            "commit": _commit(),
            "machine": machine() | ({"gpu": self.gpu} if self.gpu else {}),
            "versions": self.versions,
            "threads": self.threads,
            "rounds": self.rounds,
            "peer": self.peer,
            "rows": [asdict(row) for row in self.rows],
            "figures": self.figures,
            "notes": self.notes,
        }
        print(json.dumps(record, ensure_ascii=False), flush=True)


def _verdict(holds: bool) -> str:
    return "reached" if holds else "short of"


HEAD = ("", "plainlearn", "", "ratio", "lowest–highest", "asked", "verdict", "n")


def table_of(rows: Sequence[Row], peer: str) -> list[list[str]]:
    """The cells, head first, without the columns that hold nothing."""
    head = [*HEAD[:2], peer or "-", *HEAD[3:]]
    lines = [cells_of(row) for row in rows]
    kept = [0, *(column for column in range(1, len(head)) if any(line[column] for line in lines))]
    return [[line[column] for column in kept] for line in (head, *lines)]


def as_table(rows: Sequence[Row], peer: str) -> str:
    """The rows as aligned text."""
    lines = table_of(rows, peer)
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(
            c.ljust(w) if i == 0 else c.rjust(w) for i, (c, w) in enumerate(zip(line, widths, strict=True))
        )
        for line in lines
    )


def cells_of(row: Row) -> list[str]:
    """A row's cells, as the table in the terminal and the one in results.md show them."""
    spread = "" if row.spread is None else f"{short(row.spread[0])}–{short(row.spread[1])}"
    with_unit = f" {row.unit}" if row.unit else ""
    return [
        row.what,
        short(row.ours) + with_unit,
        "" if row.peer is None else short(row.peer) + with_unit,
        "" if row.ratio is None else f"{row.ratio:.2f} ×",
        spread,
        row.asked,
        row.verdict,
        str(row.n),
    ]


def short(value: float) -> str:
    """Four significant digits, without an exponent where one can do without."""
    if value == int(value) and abs(value) < 1e9:
        return str(int(value))
    return f"{value:.4f}" if 0.001 <= abs(value) < 10 else f"{value:.4g}"


# ---------------------------------------------------------------- where and what


def machine() -> dict[str, Any]:
    """The hardware, and how busy it is: a figure taken beside other work is worth less."""
    load = os.getloadavg() if hasattr(os, "getloadavg") else None
    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "memory_gb": _memory_gb(),
        "system": f"{platform.system()} {platform.release()}",
        "load_1_5_15_minutes": None if load is None else [round(value, 2) for value in load],
    }


def _cpu_model() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _memory_gb() -> float | None:
    with contextlib.suppress(ValueError, OSError, AttributeError):
        return round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30, 1)
    return None


def _commit() -> str:
    """The commit measured, with `+` when files below src differ from it; empty outside a clone."""

    def git(*arguments: str) -> str:
        try:
            return subprocess.run(
                ["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, check=True
            ).stdout.strip()
        except (OSError, subprocess.CalledProcessError):
            return ""

    return git("rev-parse", "--short", "HEAD") + ("+" if git("status", "--porcelain", "src") else "")


def _relative(path: str) -> str:
    with contextlib.suppress(ValueError):
        return str(Path(path).resolve().relative_to(ROOT))
    return path


def positive(text: str) -> int:
    """A whole number of 1 or more, for a script's options."""
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"{text} is below 1")
    return number


def add_data_option(parser: argparse.ArgumentParser) -> None:
    """`--data FOLDER`: where the real data lie."""
    beside = os.environ.get("PLAINLEARN_TEST_DATA", HERE.parents[1] / "shared/data")
    parser.add_argument("--data", type=Path, default=Path(beside), help="the folder of the real data")


def pets_in(folder: Path) -> Path:
    """The archive of pet photos in the folder; ends the script, saying so, if it is not there."""
    archive = folder / "oxford-iiit-pet.tgz"
    if not archive.exists():
        raise SystemExit(f"{archive} is not there; name the folder that holds it: --data FOLDER")
    return archive


def usable_cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
