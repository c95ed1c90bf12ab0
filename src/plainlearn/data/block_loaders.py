"""Loaders made from blocks: they know what their batches mean, so they can show, count and decode them."""

from __future__ import annotations

import copy
import math
import os
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypedDict, Unpack, cast

import torch

from plainlearn.core.device import default_device
from plainlearn.core.errors import ArgumentError
from plainlearn.core.lists import L
from plainlearn.core.tensors import to_cpu, to_device
from plainlearn.data.blocks import Block, Checks
from plainlearn.data.dataset import (
    BlockDataset,
    Datasets,
    Gather,
    LeftOut,
    ToModel,
    fresh_generator,
    listed,
    noting_item,
    refuse,
)
from plainlearn.data.loader import DataLoader
from plainlearn.data.loaders import DataLoaders
from plainlearn.data.stages import Field, Item, Thing
from plainlearn.data.transform import Size, Transform, at_size, sets_size
from plainlearn.data.validate_items import audit_of

if TYPE_CHECKING:
    from plainlearn.core.figures import Axes, Figure

Batch = Sequence[Field]


class Grid(TypedDict, total=False):
    """How pictures of samples are laid out: in rows and columns of a figure of `figsize` inches."""

    nrows: int | None
    ncols: int | None
    figsize: tuple[float, float] | None


class BlockLoader(DataLoader):
    """The batches of one side, or of new items, which it can show: `dls.valid.show_batch()`."""

    def decode(self, batch: Batch) -> tuple[Field, ...]:
        """A batch as it was before `to_model` and the batch transforms."""
        return cast(ToModel, self.after_batch).decode(batch)

    def show_batch(
        self,
        b: Batch | None = None,
        max_n: int = 9,
        unique: bool = False,
        **grid: Unpack[Grid],
    ) -> None:
        """A grid of samples as the model gets them, undone for the eye; see `BlockLoaders.show_batch`."""
        _show_batch(self, b, max_n, unique, grid)


