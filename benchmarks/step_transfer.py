"""A training step of EfficientNet-Lite0 at 160 px through `Learner`, against the best loop that one writes by hand.

Both train the same network from the same weights on the same prepared batches, unfrozen, with batch norm of the body in
evaluation mode, in alternating rounds. The hand-written loop has channels-last weights and batches, torch's fused AdamW with
the learner's settings and groups, gradients set to None. What the ratio shows is what the learner costs or saves.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from harness import Report, interleaved, positive, timed

import plainlearn
from plainlearn.data.loaders import DataLoaders
from plainlearn.vision.learner import vision_learner

RATES = slice(1e-6, 1e-4)
CLASSES = 37


def make_learner(batches: list[Any], device: str) -> Any:
    torch.manual_seed(0)
    dls: Any = DataLoaders(batches, device=device)
    learn = vision_learner(dls, "tf_efficientnet_lite0", torch.nn.functional.cross_entropy, n_out=CLASSES)
    learn.unfreeze()
    return learn


def by_hand(batches: list[Any], device: str) -> tuple[torch.nn.Module, Callable[[], None]]:
    """The network, and an epoch of it. The network itself is made by plainlearn, so that both are the same."""
    model = make_learner(batches, device).model.to(device, memory_format=torch.channels_last)
    layers = list(model.named_parameters())
    # The learner's groups: by depth, and what has one axis without decay.
    learn = make_learner(batches, device)
    depths = learn.splitter(model)
    rates = [1e-6, 1e-5, 1e-4]
    groups = [
        {
            "params": [p for p in depth if (p.ndim > 1) is decays],
            "lr": rate,
            "weight_decay": 0.01 if decays else 0.0,
        }
        for depth, rate in zip(depths, rates, strict=True)
        for decays in (True, False)
    ]
    assert sum(len(group["params"]) for group in groups) == len(layers)
    optimizer = torch.optim.AdamW(
        [g for g in groups if g["params"]], lr=1e-4, betas=(0.9, 0.99), eps=1e-5, fused=True
    )
    last = [(x.to(device).contiguous(memory_format=torch.channels_last), y.to(device)) for x, y in batches]

    def epoch() -> None:
        model.train()
        for xb, yb in last:
            loss = torch.nn.functional.cross_entropy(model(xb), yb)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

    return model, epoch


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=positive, default=7)
    parser.add_argument("--steps", type=positive, default=4)
    parser.add_argument("--bs", type=positive, default=32)
    parser.add_argument("--size", type=positive, default=160)
    parser.add_argument("--threads", type=positive, default=2)
    parser.add_argument("--device", default="cpu")
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    drawn = torch.Generator().manual_seed(0)
    shape = (asked.bs, 3, asked.size, asked.size)
    batches = [
        (torch.rand(shape, generator=drawn), torch.randint(0, CLASSES, (asked.bs,), generator=drawn))
        for _ in range(asked.steps)
    ]
    learn = make_learner(batches, asked.device)
    model, hand = by_hand(batches, asked.device)
    systems: dict[str, Callable[[], None]] = {"learner": lambda: learn.fit(1, RATES), "by hand": hand}

    def run(system: str) -> None:
        systems[system]()
        if asked.device != "cpu":
            torch.cuda.synchronize()

    taken: dict[str, list[dict[str, float]]] = defaultdict(list)
    with learn.no_logging():
        for system in systems:
            run(system)
        apart = max(
            float((a.detach() - b.detach()).abs().max())
            for a, b in zip(learn.model.parameters(), model.parameters(), strict=True)
        )
        for _, system in interleaved(tuple(systems), asked.rounds):
            taken[system].append(timed(partial(run, system)))
    report = Report(
        "step_transfer", f"a step of EfficientNet-Lite0, batch {asked.bs} at {asked.size} px", "by hand",
        versions={"plainlearn": plainlearn.__version__, "torch": torch.__version__},
        threads=asked.threads, rounds={"rounds": asked.rounds, "steps": asked.steps},
    )  # fmt: skip
    for clock, at_most in (("cpu", 1.05), ("wall", 1.05)):
        ours, theirs = ([run[clock] / asked.steps for run in taken[name]] for name in systems)
        report.compare(f"a step, {clock} seconds", ours, theirs, at_most=at_most)
    report.figures = {"largest difference of weights after the first epoch": apart}
    report.close()


if __name__ == "__main__":
    main()
