"""A dataset of blocks: item number in, one encoded value a block out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np

from plainlearn.core.errors import DataError
from plainlearn.core.lists import L
from plainlearn.data.blocks import Block
from plainlearn.data.label import ColReader
from plainlearn.data.transform import Transform, for_side

Getter = Callable[[Any], Any]


class BlockDataset:
    """The items of one side of a split, as tuples with a value for each block.

    `dataset[i]` opens item i, applies the item transforms that belong to this side, and encodes.
    `values(k)` gives what getter k says of every item, without opening any.
    """

    def __init__(
        self,
        items: Sequence[Any],
        blocks: Sequence[Block],
        getters: Sequence[Getter],
        *,
        n_inp: int,
        side: int = 0,
        item_tfms: Sequence[Transform] = (),
        placing: bool = False,
    ) -> None:
        self.items, self.blocks, self.getters = L(items), tuple(blocks), tuple(getters)
        self.n_inp, self.side = n_inp, side
        self.item_tfms = for_side(item_tfms, side)
        #: Whether things wait, placed, for transforms of whole batches; see `Block.place`.
        self.placing = placing or bool(self.item_tfms)

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        return self.draw(index, np.random.default_rng())

    def draw(self, index: int, rng: np.random.Generator) -> tuple[Any, ...]:
        """Item `index`, with whatever is random in it taken from `rng`."""
        things = self.opened(index)
        if self.placing:
            things = self.placed(things)
        for transform in self.item_tfms:
            things = transform.on_items(things, self.blocks, rng, train=self.side == 0)
        return tuple(block.encode(thing) for block, thing in zip(self.blocks, things, strict=True))

    def opened(self, index: int) -> tuple[Any, ...]:
        """The things of item `index` as they are in the files, before any transform."""
        item = self.items[index]
        try:
            return tuple(
                block.open(getter(item)) for block, getter in zip(self.blocks, self.getters, strict=True)
            )
        except Exception as error:
            error.add_note(f"the item is {item!r}")
            raise

    def placed(self, things: tuple[Any, ...]) -> tuple[Any, ...]:
        """The things with a place in the sample's picture, ready for geometry."""
        frames = [block.frame(thing) for block, thing in zip(self.blocks, things, strict=True)]
        frame = next((size for size in frames if size is not None), None)
        if frame is None:
            return things
        return tuple(block.place(thing, frame) for block, thing in zip(self.blocks, things, strict=True))

    def values(self, position: int) -> L[Any]:
        """What the getter of block `position` gives for every item."""
        return self.items.map(self.getters[position])

    def decode(self, sample: Sequence[Any]) -> tuple[Any, ...]:
        """A sample as people read it: images as arrays, labels as names."""
        return tuple(block.decode(value) for block, value in zip(self.blocks, sample, strict=True))

    @property
    def vocab(self) -> L[Any] | L[L[Any]]:
        """The vocabulary of the target; of several targets, a list of each one's."""
        known = [block.vocab for block in self.blocks[self.n_inp :] if block.vocab is not None]
        if not known:
            names = ", ".join(block.name for block in self.blocks)
            raise DataError(f"no target here has a vocabulary; the blocks are {names}")
        return known[0] if len(known) == 1 else L(known)

    def counts(self) -> dict[Any, int]:
        """How often each class of the target occurs here, in the order of the vocabulary."""
        for position in range(self.n_inp, len(self.blocks)):
            vocab = self.blocks[position].vocab
            if vocab is None:
                continue
            found: Counter[Any] = Counter()
            for value in self.values(position):
                many = isinstance(value, (list, tuple))
                found.update(cast("Sequence[Any]", value) if many else [value])
            return {label: found[label] for label in vocab}
        raise DataError("no target here has classes to count")

    def __repr__(self) -> str:
        return f"{len(self)} items of ({', '.join(block.name for block in self.blocks)})"


class Datasets:
    """Training and validation datasets of one source, with the blocks that they share."""

    def __init__(self, train: BlockDataset, valid: BlockDataset) -> None:
        self.train, self.valid = train, valid

    @classmethod
    def from_items(
        cls,
        items: Any,
        blocks: Sequence[Block],
        getters: Sequence[Getter],
        splits: tuple[Sequence[int], Sequence[int]],
        *,
        n_inp: int,
        item_tfms: Sequence[Transform] = (),
        placing: bool = False,
    ) -> Datasets:
        """Split `items`, let the blocks learn from the training side, and check the validation side against it.

        Raises `DataError` for labels that only validation has, before anything is trained.
        """
        rows = _rows_of(items)
        train_items, valid_items = (L([rows(index) for index in side]) for side in splits)
        learned = [
            block.setup(train_items.map(getter)) if _learns(block) else block
            for block, getter in zip(blocks, getters, strict=True)
        ]
        for block, getter in zip(learned, getters, strict=True):
            _check_validation(block, getter, valid_items)
        return cls(
            *(
                BlockDataset(
                    side_items, learned, getters, n_inp=n_inp, side=side, item_tfms=item_tfms, placing=placing
                )
                for side, side_items in enumerate((train_items, valid_items))
            )
        )

    @property
    def vocab(self) -> L[Any] | L[L[Any]]:
        return self.train.vocab

    def __getitem__(self, index: int) -> BlockDataset:
        return (self.train, self.valid)[index]

    def __repr__(self) -> str:
        return f"Datasets(train: {self.train}, valid: {self.valid})"


def _learns(block: Block) -> bool:
    return type(block).setup is not Block.setup


def _check_validation(block: Block, getter: Getter, items: L[Any]) -> None:
    """Every validation value must be one that the block can encode. Blocks that cannot tell cheaply say nothing."""
    if type(block).check is Block.check:
        return
    bad = [(item, reason) for item in items if (reason := block.check(getter(item)))]
    if bad:
        item, reason = bad[0]
        raise DataError(
            f"{len(bad)} validation items cannot be used; the first is {item!r}: {reason} learned from training",
            try_="a split in which training has every label, or vocab= with all of them",
        )


def _rows_of(items: Any) -> Callable[[int], Any]:
    """How to take one item: the row of a table, or the element of a list."""
    return items.iloc.__getitem__ if hasattr(items, "iloc") else items.__getitem__


def reader(column: Any) -> Getter:
    """A getter from what a person writes: a function, or the name or number of a column."""
    return column if callable(column) else ColReader(column)