class BlockLoaders(DataLoaders):
    """Training and validation loaders over `Datasets`; everything about what a value means is asked of its block."""

    def __init__(
        self,
        datasets: Datasets,
        *,
        bs: int = 64,
        val_bs: int | None = None,
        num_workers: int | None = None,
        device: torch.device | str | None = None,
        path: str | Path = ".",
        seed: int | None = None,
        shuffle: bool = True,
        drop_last: bool | None = None,
        batch_tfms: Sequence[Transform] = (),
    ) -> None:
        place = default_device(device)
        self.datasets, self.batch_tfms = datasets, ()
        self.num_workers = _default_workers() if num_workers is None else num_workers
        for transform in sorted(batch_tfms, key=lambda transform: transform.order):
            if transform.learns:  # from one batch, as those before it in the order leave it
                seen = self._loader(datasets.train, place, bs=bs, shuffle=shuffle, seed=seed).one_batch()
                transform = transform.setup(seen, datasets.train.blocks)
            self.batch_tfms = (*self.batch_tfms, transform)
        train = self._loader(datasets.train, place, bs=bs, shuffle=shuffle, seed=seed)
        # The last short batch is dropped so that batch norm never sees a few stray items, but
        # a set smaller than one batch is one batch, not none.
        if len(datasets.train) >= train.bs if drop_last is None else drop_last:
            train = self._loader(datasets.train, place, bs=bs, shuffle=shuffle, seed=seed, drop_last=True)
        valid = self._loader(datasets.valid, place, bs=bs if val_bs is None else val_bs)
        super().__init__(train, valid, path=path, n_inp=datasets.train.n_inp, device=place)
        losses = [block.loss_func() for block in datasets.train.blocks[datasets.train.n_inp :]]
        self.loss_func = losses[0] if len(losses) == 1 else None

    def _loader(self, dataset: BlockDataset, device: torch.device, **settings: Any) -> BlockLoader:
        settings.setdefault("num_workers", self.num_workers)
        return BlockLoader(
            dataset,
            device=device,
            after_batch=self.to_model(dataset.side, dataset.blocks),
            collate_fn=Gather(dataset.blocks, materialized=device.type != "cpu"),
            **settings,
        )

    def to_model(self, side: int, blocks: Sequence[Block] | None = None) -> ToModel:
        """The batch transforms of a side, and the last step of each block: of all of them, or of these."""
        return ToModel(self.blocks if blocks is None else blocks, self.batch_tfms, side)

    def test_dl(
        self,
        test_items: Item | Iterable[Item],
        bs: int | None = None,
        with_labels: bool = False,
        num_workers: int | None = None,
    ) -> BlockLoader:
        """A loader of new items, in their order, with the transforms of validation.

        `test_items` is a list, a table, or one item: a path, bytes, an image's array (H, W, C). Batches are
        `(x,)`, or with `with_labels` `(x, y)`, read by the same getters as the other items.
        Raises `DataError` for no items, for items that the getters cannot read, such as a table without the
        column they name, and for labels that are not in the vocabulary.
        """
        valid = self.datasets.valid
        count = len(valid.blocks) if with_labels else valid.n_inp
        dataset = replace(
            valid,
            items=_items_of(test_items, valid.blocks[0]),
            blocks=valid.blocks[:count],
            getters=valid.getters[:count],
        )
        items = dataset.items
        for position, block in enumerate(dataset.blocks):
            if isinstance(block, Checks):
                refuse(block, items, dataset.values(position), "test")
            elif items:  # what no getter can read is found now, not in the first batch
                with noting_item(items[0]):
                    dataset.getters[position](items[0])
        workers = self.num_workers if num_workers is None else num_workers
        return self._loader(
            dataset, self._place(), bs=self.valid.bs if bs is None else bs, num_workers=workers
        )

    def augmented(self, loader: DataLoader) -> BlockLoader:
        """The items of one of these loaders in their order, with the transforms of training: drawn anew each time."""
        given = cast(BlockDataset, loader.dataset)
        dataset = replace(self.datasets.train, items=given.items, blocks=given.blocks, getters=given.getters)
        return self._loader(dataset, self._place(), bs=loader.bs)

    def unaugmented(self) -> BlockLoader:
        """The training items in their order, with the transforms of validation: nothing random acts on them."""
        return self.test_dl(self.datasets.train.items, with_labels=True)

    def _place(self) -> torch.device:
        return default_device() if self.device is None else self.device

    @property
    def blocks(self) -> tuple[Block, ...]:
        return self.datasets.train.blocks

    @property
    def vocab(self) -> L[Any] | L[L[Any]]:
        """The labels of the target, in the order of the model's outputs."""
        return self.datasets.vocab

    @property
    def c(self) -> int:
        """How many outputs a model for these targets needs."""
        known = [block.outputs for block in self.blocks[cast(int, self.n_inp) :]]
        if not known or any(outputs is None for outputs in known):
            raise ArgumentError(
                "the targets do not say how many outputs they need", try_="n_out= when making the learner"
            )
        return sum(cast("list[int]", known))

    def counts(self) -> dict[str, dict[Any, int]]:
        """How often each class occurs, in training and in validation."""
        return {"train": self.datasets.train.counts(), "valid": self.datasets.valid.counts()}

    @property
    def left_out(self) -> L[LeftOut]:
        """The items that cannot be used, each with the reason: they are in neither loader."""
        return L([pair for side in self.datasets.left_out for pair in side])

    def check(self) -> Any:
        """The audit of all items, with their labels and sides, those that are left out too; print it or `show()` it.

        It finds unreadable files, equal and almost equal images, on both sides or under two labels, and doubtful
        classes, names and sizes. Raises `DataError` if no input is of a kind that has an audit, as images are.
        """
        return audit_of(self.datasets, self.path)

    def resized(self, size: Size) -> Self:
        """The same loaders, at their beginning, with pictures of `size`: a side, or (height, width).

        The batch transforms that set a size set this one; where none does, the item transforms. All else stays:
        split, vocabulary, normalisation, batch size. `learn.dls = dls.resized(224)` goes on with larger pictures.
        Raises `ArgumentError` when no transform sets a size.
        """
        other = copy.copy(self)
        train, valid = self.datasets.train, self.datasets.valid
        if any(map(sets_size, self.batch_tfms)):
            other.batch_tfms = at_size(self.batch_tfms, size)
        elif any(map(sets_size, (*train.moves, *valid.moves))):
            other.datasets = Datasets(train.at_size(size), valid.at_size(size), self.datasets.left_out)
        else:
            raise ArgumentError(
                "no transform of these data sets a size, so there is none to change",
                try_="item_tfms=Resize(160), or batch_tfms=aug_transforms(size=160), in the data block",
            )
        other.loaders = [
            type(loader)(
                **loader.settings() | {"dataset": dataset, "after_batch": other.to_model(dataset.side)}
            )
            for loader, dataset in zip(self.loaders, other.datasets, strict=True)
        ]
        return other

    def decode(self, batch: Batch, side: int = 0) -> tuple[Field, ...]:
        """A batch as it was before `to_model` and the batch transforms."""
        return self.to_model(side).decode(batch)

    def decoded_samples(self, batch: Batch, side: int = 0, max_n: int = 9) -> list[tuple[Thing, ...]]:
        """The first `max_n` samples of a batch as people read them."""
        return _decoded_samples(self.to_model(side), batch, max_n)

    def show_batch(
        self,
        b: Batch | None = None,
        max_n: int = 9,
        unique: bool = False,
        ds_idx: int = 0,
        **grid: Unpack[Grid],
    ) -> None:
        """A `Grid` of samples as the model gets them, undone for the eye. `unique=True` draws one item again and again."""
        _show_batch(self.loaders[ds_idx], b, max_n, unique, grid)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.datasets}, bs={self.train.bs}, on {self.device})"


