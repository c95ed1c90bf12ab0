"""A dataset of blocks: item number in, one encoded value a block out; and how such samples become the model's batch."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import KW_ONLY, dataclass, replace
from functools import cached_property, partial
from typing import Any, Protocol, Self, cast, runtime_checkable

import numpy as np
import torch

from plainlearn.core.errors import DataError
from plainlearn.core.lists import L
from plainlearn.core.seed import drawn_seed
from plainlearn.data.blocks import (
    Block,
    Checks,
    FieldGeometry,
    HasLabels,
    finished,
)
from plainlearn.data.label import ColReader
from plainlearn.data.split import Splits
from plainlearn.data.stages import Column, Deferred, Encoded, Field, Getter, Item, Thing, Value
from plainlearn.data.transform import Function, Size, Transform, at_size, for_side
from plainlearn.datasets.shards import Record, nearby_order

LeftOut = tuple[Item, str]
"""An item that is left out, and why."""

_NOT_DRAWN_FROM = np.random.default_rng(0)


class Sample(tuple[Encoded, ...]):
    """An item's encoded values, one a block, and the `item` itself, so that an error about a batch can name it."""

    item: Item

    @classmethod
    def of(cls, item: Item, values: Sequence[Encoded]) -> Sample:
        made = cls(values)
        made.item = item
        return made


@runtime_checkable
class Drafts(Protocol):
    """A block that need not open all of a value: what nobody will see of it is left out."""

    def draft(self, value: Value, moves: Sequence[Transform], *, train: bool) -> Thing:
        """As `open`, or less of it where the geometric transforms to come, `moves`, leave no more to be seen."""
        ...


@dataclass(frozen=True, eq=False, repr=False)
class BlockDataset:
    """Items as tuples with a value for each block.

    `dataset[i]` opens item i, applies the item transforms of its `side` (0 training, 1 validation), and encodes: plain
    tensors. `values(k)` gives what getter k says of every item, without opening any.

    The first `n_inp` blocks are inputs. With `moved_in_batches` things get a place in their picture for the
    transforms of batches, also where no item transform moves them.
    """

    items: L[Item]
    blocks: tuple[Block, ...]
    getters: tuple[Getter, ...]
    _: KW_ONLY
    n_inp: int
    side: int = 0
    item_tfms: tuple[Transform, ...] = ()
    moved_in_batches: bool = False

    @cached_property
    def functions(self) -> tuple[Function, ...]:
        """The user's own functions among the item transforms of this side: they see things as they are opened."""
        return tuple(each for each in for_side(self.item_tfms, self.side) if isinstance(each, Function))

    @cached_property
    def moves(self) -> tuple[Transform, ...]:
        """The others, which move things."""
        return tuple(each for each in for_side(self.item_tfms, self.side) if not isinstance(each, Function))

    @cached_property
    def placing(self) -> bool:
        """Whether things get a place in their sample's picture; see `blocks.Spatial`."""
        measured = any(block.geometry in ("mask", "points", "boxes") for block in self.blocks)
        return self.moved_in_batches or bool(self.moves) or measured

    @cached_property
    def _geometry(self) -> FieldGeometry:
        return FieldGeometry(self.blocks)

    @cached_property
    def openers(self) -> tuple[Callable[[Value], Thing], ...]:
        """How each block opens a value here: all of it if functions look at it first, else what the moves leave to see."""
        return tuple(
            partial(block.draft, moves=self.moves, train=self.side == 0)
            if isinstance(block, Drafts) and not self.functions
            else block.open
            for block in self.blocks
        )

    @cached_property
    def draws(self) -> bool:
        """Whether anything on the way may be random."""
        return self.placing or bool(self.functions)

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Sample:
        if not self.draws:
            return self.draw(index, _NOT_DRAWN_FROM)
        sample = self.draw(index, fresh_generator())
        batch = Gather(self.blocks, materialized=True)([sample])
        return Sample.of(sample.item, [field[0] for field in batch])

    def draw(self, index: int, rng: np.random.Generator) -> Sample:
        """Item `index`, with whatever is random in it taken from `rng`; what is placed still waits to be read."""
        item = self.items[index]
        with noting_item(item):
            pairs = zip(self.openers, self.getters, strict=True)
            things = tuple(opener(getter(item)) for opener, getter in pairs)
            for function in self.functions:
                things = function.on_items(things, self.blocks, rng, train=self.side == 0)
            if self.placing:
                things = self.placed(things)
            for transform in self.moves:
                things = transform.on_items(things, self.blocks, rng, train=self.side == 0)
            return Sample.of(
                item, [encoded(block, thing) for block, thing in zip(self.blocks, things, strict=True)]
            )

    def opened(self, index: int) -> tuple[Thing, ...]:
        """The things of item `index` as they are in the files, before any transform."""
        item = self.items[index]
        return tuple(
            block.open(getter(item)) for block, getter in zip(self.blocks, self.getters, strict=True)
        )

    def placed(self, things: Sequence[Thing]) -> tuple[Thing, ...]:
        """The things with a place in the sample's picture, ready for geometry."""
        return self._geometry.place(things)

    def values(self, position: int) -> L[Value]:
        """What the getter of block `position` gives for every item."""
        return L[Value](LazyValues(self.items, self.getters[position]))

    def at_size(self, size: Size) -> Self:
        """The same items, brought to another size by the transforms that set one."""
        return replace(self, item_tfms=at_size(self.item_tfms, size))

    def decode(self, sample: Sequence[Encoded]) -> tuple[Thing, ...]:
        """A sample as people read it: images as arrays, labels as names."""
        return tuple(block.decode(value) for block, value in zip(self.blocks, sample, strict=True))

    def shuffled_order(self, draws: torch.Generator) -> torch.Tensor | None:
        """A random order that suits where the items are kept; see `shards.nearby_order`."""
        return nearby_order(self.items, draws) if isinstance(self.items[0], Record) else None

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
        position, _ = self._counted()
        found = Counter(label for those in self.labels() for label in those)
        return {label: found[label] for label in self.blocks[position].vocab or ()}

    def labels(self) -> list[tuple[Any, ...]]:
        """The classes of every item, of the first target that has classes which are known without opening it."""
        position, block = self._counted()
        return [tuple(block.labels_of(value) or ()) for value in self.values(position)]

    def _counted(self) -> tuple[int, HasLabels]:
        for position in range(self.n_inp, len(self.blocks)):
            block = self.blocks[position]
            if block.vocab is not None and isinstance(block, HasLabels):
                return position, block
        names = ", ".join(block.name for block in self.blocks)
        raise DataError(f"no target here has classes that can be counted; the blocks are {names}")

    def __repr__(self) -> str:
        return f"{len(self)} items of ({', '.join(block.name for block in self.blocks)})"


