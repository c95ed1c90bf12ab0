"""Splitters: functions from items to the indices for training and for validation."""

from __future__ import annotations

import math
import os
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, Final, cast

import torch

from plainlearn.core.describe import describe
from plainlearn.core.errors import ArgumentError, SplitError
from plainlearn.core.lists import L
from plainlearn.data.stages import Item
from plainlearn.datasets.remote import RemotePath

if TYPE_CHECKING:
    from pandas import DataFrame

Splits = tuple[L[int], L[int]]
Splitter = Callable[[Any], tuple[Sequence[int], Sequence[int]]]

# What tables hold where they mean yes or no; those read as text included.
_TRUTHS: Final[dict[Any, bool]] = {
    True: True,
    False: False,
    "true": True,
    "false": False,
    "1": True,
    "0": False,
}


@dataclass(frozen=True)
class RandomSplitter:
    """A random share of the items for validation, the same for the same `seed`.

    The first `int(valid_pct * n)` places of `torch.randperm` after seeding are validation, as in the
    course. A seed is used in a generator of its own: torch's global one is left as it is. Without a seed
    it is the global one that is drawn from, so `set_seed` repeats the split.

    >>> RandomSplitter(seed=42)(range(10))
    ([1, 8, 4, 5, 0, 9, 3, 7], [2, 6])
    """

    valid_pct: float = 0.2
    seed: int | None = None

    def __call__(self, items: Sequence[Item]) -> Splits:
        count = len(items)
        cut = _valid_count(count, "valid_pct", self.valid_pct)
        order = _shuffled(count, _generator(self.seed))
        return L(order[cut:]), L(order[:cut])


@dataclass(frozen=True)
class TrainTestSplitter:
    """A random share of each class for validation, so that both sides have the same mixture.

    `stratify(item)` is what must be mixed evenly, such as `parent_label`; without it the split is plain random.
    A class of one item stays in training.
    """

    test_size: float = 0.2
    seed: int | None = None
    stratify: Callable[[Any], Hashable] | None = None

    def __call__(self, items: Sequence[Item]) -> Splits:
        if self.stratify is None:
            return RandomSplitter(self.test_size, self.seed)(items)
        _valid_count(len(items), "test_size", self.test_size)
        members: defaultdict[Hashable, list[int]] = defaultdict(list)
        for index, item in enumerate(items):
            members[self.stratify(item)].append(index)
        generator = _generator(self.seed)
        valid: list[int] = []
        for indices in members.values():
            share = min(max(1, round(len(indices) * self.test_size)), len(indices) - 1)
            valid.extend(indices[place] for place in _shuffled(len(indices), generator)[:share])
        return _by_membership(len(items), sorted(valid), "each class has one item")


@dataclass(frozen=True)
class GroupSplitter:
    """A random share of the groups for validation: a patient, a street, a film is on one side only.

    `group(item)` says what belongs together. Groups are drawn until `valid_pct` of the items is reached.
    """

    group: Callable[[Any], Hashable]
    valid_pct: float = 0.2
    seed: int | None = None

    def __call__(self, items: Sequence[Item]) -> Splits:
        wanted = _valid_count(len(items), "valid_pct", self.valid_pct)
        members: defaultdict[Hashable, list[int]] = defaultdict(list)
        for index, item in enumerate(items):
            members[self.group(item)].append(index)
        if len(members) < 2:
            raise SplitError(
                f"all {len(items)} items belong to one group; a split by group needs two or more",
                try_="RandomSplitter(), or another group function",
            )
        groups = list(members.values())
        valid: list[int] = []
        for place in _shuffled(len(groups), _generator(self.seed))[
            :-1
        ]:  # one group at least stays in training
            if len(valid) >= wanted:
                break
            valid.extend(groups[place])
        return _by_membership(len(items), sorted(valid), "no group was chosen")


