"""Blocks: what a thing is. How to open it, learn its vocabulary, encode, decode, and what it implies."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, Self, TypeAlias, cast, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from plainlearn.core.errors import ArgumentTypeError, DataError, ShapeError
from plainlearn.core.lists import L
from plainlearn.data.collating import collate
from plainlearn.data.label import is_missing
from plainlearn.data.stages import Deferred, Encoded, Field, Item, Thing, Value
from plainlearn.data.target_specs import (
    CategorySpec,
    MultiCategorySpec,
    RegressionSpec,
    checked_vocabulary,
    shown_labels,
)
from plainlearn.losses.losses import BCEWithLogitsLossFlat, CrossEntropyLossFlat, MSELossFlat
from plainlearn.metrics.functions import accuracy, accuracy_multi, rmse

if TYPE_CHECKING:
    from plainlearn.core.figures import Axes

#: How geometry acts on a thing: read by interpolation, read by the nearest pixel, moved as
#: coordinates, moved as boxes, or not at all.
Geometry = Literal["image", "mask", "points", "boxes", "none"]
#: (height, width) of the picture by which the things of a sample are placed.
Frame = tuple[int, int]
#: What the learner takes as a metric: a function of a batch's outputs and targets, or a class with state.
Metric: TypeAlias = Callable[..., Any]


class Block:
    """What a thing is. The base is a thing that is used as it is; a new kind of thing is one subclass in one file.

    The way of a value: `open` (a path to an array, say), `encode` (to a tensor), and back with `decode`.
    `setup` returns a block that has learned what it must from the training values.

    What only some can do they say by having the method, and no other block has it: to be moved by geometry
    (`Spatial`, `HasFrame`, `Linked`), and to be checked before training (`Checks`, `Examines`, `HasLabels`, `Audits`).
    """

    #: How geometry acts on this kind of thing.
    geometry: ClassVar[Geometry] = "none"

    def setup(self, values: Sequence[Value]) -> Self:
        """The block for these training values; most have nothing to learn."""
        return self

    def open(self, value: Value) -> Thing:
        """The thing itself, from what a getter gives."""
        return value

    def encode(self, thing: Thing) -> Encoded:
        """The thing as the model gets it."""
        return thing

    def decode(self, encoded: Encoded) -> Thing:
        """Back from `encode`, for people."""
        return encoded

    def gather(self, parts: Sequence[Encoded], items: Sequence[Item]) -> Field:
        """The encoded things of one batch, put together. `items` are what they come from, to be named in errors."""
        if not all(isinstance(part, Tensor) for part in parts):
            return collate(parts)
        first = parts[0].shape
        for part, item in zip(parts, items, strict=True):
            if part.shape != first:
                raise ShapeError(
                    f"the {self.name} of {items[0]} has the shape {tuple(first)} and that of {item} "
                    f"{tuple(part.shape)}; a batch needs one shape"
                )
        return torch.stack(tuple(parts))

    def to_model(self, batch: Field) -> Field:
        """A whole batch of encoded things, on the device, as the model's input: bytes to fractions, say.

        What is finished already stays as it is.
        """
        return batch

    def from_model(self, batch: Field) -> Field:
        """Back from `to_model`, for people."""
        return batch

    def show(self, thing: Thing, ax: Axes) -> str:
        """Draw a decoded thing on `ax` and return nothing, or leave `ax` and return it as text."""
        return str(thing)

    @property
    def vocab(self) -> L[Any] | None:
        return None

    @property
    def outputs(self) -> int | None:
        """How many activations a model needs for this target, where that is known."""
        return None

    def loss_func(self) -> Callable[..., Tensor] | None:
        """The loss that this target implies, or None."""
        return None

    def metric(self) -> Metric | None:
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


BlockLike: TypeAlias = Block | Callable[[], Block]
"""A block, its class, or a function that makes one."""


# ---------------------------------------------------------------- how geometry moves it


@runtime_checkable
class Spatial(Protocol):
    """A block whose things have a place in the sample's picture, and move with it."""

    def place(self, thing: Thing, frame: Frame) -> Deferred:
        """The thing ready for geometry; `frame` is the (height, width) of the sample's picture."""
        ...

    def begin_batch(self, batch: Field) -> Deferred:
        """A batch of tensors ready for geometry once more; what is deferred stays as it is."""
        ...


@runtime_checkable
class HasFrame(Protocol):
    """A block by whose things the others of the sample are placed."""

    def frame(self, thing: Thing) -> Frame | None:
        """The (height, width) of the thing."""
        ...


