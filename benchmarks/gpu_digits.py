"""The digits on a GPU: is a fit right there, does the host wait, what do the loaders and the ResNet cost.

    python benchmarks/gpu_digits.py fit | syncs | loader | resnet

Started by gpu.sh. Each ends with its JSON line; without a CUDA device each says so and ends.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable
from contextlib import contextmanager
from typing import Any

import torch
from digits_data import digits_folder, digits_tensors
from harness import Report
from torch import Tensor, nn

import plainlearn
from plainlearn.data.loader import DataLoader
from plainlearn.data.loaders import DataLoaders
from plainlearn.optim import SGD, Adam
from plainlearn.train import Learner

Tensors = tuple[Tensor, Tensor, Tensor, Tensor]


def mnist_loss(predictions: Tensor, targets: Tensor) -> Tensor:
    predictions = predictions.sigmoid()
    return torch.where(targets == 1, 1 - predictions, predictions).mean()


def batch_accuracy(xb: Tensor, yb: Tensor) -> Tensor:
    return ((xb.sigmoid() > 0.5) == yb).float().mean()


def linear() -> nn.Module:
    return nn.Linear(784, 1)


def simple() -> nn.Module:
    return nn.Sequential(nn.Linear(784, 30), nn.ReLU(), nn.Linear(30, 1))


def learner(tensors: Tensors, make: Callable[[], nn.Module], device: str, opt_func: Any = SGD) -> Learner:
    """The lesson's learner, on `device`, its weights drawn on the CPU so that they are the same everywhere."""
    train_x, train_y, valid_x, valid_y = tensors
    torch.manual_seed(0)
    model = make()
    dls = DataLoaders(
        DataLoader(list(zip(train_x, train_y, strict=True)), batch_size=256),
        DataLoader(list(zip(valid_x, valid_y, strict=True)), batch_size=256),
    )
    return Learner(dls, model, loss_func=mnist_loss, opt_func=opt_func, metrics=batch_accuracy, device=device)


# ---------------------------------------------------------------- fit: is it right


def fit(report: Report, tensors: Tensors) -> None:
    """The same fit on both devices, from the same weights: they may differ by rounding, and by no more."""
    cases: list[tuple[str, Callable[[], nn.Module], Any, float]] = [
        ("linear, SGD, lr 1", linear, SGD, 1.0),
        ("simple net, SGD, lr 0.1", simple, SGD, 0.1),
        ("simple net, Adam, lr 1e-3", simple, Adam, 1e-3),
    ]
    report.peer = "cpu"
    for name, make, opt_func, lr in cases:
        learners = {device: learner(tensors, make, device, opt_func) for device in ("cpu", "cuda")}
        seconds: dict[str, float] = {}
        for device, learn in learners.items():
            with learn.no_logging():
                learn.fit(1, lr=lr)  # what is loaded on first use
                begun = time.perf_counter()
                learn.fit(3, lr=lr)
                torch.cuda.synchronize()
                seconds[device] = time.perf_counter() - begun
        losses = [learn.recorder.losses for learn in learners.values()]
        apart = max(abs(a - b) for a, b in zip(*losses, strict=True))
        weights = [
            torch.cat([p.detach().cpu().flatten() for p in learn.model.parameters()])
            for learn in learners.values()
        ]
        report.figure(f"{name}: largest difference of a step's loss", [apart], at_most=1e-4)
        report.figure(f"{name}: of a weight", [float((weights[0] - weights[1]).abs().max())], at_most=1e-3)
        hits = [learn.recorder.values[-1][2] for learn in learners.values()]
        report.figure(f"{name}: accuracy", [hits[1]], peer=[hits[0]])
        report.figure(f"{name}: 3 epochs", [seconds["cuda"]], peer=[seconds["cpu"]], unit="s")
        on_device = all(p.device.type == "cuda" for p in learners["cuda"].model.parameters())
        report.figure(f"{name}: parameters left off the GPU", [0 if on_device else 1], at_most=0)


# ---------------------------------------------------------------- syncs: does the host wait


