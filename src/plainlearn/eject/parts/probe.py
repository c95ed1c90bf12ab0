"""The head fitted to features computed once: the best linear layer on them, its strength chosen by cross-validation."""

# pyright: basic
from __future__ import annotations

import time

import torch
from torch import Tensor, nn

from plainlearn.eject.parts.given import loss_func, metrics, unaugmented_batches, valid_batches
from plainlearn.eject.parts.kinds import Batches
from plainlearn.eject.parts.table import print_row

STRENGTHS = (100.0, 10.0, 1.0, 0.1)  # strong first: each is a good start for the next


def fit_head(model: nn.Module, head: nn.Linear) -> None:
    """Make `head` the best linear layer on what reaches it (probing before tuning: Kumar et al., arXiv:2202.10054)."""
    started = time.perf_counter()
    print("The head, on features computed once:", flush=True)
    rows, targets = features(model, head, unaugmented_batches())
    mean = rows.mean(0)
    # Brought to one scale, so that strengths mean the same for all bodies.
    scale = 20.0 / float((rows - mean).square().sum(1).mean().sqrt())
    scaled, zeros = (rows - mean) * scale, torch.zeros(head.in_features + 1, head.out_features)
    coefficients = regressed(scaled, targets, chosen_strength(scaled, targets, zeros), zeros)
    with torch.no_grad():
        head.weight.copy_(coefficients[:-1].T * scale)
        head.bias.copy_(coefficients[-1] - head.weight @ mean)
        train_loss = float(loss_func(head(rows), targets))
        rows, targets = features(model, head, valid_batches())
        values = [float(function(head(rows), targets)) for function in (loss_func, *metrics)]
    print_row(0, [train_loss, *values], time.perf_counter() - started)


def features(model: nn.Module, head: nn.Module, batches: Batches) -> tuple[Tensor, Tensor]:
    """What reaches the head of each picture, and its class."""
    caught, targets = list[Tensor](), list[Tensor]()
    hook = head.register_forward_pre_hook(lambda _, given: caught.append(given[0]))
    model.eval()
    with torch.no_grad():
        for xb, yb in batches:
            model(xb)
            targets.append(yb)
    hook.remove()
    return torch.cat(caught), torch.cat(targets)


def chosen_strength(rows: Tensor, targets: Tensor, zeros: Tensor) -> float:
    """The strength of regularisation with the lowest loss on the items left out, in five folds."""
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(0))[:2000]
    rows, targets = rows[order], targets[order]
    fold = targets.argsort(stable=True).argsort() % 5  # each has its share of every class
    losses = dict.fromkeys(STRENGTHS, 0.0)
    for number in range(min(5, len(rows))):
        out, x = fold == number, zeros
        for strength in STRENGTHS:
            x = regressed(rows[~out], targets[~out], strength, x)
            losses[strength] += float(loss_func(rows[out] @ x[:-1] + x[-1], targets[out]))
    return min(STRENGTHS, key=losses.__getitem__)


def regressed(rows: Tensor, targets: Tensor, strength: float, start: Tensor) -> Tensor:
    """Coefficients (F + 1, K) of a logistic regression; the last row is the bias, which is not held back."""
    x = start.clone().requires_grad_()
    optimizer = torch.optim.LBFGS([x], max_iter=100, tolerance_grad=1e-3, line_search_fn="strong_wolfe")

    def cost() -> Tensor:
        optimizer.zero_grad()
        loss = loss_func(rows @ x[:-1] + x[-1], targets) + strength / (2 * len(rows)) * x[:-1].square().sum()
        loss.backward()
        return loss

    optimizer.step(cost)
    return x.detach()
