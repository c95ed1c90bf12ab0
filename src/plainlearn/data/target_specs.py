"""What a target means, as plain data: which values it takes, how one becomes numbers, and how an answer becomes one again.

A block holds one of these, and a model file names it: so answers are decoded alike with torch and without. No torch here.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from plainlearn.core.describe import describe
from plainlearn.core.errors import ArgumentError, ArgumentTypeError, DataError
from plainlearn.core.lists import L
from plainlearn.data.label import is_missing
from plainlearn.data.stages import Encoded, Value

__all__ = [
    "CategorySpec",
    "LabelSpec",
    "MaskSpec",
    "MultiCategorySpec",
    "PointSpec",
    "RegressionSpec",
    "TargetSpec",
    "checked_vocabulary",
    "shown_labels",
]


class TargetSpec(Protocol):
    """What every one of them says."""

    @property
    def labels(self) -> L[Any] | None:
        """The labels, in the order of a model's outputs; None of a target that has none."""
        ...

    def decode(self, encoded: Encoded) -> Any:
        """An answer, an array or a tensor, as people read it."""
        ...


class LabelSpec(TargetSpec, Protocol):
    """One whose values can be written in a table: labels, or numbers."""

    def check(self, value: Value) -> str:
        """Why `value` cannot be used, or nothing."""
        ...

    def encode(self, value: Value) -> Any:
        """The value as a number or an array. Raises `DataError` for one that cannot be used."""
        ...


@dataclass(frozen=True)
class CategorySpec:
    """One label out of `vocab`; by `add_na` number 0 is for labels that are not known. `sort` says how `vocab` was learned."""

    vocab: tuple[Any, ...] | None = None
    sort: bool = True
    add_na: bool = False

    #: The activations whose outputs can be read as this.
    activations: ClassVar[tuple[str, ...]] = ("softmax", "exp")

    def __post_init__(self) -> None:
        object.__setattr__(self, "vocab", checked_vocabulary(self.vocab))

    @property
    def labels(self) -> L[Any]:
        return L(self._labels)

    @cached_property
    def _labels(self) -> tuple[Any, ...]:
        return ("#na#", *self.known) if self.add_na else self.known

    @cached_property
    def numbers(self) -> dict[Any, int]:
        """The number of each label."""
        return {label: number for number, label in enumerate(self._labels)}

    @property
    def known(self) -> tuple[Any, ...]:
        """The vocabulary, empty as long as it is to be learned."""
        return self.vocab or ()

    def check(self, value: Value) -> str:
        torch = sys.modules.get("torch")  # whoever hands us a tensor has imported it
        tensor = () if torch is None else (torch.Tensor,)
        if isinstance(value, (list, dict, set, np.ndarray, *tensor)):
            return f"the label is {describe(value)}; expected one label (MultiCategoryBlock takes several)"
        if value in self.numbers or (self.add_na and self.known):
            return ""
        if is_missing(value):
            return "" if self.add_na else f"the label is {value!r}; expected a label, an empty one is none"
        if not self.known:
            return ""
        return (
            f"the label {value!r} is not in the vocabulary of {len(self.known)}: {shown_labels(self.known)}"
        )

    def encode(self, value: Value) -> int:
        if reason := self.check(value):
            raise DataError(
                reason, try_="CategoryBlock(add_na=True), or a split with every label in training"
            )
        return self.numbers.get(value, 0)

    def decode(self, encoded: Encoded) -> Any:
        return self._labels[int(encoded)]


