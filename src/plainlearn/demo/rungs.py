"""The rungs of the lesson, from comparing pixels to a ResNet. Each is what a reader would type."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from plainlearn.core.paths import Path
from plainlearn.core.tensors import tensor
from plainlearn.data.loader import DataLoader
from plainlearn.data.loaders import DataLoaders
from plainlearn.images.load import load_image
from plainlearn.metrics import accuracy
from plainlearn.models.archs import resnet18
from plainlearn.optim import SGD
from plainlearn.train import Learner
from plainlearn.vision.learner import vision_learner
from plainlearn.vision.loaders import ImageDataLoaders


class Digits(NamedTuple):
    """The images as tensors (N, 28, 28), values 0..1."""

    threes: Tensor
    sevens: Tensor
    valid_threes: Tensor
    valid_sevens: Tensor


@dataclass
class Rung:
    """What a rung reached, and at what cost."""

    name: str
    parameters: int
    seconds: float
    accuracy: float


def load_digits(path: Path) -> Digits:
    """Every image of MNIST_SAMPLE, by folder."""

    def stacked(folder: Path) -> Tensor:
        return (
            torch.stack([tensor(load_image(file, mode="L")) for file in folder.ls().sorted()]).float() / 255
        )

    return Digits(*(stacked(path / side / digit) for side in ("train", "valid") for digit in "37"))


# ---- the baseline: how far is an image from the average 3, how far from the average 7?


def distance(a: Tensor, b: Tensor) -> Tensor:
    """The mean absolute difference of two images, over the last two axes; the rest is broadcast."""
    return (a - b).abs().mean((-1, -2))


def baseline(digits: Digits) -> tuple[float, float]:
    """The share of 3s, and of 7s, that are nearer to their own average."""
    mean3, mean7 = digits.threes.mean(0), digits.sevens.mean(0)

    def is_3(images: Tensor) -> Tensor:
        return distance(images, mean3) < distance(images, mean7)

    threes = is_3(digits.valid_threes).float().mean()
    sevens = 1 - is_3(digits.valid_sevens).float().mean()
    return threes.item(), sevens.item()


# ---- the linear classifier, everything by hand


def mnist_loss(predictions: Tensor, targets: Tensor) -> Tensor:
    """How far the squashed predictions are from their targets of 0 and 1, on average."""
    predictions = predictions.sigmoid()
    return torch.where(targets == 1, 1 - predictions, predictions).mean()


def batch_accuracy(predictions: Tensor, targets: Tensor) -> Tensor:
    """The share of predictions on the right side of one half, after the sigmoid."""
    return ((predictions.sigmoid() > 0.5) == targets).float().mean()


def as_loaders(digits: Digits, bs: int = 256) -> DataLoaders:
    """Each image a row of 784 numbers, each label 1 for a 3 and 0 for a 7."""

    def loader(threes: Tensor, sevens: Tensor) -> DataLoader:
        x = torch.cat([threes, sevens]).view(-1, 28 * 28)
        y = tensor([1] * len(threes) + [0] * len(sevens)).unsqueeze(1)
        return DataLoader(list(zip(x, y, strict=True)), batch_size=bs)

    return DataLoaders(
        loader(digits.threes, digits.sevens), loader(digits.valid_threes, digits.valid_sevens), device="cpu"
    )


def init_params(*size: int) -> Tensor:
    """Random numbers of this shape that want a gradient."""
    return torch.randn(*size).requires_grad_()


def linear_by_hand(dls: DataLoaders, epochs: int, lr: float, tell: Callable[[int, float], None]) -> float:
    """Stochastic gradient descent without a library: predict, loss, gradient, step, again."""
    weights, bias = init_params(28 * 28, 1), init_params(1)

    def linear1(xb: Tensor) -> Tensor:
        return xb @ weights + bias

    reached = 0.0
    for epoch in range(epochs):
        for xb, yb in dls.train:
            mnist_loss(linear1(xb), yb).backward()
            for parameter in (weights, bias):
                assert parameter.grad is not None
                parameter.data -= parameter.grad * lr
                parameter.grad.zero_()
        with torch.no_grad():
            right = [batch_accuracy(linear1(xb), yb) * len(xb) for xb, yb in dls.valid]
            reached = (torch.stack(right).sum() / len(dls.valid.dataset)).item()
        tell(epoch, reached)
    return reached


# ---- the same, and more, with a Learner


def linear_learner(dls: DataLoaders) -> Learner:
    """The linear classifier again, its parts from PyTorch and its loop from plainlearn."""
    return Learner(dls, nn.Linear(28 * 28, 1), mnist_loss, SGD, metrics=batch_accuracy)


def simple_net_learner(dls: DataLoaders) -> Learner:
    """Two linear layers with a ReLU between: a function that can become any function."""
    net = nn.Sequential(nn.Linear(28 * 28, 30), nn.ReLU(), nn.Linear(30, 1))
    return Learner(dls, net, mnist_loss, SGD, metrics=batch_accuracy)


def resnet_learner(path: Path) -> Learner:
    """Eighteen layers, from image files in folders."""
    dls = ImageDataLoaders.from_folder(path)
    return vision_learner(dls, resnet18, F.cross_entropy, pretrained=False, metrics=accuracy)


def parameters_of(learn: Learner) -> int:
    """How many numbers the model learns."""
    return sum(parameter.numel() for parameter in learn.model.parameters())
