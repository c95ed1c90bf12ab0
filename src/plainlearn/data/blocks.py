"""Blocks: what a thing is. How to open it, learn its vocabulary, encode, decode, and what it implies."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Self, cast

import numpy as np
import torch
from torch import Tensor

from plainlearn.core.errors import ArgumentTypeError, DataError, ShapeError
from plainlearn.core.lists import L
from plainlearn.data.collating import collate
from plainlearn.data.label import is_missing
from plainlearn.data.target_specs import (
    CategorySpec,
    MultiCategorySpec,
    RegressionSpec,
    checked_vocabulary,
    shown_labels,
)
from plainlearn.losses.losses import BCEWithLogitsLossFlat, CrossEntropyLossFlat, MSELossFlat
from plainlearn.metrics.functions import accuracy, accuracy_multi, rmse

#: How geometry acts on a thing: read by interpolation, read by the nearest pixel, moved as
#: coordinates, moved as boxes, or not at all.
Geometry = Literal["image", "mask", "points", "boxes", "none"]


@dataclass(frozen=True)
class Examined:
    """What a block finds in all its values: by place, why some cannot be used.

    `marks` are equal for values of equal contents, unknown unless there is one for each value; `frames` are, by
    place, the (height, width) of pictures, where they are known.
    """

    problems: Mapping[int, str] = field(default_factory=dict[int, str])
    marks: Sequence[str] = ()
    frames: Mapping[int, tuple[int, int]] = field(default_factory=dict[int, tuple[int, int]])


class Block:
    """The base: a thing that is used as it is. A new kind of thing is one subclass in one file.

    The way of a value: `open` (a path to an array, say), `encode` (to a tensor), and back with `decode`.
    `setup` returns a block that has learned what it must from the training values.
    """

    #: How geometry acts on this kind of thing.
    geometry: ClassVar[Geometry] = "none"

    def setup(self, values: Sequence[Any]) -> Self:
        """The block for these training values; most have nothing to learn."""
        return self

    def open(self, value: Any) -> Any:
        """The thing itself, from what a getter gives."""
        return value

    def draft(self, value: Any, moves: Sequence[Any], *, train: bool) -> Any:
        """As `open`, or less of it where the geometric transforms to come, `moves`, leave no more to be seen."""
        return self.open(value)

    def place(self, thing: Any, frame: tuple[int, int]) -> Any:
        """The thing ready for geometry; `frame` is the (height, width) of the sample's picture. See `Geometry`."""
        return thing

    def link_fields(self, thing: Any, sample: Sequence[Any]) -> Any:
        """The thing, now that all of its `sample` are placed, or of its batch; most need none of the others.

        Labels of boxes take their boxes along here, and from then on know by themselves which are in view.
        """
        return thing

    def frame(self, thing: Any) -> tuple[int, int] | None:
        """The (height, width) of the thing, if others are placed by it."""
        return None

    def encode(self, thing: Any) -> Any:
        """The thing as the model gets it."""
        return thing

    def decode(self, encoded: Any) -> Any:
        """Back from `encode`, for people."""
        return encoded

    def gather(self, parts: Sequence[Any], items: Sequence[Any]) -> Any:
        """The encoded things of one batch, put together. `items` are what they come from, to be named in errors."""
        first = next((part for part in parts if isinstance(part, Tensor)), None)
        for part, item in zip(parts, items, strict=True):
            if first is not None and isinstance(part, Tensor) and part.shape != first.shape:
                raise ShapeError(
                    f"the {self.name} of {items[0]} has the shape {tuple(first.shape)} and that of {item} "
                    f"{tuple(part.shape)}; a batch needs one shape"
                )
        return collate(parts)

    def materialize(self, batch: Any) -> Any:
        """A batch of encoded things as plain tensors that can travel to another device."""
        return batch

    def begin_batch(self, batch: Any) -> Any:
        """A batch of encoded things as the batch transforms take it."""
        return batch

    def to_model(self, batch: Any) -> Any:
        """A whole batch of encoded things, on the device, as the model's input: bytes to fractions, say.

        What is finished already stays as it is.
        """
        return batch

    def from_model(self, batch: Any) -> Any:
        """Back from `to_model`, for people."""
        return batch

    def show(self, thing: Any, ax: Any) -> str:
        """Draw a decoded thing on `ax` and return nothing, or leave `ax` and return it as text."""
        return str(thing)

    def check(self, value: Any) -> str:
        """Why `value` cannot be used, or nothing. Cheap: it is asked for every item, before any training.

        RunConfig before `setup` too, when a vocabulary is not known yet.
        """
        return ""

    def examine(self, values: Sequence[Any]) -> Examined:
        """A look at all values before training, into their files if it must be; `check` is the cheap one.

        The items of those that cannot be used are left out. `values` are read when they are asked for.
        """
        return Examined()

    def audit(self, values: Sequence[Any], labels: Sequence[Any], sides: Sequence[str], **more: Any) -> Any:
        """The report on all values that `BlockLoaders.check` gives. What has none leaves this as it is.

        `more` holds `classes`, the labels that there should be, `problems` that are known, by place, and
        `root`, from where on names in the report are told.
        """
        return None

    def labels_of(self, value: Any) -> Iterable[Any] | None:
        """Which labels of the vocabulary `value` has, to count them; None where that is not known cheaply."""
        return None

    @property
    def vocab(self) -> L[Any] | None:
        return None

    @property
    def outputs(self) -> int | None:
        """How many activations a model needs for this target, where that is known."""
        return None

    def loss_func(self) -> Any:
        """The loss that this target implies, or None."""
        return None

    def metric(self) -> Any:
        """The metric that people expect for this target, or None."""
        return None

    @property
    def name(self) -> str:
        return type(self).__name__.removesuffix("Block")

    def _settings(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if not name.startswith("_")}

    def __repr__(self) -> str:
        settings = ", ".join(f"{name}={value!r}" for name, value in self._settings().items())
        return f"{type(self).__name__}({settings})"

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self._settings() == cast(Self, other)._settings()

    __hash__ = None  # pyright: ignore[reportAssignmentType] (blocks are compared, not looked up)


