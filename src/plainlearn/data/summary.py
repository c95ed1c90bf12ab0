"""The story of one sample, and then of a batch, through every step of a data block, with shapes and values."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from plainlearn.core.lists import L
from plainlearn.data.blocks import FieldGeometry, HasLabels, finished
from plainlearn.data.dataset import BlockDataset, Gather, describe_item, encoded
from plainlearn.data.split import Splits, Splitter
from plainlearn.data.stages import Encoded, Field, Item, Source, Thing
from plainlearn.data.transform import Transform, for_side

_MOST_CLASSES = 12


class Summary:
    """Prints, and where a step fails says which step and which items, and lets the error out."""

    def __init__(self, write: Callable[[str], Any]) -> None:
        self.write = write

    def split(
        self,
        source: Source,
        get_items: Callable[[Source], Iterable[Item]] | None,
        items: Sequence[Item],
        splitter: Splitter,
        splits: Splits,
    ) -> None:
        finder = getattr(get_items, "__name__", "the source itself")
        self.write(f"Items: {len(items)}, by {finder}, from {_short(source)}")
        train, valid = splits
        self.write(f"Split: {len(train)} training, {len(valid)} validation, by {splitter}")

    def blocks(self, dataset: BlockDataset) -> None:
        self.write("\nBlocks, in order:")
        for position, block in enumerate(dataset.blocks):
            role = "input" if position < dataset.n_inp else "target"
            known = "" if block.vocab is None else f", {len(block.vocab)} classes"
            self.write(f"  {block.name} ({role}{known}), read by {_short(dataset.getters[position])}")
        if any(isinstance(block, HasLabels) for block in dataset.blocks[dataset.n_inp :]):
            counts = sorted(dataset.counts().items(), key=lambda pair: -pair[1])
            shown = ", ".join(f"{label} {count}" for label, count in counts[:_MOST_CLASSES])
            rest = f", … ({len(counts) - _MOST_CLASSES} more)" if len(counts) > _MOST_CLASSES else ""
            self.write(f"How often each class occurs in training: {shown}{rest}")

    def sample(self, dataset: BlockDataset) -> None:
        item = dataset.items[0]
        self.write(f"\nOne sample: {describe_item(item)}")
        rng = np.random.default_rng(0)
        things: list[Any] = []
        for block, getter, opener in zip(dataset.blocks, dataset.getters, dataset.openers, strict=True):
            with self.step(f"reading the value of {block.name}", [item]):
                value = getter(item)
            with self.step(f"opening {block.name}", [item]):
                things.append(opener(value))
            self.write(f"  {block.name}: {_short(value)} -> {described(things[-1])}")
        placed = tuple(things)
        for transform in (*dataset.functions, None, *dataset.moves):
            if transform is None:  # between what sees things as they are and what moves them
                with self.step("placing the things in their picture", [item]):
                    placed = dataset.placed(placed) if dataset.placing else placed
                continue
            with self.step(f"applying {transform}", [item]):
                placed = transform.on_items(placed, dataset.blocks, rng, train=True)
            self.write(f"  {transform} -> {', '.join(map(described, placed))}")
        for block, thing in zip(dataset.blocks, placed, strict=True):
            with self.step(f"encoding {block.name}", [item]):
                for_model = encoded(block, thing)
            self.write(f"  {block.name} as the model gets it: {described(for_model)}")

    def batch(self, dataset: BlockDataset, batch_tfms: Sequence[Transform], bs: int) -> None:
        count = min(bs, len(dataset))
        members = [dataset.items[index] for index in range(count)]
        self.write(f"\nA batch of the first {count} items:")
        samples: list[Any] = []
        for index, member in enumerate(members):
            with self.step("making a sample of the batch", [member]):
                samples.append(dataset.draw(index, np.random.default_rng(index)))
        with self.step("putting the samples together", members, dataset):
            batch = Gather(dataset.blocks)(samples)
        rng = np.random.default_rng(0)
        self.write(f"  put together: {', '.join(map(described, batch))}")
        fields = FieldGeometry(dataset.blocks).begin(batch)
        for transform in for_side(batch_tfms, 0):
            with self.step(f"applying {transform} to a batch", members, dataset):
                transform = transform.setup(fields, dataset.blocks) if transform.learns else transform
                fields = transform.on_batch(fields, dataset.blocks, rng, train=True)
            self.write(f"  {transform} -> {', '.join(map(described, fields))}")
        for block, field in zip(dataset.blocks, fields, strict=True):
            with self.step(f"finishing {block.name} for the model", members, dataset):
                ready = finished(block, field)
            self.write(f"  {block.name} for the model: {described(ready)}")

    @contextmanager
    def step(
        self, what: str, items: Sequence[Item] = (), dataset: BlockDataset | None = None
    ) -> Generator[None]:
        """Name the step that fails, and the items it failed on, before the error goes on its way."""
        try:
            yield
        except Exception as error:
            self.write(f"\nThis failed while {what}: {error}")
            for index, item in enumerate(items):
                self.write(f"  item {index}: {describe_item(item)}{self.sizes(dataset, index)}")
            raise

    @staticmethod
    def sizes(dataset: BlockDataset | None, index: int) -> str:
        if dataset is None:
            return ""
        return "  " + ", ".join(described(thing) for thing in dataset.opened(index))


def described(value: Thing | Encoded | Field) -> str:
    """A value in a few words: its kind, its shape, its range."""
    if isinstance(value, Tensor):
        kind = str(value.dtype).removeprefix("torch.")
        if value.ndim == 0:
            return f"{value.item()} ({kind})"
        span = f", {value.min().item():.4g} to {value.max().item():.4g}" if value.numel() else ""
        return f"{kind} {tuple(value.shape)}{span}"
    if isinstance(value, np.ndarray):
        array = cast("NDArray[Any]", value)
        return f"{array.dtype} array {array.shape}, {array.min()} to {array.max()}"
    summary = getattr(value, "summary", None)
    return str(summary()) if callable(summary) else _short(value)


def _short(value: Any) -> str:
    if hasattr(value, "columns"):
        return f"a table of {len(value)} rows with the columns {', '.join(map(str, value.columns))}"
    if callable(value) and hasattr(value, "__name__"):
        return str(value.__name__)
    plain = cast("np.generic[Any]", value).item() if isinstance(value, np.generic) else value
    text = repr(L(cast("list[Any]", plain))) if isinstance(plain, list) else repr(plain)
    return text if len(text) <= 100 else f"{text[:97]}…"
