"""What a script spells out for its reader: the data, the loop and its table. These definitions are copied into its first file.

What they use of the library is copied too, into the second.
"""

from __future__ import annotations

import csv
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from plainlearn.augment.pending import PendingImage
from plainlearn.augment.transforms import decode_for, decoded_frame
from plainlearn.data.reading import generator
from plainlearn.data.transform import Transform, for_side
from plainlearn.eject.script_parts import features, print_row
from plainlearn.images.image_decoder import ImageDecoder
from plainlearn.metrics.meter import weighted_mean
from plainlearn.optim.optimizers import set_momentum
from plainlearn.optim.schedules import Schedule
from plainlearn.train.probe import fit_linear
from plainlearn.train.recorder import Smoothed

Batch = tuple[Tensor, Tensor]
Function = Callable[[Tensor, Tensor], Tensor]

# ---- the data


#: What a transform asks of each field of a batch. Here it is given the pictures alone.
FIELDS: Any = (SimpleNamespace(name="the picture", geometry="image"),)


class Pictures:
    """The pictures of one `side` of a table that lie below a folder. `train` says whether what is random acts on them.

    A transform touches no pixel: it says where each pixel of its output looks in its input. These maps are multiplied,
    and each picture is read once, at the end.
    """

    def __init__(
        self,
        table: Path,
        side: str,
        folder: Path,
        decoder: ImageDecoder,
        item_tfms: Sequence[Transform],
        batch_tfms: Sequence[Transform],
        train: bool,
    ) -> None:
        with table.open(encoding="utf-8", newline="") as lines:
            rows = [row for row in csv.DictReader(lines) if row["side"] == side]
        self.files = [folder / row["file"] for row in rows]
        self.targets = [int(row["target"]) for row in rows]
        self.decoder, self.train = decoder, train
        self.item_tfms, self.batch_tfms = (
            for_side(each, 0 if train else 1) for each in (item_tfms, batch_tfms)
        )

    def batch(self, rows: Tensor, first: int, number: int, seed: int) -> Batch:
        """These pictures: batch `number` of an epoch, behind its `first` pictures. What is random comes of `seed`."""
        chosen = [int(row) for row in rows]
        parts: list[Any] = []
        for place, row in enumerate(chosen, first):
            pixels = decode_for(self.item_tfms, self.decoder, self.files[row], train=self.train)
            picture, size, maps = decoded_frame(pixels)
            fields: Any = (PendingImage([picture], np.array([size]), maps),)
            rng = generator(0, seed, place)
            for transform in self.item_tfms:
                fields = transform.on_items(fields, FIELDS, rng, train=self.train)
            parts += fields
        fields = (PendingImage.joined(parts, [str(self.files[row]) for row in chosen]),)
        rng = generator(1, seed, number)
        for transform in self.batch_tfms:
            fields = transform.on_batch(fields, FIELDS, rng, train=self.train)
        x = fields[0].read() if isinstance(fields[0], PendingImage) else fields[0]
        return x, torch.tensor([self.targets[row] for row in chosen])


@dataclass(frozen=True)
class Loader:
    """Batches of `size` of `items` items, in their order or in a new random one each epoch; `batch` makes each."""

    items: int
    batch: Callable[[Tensor, int, int, int], Batch]
    size: int
    seeds: Iterator[int]
    shuffle: bool = False
    drop_last: bool = False

    def __len__(self) -> int:
        return self.items // self.size if self.drop_last else -(-self.items // self.size)

    def __iter__(self) -> Iterator[Batch]:
        seed = next(self.seeds)  # of this epoch
        order = torch.arange(self.items)
        if self.shuffle:
            order = torch.randperm(self.items, generator=torch.Generator().manual_seed(seed))
        for number in range(len(self)):
            first = number * self.size
            yield self.batch(order[first : first + self.size], first, number, seed)


# ---- the loop


class Task(NamedTuple):
    """What a model is trained on and measured by: batches, the loss, and metrics by their names."""

    train: Loader
    valid: Loader
    loss_func: Function
    metrics: Mapping[str, Function]


def evaluate(model: nn.Module, task: Task, batches: Iterable[Batch]) -> list[float]:
    """The loss and each metric over the batches; a short last one counts for as much less."""
    values, sizes = list[list[Tensor]](), list[int]()
    model.eval()
    with torch.no_grad():
        for xb, yb in batches:
            predictions = model(xb)
            values.append(
                [function(predictions, yb) for function in (task.loss_func, *task.metrics.values())]
            )
            sizes.append(len(xb))
    return [weighted_mean(column, sizes) for column in zip(*values, strict=True)]


def fit(
    model: nn.Module,
    optimizer: Optimizer,
    task: Task,
    epochs: int,
    schedule: Callable[[float], None] | None = None,
) -> None:
    """Train, and validate after each epoch. `schedule` is told how much of the run is done, 0..1, before each step."""
    smoothed = Smoothed()
    for epoch in range(epochs):
        started = time.perf_counter()
        model.train()
        for number, (xb, yb) in enumerate(task.train):
            if schedule:
                schedule((epoch + number / len(task.train)) / epochs)
            loss = task.loss_func(model(xb), yb)  # forward: predict, and measure how wrong that is
            loss.backward()  # backward: how each weight changes the loss
            optimizer.step()  # each weight moves a little downhill
            optimizer.zero_grad()  # or the next gradients would be added to these
            smoothed.add(loss.item())
        values = [smoothed.value, *evaluate(model, task, task.valid)]
        print_row(task.metrics, epoch, values, time.perf_counter() - started)


def scheduled(
    optimizer: Optimizer, factor: Schedule, momentum: Schedule | None = None
) -> Callable[[float], None]:
    """Moves each group's rate, by a factor of its own, and the momentum, as functions of how much of a run is done."""
    rates = [group["lr"] for group in optimizer.param_groups]

    def move(done: float) -> None:
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate * factor(done)
            if momentum is not None:
                set_momentum(group, momentum(done))

    return move


def fit_head(model: nn.Module, head: Any, task: Task, unaugmented: Loader) -> None:
    """Make `head` the best linear layer on what reaches it (probing before tuning: Kumar et al., arXiv:2202.10054)."""
    started = time.perf_counter()
    print("The head, on features computed once:", flush=True)
    train = features(model, head, unaugmented)
    layer, _, _ = fit_linear(train, head.out_features, task.loss_func)
    with torch.no_grad():
        head.weight.copy_(layer.weight)
        head.bias.copy_(layer.bias)
    valid = features(model, head, task.valid)
    train_loss = evaluate(head, task, [(train.rows, train.targets)])[0]
    values = [train_loss, *evaluate(head, task, [(valid.rows, valid.targets)])]
    print_row(task.metrics, 0, values, time.perf_counter() - started)
