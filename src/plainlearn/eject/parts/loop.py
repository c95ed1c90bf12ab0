"""The loop: validation, and training at a constant rate or in one cycle."""

from __future__ import annotations

import math
import time

import torch
from torch import nn
from torch.optim import Optimizer

from plainlearn.eject.parts.given import (
    MOMENTUM,
    STEPS_OF_EPOCH,
    loss_func,
    metrics,
    train_batches,
    valid_batches,
)
from plainlearn.eject.parts.table import print_row


def evaluate(model: nn.Module) -> list[float]:
    """The loss and each metric over the validation set; a short last batch counts for as much less."""
    values, sizes = list[list[float]](), list[int]()
    model.eval()
    with torch.no_grad():
        for xb, yb in valid_batches():
            predictions = model(xb)
            values.append([float(function(predictions, yb)) for function in (loss_func, *metrics)])
            sizes.append(len(xb))
    columns = zip(*values, strict=True)
    return [sum(v * n for v, n in zip(column, sizes, strict=True)) / sum(sizes) for column in columns]


def fit(model: nn.Module, optimizer: Optimizer, epochs: int) -> None:
    """Train at a constant learning rate; validate after each epoch."""
    mean, steps = 0.0, 0
    for epoch in range(epochs):
        started = time.perf_counter()
        model.train()
        for xb, yb in train_batches():
            loss = loss_func(model(xb), yb)  # forward: predict, and measure how wrong that is
            loss.backward()  # backward: how each weight changes the loss
            optimizer.step()  # each weight moves a little downhill
            optimizer.zero_grad()  # or the next gradients would be added to these
            # The table shows a running mean of the loss, which forgets by 0.98 a step.
            mean, steps = mean + (1 - 0.98) * (loss.item() - mean), steps + 1
        train_loss = mean / (1 - 0.98**steps)  # the mean began at 0; this takes that out again
        print_row(epoch, [train_loss, *evaluate(model)], time.perf_counter() - started)


def fit_one_cycle(
    model: nn.Module, optimizer: Optimizer, epochs: int, pct_start: float, div: float, div_final: float
) -> None:
    """The rates climb, then fall; momentum goes the other way. Source: Smith and Topin 2017, arXiv:1708.07120."""
    highest = [group["lr"] for group in optimizer.param_groups]
    mean, steps = 0.0, 0
    for epoch in range(epochs):
        started = time.perf_counter()
        model.train()
        for number, (xb, yb) in enumerate(train_batches()):
            done = (epoch + number / STEPS_OF_EPOCH) / epochs  # the share of the run, 0..1
            for group, rate in zip(optimizer.param_groups, highest, strict=True):
                group["lr"] = rate * cycle(done, pct_start, 1 / div, 1.0, 1 / div_final)
                group["momentum"] = cycle(done, pct_start, *MOMENTUM)
            loss = loss_func(model(xb), yb)  # forward: predict, and measure how wrong that is
            loss.backward()  # backward: how each weight changes the loss
            optimizer.step()  # each weight moves a little downhill
            optimizer.zero_grad()  # or the next gradients would be added to these
            # The table shows a running mean of the loss, which forgets by 0.98 a step.
            mean, steps = mean + (1 - 0.98) * (loss.item() - mean), steps + 1
        train_loss = mean / (1 - 0.98**steps)  # the mean began at 0; this takes that out again
        print_row(epoch, [train_loss, *evaluate(model)], time.perf_counter() - started)


def cycle(done: float, pct_start: float, start: float, middle: float, end: float) -> float:
    """From `start` to `middle` in the first `pct_start` of the run, then to `end`, each along half a cosine wave."""
    share = done / pct_start
    if done >= pct_start:
        start, middle, share = middle, end, min((done - pct_start) / (1.0 - pct_start), 1.0)
    return start + (1 + math.cos(math.pi * (1 - share))) * (middle - start) / 2