@dataclass(frozen=True)
class GrandparentSplitter:
    """By the name of the folder above the class folder: `train/cat/1.jpg`, `valid/cat/2.jpg`.

    Raises `SplitError` when a side is empty, and for items of neither, which would be lost in silence.
    """

    train_name: str | tuple[str, ...] = "train"
    valid_name: str | tuple[str, ...] = "valid"

    def __call__(self, items: Sequence[Item]) -> Splits:
        train, valid = _names(self.train_name), _names(self.valid_name)
        found: defaultdict[str, int] = defaultdict(int)
        sides: tuple[list[int], list[int]] = ([], [])
        for index, item in enumerate(items):
            path = item.path if isinstance(item, RemotePath) else cast("str", item)
            folder = os.path.dirname(os.path.dirname(path))  # noqa: PTH120 (10× as fast as Path)
            name = os.path.basename(folder)  # noqa: PTH119
            found[name] += 1
            if name in train:
                sides[0].append(index)
            elif name in valid:
                sides[1].append(index)
        seen = ", ".join(f"{name} ({count})" for name, count in sorted(found.items())[:8])
        for side, names in zip(sides, (train, valid), strict=True):
            if not side:
                raise SplitError(
                    f"no item lies in a folder named {' or '.join(names)}; the folders above the classes are: {seen}",
                    try_="valid_pct=0.2 for a random split, or the right train= and valid= names",
                )
        lost = len(items) - len(sides[0]) - len(sides[1])
        if lost:
            raise SplitError(
                f"{lost} of {len(items)} items lie neither in {' or '.join(train)} nor in {' or '.join(valid)}; "
                f"the folders above the classes are: {seen}",
                try_=f"get_image_files(path, folders={[*train, *valid]}), or more names for train_name and valid_name",
            )
        return L(sides[0]), L(sides[1])


@dataclass(frozen=True)
class FuncSplitter:
    """Validation is where `func(item)` is true."""

    func: Callable[[Any], Any]

    def __call__(self, items: Sequence[Item]) -> Splits:
        valid = [index for index, item in enumerate(items) if self.func(item)]
        return _by_membership(len(items), valid, "the function was true for none")


@dataclass(frozen=True)
class IndexSplitter:
    """Validation is the items with these indices."""

    valid_idx: Sequence[int]

    def __call__(self, items: Sequence[Item]) -> Splits:
        count = len(items)
        indices = checked_indices(self.valid_idx, count, "valid_idx", lowest=-count)
        valid = sorted({index % count for index in indices})
        return _by_membership(len(items), valid, "valid_idx is empty")


@dataclass(frozen=True)
class ColSplitter:
    """Validation is the rows of a table whose column `col` is true, or is one of the values `on`.

    True are True, 1 and the text "true" or "1"; false are False, 0, "false" and "0". Raises `SplitError`
    for a value that is neither, when `on` does not say what counts.
    """

    col: str | int = "is_valid"
    on: Any = None

    def __call__(self, items: DataFrame | Sequence[Item]) -> Splits:
        table: Any = items
        if not hasattr(table, "columns"):
            raise SplitError(
                f"ColSplitter needs a table and got {type(table).__name__}",
                try_="ColSplitter on a data frame, or RandomSplitter()",
            )
        names = list(table.columns)
        if isinstance(self.col, str) and self.col not in names:
            raise SplitError(
                f"the table has no column {self.col!r}; its columns are {', '.join(map(str, names))}"
            )
        if not isinstance(self.col, str) and not -len(names) <= self.col < len(names):
            raise SplitError(f"the table has no column {self.col}; it has {len(names)}, counted from 0")
        column: Iterable[Any] = table[self.col] if isinstance(self.col, str) else table.iloc[:, self.col]
        if self.on is None:
            valid = [index for index, value in enumerate(column) if self._is_true(value, index)]
            return _by_membership(len(items), valid, f"the column {self.col!r} is true in no row")
        several = isinstance(self.on, (list, tuple, set, frozenset))
        wanted = list(cast("Iterable[Any]", self.on)) if several else [self.on]
        valid = [index for index, value in enumerate(column) if value in wanted]
        return _by_membership(len(items), valid, f"no row has {self.col!r} in {wanted}")

    def _is_true(self, value: Any, row: int) -> bool:
        truth = _TRUTHS.get(value.strip().lower() if isinstance(value, str) else value)
        if truth is None:
            raise SplitError(
                f"row {row} has {value!r} in column {self.col!r}; expected True or False, 1 or 0",
                try_=f"ColSplitter({self.col!r}, on={value!r}) to say which value means validation",
            )
        return truth


