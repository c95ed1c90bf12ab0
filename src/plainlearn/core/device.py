"""Where to compute: the best device, or the one that was asked for; and the share of each of several processes."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Iterator
from typing import TypeVar, cast

import torch

from plainlearn.core.errors import ArgumentError

__all__ = ["default_device", "shard_round_robin"]

T = TypeVar("T")


def default_device(use: bool | str | torch.device | None = None) -> torch.device:
    """CUDA if the machine has it, else Apple's MPS, else the CPU; or the device that `use` asks for.

    `use=True` insists on an accelerator, `use=False` on the CPU. A CUDA device comes with its number,
    so that it equals the `.device` of a tensor there. Raises `ArgumentError` if the device is not here.

    >>> default_device(use=False)
    device(type='cpu')
    """
    if use is False:
        return torch.device("cpu")
    if use is None or use is True:
        found = _best_device()
        if use and found.type == "cpu":
            raise ArgumentError("use=True asks for an accelerator; this machine has none that torch can use")
        return found
    return _asked_device(use)


def _best_device() -> torch.device:
    if torch.cuda.is_available():
        _take_own_gpu()
        return torch.device("cuda", torch.cuda.current_device())
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def _take_own_gpu() -> None:
    """Of several processes on this machine, as torchrun starts them, each uses the GPU of its number."""
    number, gpus = os.environ.get("LOCAL_RANK", ""), torch.cuda.device_count()
    if not number.isdigit():
        return
    if int(number) >= gpus:
        raise ArgumentError(
            f"this is process {int(number) + 1} of this machine, and torch finds {gpus} GPUs; expected one each",
            try_=f"torchrun --nproc-per-node={gpus}",
        )
    torch.cuda.set_device(int(number))


def _asked_device(use: str | torch.device) -> torch.device:
    try:
        asked = torch.device(use)
    except RuntimeError as error:
        raise ArgumentError(
            f"device {use!r} is not one that torch knows", try_="'cuda', 'mps' or 'cpu'"
        ) from error
    if asked.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        index = cast("int | None", asked.index)
        if index is None:
            index = torch.cuda.current_device() if count else 0
        if index >= count:
            raise ArgumentError(
                f"device {use} is not here: torch finds {count} CUDA devices", try_="use=None"
            )
        return torch.device("cuda", index)
    if asked.type == "mps" and not torch.backends.mps.is_available():
        raise ArgumentError("device mps is not here: torch finds none", try_="use=None")
    return asked


def shard_round_robin(things: Iterable[T], rank: int, size: int, *, whole_rounds: bool) -> Iterator[T]:
    """Of every `size` things number `rank`; `whole_rounds` leaves out a last round that is not full.

    >>> list(shard_round_robin("abcde", 0, 2, whole_rounds=True))
    ['a', 'c']
    """
    each = iter(things)
    while round_ := list(itertools.islice(each, size)):
        if rank < len(round_) and not (whole_rounds and len(round_) < size):
            yield round_[rank]
