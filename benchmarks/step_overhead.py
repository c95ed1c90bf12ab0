"""One training step through `Learner`, with all default callbacks, against the loop that one writes by hand.

Both run in this process on the same prepared batches, with torch's fused optimizer, in alternating rounds.
The hand-written loop is the bare one: no record of losses, no look for nan, no table. So the ratio is
what the conveniences cost. It runs twice: with our optimizer, the very same object, which is what the
asked figure is held against; and with torch's own, whose `step` has wrappers that ours does without.
It also counts the frames between `learn.fit` and the optimizer's step.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from harness import HERE, Report, Worker, interleaved, median, positive, timed
from torch import nn

import plainlearn
from plainlearn.data.loaders import DataLoaders
from plainlearn.optim import SGD, Adam
from plainlearn.train import Learner

Batch = tuple[torch.Tensor, torch.Tensor]


@dataclass(frozen=True)
class Case:
    """A model and batches. `ours` and `by_hand` make the same fused optimizer, ours and torch's."""

    name: str
    model: Callable[[], nn.Module]
    inputs: int
    batch: int
    ours: Callable[..., Any]
    by_hand: Callable[..., torch.optim.Optimizer]
    asked: float | None = None

    def batches(self, count: int) -> list[Batch]:
        drawn = torch.Generator().manual_seed(0)
        return [
            (
                torch.randn(self.batch, self.inputs, generator=drawn),
                torch.randn(self.batch, 1, generator=drawn),
            )
            for _ in range(count)
        ]


def _fused_sgd(parameters: Any, lr: float) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr=lr, fused=True)


def _fused_adam(parameters: Any, lr: float) -> torch.optim.Optimizer:
    # The settings of our Adam, so that both do the same arithmetic; no decay, hence one group in both.
    return torch.optim.AdamW(parameters, lr=lr, betas=(0.9, 0.99), eps=1e-5, weight_decay=0.0, fused=True)


def _adam_without_decay(parameters: Any, lr: float) -> Any:
    return Adam(parameters, lr=lr, wd=0.0)


def _small() -> nn.Module:
    return nn.Sequential(nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 1))


def _simple() -> nn.Module:
    return nn.Sequential(nn.Linear(784, 30), nn.ReLU(), nn.Linear(30, 1))


CASES = (
    Case("tiny 32-32-1, batch 32, Adam", _small, 32, 32, _adam_without_decay, _fused_adam, asked=1.15),
    Case("tiny 32-32-1, batch 32, SGD", _small, 32, 32, SGD, _fused_sgd, asked=1.15),
    Case("simple net 784-30-1, batch 256, SGD", _simple, 784, 256, SGD, _fused_sgd),
)
RATE = 1e-3
LOSS = nn.functional.mse_loss


def by_learner(case: Case, batches: Sequence[Batch], device: torch.device) -> Learner:
    """A learner as one gets it, with its default callbacks, on prepared batches and without validation."""
    torch.manual_seed(0)
    learn = Learner(DataLoaders(batches), case.model(), loss_func=LOSS, opt_func=case.ours, device=device)
    assert learn.callbacks, "the default callbacks are what is measured"
    return learn


def by_hand(
    case: Case, batches: Sequence[Batch], device: torch.device, make_optimizer: Callable[..., Any]
) -> tuple[nn.Module, Callable[[], None]]:
    """A model, and the loop of every PyTorch tutorial as a function that trains it for one epoch."""
    torch.manual_seed(0)
    model = case.model().to(device)
    optimizer = make_optimizer(model.parameters(), lr=RATE)

    def epoch() -> None:
        model.train()
        for xb, yb in batches:
            xb, yb = xb.to(device), yb.to(device)
            loss = LOSS(model(xb), yb)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()

    return model, epoch