@runtime_checkable
class Linked(Protocol):
    """A block whose things need others of their sample: labels of boxes take their boxes along."""

    def link_fields(self, thing: Thing, sample: Sequence[Thing]) -> Deferred:
        """The thing, now that all of its `sample`, or of its batch, are placed."""
        ...


class FieldGeometry:
    """How the fields of a sample, or of a batch, get a place in their picture: each as its block says, or not at all."""

    def __init__(self, blocks: Sequence[Block]) -> None:
        self._framed = [block if isinstance(block, HasFrame) else None for block in blocks]
        self._spatial = [block if isinstance(block, Spatial) else None for block in blocks]
        self._linked = [block if isinstance(block, Linked) else None for block in blocks]

    def place(self, things: Sequence[Thing]) -> tuple[Thing, ...]:
        """The things of one sample with a place in its picture, which is the first thing that has a frame."""
        frames = (block.frame(thing) for block, thing in zip(self._framed, things, strict=True) if block)
        frame = next((size for size in frames if size is not None), None)
        if frame is None:
            return tuple(things)
        placed = [
            block.place(thing, frame) if block else thing
            for block, thing in zip(self._spatial, things, strict=True)
        ]
        return self._link(placed)

    def begin(self, batch: Sequence[Field]) -> tuple[Field, ...]:
        """A batch of encoded things as the batch transforms take it. It may lack the last fields, the targets."""
        begun = [
            block.begin_batch(field) if block else field
            for block, field in zip(self._spatial, batch, strict=False)
        ]
        return self._link(begun)

    def _link(self, fields: Sequence[Field]) -> tuple[Field, ...]:
        return tuple(
            block.link_fields(field, fields) if block else field
            for block, field in zip(self._linked, fields, strict=False)
        )


def finished(block: Block, field: Field) -> Field:
    """A field of a batch as the model gets it, read now if it still waits."""
    return block.to_model(field.read() if isinstance(field, Deferred) else field)


# ---------------------------------------------------------------- how it is checked before training


@dataclass(frozen=True)
class Examined:
    """What a block finds in all its values: by place, why some cannot be used.

    `digests` are equal for values of equal contents, unknown unless there is one for each value; `frames` are, by
    place, the (height, width) of pictures, where they are known.
    """

    problems: Mapping[int, str] = field(default_factory=dict[int, str])
    digests: Sequence[str] = ()
    frames: Mapping[int, Frame] = field(default_factory=dict[int, Frame])


@runtime_checkable
class Checks(Protocol):
    """A block that can tell which values it cannot use."""

    def check(self, value: Value) -> str:
        """Why `value` cannot be used, or nothing. Cheap: it is asked for every item, before any training.

        Asked before `setup` too, when a vocabulary is not known yet.
        """
        ...


@runtime_checkable
class Examines(Protocol):
    """A block that looks at all values before training, into their files if it must; `check` is the cheap look."""

    def examine(self, values: Sequence[Value]) -> Examined:
        """The items of values that cannot be used are left out. `values` are read when they are asked for."""
        ...


@runtime_checkable
class HasLabels(Protocol):
    """A block whose values are made of labels of its vocabulary, which can be counted without opening anything."""

    def labels_of(self, value: Value) -> Iterable[Any] | None:
        """Which labels of the vocabulary `value` has."""
        ...


@runtime_checkable
class Audits(Protocol):
    """A block with a report on all its values, as `BlockLoaders.check` gives it."""

    def audit(
        self,
        values: Sequence[Value],
        labels: Sequence[Any],
        sides: Sequence[str],
        *,
        classes: Sequence[Any],
        problems: Mapping[int, str],
        root: Path,
    ) -> Any:
        """The report. `classes` are the labels that there should be, `problems` those that are known, by place;
        names in the report are told from `root` on.
        """
        ...