def checked_splits(splits: object, count: int, splitter: Splitter) -> Splits:
    """What a splitter gave, as whole numbers, if it divides `count` items: each on one side, none left out.

    Raises `SplitError` that says what is wrong with it.
    """
    name = f"the splitter {getattr(splitter, '__name__', splitter)}"
    pair = list(cast("Sequence[Any]", splits)) if isinstance(splits, (tuple, list)) else []
    if len(pair) != 2:
        raise SplitError(
            f"{name} gave {describe(splits)}; expected two lists of indices, training and validation"
        )
    train, valid = (
        L(checked_indices(side, count, f"{name}, for {which},"))
        for which, side in zip(("training", "validation"), pair, strict=True)
    )
    for which, side in (("training", train), ("validation", valid)):
        if not side:
            raise SplitError(f"{which} is empty: {name} gave it none of {count} items")
    if len(set(train)) + len(set(valid)) != len(train) + len(valid):
        raise SplitError(f"{name} gave an item twice to one side; expected each once")
    if both := set(train) & set(valid):
        raise SplitError(
            f"{name} put {len(both)} of {count} items on both sides, the first is item {min(both)}; expected one each"
        )
    if lost := set(range(count)) - set(train) - set(valid):
        raise SplitError(
            f"{name} left out {len(lost)} of {count} items, the first is item {min(lost)}; expected each on one side",
            try_="leaving them out of get_items, where it is seen",
        )
    return train, valid


def checked_indices(indices: Iterable[object], count: int, name: str, *, lowest: int = 0) -> list[int]:
    """`indices` as whole numbers from `lowest` up, below `count`; of any kind of whole number."""
    array: Any = indices
    listed: list[Any] = list(array.tolist() if hasattr(array, "tolist") else array)
    for index in listed:
        if isinstance(index, bool) or not isinstance(index, Integral):
            raise SplitError(f"{name} has {index!r}; expected indices, whole numbers")
        if not lowest <= int(index) < count:
            raise SplitError(
                f"{name} has {index}; there are {count} items, 0 to {count - 1}",
                try_="df.reset_index(drop=True) if these are a table's labels; positions are expected",
            )
    return [int(index) for index in listed]


def _generator(seed: int | None) -> torch.Generator | None:
    return None if seed is None else torch.Generator().manual_seed(seed)


def _shuffled(count: int, generator: torch.Generator | None) -> list[int]:
    return cast("list[int]", torch.randperm(count, generator=generator).tolist())


def _valid_count(count: int, name: str, share: Any) -> int:
    number = float(share) if isinstance(share, Real) else math.nan
    if not 0 < number < 1:
        raise ArgumentError(f"{name} is {share!r}; expected a share between 0 and 1", try_=f"{name}=0.2")
    cut = int(number * count)
    if cut == 0:
        raise SplitError(
            f"validation is empty: {count} items, and {name} {number:g} of them is less than one",
            try_=f"{name}=0.5, or more items",
        )
    return cut


def _by_membership(count: int, valid: list[int], why_empty: str) -> Splits:
    if not valid:
        raise SplitError(f"validation is empty: {why_empty} ({count} items)")
    if len(valid) == count:
        raise SplitError(f"training is empty: all {count} items went to validation")
    chosen = set(valid)
    return L([index for index in range(count) if index not in chosen]), L(valid)


def _names(names: str | tuple[str, ...]) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else tuple(names)
