"""Blocks: what a thing is. How to open it, learn its vocabulary, encode, decode, and what it implies."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, Literal, Self, cast

import numpy as np
import torch
from torch import Tensor

from plainlearn.core.errors import DataError
from plainlearn.core.lists import L
from plainlearn.losses.losses import BCEWithLogitsLossFlat, CrossEntropyLossFlat, MSELossFlat
from plainlearn.metrics.functions import accuracy, accuracy_multi, rmse

#: How geometry acts on a thing: read by interpolation, read by the nearest pixel, moved as
#: coordinates, moved as boxes, or not at all.
Geometry = Literal["image", "mask", "points", "boxes", "none"]


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

    def place(self, thing: Any, frame: tuple[int, int]) -> Any:
        """The thing ready for geometry; `frame` is the (height, width) of the sample's picture. See `Geometry`."""
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

    def settle(self, batch: Any) -> Any:
        """A batch of encoded things as plain tensors that can travel to another device."""
        return batch

    def begin_batch(self, batch: Any) -> Any:
        """A batch of encoded things as the batch transforms take it."""
        return batch

    def to_model(self, batch: Any) -> Any:
        """A whole batch of encoded things, on the device, as the model's input: bytes to fractions, say."""
        return batch

    def from_model(self, batch: Any) -> Any:
        """Back from `to_model`, for people."""
        return batch

    def show(self, thing: Any, ax: Any) -> str:
        """Draw a decoded thing on `ax` and return nothing, or leave `ax` and return it as text."""
        return str(thing)

    def check(self, value: Any) -> str:
        """Why `value` cannot be encoded, or nothing. Cheap: it is asked for every validation item."""
        return ""

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

    def __repr__(self) -> str:
        settings = ", ".join(
            f"{key}={value!r}" for key, value in vars(self).items() if not key.startswith("_")
        )
        return f"{type(self).__name__}({settings})"

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and vars(self) == vars(other)

    __hash__ = None  # pyright: ignore[reportAssignmentType] (blocks are compared, not looked up)


class CategoryBlock(Block):
    """One label out of a vocabulary: the sorted labels of the training items, unless `classes` are given.

    Encodes to the label's number (int64). `add_na=True` gives number 0 to labels that are not known.
    """

    def __init__(self, vocab: Iterable[Any] | None = None, sort: bool = True, add_na: bool = False) -> None:
        self.classes = () if vocab is None else tuple(vocab)
        self.sort = sort
        self.add_na = add_na
        self._numbers = {label: number for number, label in enumerate(self.vocab)}
        if len(set(self.classes)) != len(self.classes):
            twice = Counter(self.classes).most_common(1)[0][0]
            raise DataError(f"the vocabulary has {twice!r} twice; expected each label once")

    def setup(self, values: Sequence[Any]) -> Self:
        if self.classes:
            return self
        missing = sum(1 for value in values if value is None or value != value)
        if missing:
            raise DataError(
                f"{missing} of {len(values)} training items have no label (None or nan)",
                try_="leaving them out of get_items, or labels as text",
            )
        return type(self)(
            _sorted(set(values)) if self.sort else dict.fromkeys(values), self.sort, self.add_na
        )

    @property
    def vocab(self) -> L[Any]:
        return L(["#na#", *self.classes] if self.add_na else list(self.classes))

    @property
    def outputs(self) -> int:
        return len(self.vocab)

    def encode(self, thing: Any) -> Tensor:
        number = self._numbers.get(thing, 0 if self.add_na else None)
        if number is None:
            raise DataError(
                self.check(thing), try_="CategoryBlock(add_na=True), or a split with every label in training"
            )
        return torch.tensor(number)

    def decode(self, encoded: Any) -> Any:
        return self.vocab[int(encoded)]

    def check(self, value: Any) -> str:
        if self.add_na or value in self.classes:
            return ""
        return f"the label {value!r} is not in the vocabulary of {len(self.classes)}: {_some(self.classes)}"

    def loss_func(self) -> Any:
        return CrossEntropyLossFlat()

    def metric(self) -> Any:
        return accuracy


class MultiCategoryBlock(Block):
    """Any number of labels out of a vocabulary. Encodes to zeros and ones, float32 of shape (K,).

    `encoded=True` says that the values are zeros and ones already; then `vocab` must be given.
    """

    def __init__(self, encoded: bool = False, vocab: Iterable[Any] | None = None) -> None:
        self.classes = () if vocab is None else tuple(vocab)
        self.encoded = encoded
        if encoded and not self.classes:
            raise DataError(
                "encoded=True needs the names of the columns",
                try_="MultiCategoryBlock(encoded=True, vocab=[...])",
            )

    def setup(self, values: Sequence[Any]) -> Self:
        if self.classes:
            return self
        return type(self)(vocab=_sorted({label for labels in values for label in _labels(labels)}))

    @property
    def vocab(self) -> L[Any]:
        return L(list(self.classes))

    @property
    def outputs(self) -> int:
        return len(self.classes)

    def encode(self, thing: Any) -> Tensor:
        if reason := self.check(thing):
            raise DataError(reason)
        if self.encoded:
            return torch.as_tensor(np.asarray(thing, dtype=np.float32))
        present = set(_labels(thing))
        return torch.tensor([float(label in present) for label in self.classes])

    def decode(self, encoded: Any) -> L[Any]:
        return L([label for label, present in zip(self.classes, encoded, strict=True) if bool(present)])

    def check(self, value: Any) -> str:
        if self.encoded:
            found = len(value)
            return (
                ""
                if found == len(self.classes)
                else f"the item has {found} columns; the vocabulary {len(self.classes)}"
            )
        unknown = [label for label in _labels(value) if label not in self.classes]
        return f"the label {unknown[0]!r} is not in the vocabulary: {_some(self.classes)}" if unknown else ""

    def loss_func(self) -> Any:
        return BCEWithLogitsLossFlat()

    def metric(self) -> Any:
        return accuracy_multi


class RegressionBlock(Block):
    """One number or several: float32 of shape () or (`n_out`,)."""

    def __init__(self, n_out: int | None = None) -> None:
        self.n_out = n_out

    def setup(self, values: Sequence[Any]) -> Self:
        return self if self.n_out is not None else type(self)(max(1, np.asarray(values[0]).size))

    @property
    def outputs(self) -> int | None:
        return self.n_out

    def encode(self, thing: Any) -> Tensor:
        if reason := self.check(thing):
            raise DataError(reason)
        return torch.as_tensor(np.asarray(thing, dtype=np.float32))

    def decode(self, encoded: Any) -> Any:
        values = np.asarray(encoded)
        return values.item() if values.size == 1 else values

    def check(self, value: Any) -> str:
        try:
            numbers = np.asarray(value, dtype=np.float64)
        except (TypeError, ValueError):
            return f"the target {value!r} is not a number"
        return "" if np.isfinite(numbers).all() else f"the target {value!r} is not finite"

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
        raise DataError(f"{block!r} is not a block", try_="blocks=(ImageBlock, CategoryBlock)")
    return instance


def _labels(value: Any) -> Iterable[Any]:
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise DataError(
            f"the labels of an item are {value!r}; expected a list of labels", try_="a label_delim, or a list"
        )
    return cast("Iterable[Any]", value)


def _sorted(labels: set[Any]) -> list[Any]:
    try:
        return sorted(labels)
    except TypeError:  # labels of several kinds have no order of their own
        return sorted(labels, key=lambda label: (type(label).__name__, str(label)))


def _some(labels: Sequence[Any]) -> str:
    shown = ", ".join(map(repr, labels[:10]))
    return f"{shown}, …" if len(labels) > 10 else shown
