"""What plainlearn reaches on the digits: the baseline, the loss on the lesson's example, and three models.

Everything by the names of the course's face, as in the lesson. The ResNet is trained with three seeds.
"""

from __future__ import annotations

import argparse
import sys
import time
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from digits_data import digits_folder, digits_tensors
from harness import Report, positive, usable_cores
from torch import Tensor, nn

import plainlearn
from plainlearn.vision.all import (
    SGD,
    DataLoader,
    DataLoaders,
    F,
    ImageDataLoaders,
    Learner,
    accuracy,
    resnet18,
    set_seed,
    vision_learner,
)


def mnist_distance(a: Tensor, b: Tensor) -> Tensor:
    """The lesson's: the mean absolute difference of two images."""
    return (a - b).abs().mean((-1, -2))


def plain_mnist_loss(predictions: Tensor, targets: Tensor) -> Tensor:
    """The lesson's loss before it meets sigmoid."""
    return torch.where(targets == 1, 1 - predictions, predictions).mean()


def mnist_loss(predictions: Tensor, targets: Tensor) -> Tensor:
    """The lesson's loss, with sigmoid."""
    return plain_mnist_loss(predictions.sigmoid(), targets)


def batch_accuracy(xb: Tensor, yb: Tensor) -> Tensor:
    return ((xb.sigmoid() > 0.5) == yb).float().mean()


def baseline(
    train_x: Tensor, train_y: Tensor, valid_x: Tensor, valid_y: Tensor
) -> tuple[float, float, float]:
    """How many 3s and 7s lie nearer to the mean image of their own digit, and the mean of both shares."""
    is_three = [labels.squeeze(1) == 1 for labels in (train_y, valid_y)]
    images, held_out = train_x.view(-1, 28, 28), valid_x.view(-1, 28, 28)
    mean3, mean7 = images[is_three[0]].mean(0), images[~is_three[0]].mean(0)
    said_three = (mnist_distance(held_out, mean3) < mnist_distance(held_out, mean7)).float()
    threes, sevens = said_three[is_three[1]].mean(), (1 - said_three[~is_three[1]]).mean()
    return threes.item(), sevens.item(), ((threes + sevens) / 2).item()


def main() -> None:
    options = _options()
    torch.set_num_threads(options.threads)
    report = Report("digits_accuracy", "What is reached on MNIST_SAMPLE", threads=torch.get_num_threads())
    report.versions = {
        "plainlearn": plainlearn.__version__, "python": sys.version.split()[0],
        **{name: metadata.version(name) for name in ("torch", "torchvision", "numpy", "pillow")},
    }  # fmt: skip
    folder = digits_folder(options.data)
    tensors = digits_tensors(folder)
    print(f"{len(tensors[0])} training and {len(tensors[2])} validation images of {folder}", flush=True)

    for name, value, asked in zip(
        ("pixel similarity, 3s", "pixel similarity, 7s", "pixel similarity, mean"),
        baseline(*tensors), (".9168", ".9854", ".9511"), strict=True,
    ):  # fmt: skip
        _said(report.figure(name, [value], exactly=asked))
    targets, predictions = torch.tensor([1, 0, 1]), torch.tensor([0.9, 0.4, 0.2])
    _said(
        report.figure(
            "mnist_loss on the example", [plain_mnist_loss(predictions, targets).item()], exactly="0.4333"
        )
    )
    _said(report.figure("with sigmoid", [mnist_loss(predictions, targets).item()], exactly="0.4460"))

    nets = {
        "linear, 10 epochs, lr 1": (lambda: nn.Linear(784, 1), 10, 1.0, 0.965),
        "784-30-1, 40 epochs, lr 0.1": (
            lambda: nn.Sequential(nn.Linear(784, 30), nn.ReLU(), nn.Linear(30, 1)), 40, 0.1, 0.982,
        ),
    }  # fmt: skip
    for name, (make, epochs, lr, asked) in nets.items():
        reached = [_from_tensors(tensors, make, epochs, lr, seed) for seed in range(options.seeds)]
        report.figures[name] = reached
        _said(report.figure(name, reached, at_least=asked))

    reached, seconds = [], []
    for seed in range(options.resnet_seeds):
        begun = time.perf_counter()
        reached.append(_resnet(folder, seed))
        seconds.append(time.perf_counter() - begun)
        print(f"ResNet-18, seed {seed}: {reached[-1]:.4f} in {seconds[-1]:.0f} s", flush=True)
    if reached:
        _said(report.figure("ResNet-18 from scratch, one epoch", reached, at_least=0.994))
        report.figure("ResNet-18: seconds with data and model", seconds, unit="s")
    report.figures["resnet18"] = reached
    report.notes.append("n is the number of seeds; the figure is their median.")
    report.close()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=positive, default=3, help="of linear and simple (default 3)")
    parser.add_argument("--resnet-seeds", type=int, default=3, help="0 for none (default 3)")
    parser.add_argument(
        "--threads", type=positive, default=usable_cores(), help="torch's (default: the cores)"
    )
    parser.add_argument("--data", help="the folder MNIST_SAMPLE (default: from untar_data)")
    return parser.parse_args()


def _from_tensors(tensors: tuple[Tensor, ...], make: Any, epochs: int, lr: float, seed: int) -> float:
    train_x, train_y, valid_x, valid_y = tensors
    set_seed(seed)
    dls = DataLoaders(
        DataLoader(list(zip(train_x, train_y, strict=True)), batch_size=256),
        DataLoader(list(zip(valid_x, valid_y, strict=True)), batch_size=256),
    )
    learn = Learner(dls, make(), opt_func=SGD, loss_func=mnist_loss, metrics=batch_accuracy)
    with learn.no_logging():
        learn.fit(epochs, lr=lr)
    return learn.recorder.values[-1][2]


def _resnet(folder: Path, seed: int) -> float:
    set_seed(seed)
    dls = ImageDataLoaders.from_folder(folder)
    learn = vision_learner(dls, resnet18, pretrained=False, loss_func=F.cross_entropy, metrics=accuracy)
    with learn.no_logging():
        learn.fit_one_cycle(1, 0.1)
    return learn.recorder.values[-1][2]


def _said(row: Any) -> None:
    print(f"{row.what}: {row.ours:.4f} (asked {row.asked}: {row.verdict})", flush=True)


if __name__ == "__main__":
    main()
