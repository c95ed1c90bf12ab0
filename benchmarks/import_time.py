"""What an import costs, in fresh processes that alternate: plainlearn beside torch, the star import beside fastai's.

    import plainlearn                          on top of import torch
    from plainlearn.vision.all import *        against from fastai.vision.all import *
    plainlearn --help                          against a bare python

Bytecode is there and files are in the page cache, as on any run but the first.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness import Report, child_environment, interleaved, median, positive
from peers import peers_python, versions_in

# Measured inside the process: the clock starts after `before` and stops after `what`. Then it tells
# which heavy modules are there. Only `sys`, `time` and `json` are imported for the measuring.
PROBE = """
import json, sys, time
{before}
cpu, wall = time.process_time(), time.perf_counter()
{what}
cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
heavy = {heavy}
print(json.dumps(dict(cpu=cpu, wall=wall, modules=len(sys.modules), loaded=[m for m in heavy if m in sys.modules])))
"""
HEAVY = (
    "torch", "torchvision", "timm", "numpy", "pandas", "matplotlib", "matplotlib.pyplot", "sklearn", "scipy", "PIL",
    "torchmetrics", "fastapi", "starlette", "rich", "IPython", "numba", "torch._dynamo", "sympy",
)  # fmt: skip
MUST_STAY_OUT = ("torchvision", "timm", "pandas", "matplotlib", "sklearn", "fastapi", "starlette")
HELP = """
try:
    from plainlearn.cli import main
    main(["--help"])
except SystemExit:
    pass
"""


NAMES_USED = "from plainlearn import Learner, …, torch there"


@dataclass(frozen=True)
class Probe:
    """One thing to import, in one interpreter."""

    name: str
    python: Path
    what: str
    before: str = ""

    def run(self) -> dict[str, Any]:
        """One fresh process: what it measured inside, and what all of it took (`total`)."""
        script = PROBE.format(before=self.before, what=self.what, heavy=repr(HEAVY))
        begun = time.perf_counter()
        process = subprocess.Popen(
            [self.python, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env=child_environment(), cwd="/",
        )  # fmt: skip
        assert process.stdout and process.stderr
        output, errors = process.stdout.read(), process.stderr.read()
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        wall = time.perf_counter() - begun
        if process.returncode:
            raise SystemExit(f"{self.name} failed:\n{errors[-2000:]}")
        answer: dict[str, Any] = json.loads(output.splitlines()[-1])
        return {**answer, "total": {"cpu": used.ru_utime + used.ru_stime, "wall": wall}}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=positive, default=7, help="(default 7)")
    options = parser.parse_args()

    python, peers = Path(sys.executable), peers_python()
    probes = {
        probe.name: probe
        for probe in (
            Probe("python alone", python, "pass"),
            Probe("import torch", python, "import torch"),
            Probe("import plainlearn, torch there", python, "import plainlearn", before="import torch"),
            Probe("import plainlearn alone", python, "import plainlearn"),
            Probe(
                NAMES_USED,
                python,
                "from plainlearn import DataLoader, DataLoaders, Learner",
                before="import torch",
            ),
            Probe("plainlearn star", python, "from plainlearn.vision.all import *"),
            Probe("fastai star", peers, "from fastai.vision.all import *"),
            Probe("plainlearn star, a model", python, "from plainlearn.vision.all import *; resnet18()"),
            Probe("fastai star, a model", peers, "from fastai.vision.all import *; resnet18()"),
            Probe("plainlearn --help", python, HELP),
        )
    }
    print(f"fresh processes; {options.rounds} rounds after one that does not count", flush=True)
    for probe in probes.values():
        probe.run()
    taken: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for _, name in interleaved(tuple(probes), options.rounds):
        taken[name].append(probes[name].run())
    for name, runs in taken.items():
        cpu, wall = (median([run[clock] for run in runs]) for clock in ("cpu", "wall"))
        print(
            f"{name:<46}{cpu:8.3f} CPU s{wall:8.3f} s{runs[-1]['modules']:6} modules   {', '.join(runs[-1]['loaded'])}",
            flush=True,
        )
    report = _report(taken, options.rounds, versions_in(peers))
    report.close()


def _report(taken: dict[str, list[dict[str, Any]]], rounds: int, peer_versions: dict[str, str]) -> Report:
    report = Report("import_time", "What an import costs, in fresh processes", peer="fastai")
    report.rounds = {"processes": rounds}
    report.versions = {"plainlearn": _ours(), "peers": peer_versions}

    def of(name: str, clock: str) -> list[float]:
        return [run[clock] for run in taken[name]]

    def total(name: str, clock: str) -> list[float]:
        return [run["total"][clock] for run in taken[name]]

    # Beyond torch, in the same process: a difference between two processes' totals would mostly be noise.
    beyond = "import plainlearn, torch there"
    report.figure("import plainlearn beyond import torch, wall", of(beyond, "wall"), at_most=0.15, unit="s")
    report.figure("import plainlearn beyond import torch, CPU", of(beyond, "cpu"), at_most=0.15, unit="s")
    # `import plainlearn` is lazy, so what follows the first use of a name is told too.
    report.figure("the loop and the loaders beyond import torch, CPU", of(NAMES_USED, "cpu"), unit="s")
    report.figure("import torch, CPU", of("import torch", "cpu"), unit="s")
    for clock, word in (("cpu", "CPU"), ("wall", "wall")):
        report.compare(
            f"from ….vision.all import *, {word}",
            of("plainlearn star", clock),
            of("fastai star", clock),
            at_most=0.5,
        )
    # What ours puts off until a model is wanted (torchvision) must come then: so this is told too.
    model = [of(f"{system} star, a model", "cpu") for system in ("plainlearn", "fastai")]
    report.compare("the star import and resnet18(), CPU", *model)
    report.compare(
        "the star import, whole process, CPU", total("plainlearn star", "cpu"), total("fastai star", "cpu")
    )
    report.figure("plainlearn --help, whole process, CPU", total("plainlearn --help", "cpu"), unit="s")
    report.figure("plainlearn --help, whole process, wall", total("plainlearn --help", "wall"), unit="s")
    report.figure("python alone, whole process, CPU", total("python alone", "cpu"), unit="s")

    loaded = {name: runs[-1]["loaded"] for name, runs in taken.items()}
    unwanted = [name for name in MUST_STAY_OUT if name in loaded["import plainlearn alone"]]
    report.figure("heavy modules that import plainlearn loads", [len(unwanted)], at_most=0)
    report.figure(
        "torch loaded by plainlearn --help", [int("torch" in loaded["plainlearn --help"])], at_most=0
    )
    report.notes.append(f"import plainlearn loads of the heavy ones: {', '.join(unwanted) or 'none'}")
    report.notes.append(
        f"the star import loads: {', '.join(loaded['plainlearn star'])}; fastai's: {', '.join(loaded['fastai star'])}"
    )
    report.figures = {"loaded": loaded, "runs": taken}
    return report


def _ours() -> dict[str, str]:
    from importlib import metadata

    import plainlearn

    return {
        "plainlearn": plainlearn.__version__,
        "python": sys.version.split()[0],
        **{
            name: metadata.version(name) for name in ("torch", "torchvision", "numpy", "pandas", "matplotlib")
        },
    }


if __name__ == "__main__":
    main()
