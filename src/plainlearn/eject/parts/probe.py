"""The head fitted to features computed once: the best linear layer on them, its strength chosen by cross-validation."""

# pyright: basic
from __future__ import annotations

import time
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from plainlearn.eject.parts.given import calm_batches, loss_func, metrics, valid_batches
from plainlearn.eject.parts.table import print_header, print_row
from plainlearn.optim.lbfgs import minimise

STRENGTHS = (100.0, 10.0, 1.0, 0.1)  # strong first: each is a good start for the next


def fit_head(model: nn.Module, head: nn.Linear) -> None:
    """Make `head` the best linear layer on what reaches it of the training pictures, one pass through the body.

    Source: Kumar et al. 2022, arXiv:2202.10054, for probing before tuning.
    """
    started = time.perf_counter()
    print("The head, on features computed once:", flush=True)
    print_header()
    rows, targets = features(model, head, calm_batches())
    mean = rows.mean(0)
    centred = rows - mean
    scale = 20.0 / float(
        centred.square().sum(1).mean().sqrt().clamp_min(1e-12)
    )  # strengths mean the same for all bodies
    compact, axes = turned(centred * scale)
    coefficients = regressed(
        compact, targets, head.out_features, chosen_strength(compact, targets, head.out_features)
    )
    with torch.no_grad():
        weight = coefficients[:-1].T if axes is None else (axes @ coefficients[:-1]).T
        head.weight.copy_(weight * scale)
        head.bias.copy_(coefficients[-1] - head.weight @ mean)
        train_loss = float(loss_func(head(rows), targets))
        rows, targets = features(model, head, valid_batches())
        values = [float(function(head(rows), targets)) for function in (loss_func, *metrics)]
    print_row(0, [train_loss, *values], time.perf_counter() - started)


def features(
    model: nn.Module, head: nn.Linear, batches: Iterator[tuple[Tensor, Tensor]]
) -> tuple[Tensor, Tensor]:
    """What reaches the head of each picture, and its class."""
    caught: list[Tensor] = []
    targets: list[Tensor] = []
    hook = head.register_forward_pre_hook(lambda _, given: caught.append(given[0].float()))
    model.eval()
    with torch.no_grad():
        for xb, yb in batches:
            model(xb)
            targets.append(yb)
    hook.remove()
    return torch.cat(caught), torch.cat(targets)


def turned(rows: Tensor) -> tuple[Tensor, Tensor | None]:
    """With fewer items than features, the items in as many axes as there are items, and these axes."""
    if rows.shape[0] >= rows.shape[1]:
        return rows, None
    values, vectors = torch.linalg.eigh((rows @ rows.T).double())
    kept = values > values.max() * 1e-10
    roots = values[kept].sqrt()
    return (vectors[:, kept] * roots).float(), (rows.T.double() @ (vectors[:, kept] / roots)).float()


def chosen_strength(rows: Tensor, targets: Tensor, classes: int) -> float:
    """The strength of regularisation with the lowest loss on the items left out, in five folds."""
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(0))[:2000]
    rows, targets = rows[order], targets[order]
    by_class = torch.argsort(targets, stable=True)  # so that each fold has its share of every class
    count = min(5, len(rows))
    fold = torch.empty_like(by_class)
    fold[by_class] = torch.arange(len(rows)) % count
    losses = [0.0] * len(STRENGTHS)
    for number in range(count):
        out, start = fold == number, None
        for place, strength in enumerate(STRENGTHS):
            start = regressed(rows[~out], targets[~out], classes, strength, start)
            losses[place] += float(loss_func(rows[out] @ start[:-1] + start[-1], targets[out]))
    return STRENGTHS[losses.index(min(losses))]


def regressed(
    rows: Tensor, targets: Tensor, classes: int, strength: float, start: Tensor | None = None
) -> Tensor:
    """Coefficients (F + 1, K) of a logistic regression; the last row is the bias, which is not held back."""

    def cost(x: Tensor) -> Tensor:
        loss = loss_func(rows @ x[:-1] + x[-1], targets)
        return loss + strength / (2 * len(rows)) * x[:-1].square().sum()

    return minimise(cost, torch.zeros(rows.shape[1] + 1, classes) if start is None else start)
