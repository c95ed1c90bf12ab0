"""A dataset of blocks: item number in, one encoded value a block out."""

from __future__ import annotations

import copy
import os
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Self, cast

import numpy as np
import torch

from plainlearn.core.errors import DataError
from plainlearn.core.lists import L
from plainlearn.data.blocks import Block
from plainlearn.data.label import ColReader
from plainlearn.data.transform import Function, Size, Transform, at_size, for_side
from plainlearn.datasets.shards import nearby_order

Getter = Callable[[Any], Any]

_NOT_DRAWN_FROM = np.random.default_rng(0)


class Sample(tuple[Any, ...]):
    """An item's encoded values, one a block, and the `item` itself, so that an error about a batch can name it."""

    item: Any

    @classmethod
    def of(cls, item: Any, values: Sequence[Any]) -> Sample:
        made = cls(values)
        made.item = item
        return made


class BlockDataset:
    """The items of one side of a split, as tuples with a value for each block.

    `dataset[i]` opens item i, applies the item transforms that belong to this side, and encodes: plain
    tensors. `values(k)` gives what getter k says of every item, without opening any.
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
        #: Functions of the user's own see things as they are opened; the other transforms move them.
        self.functions = tuple(each for each in self.item_tfms if isinstance(each, Function))
        self.moves = tuple(each for each in self.item_tfms if not isinstance(each, Function))
        measured = any(block.geometry in ("mask", "points", "boxes") for block in self.blocks)
        #: Whether things get a place in their sample's picture; see `Block.place`.
        self.placing = placing or bool(self.moves) or measured

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Sample:
        if not self.placing and not self.item_tfms:
            return self.sample(index, _NOT_DRAWN_FROM)
        sample = self.sample(index, fresh_generator())
        parts = zip(self.blocks, sample, strict=True)
        settled = [block.materialize(block.gather([part], [sample.item]))[0] for block, part in parts]
        return Sample.of(sample.item, settled)

    def sample(self, index: int, rng: np.random.Generator) -> Sample:
        """Item `index`, with whatever is random in it taken from `rng`; what is placed still waits to be read."""
        item = self.items[index]
        try:
            things = self.drafted(index)
            for function in self.functions:
                things = function.on_items(things, self.blocks, rng, train=self.side == 0)
            if self.placing:
                things = self.placed(things)
            for transform in self.moves:
                things = transform.on_items(things, self.blocks, rng, train=self.side == 0)
            return Sample.of(
                item, [block.encode(thing) for block, thing in zip(self.blocks, things, strict=True)]
            )
        except Exception as error:
            error.add_note(f"the item is {shown(item)}")
            raise

    def opened(self, index: int) -> tuple[Any, ...]:
        """The things of item `index` as they are in the files, before any transform."""
        item = self.items[index]
        return tuple(
            block.open(getter(item)) for block, getter in zip(self.blocks, self.getters, strict=True)
        )

    def drafted(self, index: int) -> tuple[Any, ...]:
        """The same, without what the transforms leave nobody to see."""
        item = self.items[index]
        return tuple(
            self.draft(block, getter(item)) for block, getter in zip(self.blocks, self.getters, strict=True)
        )

    def draft(self, block: Block, value: Any) -> Any:
        """What `block` opens of a value for the transforms here: all of it if functions look at it first."""
        return block.open(value) if self.functions else block.draft(value, self.moves, train=self.side == 0)

    def placed(self, things: tuple[Any, ...]) -> tuple[Any, ...]:
        """The things with a place in the sample's picture, ready for geometry."""
        frames = [block.frame(thing) for block, thing in zip(self.blocks, things, strict=True)]
        frame = next((size for size in frames if size is not None), None)
        if frame is None:
            return things
        placed = [block.place(thing, frame) for block, thing in zip(self.blocks, things, strict=True)]
        return tuple(
            block.link_fields(thing, placed) for block, thing in zip(self.blocks, placed, strict=True)
        )

    def values(self, position: int) -> L[Any]:
        """What the getter of block `position` gives for every item."""
        return L(_values(self.items, self.getters[position]))

    def at_size(self, size: Size) -> Self:
        """The same items, brought to another size by the transforms that set one."""
        other = copy.copy(self)
        other.item_tfms, other.moves = at_size(self.item_tfms, size), at_size(self.moves, size)
        return other

    def decode(self, sample: Sequence[Any]) -> tuple[Any, ...]:
        """A sample as people read it: images as arrays, labels as names."""
        return tuple(block.decode(value) for block, value in zip(self.blocks, sample, strict=True))

    def shuffled_order(self, draws: torch.Generator) -> torch.Tensor | None:
        """A random order that suits where the items are kept; see `shards.nearby_order`."""
        return nearby_order(self.items, draws)

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
        position = self._counted()
        found = Counter(label for those in self.labels() for label in those)
        return {label: found[label] for label in self.blocks[position].vocab or ()}

    def labels(self) -> list[tuple[Any, ...]]:
        """The classes of every item, of the first target that has classes which are known without opening it."""
        position = self._counted()
        return [tuple(self.blocks[position].labels_of(value) or ()) for value in self.values(position)]

    def _counted(self) -> int:
        for position in range(self.n_inp, len(self.blocks)):
            block = self.blocks[position]
            if block.vocab is not None and type(block).labels_of is not Block.labels_of:
                return position
        names = ", ".join(block.name for block in self.blocks)
        raise DataError(f"no target here has classes that can be counted; the blocks are {names}")

    def __repr__(self) -> str:
        return f"{len(self)} items of ({', '.join(block.name for block in self.blocks)})"


