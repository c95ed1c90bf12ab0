"""Where the time of the lesson's linear fit goes: data, forward, backward, optimizer, validation, and the rest.

Ours against a loop written by hand, on random data of the digits' size, one clock read between the parts.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import torch
from harness import Report, positive
from torch import nn

import plainlearn
from plainlearn.data.loader import DataLoader
from plainlearn.data.loaders import DataLoaders
from plainlearn.optim import SGD
from plainlearn.train import Learner

PARTS = ("data", "forward and loss", "backward", "optimizer", "validation")


def where_it_goes(rounds: int) -> dict[str, dict[str, list[float]]]:
    """Milliseconds of ten epochs of the linear model on digit-sized data, part by part, ours and by hand.

    By hand: one loop with a clock read between its parts. Ours: the loader alone, the validation
    alone, and the rest of `fit` with the parts that a clock can be put around from outside (the step as
    a function, the optimizer). Backward is the same call in both, so the rest is what remains.
    """
    drawn = torch.Generator().manual_seed(0)
    x, vx = torch.rand(12396, 784, generator=drawn), torch.rand(2038, 784, generator=drawn)
    y, vy = (x[:, :1] > 0.5).long(), (vx[:, :1] > 0.5).long()

    def loss_of(predictions: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        predictions = predictions.sigmoid()
        return torch.where(targets == 1, 1 - predictions, predictions).mean()

    def metric(predictions: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return ((predictions.sigmoid() > 0.5) == targets).float().mean()

    runs: dict[str, dict[str, list[float]]] = {"by hand": defaultdict(list), "plainlearn": defaultdict(list)}
    for _ in range(rounds):
        for part, seconds in _split_by_hand(x, y, vx, vy, loss_of, metric).items():
            runs["by hand"][part].append(seconds * 1e3)
        for part, seconds in _split_of_ours(x, y, vx, vy, loss_of, metric).items():
            runs["plainlearn"][part].append(seconds * 1e3)
    return {side: dict(parts) for side, parts in runs.items()}


def _split_by_hand(x: Any, y: Any, vx: Any, vy: Any, loss_of: Any, metric: Any) -> dict[str, float]:
    model = nn.Linear(784, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0, fused=True)
    parts = dict.fromkeys(PARTS, 0.0)
    begun = last = time.process_time()

    def lap(part: str) -> None:
        nonlocal last
        now = time.process_time()
        parts[part] += now - last
        last = now

    for _ in range(10):
        model.train()
        for start in range(0, len(x), 256):
            xb, yb = x[start : start + 256], y[start : start + 256]
            lap("data")
            loss = loss_of(model(xb), yb)
            lap("forward and loss")
            loss.backward()
            lap("backward")
            optimizer.step()
            optimizer.zero_grad()
            lap("optimizer")
        model.eval()
        with torch.no_grad():
            loss_sum = hits = torch.zeros(())
            for start in range(0, len(vx), 256):
                xb, yb = vx[start : start + 256], vy[start : start + 256]
                predictions = model(xb)
                loss_sum = loss_sum + loss_of(predictions, yb) * len(xb)
                hits = hits + metric(predictions, yb) * len(xb)
            _ = (loss_sum / len(vx)).item(), (hits / len(vx)).item()
        lap("validation")
    parts["all"] = time.process_time() - begun
    return parts


def _split_of_ours(x: Any, y: Any, vx: Any, vy: Any, loss_of: Any, metric: Any) -> dict[str, float]:
    parts: dict[str, float] = defaultdict(float)
    dl, valid_dl = (DataLoader(list(zip(a, b, strict=True)), batch_size=256) for a, b in ((x, y), (vx, vy)))

    def learner() -> Learner:
        model = nn.Linear(784, 1)
        return Learner(DataLoaders(dl, valid_dl), model, opt_func=SGD, loss_func=loss_of, metrics=metric)

    plain = learner()
    with plain.no_logging():
        begun = time.process_time()
        plain.fit(10, lr=1.0)
        parts["all"] = time.process_time() - begun

    # The same again with a clock around what can be replaced from outside: the step and the optimizer.
    watched = learner()
    inner_step = watched.step

    def step(model: nn.Module, batch: Any) -> Any:
        begun = time.process_time()
        result = inner_step(model, batch)
        if model.training:
            parts["forward and loss"] += time.process_time() - begun
        return result

    def opt_func(*args: Any, **kwargs: Any) -> Any:
        optimizer = SGD(*args, **kwargs)
        for name in ("step", "zero_grad"):
            setattr(optimizer, name, _clocked(getattr(optimizer, name), parts, "optimizer"))
        return optimizer

    watched.step, watched.opt_func = step, opt_func
    with watched.no_logging():
        watched.fit(10, lr=1.0)

    begun = time.process_time()
    for _ in range(10):
        for _ in dl:
            pass
    parts["data"] = time.process_time() - begun
    begun = time.process_time()
    for _ in range(10):
        plain.validate()
    parts["validation"] = time.process_time() - begun
    # Backward is torch's own call on the same graph; alone, so that it can be taken off.
    batches = list(dl)
    plain.model.train()
    for _ in range(10):
        for batch in batches:
            loss = plain.step(plain.model, batch).loss
            begun = time.process_time()
            loss.backward()
            parts["backward"] += time.process_time() - begun
            plain.optimizer.zero_grad()
    parts["the rest"] = parts["all"] - sum(parts[part] for part in PARTS)
    return dict(parts)


def _clocked(function: Callable[..., Any], parts: dict[str, float], part: str) -> Callable[..., Any]:
    def clocked(*args: Any, **kwargs: Any) -> Any:
        begun = time.process_time()
        answer = function(*args, **kwargs)
        parts[part] += time.process_time() - begun
        return answer

    return clocked


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=positive, default=7, help="(default 7)")
    parser.add_argument("--threads", type=positive, default=1, help="torch's (default 1)")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)

    report = Report("where_time_goes", "Where ten epochs of the linear model go, CPU milliseconds",
                    peer="by hand", threads=torch.get_num_threads())  # fmt: skip
    report.rounds = {"fits": options.rounds}
    report.versions = {
        "plainlearn": plainlearn.__version__, "torch": torch.__version__, "python": sys.version.split()[0],
    }  # fmt: skip
    taken = report.figures["milliseconds"] = where_it_goes(options.rounds)
    for part in (*PARTS, "all"):
        report.compare(part, taken["plainlearn"][part], taken["by hand"][part], unit="ms")
    report.figure("the rest: callbacks, records, loop", taken["plainlearn"]["the rest"], unit="ms")
    report.notes.append(
        "the parts of ours are timed in runs of their own, so the rest holds their error too."
    )
    report.close()


if __name__ == "__main__":
    main()
