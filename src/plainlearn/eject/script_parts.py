"""What a script needs beside the library's own definitions, and its reader need not see: it stands in the second file too."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from plainlearn.optim.groups import parameter_groups
from plainlearn.train.features import Features
from plainlearn.train.progress import aligned, clock, shown_number


def freeze_all_but(model: nn.Module, learn: str | tuple[str, ...]) -> None:
    """Let only the parameters learn whose names begin so."""
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name.startswith(learn))


def grouped(
    model: nn.Module, depths: list[tuple[str, ...]], rates: list[float], weight_decay: float
) -> list[dict[str, Any]]:
    """The optimizer's groups: depths, told by how names begin, each with a rate of its own."""
    named = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
    parameters = [[parameter for name, parameter in named if name.startswith(depth)] for depth in depths]
    return [{**group, "lr": rates[group["depth"]]} for group in parameter_groups(parameters, weight_decay)]


def print_row(metrics: Iterable[str], epoch: int, values: list[float], seconds: float) -> None:
    """A row of the table, with the first its head."""
    names = ["epoch", "train_loss", "valid_loss", *metrics, "time"]
    if epoch == 0:
        print(aligned(names, names), flush=True)
    print(aligned([str(epoch), *map(shown_number, values), clock(seconds)], names), flush=True)


def features(model: nn.Module, layer: nn.Module, batches: Iterable[tuple[Tensor, Tensor]]) -> Features:
    """What reaches a layer of each item, and the item's class."""
    caught, targets = list[Tensor](), list[Tensor]()
    hook = layer.register_forward_pre_hook(lambda _, given: caught.append(given[0]))
    model.eval()
    with torch.no_grad():
        for xb, yb in batches:
            model(xb)
            targets.append(yb)
    hook.remove()
    return Features(torch.cat(caught), torch.cat(targets))
