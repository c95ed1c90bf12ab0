"""A training step of two processes through `Learner`, against torch's DDP in a loop by hand.

Both run in the same two processes, which gloo joins on the CPU, on the same prepared batches, with the same
optimizer, in alternating rounds. The hand-written loop shares its batches out by number, and does
nothing else: no record of losses, no look for nan, no table. Process 0's clock counts, and the
CPU seconds of both processes.

    python benchmarks/ddp_overhead.py          starts itself again under torchrun
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import torch
from harness import Report, child_environment, interleaved, positive, timed
from torch import nn
from torch.nn.parallel import DistributedDataParallel

import plainlearn
from plainlearn.data.loaders import DataLoaders
from plainlearn.models.archs import resnet18
from plainlearn.optim import SGD
from plainlearn.train import Learner
from plainlearn.train.distributed import Ranks, ranks

PROCESSES, RATE = 2, 1e-3


def resnet() -> nn.Module:
    return resnet18(num_classes=2)


def small_net() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 28 * 28, 30), nn.ReLU(), nn.Linear(30, 2))


def compare(name: str, make: Callable[[], nn.Module], steps: int, rounds: int, here: Ranks) -> dict[str, Any]:
    """Milliseconds a step, both ways."""
    drawn = torch.Generator().manual_seed(0)
    batches = [
        (torch.randn(32, 3, 28, 28, generator=drawn), torch.randint(2, (32,), generator=drawn))
        for _ in range(PROCESSES * steps)
    ]
    loss_func = nn.functional.cross_entropy
    torch.manual_seed(0)
    learn = Learner(DataLoaders(batches), make(), loss_func, SGD, device="cpu")
    torch.manual_seed(0)
    model = DistributedDataParallel(make())
    optimizer = SGD(model.parameters(), lr=RATE)

    def by_hand() -> None:
        model.train()
        for xb, yb in batches[here.rank :: here.size]:
            loss = loss_func(model(xb), yb)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()

    ways = {"learner": lambda: learn.fit(1, lr=RATE), "by hand": by_hand}
    taken: dict[str, list[dict[str, float]]] = defaultdict(list)
    with learn.no_logging():
        for way in ways.values():
            way()
        pairs = zip(learn.model.parameters(), model.parameters(), strict=True)
        difference = max(float((a.detach() - b.detach()).abs().max()) for a, b in pairs)
        for _, system in interleaved(tuple(ways), rounds):
            here.wait()
            spent = timed(ways[system])
            here.wait()
            taken[system].append(
                {"wall": spent["wall"], "cpu": float(here.mean(torch.tensor(spent["cpu"]))) * here.size}
            )
    per_step = {
        system: {clock: [run[clock] / steps * 1e3 for run in runs] for clock in ("wall", "cpu")}
        for system, runs in taken.items()
    }
    return {"per_step_ms": per_step, "largest_difference_of_weights": difference}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=positive, default=9, help="(default 9)")
    parser.add_argument("--steps", type=positive, default=40, help="of a round (default 40)")
    options = parser.parse_args()
    if "RANK" not in os.environ:
        started = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
        environment = child_environment(threads=1)
        done = subprocess.run(
            [*started, f"--nproc-per-node={PROCESSES}", *sys.argv], env=environment, check=False
        )
        raise SystemExit(done.returncode)
    torch.set_num_threads(1)
    here = ranks(torch.device("cpu"))
    report = Report("ddp_overhead", "One training step of two processes (gloo), through Learner against DDP by hand",
                    peer="by hand", threads=1)  # fmt: skip
    report.rounds = {"rounds": options.rounds, "steps": options.steps}
    report.versions = {
        "plainlearn": plainlearn.__version__,
        "torch": torch.__version__,
        "python": sys.version.split()[0],
    }
    for name, make, asked in (
        ("ResNet-18, 28 px, batch 32", resnet, 1.10),
        ("simple net, batch 32", small_net, None),
    ):
        taken = compare(name, make, options.steps, options.rounds, here)
        report.figures[name] = taken
        for clock, word in (("wall", "wall"), ("cpu", "CPU of both")):
            ours, hand = (taken["per_step_ms"][system][clock] for system in ("learner", "by hand"))
            report.compare(f"{name}: {word} a step", ours, hand, at_most=asked, unit="ms")
    report.notes.append(
        "weights after the same steps differ by at most "
        + ", ".join(f"{taken['largest_difference_of_weights']:.2g}" for taken in report.figures.values())
    )
    if here.is_main:
        report.close()


if __name__ == "__main__":
    main()