# ---------------------------------------------------------------- targets that need no pixels


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

    def setup(self, values: Sequence[Value]) -> Self:
        if self.classes:
            return self
        known = dict.fromkeys(_plain(value) for value in values if not is_missing(value))
        return type(self)(_sorted(known) if self.spec.sort else known, self.spec.sort, self.spec.add_na)

    @property
    def vocab(self) -> L[Any]:
        return self.spec.labels

    @property
    def outputs(self) -> int:
        return len(self.vocab)

    def encode(self, thing: Thing) -> Tensor:
        return torch.tensor(self.spec.encode(thing))

    def decode(self, encoded: Encoded) -> Thing:
        return self.spec.decode(encoded)

    def check(self, value: Value) -> str:
        return self.spec.check(value)

    def labels_of(self, value: Value) -> Iterable[Any]:
        return (value if value in self.spec.numbers else "#na#",)

    def __repr__(self) -> str:
        vocab = f"vocab=[{shown_labels(self.classes)}], " if self.classes else ""
        return f"CategoryBlock({vocab}sort={self.spec.sort}, add_na={self.spec.add_na})"

    def loss_func(self) -> CrossEntropyLossFlat:
        return CrossEntropyLossFlat()

    def metric(self) -> Metric:
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

    def setup(self, values: Sequence[Value]) -> Self:
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

    def encode(self, thing: Thing) -> Tensor:
        if not self.encoded:
            return torch.from_numpy(self.spec.encode(thing))
        if reason := self.check(thing):
            raise DataError(reason)
        return torch.as_tensor(np.asarray(thing, dtype=np.float32))

    def decode(self, encoded: Encoded) -> L[Any]:
        return self.spec.decode(encoded)

    def show(self, thing: Thing, ax: Axes) -> str:
        return "; ".join(map(str, thing))

    def check(self, value: Value) -> str:
        if not self.encoded or isinstance(value, str) or not isinstance(value, Iterable):
            return self.spec.check(value)
        found = list(cast("Iterable[Any]", value))
        if len(found) != len(self.classes):
            return f"there are {len(found)} columns for a vocabulary of {len(self.classes)}"
        odd = [each for each in found if each not in (0, 1)]
        return f"a column holds {odd[0]!r}; expected 0 or 1" if odd else ""

    def labels_of(self, value: Value) -> Iterable[Any]:
        if not self.encoded:
            return set(value)
        return [label for label, present in zip(self.classes, value, strict=True) if present]

    def __repr__(self) -> str:
        shown = f", vocab=[{shown_labels(self.classes)}]" if self.classes else ""
        return f"MultiCategoryBlock(encoded={self.encoded}{shown})"

    def loss_func(self) -> BCEWithLogitsLossFlat:
        return BCEWithLogitsLossFlat()

    def metric(self) -> Metric:
        return accuracy_multi


class RegressionBlock(Block):
    """One number or several: float32 of shape () or (`n_out`,)."""

    def __init__(self, n_out: int | None = None) -> None:
        self.spec = RegressionSpec(n_out)

    @property
    def n_out(self) -> int | None:
        """How many numbers; None before `setup`."""
        return self.spec.n_out

    def setup(self, values: Sequence[Value]) -> Self:
        return self if self.n_out is not None else type(self)(max(1, np.asarray(values[0]).size))

    @property
    def outputs(self) -> int | None:
        return self.n_out

    def encode(self, thing: Thing) -> Tensor:
        return torch.as_tensor(self.spec.encode(thing))

    def decode(self, encoded: Encoded) -> Thing:
        return self.spec.decode(encoded)

    def show(self, thing: Thing, ax: Axes) -> str:
        return ", ".join(f"{value:.4g}" for value in np.asarray(thing).flat)

    def check(self, value: Value) -> str:
        return self.spec.check(value)

    def __repr__(self) -> str:
        return f"RegressionBlock(n_out={self.n_out})"

    def loss_func(self) -> MSELossFlat:
        return MSELossFlat()

    def metric(self) -> Metric:
        return rmse


def made(block: BlockLike) -> Block:
    """A block from what a person writes: `ImageBlock` or `ImageBlock()`.

    Raises `ArgumentTypeError` for what is none, and for one that has but a part of a protocol, which would do nothing.
    """
    instance = block if isinstance(block, Block) or not callable(block) else block()
    if not isinstance(instance, Block):  # pyright: ignore[reportUnnecessaryIsInstance] (people write anything)
        raise ArgumentTypeError(f"{block!r} is not a block", try_="blocks=(ImageBlock, CategoryBlock)")
    if not isinstance(instance, Spatial) and (hasattr(instance, "place") or hasattr(instance, "begin_batch")):
        raise ArgumentTypeError(
            f"{type(instance).__name__} has only one of place and begin_batch; geometry needs both",
            try_="a begin_batch that returns its batch, if nothing more is to be done",
        )
    return instance


def _plain(label: Any) -> Any:
    """A table's scalars as Python's own, which print as people write them."""
    return cast("np.generic[Any]", label).item() if isinstance(label, np.generic) else label


def _sorted(labels: Iterable[Any]) -> list[Any]:
    try:
        return sorted(labels)
    except TypeError:  # labels of several kinds have no order of their own
        return sorted(labels, key=lambda label: (type(label).__name__, str(label)))