@contextmanager
def counted_syncs() -> Any:
    """Counts what makes the host wait for the device, by the line that asked for it."""
    places: Counter[str] = Counter()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            yield places
        finally:
            torch.cuda.set_sync_debug_mode("default")
    for warning in caught:
        if "synchronizing CUDA operation" in str(warning.message):
            places[f"{warning.filename.rpartition('plainlearn/')[2]}:{warning.lineno}"] += 1


def syncs(report: Report, tensors: Tensors) -> None:
    """Waits of the host in a fit, for a step and for an epoch, with batches on the device and on the host."""
    train_x, train_y, valid_x, valid_y = tensors
    host = [(train_x[i : i + 256], train_y[i : i + 256]) for i in range(0, len(train_x) - 255, 256)]
    there = [(x.cuda(), y.cuda()) for x, y in host]
    held_out = [(valid_x.cuda(), valid_y.cuda())]
    pinned = [(x.pin_memory(), y.pin_memory()) for x, y in host]
    rows = DataLoaders.from_tensors(
        (train_x, train_y), (valid_x, valid_y), bs=256, shuffle=True, seed=0, device="cuda"
    )
    sources = {
        "batches on the GPU": there,
        "from_tensors(device='cuda'), shuffled": rows.train,
        "batches in pinned memory": pinned,
        "batches in plain memory": host,
    }
    for name, batches in sources.items():
        counts: dict[int, Counter[str]] = {}
        torch.manual_seed(0)
        learn = Learner(
            DataLoaders(batches, held_out), simple(), loss_func=mnist_loss, opt_func=SGD,
            metrics=batch_accuracy, device="cuda",
        )  # fmt: skip
        with learn.no_logging():
            learn.fit(1, lr=0.1)
            for epochs in (1, 3):
                torch.cuda.synchronize()
                with counted_syncs() as places:
                    learn.fit(epochs, lr=0.1)
                counts[epochs] = places
        an_epoch = (counts[3].total() - counts[1].total()) / 2
        asked = 0.1 if name != "batches in plain memory" else None  # those cannot be sent without waiting
        report.figure(f"{name}: waits a step", [an_epoch / len(host)], at_most=asked)
        report.figure(f"{name}: waits an epoch, validation included", [an_epoch])
        report.figure(f"{name}: waits of a fit apart from its epochs", [counts[1].total() - an_epoch])
        report.figures[name] = {str(epochs): dict(places) for epochs, places in counts.items()}
        print(f"{name}: {dict(counts[3].most_common(8))} in 3 epochs", flush=True)
    report.notes.append(f"an epoch is {len(host)} steps; asked: fewer than one wait in ten steps.")


# ---------------------------------------------------------------- loader: batches of tensors in GPU memory


def loader(report: Report, tensors: Tensors) -> None:
    """Microseconds a shuffled batch of 256 digits, ready on the GPU: ours, by hand, and torch's loader."""
    from torch.utils.data import DataLoader as TorchLoader
    from torch.utils.data import TensorDataset

    x, y, valid_x, valid_y = tensors
    there = (x.cuda(), y.cuda())
    ours = DataLoaders.from_tensors(
        (x, y), (valid_x, valid_y), bs=256, shuffle=True, seed=0, device="cuda"
    ).train
    torchs = TorchLoader(TensorDataset(x, y), batch_size=256, shuffle=True)

    def by_hand() -> Any:
        order = torch.randperm(len(x), device="cuda")
        for start in range(0, len(x), 256):
            rows = order[start : start + 256]
            yield there[0][rows], there[1][rows]

    def sent() -> Any:
        for xb, yb in torchs:
            yield xb.cuda(), yb.cuda()

    def epoch(batches: Callable[[], Any]) -> float:
        torch.cuda.synchronize()
        begun, count = time.perf_counter(), 0
        for _ in batches():
            count += 1
        torch.cuda.synchronize()
        return (time.perf_counter() - begun) / count * 1e6

    ways: dict[str, Callable[[], Any]] = {"ours": lambda: ours, "by hand": by_hand, "torch": sent}
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for batches in ways.values():
        epoch(batches)
    for _ in range(7):
        for name, batches in ways.items():
            taken[name].append(epoch(batches))
    report.peer = "by hand / torch"
    report.rounds = {"epochs": 7}
    report.compare("a batch, against indexing by hand", taken["ours"], taken["by hand"], unit="µs")
    report.compare("a batch, against torch's loader and .cuda()", taken["ours"], taken["torch"], unit="µs")
    with counted_syncs() as places:
        for _ in ours:
            pass
    report.figure("waits of the host in an epoch of ours", [places.total()], at_most=2)

    same_seed = [
        DataLoaders.from_tensors(
            (x, y), (valid_x, valid_y), bs=256, shuffle=True, seed=5, device=device
        ).train
        for device in ("cpu", "cuda")
    ]
    pairs = list(zip(*map(list, same_seed), strict=True))
    differing = sum(not torch.equal(here[0], there[0].cpu()) for here, there in pairs)
    report.figure("batches that differ between cpu and cuda under one seed", [differing], at_most=0)


