"""Transforms: what may happen to a sample on its way, as plain data that says where and when it acts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, cast

import numpy as np

from plainlearn.core.errors import ArgumentTypeError
from plainlearn.data.blocks import Block


class Transform:
    """The base of transforms; each is a frozen dataclass that prints itself and compares.

    `split_idx` says when it acts: 0 in training, 1 in validation, None in both. It sees whole samples,
    so that one draw moves an image, its mask and its points alike. `on_items` acts on the opened things
    of one item, `on_batch` on the fields of a batch; what is random comes from `rng`.
    """

    split_idx: ClassVar[int | None] = None

    def on_items(
        self, things: tuple[Any, ...], blocks: Sequence[Block], rng: np.random.Generator, *, train: bool
    ) -> tuple[Any, ...]:
        raise ArgumentTypeError(f"{self!r} acts on batches only", try_="batch_tfms= instead of item_tfms=")

    def on_batch(
        self, batch: tuple[Any, ...], blocks: Sequence[Block], rng: np.random.Generator, *, train: bool
    ) -> tuple[Any, ...]:
        raise ArgumentTypeError(f"{self!r} acts on items only", try_="item_tfms= instead of batch_tfms=")

    def decode(self, batch: tuple[Any, ...], blocks: Sequence[Block]) -> tuple[Any, ...]:
        """Undo on a finished batch what hides it from the eye, such as normalisation."""
        return batch


class Function(Transform):
    """A function of a person's own: of the sample's things as item transform, of the batch as batch transform."""

    def __init__(self, function: Callable[[tuple[Any, ...]], tuple[Any, ...]]) -> None:
        self.function = function

    def on_items(
        self, things: tuple[Any, ...], blocks: Sequence[Block], rng: np.random.Generator, *, train: bool
    ) -> tuple[Any, ...]:
        return self.function(things)

    def on_batch(
        self, batch: tuple[Any, ...], blocks: Sequence[Block], rng: np.random.Generator, *, train: bool
    ) -> tuple[Any, ...]:
        return self.function(batch)

    def __repr__(self) -> str:
        return f"Function({getattr(self.function, '__name__', self.function)!s})"


def as_transforms(given: Any, name: str) -> tuple[Transform, ...]:
    """A tuple of transforms from what a person writes: one, a list, a class, a function, nothing."""
    if given is None:
        return ()
    listed = list(cast("list[Any]", given)) if isinstance(given, (list, tuple)) else [given]
    made: list[Transform] = []
    for each in listed:
        if isinstance(each, Transform):
            made.append(each)
        elif isinstance(each, type) and issubclass(each, Transform):
            made.append(each())
        elif callable(each):
            made.append(Function(cast("Callable[[tuple[Any, ...]], tuple[Any, ...]]", each)))
        else:
            raise ArgumentTypeError(f"{name} has {each!r}; expected transforms", try_=f"{name}=Resize(224)")
    return tuple(made)


def for_side(transforms: Sequence[Transform], side: int) -> tuple[Transform, ...]:
    """Those that act on this side: 0 training, 1 validation."""
    return tuple(transform for transform in transforms if transform.split_idx in (None, side))