def compare_steps(case: Case, steps: int, rounds: int, device: torch.device) -> dict[str, Any]:
    """Microseconds a step, both ways, in alternating rounds; and whether they end at the same weights."""
    batches = [(x.to(device), y.to(device)) for x, y in case.batches(16)] * (steps // 16)
    learn = by_learner(case, batches, device)
    model, hand = by_hand(case, batches, device, case.ours)
    _, hand_torch = by_hand(case, batches, device, case.by_hand)
    epochs: dict[str, Callable[[], None]] = {
        "learner": lambda: learn.fit(1, lr=RATE), "by hand": hand, "by hand, torch's optimizer": hand_torch,
    }  # fmt: skip

    def run(system: str) -> None:
        epochs[system]()
        if device.type == "cuda":
            torch.cuda.synchronize()

    taken: dict[str, list[dict[str, float]]] = defaultdict(list)
    with learn.no_logging():
        for system in epochs:  # what is loaded on first use is no part of a step
            run(system)
        difference = _largest_difference(learn.model, model)
        for _, system in interleaved(tuple(epochs), rounds):
            taken[system].append(timed(partial(run, system)))
        # A fit of one step, for what a fit costs apart from its steps.
        learn.dls = DataLoaders(batches[:1])
        one = [timed(partial(run, "learner")) for _ in range(20)]
    per_step = {
        system: {clock: [run[clock] / len(batches) * 1e6 for run in runs] for clock in ("wall", "cpu")}
        for system, runs in taken.items()
    }
    return {"per_step_us": per_step, "a_fit_of_one_step_ms": median([r["wall"] for r in one]) * 1e3,
            "steps": len(batches), "largest_difference_of_weights": difference}  # fmt: skip


def _largest_difference(one: nn.Module, other: nn.Module) -> float:
    """How far the weights of two models of one shape lie apart: 0 when both loops did the same arithmetic."""
    pairs = zip(one.parameters(), other.parameters(), strict=True)
    return max(float((a.detach() - b.detach()).abs().max()) for a, b in pairs)


# ---------------------------------------------------------------- frames


def frames(with_fastai: bool) -> dict[str, list[str]]:
    """The functions on the stack from `learn.fit` to the caller of `optimizer.step`, in both libraries."""
    from peers import peers_python

    pythons: dict[str, Any] = {"plainlearn": sys.executable}
    if with_fastai:
        pythons["fastai"] = peers_python()
    seen: dict[str, list[str]] = {}
    for system, python in pythons.items():
        with Worker(python, HERE / "digits_worker.py", system, "1", threads=1) as worker:
            seen[system] = worker.ask("frames")["frames"]
    return seen


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=positive, default=11, help="(default 11)")
    parser.add_argument("--steps", type=positive, default=1600, help="of a round (default 1600)")
    parser.add_argument(
        "--threads", type=positive, default=1, help="torch's (default 1: such models are too small for two)"
    )
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--without-fastai", action="store_true", help="do not count fastai's frames")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    device = torch.device(options.device)
    # A record of its own a device: neither may replace the other in results.md.
    name = "step_overhead" if device.type == "cpu" else f"step_overhead_{device.type}"

    report = Report(name, f"One training step on {device}, through Learner against a loop by hand",
                    peer="by hand", threads=torch.get_num_threads())  # fmt: skip
    report.gpu = torch.cuda.get_device_name(device) if device.type == "cuda" else ""
    report.rounds = {"steps": options.rounds}
    report.versions = {
        "plainlearn": plainlearn.__version__,
        "torch": torch.__version__,
        "python": sys.version.split()[0],
    }
    for case in CASES:
        taken = compare_steps(case, options.steps, options.rounds, device)
        report.figures[case.name] = taken
        per_step = taken["per_step_us"]
        ours, hand, hand_torch = (
            per_step[name] for name in ("learner", "by hand", "by hand, torch's optimizer")
        )
        for clock, word in (("wall", "wall"), ("cpu", "CPU")):
            row = report.compare(
                f"{case.name}: {word} a step", ours[clock], hand[clock], at_most=case.asked, unit="µs"
            )
            print(
                f"{row.what}: {row.ours:.1f} µs, by hand {row.peer:.1f} µs, ratio {row.ratio:.3f}", flush=True
            )
        report.compare(
            f"{case.name}: CPU, by hand with torch's optimizer", ours["cpu"], hand_torch["cpu"], unit="µs"
        )
        print(
            f"  after the same steps the weights differ by at most {taken['largest_difference_of_weights']:.2g}",
            flush=True,
        )

    if device.type == "cpu":
        seen = report.figures["frames"] = frames(not options.without_fastai)
        for system, names in seen.items():
            print(f"{system}: {len(names)} frames from fit to optimizer.step: {' → '.join(names)}")
        report.figure("frames between learn.fit and optimizer.step", [len(seen["plainlearn"])], at_most=3,
                      peer=[len(seen["fastai"])] if "fastai" in seen else ())  # fmt: skip
        report.notes.append(
            "frames: those on the stack from fit's own on, when step is called; beside ours, fastai's."
        )
    report.close()


if __name__ == "__main__":
    main()