def _show_batch(loader: DataLoader, batch: Batch | None, max_n: int, unique: bool, grid: Grid) -> None:
    # A look is no beginning of an epoch: `one_batch` leaves the loader's place where it was.
    to_model = cast(ToModel, loader.after_batch)
    shown: Any = _repeated(loader, max_n) if unique else loader.one_batch() if batch is None else batch
    show_samples(to_model.blocks, _decoded_samples(to_model, shown, max_n), **grid)


def _repeated(loader: DataLoader, count: int) -> Batch:
    """One item, drawn `count` times: what is random in its way can be seen."""
    rng = fresh_generator()
    samples = [cast(BlockDataset, loader.dataset).draw(0, rng) for _ in range(max(1, count))]
    batch: Any = to_device(loader.collate_fn(samples), cast(torch.device, loader.device))
    return cast(ToModel, loader.after_batch)(batch, rng)


def _decoded_samples(to_model: ToModel, batch: Batch, max_n: int) -> list[tuple[Thing, ...]]:
    if max_n < 1:
        raise ArgumentError(f"max_n is {max_n}; expected 1 or more")
    fields = [to_cpu(field)[:max_n] for field in to_model.decode(batch)]
    return [
        tuple(block.decode(value) for block, value in zip(to_model.blocks, sample, strict=False))
        for sample in zip(*fields, strict=True)
    ]


def show_samples(
    blocks: Sequence[Block],
    samples: Sequence[Sequence[Thing]],
    nrows: int | None = None,
    ncols: int | None = None,
    figsize: tuple[float, float] | None = None,
    titles: Sequence[str] | None = None,
) -> None:
    """Draw each sample in a picture of its own: what can be drawn is drawn, the rest is its title."""
    from plainlearn.core.figures import subplots

    count = len(samples)
    columns = ncols or (math.ceil(count / nrows) if nrows else min(count, math.ceil(math.sqrt(count))))
    rows = nrows or math.ceil(count / columns)
    _, axes = subplots(rows, columns, figsize=figsize, layout="constrained")
    for number, ax in enumerate(axes.flat):
        ax.axis("off")
        if number >= count:
            continue
        texts = [block.show(thing, ax) for block, thing in zip(blocks, samples[number], strict=False)]
        _set_title(ax, titles[number] if titles is not None else "\n".join(text for text in texts if text))


def _set_title(ax: Axes, text: str) -> None:
    """The text in lines and letters that fit above the picture, so that it does not run into the next one's."""
    lines = [part for line in text.split("\n") for part in (textwrap.wrap(line, 30) or [""])]
    figure = cast("Figure", ax.figure)
    points = ax.get_position().width * figure.get_figwidth() * 72
    fitting = points / (0.6 * max(map(len, lines)) + 1e-9)  # a letter is some 0.6 of its height wide
    ax.set_title("\n".join(lines), fontsize=min(12, max(fitting, 7)))


def _items_of(given: Item | Iterable[Item], block: Block) -> L[Item]:
    """New items for a dataset whose first block is `block`, from what a person hands over: one or many."""
    one = isinstance(cast("object", given), Mapping) or (
        block.geometry == "image" and 0 < getattr(given, "ndim", 0) < 4 and not hasattr(given, "iloc")
    )
    return listed([given] if one else given)


def _default_workers() -> int:
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(8, available)