class DrawnDataset(BlockDataset):
    """A `BlockDataset` with something random on the way, or something left to read with its batch.

    A class of its own, because a loader makes a generator for every item of a dataset that has `draw`.
    """

    def draw(self, index: int, rng: np.random.Generator) -> Sample:
        """Item `index`, for a loader that fixes what is random, and whose batches are gathered by the blocks."""
        return self.sample(index, rng)


def block_dataset(
    items: Sequence[Any],
    blocks: Sequence[Block],
    getters: Sequence[Getter],
    *,
    n_inp: int,
    side: int = 0,
    item_tfms: Sequence[Transform] = (),
    placing: bool = False,
) -> BlockDataset:
    """The dataset that fits: a `DrawnDataset` where items are placed or transformed, else a plain one."""
    made = BlockDataset(items, blocks, getters, n_inp=n_inp, side=side, item_tfms=item_tfms, placing=placing)
    if not made.item_tfms and not made.placing:
        return made
    return DrawnDataset(items, blocks, getters, n_inp=n_inp, side=side, item_tfms=item_tfms, placing=placing)


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
        """Split `items`, let the blocks learn from the training side, and check both sides against it.

        Raises `DataError` that names the item for values that no block can use: labels that are
        missing, or that only validation has. This is before anything is trained.
        """
        rows = rows_of(items)
        sides = [L([rows(index) for index in side]) for side in splits]
        learned = [
            learned_block(block, getter, *sides) for block, getter in zip(blocks, getters, strict=True)
        ]
        return cls(
            *(
                block_dataset(
                    side_items, learned, getters, n_inp=n_inp, side=side, item_tfms=item_tfms, placing=placing
                )
                for side, side_items in enumerate(sides)
            )
        )

    @property
    def vocab(self) -> L[Any] | L[L[Any]]:
        return self.train.vocab

    def decode(self, sample: Sequence[Any]) -> tuple[Any, ...]:
        """A sample as people read it."""
        return self.train.decode(sample)

    def __getitem__(self, index: int) -> BlockDataset:
        return (self.train, self.valid)[index]

    def __repr__(self) -> str:
        return f"Datasets(train: {self.train}, valid: {self.valid})"


def learned_block(block: Block, getter: Getter, train: L[Any], valid: L[Any]) -> Block:
    """`block` with what it learns from the training items. Raises `DataError` for a value that it cannot use."""
    if type(block).check is Block.check:
        # Nothing is asked of the values, so a block that needs the first one only reads only that.
        return block if type(block).setup is Block.setup else block.setup(LazyValues(train, getter))
    values = _values(train, getter)
    refuse(block, train, values, "training")
    learned = block.setup(values)
    refuse(learned, train, values, "training")
    refuse(learned, valid, _values(valid, getter), "validation")
    return learned


def refuse(block: Block, items: L[Any], values: Sequence[Any], side: str) -> None:
    """Raise `DataError`, naming the first item, if `block` cannot use some of the values."""
    bad = [
        (item, reason) for item, value in zip(items, values, strict=True) if (reason := block.check(value))
    ]
    if bad:
        item, reason = bad[0]
        only = "; the vocabulary comes from training" if side == "validation" and block.vocab else ""
        raise DataError(
            f"{len(bad)} of {len(items)} {side} items cannot be used; the first is {shown(item)}: {reason}{only}",
            try_="a split in which training has every label, or vocab= with all of them" if only else "",
        )


def shown(item: Any) -> str:
    """An item in a sentence: a path as it is, a table's row on one line."""
    if isinstance(item, os.PathLike):
        return str(cast("os.PathLike[str]", item))
    if hasattr(item, "iloc"):
        return f"row {item.name} ({', '.join(f'{column}={value}' for column, value in item.items())})"
    return repr(item)


@contextmanager
def naming(item: Any) -> Generator[None]:
    """Note the item on an error that passes."""
    try:
        yield
    except Exception as error:
        error.add_note(f"the item is {shown(item)}")
        raise


def fresh_generator() -> np.random.Generator:
    """A generator for what nobody else seeds; it follows `set_seed`, which seeds torch."""
    return np.random.default_rng(int(torch.empty((), dtype=torch.int64).random_().item()))


def rows_of(items: Any) -> Callable[[int], Any]:
    """How to take one item: the row of a table, or the element of a list."""
    return items.iloc.__getitem__ if hasattr(items, "iloc") else items.__getitem__


def _values(items: L[Any], getter: Getter) -> list[Any]:
    return list(LazyValues(items, getter))


class LazyValues(Sequence[Any]):
    """What a getter gives, item by item, when it is asked for."""

    def __init__(self, items: L[Any], getter: Getter) -> None:
        self.items, self.getter = items, getter

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: Any) -> Any:
        with naming(self.items[index]):
            return self.getter(self.items[index])

    def __iter__(self) -> Iterator[Any]:
        # Not the inherited one, for which an IndexError of the getter's would be the end of the values.
        for item in self.items:
            try:
                value = self.getter(item)
            except Exception as error:
                error.add_note(f"the item is {shown(item)}")
                raise
            yield value


def reader(column: Any) -> Getter:
    """A getter from what a person writes: a function, or the name or number of a column."""
    return column if callable(column) else ColReader(column)