class CategoryBlock(Block):
    """One label out of a vocabulary: the sorted labels of the training items, unless `vocab` is given.

    Encodes to the label's number (int64). `add_na=True` gives number 0 to labels that are not known.
    """

    def __init__(self, vocab: Iterable[Any] | None = None, sort: bool = True, add_na: bool = False) -> None:
        self.spec = CategorySpec(checked_vocabulary(vocab), sort, add_na)

    @property
    def classes(self) -> tuple[Any, ...]:
        """The vocabulary without what `add_na` adds; empty before `setup`."""
        return self.spec.known

    def setup(self, values: Sequence[Any]) -> Self:
        if self.classes:
            return self
        known = dict.fromkeys(_plain(value) for value in values if not is_missing(value))
        return type(self)(_sorted(known) if self.spec.sort else known, self.spec.sort, self.spec.add_na)

    @property
    def vocab(self) -> L[Any]:
        return L(self.spec.labels)

    @property
    def outputs(self) -> int:
        return len(self.vocab)

    def encode(self, thing: Any) -> Tensor:
        return torch.tensor(self.spec.encode(thing))

    def decode(self, encoded: Any) -> Any:
        return self.spec.decode(encoded)

    def check(self, value: Any) -> str:
        return self.spec.check(value)

    def labels_of(self, value: Any) -> Iterable[Any]:
        return (value if value in self.spec.numbers else "#na#",)

    def __repr__(self) -> str:
        vocab = f"vocab=[{shown_labels(self.classes)}], " if self.classes else ""
        return f"CategoryBlock({vocab}sort={self.spec.sort}, add_na={self.spec.add_na})"

    def loss_func(self) -> Any:
        return CrossEntropyLossFlat()

    def metric(self) -> Any:
        return accuracy


