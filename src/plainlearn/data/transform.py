"""Transforms: what may happen to a sample on its way, as plain data that says where and when it acts."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeAlias, cast

import numpy as np

from plainlearn.core.describe import describe
from plainlearn.core.errors import ArgumentTypeError
from plainlearn.data.stages import Field, Thing

if TYPE_CHECKING:
    from plainlearn.data.blocks import Block

#: A side, or (height, width).
Size = int | tuple[int, int]


class Transform:
    """The base of transforms; each is a frozen dataclass that prints itself and compares.

    `split_idx` says when it acts: 0 in training, 1 in validation, None in both. It sees whole samples,
    so that one draw moves an image, its mask and its points alike. `on_items` acts on the opened things
    of one item, `on_batch` on the fields of a batch; what is random comes from `rng`.

    `order` says when, beside others: geometry (0), light (10), finished pixels (20), normalisation (30).
    So a list may be written in any order, and none finds its work undone; equals keep the list's.
    """

    split_idx: ClassVar[int | None] = None
    order: ClassVar[int] = 20

    def acts_on(self, side: int) -> bool:
        """Whether it acts in training (0), in validation (1)."""
        return self.split_idx in (None, side)

    @property
    def learns(self) -> bool:
        """Whether it has yet to see a training batch; see `setup`."""
        return False

    def setup(self, batch: tuple[Field, ...], blocks: Sequence[Block]) -> Self:
        """The transform for data of which this is a training batch, as those before it leave it."""
        return self

    def on_items(
        self, things: tuple[Thing, ...], blocks: Sequence[Block], rng: np.random.Generator, *, train: bool
    ) -> tuple[Any, ...]:
        raise ArgumentTypeError(f"{self!r} acts on batches only", try_="batch_tfms= instead of item_tfms=")

    def on_batch(
        self, batch: tuple[Field, ...], blocks: Sequence[Block], rng: np.random.Generator, *, train: bool
    ) -> tuple[Any, ...]:
        raise ArgumentTypeError(f"{self!r} acts on items only", try_="item_tfms= instead of batch_tfms=")

    def decode(self, batch: tuple[Field, ...], blocks: Sequence[Block]) -> tuple[Any, ...]:
        """Undo on a finished batch what hides it from the eye, such as normalisation."""
        return batch


@dataclass(frozen=True)
class Function(Transform):
    """A function of a person's own, from a tuple to a tuple of as many.

    As item transform it gets the opened things of a sample (arrays, labels), before any geometry. As batch
    transform it gets the finished tensors: images (N, C, h, w) of 0..1, before normalisation.
    """

    function: Callable[[tuple[Any, ...]], tuple[Any, ...]]

    def on_items(
        self, things: tuple[Thing, ...], blocks: Sequence[Block], rng: np.random.Generator, *, train: bool
    ) -> tuple[Any, ...]:
        return self._called(tuple(_own(thing) for thing in things))

    def on_batch(
        self, batch: tuple[Field, ...], blocks: Sequence[Block], rng: np.random.Generator, *, train: bool
    ) -> tuple[Any, ...]:
        from plainlearn.data.blocks import finished  # with torch, which whoever hands over tensors has loaded

        return self._called(
            tuple(finished(block, field) for block, field in zip(blocks, batch, strict=False))
        )

    def _called(self, fields: tuple[Any, ...]) -> tuple[Any, ...]:
        result: Any = self.function(fields)
        if not isinstance(result, (tuple, list)) or len(cast("Sequence[Any]", result)) != len(fields):
            raise ArgumentTypeError(
                f"{self!r} got {len(fields)} fields and gave {describe(result)}; expected a tuple of as many",
                try_="lambda batch: (change(batch[0]), *batch[1:])",
            )
        return tuple(cast("Sequence[Any]", result))

    def __repr__(self) -> str:
        return f"Function({getattr(self.function, '__name__', self.function)!s})"


def _own(thing: Any) -> Any:
    """The thing, which its function may change: not one that a cache keeps for others."""
    return np.require(cast(Any, thing), requirements="W") if isinstance(thing, np.ndarray) else thing


TransformLike: TypeAlias = Transform | type[Transform] | Callable[[tuple[Any, ...]], tuple[Any, ...]]
"""A transform as people write it: with its settings, as a class without any, or as a function of their own."""
Transforms: TypeAlias = TransformLike | Sequence[TransformLike] | None
"""Transforms as people write them: one, several, none."""


def as_transforms(given: Transforms, name: str) -> tuple[Transform, ...]:
    """A tuple of transforms from what a person writes.

    Raises `ArgumentTypeError` for what is none, and for one that cannot act there: `name` is "item_tfms",
    "batch_tfms" or another word.
    """
    if given is None:
        return ()
    listed = list(cast("list[Any]", given)) if isinstance(given, (list, tuple)) else [given]
    made: list[Transform] = []
    for each in listed:
        if isinstance(each, Transform):
            made.append(each)
        elif isinstance(each, type) and issubclass(cast("type[Any]", each), Transform):
            made.append(_without_arguments(cast("type[Transform]", each), name))
        elif callable(each):
            made.append(Function(cast("Callable[[tuple[Any, ...]], tuple[Any, ...]]", each)))
        else:
            raise ArgumentTypeError(f"{name} has {each!r}; expected transforms", try_=f"{name}=Resize(224)")
    for each in made:
        if name == "item_tfms" and type(each).on_items is Transform.on_items:
            raise ArgumentTypeError(
                f"{each!r} acts on batches only", try_="batch_tfms= instead of item_tfms="
            )
        if name == "batch_tfms" and type(each).on_batch is Transform.on_batch:
            raise ArgumentTypeError(f"{each!r} acts on items only", try_="item_tfms= instead of batch_tfms=")
    return tuple(made)


def _without_arguments(kind: type[Transform], name: str) -> Transform:
    try:
        return kind()
    except TypeError as error:  # which names the arguments, as only the class knows them
        raise ArgumentTypeError(
            f"{name} has the class {kind.__name__}, which cannot be made without arguments: {error}",
            try_=f"{name}={kind.__name__}(…)",
        ) from error


def for_side(transforms: Sequence[Transform], side: int) -> tuple[Transform, ...]:
    """Those that act on this side, 0 training or 1 validation, in the order in which each can."""
    return tuple(
        sorted((each for each in transforms if each.acts_on(side)), key=lambda transform: transform.order)
    )


def at_size(transforms: Sequence[Transform], size: Size) -> tuple[Transform, ...]:
    """The transforms, with those that set a size set to this one; a side, or (height, width)."""
    return tuple(
        cast(Transform, dataclasses.replace(cast(Any, each), size=size)) if sets_size(each) else each
        for each in transforms
    )


def sets_size(transform: Transform) -> bool:
    """Whether a transform brings what it acts on to a size of its own."""
    return getattr(transform, "size", None) is not None
