"""What a script says about its data, and small pieces of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray
from torch import Tensor

from plainlearn.core.errors import ArgumentError
from plainlearn.data.loader import DataLoader
from plainlearn.eject.text import Piece


@dataclass
class DataCode:
    """The code of the data: settings, own definitions, statements that load; arrays and a table beside the script."""

    settings: list[str] = field(default_factory=list[str])
    definitions: dict[str, Piece] = field(default_factory=dict[str, Piece])
    load: list[str] = field(default_factory=list[str])
    arrays: dict[str, NDArray[Any]] = field(default_factory=dict[str, NDArray[Any]])
    table: str = ""


def seed_lines(loader: DataLoader) -> list[str]:
    """The lines of a function that set `seed` for one epoch."""
    if loader.seed is None:
        return ["seed = new_seed()"]
    return ["global epochs_begun", f"seed = {loader.seed} * 1_000_003 + epochs_begun", "epochs_begun += 1"]


def shuffled(items: str) -> str:
    """An expression for the places of `items` in a random order that `seed` repeats."""
    return f"torch.randperm(len({items}), generator=torch.Generator().manual_seed(seed))"


def function(name: str, says: str, lines: list[str]) -> str:
    """The source of a function that gives batches."""
    body = "\n".join(f"    {line}" for line in lines)
    return f'def {name}() -> Batches:\n    """{says}"""\n{body}\n\n\n'


def as_array(tensor: Tensor, what: str) -> NDArray[Any]:
    """The tensor for a file of arrays. Raises `ArgumentError` for a kind of number that numpy lacks."""
    try:
        return tensor.detach().cpu().numpy()
    except TypeError as error:
        raise ArgumentError(
            f"{what} holds {tensor.dtype}, which a file of arrays cannot", try_="float32"
        ) from error