def encoded(block: Block, thing: Thing) -> Encoded:
    """A thing as the model gets it; what is deferred is read with its batch."""
    return thing if isinstance(thing, Deferred) else block.encode(thing)


class Datasets:
    """Training and validation datasets of one source, with the blocks that they share; and what was left out of each."""

    def __init__(
        self,
        train: BlockDataset,
        valid: BlockDataset,
        left_out: Sequence[Sequence[LeftOut]] = ((), ()),
    ) -> None:
        self.train, self.valid = train, valid
        self.left_out = tuple(L(side) for side in left_out)

    @classmethod
    def from_split(
        cls, dataset: BlockDataset, splits: Splits, left_out: Sequence[Sequence[LeftOut]] = ((), ())
    ) -> Datasets:
        """Split a dataset, let its blocks learn from the training side, and check both sides against it.

        Raises `DataError` that names the item for values that no block can use: labels that are
        missing, or that only validation has. This is before anything is trained.
        """
        train, valid = (L([dataset.items[index] for index in side]) for side in splits)
        blocks = tuple(
            learned_block(block, getter, train, valid)
            for block, getter in zip(dataset.blocks, dataset.getters, strict=True)
        )
        return cls(
            replace(dataset, items=train, blocks=blocks),
            replace(dataset, items=valid, blocks=blocks, side=1),
            left_out,
        )

    @property
    def vocab(self) -> L[Any] | L[L[Any]]:
        return self.train.vocab

    def decode(self, sample: Sequence[Encoded]) -> tuple[Thing, ...]:
        """A sample as people read it."""
        return self.train.decode(sample)

    def __getitem__(self, index: int) -> BlockDataset:
        return (self.train, self.valid)[index]

    def __iter__(self) -> Iterator[BlockDataset]:
        return iter((self.train, self.valid))

    def __repr__(self) -> str:
        return f"Datasets(train: {self.train}, valid: {self.valid})"


# ---------------------------------------------------------------- from samples to the model


class Gather:
    """Puts samples together, each field by its block, which can name the items in its errors.

    `materialized=True` also makes plain tensors of what waits: for devices that things cannot wait on.
    """

    def __init__(self, blocks: Sequence[Block], *, materialized: bool = False) -> None:
        self.blocks, self.materialized = tuple(blocks), materialized

    def __call__(self, samples: Sequence[Sample]) -> tuple[Field, ...]:
        items = [sample.item for sample in samples]
        columns = zip(self.blocks, zip(*samples, strict=True), strict=True)
        fields = [_gathered(block, parts, items) for block, parts in columns]
        if not self.materialized:
            return tuple(fields)
        return tuple(field.materialize() if isinstance(field, Deferred) else field for field in fields)


