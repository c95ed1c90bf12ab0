"""The data block: how a source becomes items, sides, and samples, written down once."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from copy import copy
from pathlib import Path
from typing import Any, TypeAlias, cast

import torch

from plainlearn.core.describe import describe
from plainlearn.core.errors import ArgumentError, ArgumentTypeError, DataError
from plainlearn.core.lists import L
from plainlearn.data.block_loaders import BlockLoaders
from plainlearn.data.blocks import Block, BlockLike, made
from plainlearn.data.dataset import BlockDataset, Datasets, LeftOut, listed, reader
from plainlearn.data.label import itself
from plainlearn.data.split import RandomSplitter, Splits, Splitter, checked_splits
from plainlearn.data.stages import Column, Getter, Item, Source
from plainlearn.data.summary import Summary
from plainlearn.data.transform import Transforms, as_transforms
from plainlearn.data.validate_items import leave_out_unusable, warn_of_alike_names
from plainlearn.datasets.remote import is_url

Columns: TypeAlias = Column | Sequence[Column]

_KEEP: Any = object()


class DataBlock:
    """A recipe: blocks in order, inputs first, and how to find, split and label the items.

    `get_items(source)` gives the items (default: the source itself), `splitter(items)` the two
    sides (default: a random fifth for validation). `get_x` and `get_y` give the value of each input and each
    target of an item: one function, a column's name, or a list of them; the default is the
    item itself. `n_inp` is how many blocks are inputs (default: all but the last). `item_tfms` act on each
    sample, `batch_tfms` on whole batches; geometric ones of both compose, and pixels are read once.

    >>> numbers = DataBlock(splitter=lambda items: ([0, 1], [2]))
    >>> numbers.datasets([10, 20, 30]).train[1]
    (20, 20)
    """

    def __init__(
        self,
        blocks: BlockLike | Sequence[BlockLike] | None = None,
        get_items: Callable[[Source], Iterable[Item]] | None = None,
        splitter: Splitter | None = None,
        get_x: Columns | None = None,
        get_y: Columns | None = None,
        getters: Sequence[Column] | None = None,
        item_tfms: Transforms = None,
        batch_tfms: Transforms = None,
        n_inp: int | None = None,
    ) -> None:
        given = _as_list((Block, Block) if blocks is None else blocks)
        self.blocks: tuple[Block, ...] = tuple(made(block) for block in given)
        if not self.blocks:
            raise ArgumentError(
                "blocks is empty; expected one or more", try_="blocks=(ImageBlock, CategoryBlock)"
            )
        if get_items is not None and not callable(get_items):
            raise ArgumentTypeError(
                f"get_items is {describe(get_items)}; expected a function that finds items in a source",
                try_="get_items=get_image_files, and dataloaders(path)",
            )
        if isinstance(splitter, type) or not (splitter is None or callable(splitter)):
            raise ArgumentTypeError(
                f"splitter is {describe(splitter)}; expected a function from items to two lists of indices",
                try_=f"splitter={getattr(splitter, '__name__', 'RandomSplitter')}()",
            )
        self.get_items, self.splitter = get_items, splitter or RandomSplitter()
        self.n_inp = max(1, len(self.blocks) - 1) if n_inp is None else n_inp
        if type(self.n_inp) is not int or not 1 <= self.n_inp <= len(self.blocks):
            raise ArgumentError(f"n_inp is {n_inp!r}; expected 1 to {len(self.blocks)}, the number of blocks")
        self.getters = self._getters(get_x, get_y, getters)
        self.item_tfms = as_transforms(item_tfms, "item_tfms")
        self.batch_tfms = as_transforms(batch_tfms, "batch_tfms")

    def new(self, item_tfms: Transforms = _KEEP, batch_tfms: Transforms = _KEEP) -> DataBlock:
        """The same recipe with other transforms; those that are not named stay. This one is left as it is."""
        other = copy(self)
        if item_tfms is not _KEEP:
            other.item_tfms = as_transforms(item_tfms, "item_tfms")
        if batch_tfms is not _KEEP:
            other.batch_tfms = as_transforms(batch_tfms, "batch_tfms")
        return other

    def _getters(
        self, get_x: Columns | None, get_y: Columns | None, getters: Sequence[Column] | None
    ) -> tuple[Getter, ...]:
        inputs, targets = self.n_inp, len(self.blocks) - self.n_inp
        if getters is not None:
            if get_x is not None or get_y is not None:
                raise ArgumentError(
                    "getters says how to read every block; get_x or get_y beside it would be ignored"
                )
            if len(getters) != len(self.blocks):
                raise ArgumentError(
                    f"there are {len(self.blocks)} blocks and {len(getters)} getters; expected one each"
                )
            return tuple(reader(getter) for getter in getters)
        return (*_for_each("get_x", get_x, inputs), *_for_each("get_y", get_y, targets))

    def items(self, source: Source) -> Sequence[Item]:
        """The items of `source`: a list, or a table, of which each row is one. Raises `DataError` if there is none."""
        if self.get_items is None and isinstance(source, (str, os.PathLike)):
            raise DataError(
                f"the source is {os.fspath(cast('str', source))!r}, and there is no get_items that would find items there",
                try_="get_items=get_image_files",
            )
        found: Any = source if self.get_items is None else self.get_items(source)
        items: Any = found if hasattr(found, "iloc") else L[Item](found)
        if len(items) == 0:
            how = (
                "" if self.get_items is None else f" by {getattr(self.get_items, '__name__', self.get_items)}"
            )
            raise DataError(
                f"no items were found{how} in {describe(source)}", try_="looking at the folder with path.ls()"
            )
        return items

    def splits(self, items: Sequence[Item]) -> Splits:
        """The indices of each side. Raises `SplitError` unless the splitter puts each item on one side."""
        return checked_splits(self.splitter(items), len(items), self.splitter)

    def dataset(self, items: Sequence[Item]) -> BlockDataset:
        """All items as one dataset, whose blocks have learned nothing yet."""
        return BlockDataset(
            listed(items), self.blocks, self.getters,
            n_inp=self.n_inp, item_tfms=self.item_tfms, moved_in_batches=bool(self.batch_tfms),
        )  # fmt: skip

    def datasets(self, source: Source) -> Datasets:
        """Training and validation datasets of `source`. Raises `DataError` for a source without items."""
        items = self.items(source)
        return Datasets.from_split(self.dataset(items), self.splits(items))

    def summary(self, source: Source, bs: int = 4, write: Callable[[str], Any] = print) -> None:
        """Print the way of one sample, and of a batch of `bs`, through every step, with shapes and values.

        A step that fails is named with its items, their sizes and what to add; then the error comes out.
        """
        story = Summary(write)
        with story.step("collecting and splitting the items"):
            items = self.items(source)
            splits = self.splits(items)
        story.split(source, self.get_items, items, self.splitter, splits)
        with story.step("learning from the training items"):
            train = Datasets.from_split(self.dataset(items), splits).train
        story.blocks(train)
        story.sample(train)
        story.batch(train, self.batch_tfms, bs)

    def dataloaders(
        self,
        source: Source,
        path: str | os.PathLike[str] | None = None,
        bs: int = 64,
        val_bs: int | None = None,
        num_workers: int | None = None,
        device: torch.device | str | None = None,
        shuffle: bool = True,
        drop_last: bool | None = None,
        seed: int | None = None,
        check: bool = True,
        strict: bool = False,
    ) -> BlockLoaders:
        """Loaders of `source`: training shuffled, validation in order, both of `bs` items a batch.

        `num_workers` threads read files (default: one for each core, at most 8). `drop_last` drops
        the short last training batch; by default it does unless it is the only one.

        By `check` every file is read once before training, and remembered while it stays as it is. Items that
        cannot be used are left out of both sides, with a `DataWarning` that names them, and are in `left_out`;
        others tell of equal images that are on both sides or have different labels, and of class names that
        differ only in case, spaces or Unicode form. Nothing is deleted.
        Raises `DataError` if a side or a class has nothing left, and with `strict=True` for any such item.
        """
        if strict and not check:
            raise ArgumentError("strict=True needs the check that check=False leaves out", try_="check=True")
        items = self.items(source)
        splits = self.splits(items)
        dataset = self.dataset(items)
        left_out: Sequence[Sequence[LeftOut]] = ((), ())
        if check:
            splits, left_out = leave_out_unusable(dataset, splits, strict=strict)
        datasets = Datasets.from_split(dataset, splits, left_out)
        if check:
            warn_of_alike_names(datasets.train.blocks[self.n_inp :])
        return BlockLoaders(
            datasets, bs=bs, val_bs=val_bs, num_workers=num_workers, device=device, shuffle=shuffle,
            drop_last=drop_last, seed=seed, batch_tfms=self.batch_tfms,
            path=_folder(source if path is None else path),
        )  # fmt: skip


def _folder(source: Source) -> Path:
    """Where what is made of the data is kept: the source if it is a folder of this machine, else the one we are in."""
    is_here = isinstance(source, (str, os.PathLike)) and not is_url(cast("str", source))
    return Path(cast("str", source)) if is_here else Path()


def _for_each(name: str, getter: Columns | None, count: int) -> list[Getter]:
    if getter is None:
        return [itself] * count
    if count == 0:
        raise ArgumentError(
            f"{name} is given, and no block would be read by it: all are inputs", try_="a smaller n_inp"
        )
    if not isinstance(getter, (list, tuple)):
        return [reader(cast("Column", getter))] * count
    several = cast("Sequence[Column]", getter)
    if len(several) != count:
        raise ArgumentError(f"{name} has {len(several)} getters for {count} blocks; expected one each")
    return [reader(one) for one in several]


def _as_list(value: Any) -> list[Any]:
    return list(cast("list[Any] | tuple[Any, ...]", value)) if isinstance(value, (list, tuple)) else [value]