@dataclass(frozen=True)
class MultiCategorySpec:
    """Any number of labels out of `vocab`: zeros and ones, one a label."""

    vocab: tuple[Any, ...] | None = None

    activations: ClassVar[tuple[str, ...]] = ("sigmoid",)

    def __post_init__(self) -> None:
        object.__setattr__(self, "vocab", checked_vocabulary(self.vocab))

    @property
    def labels(self) -> L[Any]:
        return L(list(self.known))

    @property
    def known(self) -> tuple[Any, ...]:
        """The vocabulary, empty as long as it is to be learned."""
        return self.vocab or ()

    @cached_property
    def _known(self) -> frozenset[Any]:
        return frozenset(self.known)

    def check(self, value: Value) -> str:
        if isinstance(value, str) or not isinstance(value, Iterable):
            return f"the labels are {value!r}; expected a list of labels, or a label_delim that makes one"
        found = list(cast("Iterable[Any]", value))
        if any(is_missing(label) for label in found):
            return f"one of the labels {found!r} is empty; expected text, or a list without it"
        unknown = [label for label in found if label not in self._known] if self.known else []
        return (
            f"the label {unknown[0]!r} is not in the vocabulary: {shown_labels(self.known)}"
            if unknown
            else ""
        )

    def encode(self, value: Value) -> NDArray[np.float32]:
        if reason := self.check(value):
            raise DataError(reason)
        present = set(value)
        return np.array([label in present for label in self.known], np.float32)

    def decode(self, encoded: Encoded) -> L[Any]:
        return L([label for label, present in zip(self.known, encoded, strict=True) if bool(present)])


@dataclass(frozen=True)
class RegressionSpec:
    """One number or `n_out` of them."""

    n_out: int | None = None

    @property
    def labels(self) -> None:
        return None

    def check(self, value: Value) -> str:
        try:
            numbers = np.asarray(value, dtype=np.float64)
        except (TypeError, ValueError):
            return f"the target {value!r} is not a number"
        if self.n_out is not None and numbers.size != self.n_out:
            return f"the target has {numbers.size} numbers; expected {self.n_out}"
        return "" if np.isfinite(numbers).all() else f"the target {value!r} is not finite"

    def encode(self, value: Value) -> NDArray[np.float32]:
        if reason := self.check(value):
            raise DataError(reason)
        return np.asarray(value, dtype=np.float32)

    def decode(self, encoded: Encoded) -> Any:
        values = np.asarray(encoded)
        return values.item() if values.size == 1 else values


@dataclass(frozen=True)
class MaskSpec:
    """One label a pixel. `codes` names the labels, `values` says which numbers of the files mean 0, 1, 2, …"""

    codes: tuple[Any, ...] | None = None
    values: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        for name in ("codes", "values"):
            given: Sequence[Any] | None = getattr(self, name)
            object.__setattr__(self, name, () if given is None else tuple(given))
        if self.values and len(set(self.values)) != len(self.values):
            raise ArgumentError(f"values has a number twice: {self.values}; expected each once")
        if self.values and self.codes and len(self.values) != len(self.codes):
            raise ArgumentError(
                f"there are {len(self.codes)} codes and {len(self.values)} values; expected one each"
            )

    @property
    def labels(self) -> L[Any] | None:
        return L(list(self.codes)) if self.codes else None

    def decode(self, encoded: Encoded) -> NDArray[np.int64]:
        return np.asarray(encoded)


@dataclass(frozen=True)
class PointSpec:
    """`n_points` places in a picture, (x, y) in −1..1 from edge to edge."""

    n_points: int | None = None

    @property
    def labels(self) -> None:
        return None

    def decode(self, encoded: Encoded) -> NDArray[np.float32]:
        return np.asarray(encoded)


def checked_vocabulary(labels: Iterable[Any] | None) -> tuple[Any, ...] | None:
    """The labels as a tuple. Raises `DataError` for a label that stands there twice, or is none."""
    if labels is None:
        return None
    if isinstance(labels, str):
        raise ArgumentTypeError(
            f"vocab is the text {labels!r}; expected a list of labels", try_="vocab=['3', '7']"
        )
    vocab = tuple(labels)
    try:
        twice = [label for label, count in Counter(vocab).items() if count > 1]
    except TypeError as error:  # what has no hash is no label
        raise DataError(f"the vocabulary has a label that is a list or the like: {error}") from error
    if twice:
        raise DataError(f"the vocabulary has {twice[0]!r} twice; expected each label once")
    return vocab


def shown_labels(labels: Sequence[Any]) -> str:
    """The first ten, for a sentence."""
    shown = ", ".join(map(repr, labels[:10]))
    return f"{shown}, …" if len(labels) > 10 else shown