def _gathered(block: Block, parts: Sequence[Encoded], items: Sequence[Item]) -> Field:
    if isinstance(parts[0], Deferred):
        return type(parts[0]).joined(parts, [describe_item(item) for item in items])
    return block.gather(parts, items)


class ToModel:
    """The end of a batch's way: the batch transforms of this side, then each block's own last step."""

    def __init__(self, blocks: Sequence[Block], transforms: Sequence[Transform], side: int) -> None:
        self.blocks, self.side = tuple(blocks), side
        self.transforms = for_side(transforms, side)
        self._geometry = FieldGeometry(self.blocks)

    def __call__(self, batch: Sequence[Field], rng: np.random.Generator) -> tuple[Field, ...]:
        fields = self._geometry.begin(batch)
        for transform in self.transforms:
            fields = transform.on_batch(fields, self.blocks, rng, train=self.side == 0)
        return tuple(finished(block, field) for block, field in zip(self.blocks, fields, strict=False))

    def decode(self, batch: Sequence[Field]) -> tuple[Field, ...]:
        """Back to what the blocks decode, transform by transform."""
        fields = tuple(batch)
        for transform in reversed(self.transforms):
            fields = transform.decode(fields, self.blocks)
        return tuple(block.from_model(field) for block, field in zip(self.blocks, fields, strict=False))


# ---------------------------------------------------------------- values, before anything is opened


def learned_block(block: Block, getter: Getter, train: L[Item], valid: L[Item]) -> Block:
    """`block` with what it learns from the training items. Raises `DataError` for a value that it cannot use."""
    values = LazyValues(train, getter)
    if not isinstance(block, Checks):
        return block.setup(
            values
        )  # nothing is asked of the values, so one that needs the first reads only that
    values = list(values)
    refuse(block, train, values, "training")
    learned = block.setup(values)
    refuse(learned, train, values, "training")
    refuse(learned, valid, LazyValues(valid, getter), "validation")
    return learned


def refuse(block: Block, items: L[Item], values: Sequence[Value], side: str) -> None:
    """Raise `DataError`, naming the first item, if `block` cannot use some of the values."""
    if not isinstance(block, Checks):
        return
    bad = [
        (item, reason) for item, value in zip(items, values, strict=True) if (reason := block.check(value))
    ]
    if bad:
        item, reason = bad[0]
        only = "; the vocabulary comes from training" if side == "validation" and block.vocab else ""
        raise DataError(
            f"{len(bad)} of {len(items)} {side} items cannot be used; the first is {describe_item(item)}: {reason}{only}",
            try_="a split in which training has every label, or vocab= with all of them" if only else "",
        )


def describe_item(item: Item) -> str:
    """An item in a sentence: a path as it is, a table's row on one line."""
    if isinstance(item, os.PathLike):
        return str(cast("os.PathLike[str]", item))
    if hasattr(item, "iloc"):
        return f"row {item.name} ({', '.join(f'{column}={value}' for column, value in item.items())})"
    return repr(item)


@contextmanager
def noting_item(item: Item) -> Generator[None]:
    """Note the item on an error that passes."""
    try:
        yield
    except Exception as error:
        error.add_note(f"the item is {describe_item(item)}")
        raise


def fresh_generator() -> np.random.Generator:
    """A generator for what nobody else seeds; it follows `set_seed`, which seeds torch."""
    return np.random.default_rng(drawn_seed())


def listed(items: Iterable[Item]) -> L[Item]:
    """Items one by one: the rows of a table, or the elements of a list."""
    table: Any = items
    return L([table.iloc[row] for row in range(len(table))]) if hasattr(table, "iloc") else L[Item](items)


class LazyValues(Sequence[Value]):
    """What a getter gives, item by item, when it is asked for."""

    def __init__(self, items: L[Item], getter: Getter) -> None:
        self.items, self.getter = items, getter

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: Any) -> Value:
        with noting_item(self.items[index]):
            return self.getter(self.items[index])

    def __iter__(self) -> Iterator[Value]:
        # Not the inherited one, for which an IndexError of the getter's would be the end of the values.
        for item in self.items:
            try:
                value = self.getter(item)
            except Exception as error:
                error.add_note(f"the item is {describe_item(item)}")
                raise
            yield value


def reader(column: Column) -> Getter:
    """A getter from what a person writes: a function, or the name or number of a column."""
    return column if callable(column) else ColReader(column)
