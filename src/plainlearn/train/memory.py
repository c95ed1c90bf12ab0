"""Batches and memory: how large a batch may be, and what to say when one was too large."""

from __future__ import annotations

from collections.abc import Generator, Sized
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from plainlearn.core.errors import ArgumentError, DataError
from plainlearn.core.tensors import find_batch_size as count_items
from plainlearn.core.tensors import map_nest
from plainlearn.train.lr_find import Batches
from plainlearn.train.twin import twin_of

if TYPE_CHECKING:
    from plainlearn.train.loop import Learner


def find_batch_size(learner: Learner, highest: int = 1024, *, use: bool = False) -> int:
    """The largest batch, of 2, 4, 8, … up to `highest` or all training items, that a training step has memory for.

    It takes steps on a batch of the loader's, its items repeated, and changes nothing: see `lr_find`. With `use` the
    training loader's `bs` is lowered to the answer if it is larger. Leave some room: other batches may be larger.
    Raises `ArgumentError` for less than 2, `torch.OutOfMemoryError` when not even 2 items fit.
    """
    if highest < 2:
        raise ArgumentError(f"highest is {highest}; expected 2 or more items", try_="highest=1024")
    items = (
        len(dataset) if isinstance(dataset := getattr(learner.dls.train, "dataset", None), Sized) else highest
    )
    highest = max(2, min(highest, items))
    found, size = 0, 2
    with twin_of(learner) as twin:
        one: Any = next(iter(learner.dls.train), None)
        if one is None:
            raise DataError("the training loader gave no batch; expected at least one")
        while size <= highest:
            twin.dls = Batches([repeated(one, size)], getattr(learner.dls, "n_inp", None))
            try:
                twin.fit(1, 1e-6)
            except torch.OutOfMemoryError:
                if not found:
                    raise
                break
            finally:
                if learner.device.type == "cuda":
                    torch.cuda.empty_cache()
            found, size = size, size * 2
    if use and getattr(learner.dls.train, "bs", 0) > found:
        learner.dls.train.bs = found
    return found


def repeated(batch: Any, size: int) -> Any:
    """A batch of `size` items: those of `batch`, one after another, again and again."""
    rows = torch.arange(size) % count_items(batch)
    return map_nest(lambda leaf: leaf[rows.to(leaf.device)] if isinstance(leaf, Tensor) else leaf, batch)


@contextmanager
def explained(learner: Learner) -> Generator[None]:
    """What ran out of memory says, in a note, what was tried and what to do. The exception stays what it is."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        bs = getattr(learner.dls.train, "bs", None)
        of = f" with batches of {bs}" if bs else ""
        used = ""
        if learner.device.type == "cuda":
            free, total = torch.cuda.mem_get_info(learner.device)
            used = f", where {(total - free) / 2**30:.1f} of {total / 2**30:.1f} GiB are taken"
        smaller = f"bs={max(1, bs // 2)}" if bs else "a smaller batch"
        error.add_note(
            f"This happened in epoch {learner.epoch}, batch {learner.batches_done}{of}, "
            f"in {learner.precision} on {learner.device}{used}.\n"
            f"  Try {smaller} with GradientAccumulation({bs or 64}), learn.find_batch_size(use=True), or learn.to_bf16()"
        )
        raise