# ---------------------------------------------------------------- resnet: the whole way from files


def resnet(report: Report, data: str | None) -> None:
    """One epoch of ResNet-18 from image files, three seeds; and what reading the files takes alone."""
    from plainlearn.vision.all import F, ImageDataLoaders, accuracy, resnet18, vision_learner

    folder = digits_folder(data)
    epochs: list[float] = []
    alone: list[float] = []
    reached: list[float] = []
    waits: list[float] = []
    peak = 0
    for seed in range(4):
        torch.manual_seed(seed)
        dls = ImageDataLoaders.from_folder(folder, device="cuda")
        learn = vision_learner(dls, resnet18, pretrained=False, loss_func=F.cross_entropy, metrics=accuracy)
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        begun = time.perf_counter()
        with learn.no_logging(), counted_syncs() as places:
            learn.fit_one_cycle(1, 0.1)
            torch.cuda.synchronize()
        took = time.perf_counter() - begun
        peak = max(peak, torch.cuda.max_memory_allocated())
        begun = time.perf_counter()
        for _ in dls.train:
            pass
        for _ in dls.valid:
            pass
        torch.cuda.synchronize()
        read = time.perf_counter() - begun
        hits = learn.recorder.values[-1][2]
        print(f"seed {seed}: {took:.2f} s an epoch, {read:.2f} s of it files; accuracy {hits:.4f}; "
              f"waits {dict(places.most_common(5))}", flush=True)  # fmt: skip
        if seed == 0:
            continue  # cuDNN is loaded and tried out in the first
        epochs.append(took)
        alone.append(read)
        reached.append(hits)
        waits.append(places.total() / len(dls.train))
    report.rounds = {"seeds": len(epochs)}
    report.figure("ResNet-18, one epoch with validation", epochs, unit="s")
    report.figure("reading and decoding the files alone", alone, unit="s")
    report.figure(
        "share of the epoch that the files explain", [r / e for r, e in zip(alone, epochs, strict=True)]
    )
    report.figure("waits of the host a step", waits, at_most=0.1)
    report.figure("accuracy", reached, at_least=0.994)
    report.figure("peak of GPU memory", [peak / 2**20], unit="MiB")


JOBS: dict[str, tuple[str, Callable[..., None]]] = {
    "fit": ("A fit on cuda against the same fit on the CPU", fit),
    "syncs": ("How often the host waits for the GPU in a fit of 784-30-1", syncs),
    "loader": ("Batches of tensors that lie in GPU memory", loader),
    "resnet": ("ResNet-18 from image files on the GPU", resnet),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("job", choices=list(JOBS))
    parser.add_argument("--data", help="the folder MNIST_SAMPLE (default: from untar_data)")
    options = parser.parse_args()
    if not torch.cuda.is_available():
        print(f"{options.job}: skipped, torch {torch.__version__} sees no CUDA device here")
        return
    title, job = JOBS[options.job]
    report = Report(f"gpu_{options.job}", title, gpu=torch.cuda.get_device_name())
    report.versions = {
        "plainlearn": plainlearn.__version__, "torch": torch.__version__, "cuda": torch.version.cuda,
        "python": sys.version.split()[0],
    }  # fmt: skip
    if options.job == "resnet":
        job(report, options.data)
    else:
        job(report, digits_tensors(digits_folder(options.data)))
    report.close()


if __name__ == "__main__":
    main()