class MultiCategoryBlock(Block):
    """Any number of labels out of a vocabulary. Encodes to zeros and ones, float32 of shape (K,).

    `encoded=True` says that the values are zeros and ones already; then `vocab` must be given.
    """

    def __init__(self, encoded: bool = False, vocab: Iterable[Any] | None = None) -> None:
        self.spec = MultiCategorySpec(checked_vocabulary(vocab))
        self.encoded = encoded
        if encoded and not self.classes:
            raise DataError(
                "encoded=True needs the names of the columns",
                try_="MultiCategoryBlock(encoded=True, vocab=[...])",
            )

    @property
    def classes(self) -> tuple[Any, ...]:
        """The vocabulary; empty before `setup`."""
        return self.spec.known

    def setup(self, values: Sequence[Any]) -> Self:
        if self.classes:
            return self
        known = dict.fromkeys(_plain(label) for labels in values for label in labels)
        if not known:
            raise DataError(
                f"none of {len(values)} training items has a label; expected some", try_="the right get_y"
            )
        return type(self)(vocab=_sorted(known))

    @property
    def vocab(self) -> L[Any]:
        return self.spec.labels

    @property
    def outputs(self) -> int:
        return len(self.classes)

    def encode(self, thing: Any) -> Tensor:
        if not self.encoded:
            return torch.from_numpy(self.spec.encode(thing))
        if reason := self.check(thing):
            raise DataError(reason)
        return torch.as_tensor(np.asarray(thing, dtype=np.float32))

    def decode(self, encoded: Any) -> L[Any]:
        return self.spec.decode(encoded)

    def show(self, thing: Any, ax: Any) -> str:
        return "; ".join(map(str, thing))

    def check(self, value: Any) -> str:
        if not self.encoded or isinstance(value, str) or not isinstance(value, Iterable):
            return self.spec.check(value)
        found = list(cast("Iterable[Any]", value))
        if len(found) != len(self.classes):
            return f"there are {len(found)} columns for a vocabulary of {len(self.classes)}"
        odd = [each for each in found if each not in (0, 1)]
        return f"a column holds {odd[0]!r}; expected 0 or 1" if odd else ""

    def labels_of(self, value: Any) -> Iterable[Any]:
        if not self.encoded:
            return set(value)
        return [label for label, present in zip(self.classes, value, strict=True) if present]

    def __repr__(self) -> str:
        shown = f", vocab=[{shown_labels(self.classes)}]" if self.classes else ""
        return f"MultiCategoryBlock(encoded={self.encoded}{shown})"

    def loss_func(self) -> Any:
        return BCEWithLogitsLossFlat()

    def metric(self) -> Any:
        return accuracy_multi


class RegressionBlock(Block):
    """One number or several: float32 of shape () or (`n_out`,)."""

    def __init__(self, n_out: int | None = None) -> None:
        self.spec = RegressionSpec(n_out)

    @property
    def n_out(self) -> int | None:
        """How many numbers; None before `setup`."""
        return self.spec.n_out

    def setup(self, values: Sequence[Any]) -> Self:
        return self if self.n_out is not None else type(self)(max(1, np.asarray(values[0]).size))

    @property
    def outputs(self) -> int | None:
        return self.n_out

    def encode(self, thing: Any) -> Tensor:
        return torch.as_tensor(self.spec.encode(thing))

    def decode(self, encoded: Any) -> Any:
        return self.spec.decode(encoded)

    def show(self, thing: Any, ax: Any) -> str:
        return ", ".join(f"{value:.4g}" for value in np.asarray(thing).flat)

    def check(self, value: Any) -> str:
        return self.spec.check(value)

    def __repr__(self) -> str:
        return f"RegressionBlock(n_out={self.n_out})"

    def loss_func(self) -> Any:
        return MSELossFlat()

    def metric(self) -> Any:
        return rmse


def made(block: Any) -> Block:
    """A block from what a person writes: `ImageBlock` or `ImageBlock()`."""
    instance = (
        block() if isinstance(block, type) or (callable(block) and not isinstance(block, Block)) else block
    )
    if not isinstance(instance, Block):
        raise ArgumentTypeError(f"{block!r} is not a block", try_="blocks=(ImageBlock, CategoryBlock)")
    return instance


def _plain(label: Any) -> Any:
    """A table's scalars as Python's own, which print as people write them."""
    return cast("np.generic[Any]", label).item() if isinstance(label, np.generic) else label


def _sorted(labels: Iterable[Any]) -> list[Any]:
    try:
        return sorted(labels)
    except TypeError:  # labels of several kinds have no order of their own
        return sorted(labels, key=lambda label: (type(label).__name__, str(label)))
