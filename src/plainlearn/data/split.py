"""Splitters: functions from items to the indices for training and for validation."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch

from plainlearn.core.errors import ArgumentError, SplitError
from plainlearn.core.lists import L

Splits = tuple[L[int], L[int]]
Splitter = Callable[[Sequence[Any]], Splits]


@dataclass(frozen=True)
class RandomSplitter:
    """A random share of the items for validation, the same for the same `seed`.

    The first `int(valid_pct * n)` places of `torch.randperm` after seeding are validation, as in the
    course. A seed is used in a generator of its own: torch's global one is left as it is.

    >>> RandomSplitter(seed=42)(range(10))
    ([1, 8, 4, 5, 0, 9, 3, 7], [2, 6])
    """

    valid_pct: float = 0.2
    seed: int | None = None

    def __call__(self, items: Sequence[Any]) -> Splits:
        count = len(items)
        cut = _valid_count(count, self.valid_pct)
        generator = None if self.seed is None else torch.Generator().manual_seed(self.seed)
        order = cast("list[int]", torch.randperm(count, generator=generator).tolist())
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

    def __call__(self, items: Sequence[Any]) -> Splits:
        if self.stratify is None:
            return RandomSplitter(self.test_size, self.seed)(items)
        _valid_count(len(items), self.test_size)
        members: defaultdict[Hashable, list[int]] = defaultdict(list)
        for index, item in enumerate(items):
            members[self.stratify(item)].append(index)
        generator = torch.Generator()
        if self.seed is None:
            generator.seed()
        else:
            generator.manual_seed(self.seed)
        valid: list[int] = []
        for indices in members.values():
            share = min(max(1, round(len(indices) * self.test_size)), len(indices) - 1)
            chosen = cast("list[int]", torch.randperm(len(indices), generator=generator)[:share].tolist())
            valid.extend(indices[place] for place in chosen)
        return _by_membership(len(items), sorted(valid), "each class has one item")


@dataclass(frozen=True)
class GroupSplitter:
    """A random share of the groups for validation: a patient, a street, a film is on one side only.

    `group(item)` says what belongs together. Groups are drawn until `valid_pct` of the items is reached.
    """

    group: Callable[[Any], Hashable]
    valid_pct: float = 0.2
    seed: int | None = None

    def __call__(self, items: Sequence[Any]) -> Splits:
        wanted = _valid_count(len(items), self.valid_pct)
        members: defaultdict[Hashable, list[int]] = defaultdict(list)
        for index, item in enumerate(items):
            members[self.group(item)].append(index)
        if len(members) < 2:
            raise SplitError(
                f"all {len(items)} items belong to one group; a split by group needs two or more",
                try_="RandomSplitter(), or another group function",
            )
        groups = list(members.values())
        generator = None if self.seed is None else torch.Generator().manual_seed(self.seed)
        order = cast("list[int]", torch.randperm(len(groups), generator=generator).tolist())
        valid: list[int] = []
        for place in order[:-1]:  # one group at least stays in training
            if len(valid) >= wanted:
                break
            valid.extend(groups[place])
        return _by_membership(len(items), sorted(valid), "no group was chosen")


@dataclass(frozen=True)
class GrandparentSplitter:
    """By the name of the folder above the class folder: `train/cat/1.jpg`, `valid/cat/2.jpg`."""

    train_name: str | tuple[str, ...] = "train"
    valid_name: str | tuple[str, ...] = "valid"

    def __call__(self, items: Sequence[Any]) -> Splits:
        train, valid = _names(self.train_name), _names(self.valid_name)
        found: defaultdict[str, int] = defaultdict(int)
        sides: tuple[list[int], list[int]] = ([], [])
        for index, item in enumerate(items):
            name = item.parent.parent.name
            found[name] += 1
            if name in train:
                sides[0].append(index)
            elif name in valid:
                sides[1].append(index)
        for side, names in zip(sides, (train, valid), strict=True):
            if not side:
                seen = ", ".join(f"{name} ({count})" for name, count in sorted(found.items())[:8])
                raise SplitError(
                    f"no item lies in a folder named {' or '.join(names)}; the folders above the classes are: {seen}",
                    try_="valid_pct=0.2 for a random split, or the right train= and valid= names",
                )
        return L(sides[0]), L(sides[1])


@dataclass(frozen=True)
class FuncSplitter:
    """Validation is where `func(item)` is true."""

    func: Callable[[Any], Any]

    def __call__(self, items: Sequence[Any]) -> Splits:
        valid = [index for index, item in enumerate(items) if self.func(item)]
        return _by_membership(len(items), valid, "the function was true for none")


@dataclass(frozen=True)
class IndexSplitter:
    """Validation is the items with these indices."""

    valid_idx: Sequence[int]

    def __call__(self, items: Sequence[Any]) -> Splits:
        outside = [index for index in self.valid_idx if not -len(items) <= index < len(items)]
        if outside:
            raise SplitError(
                f"valid_idx has {outside[0]}; there are {len(items)} items, 0 to {len(items) - 1}"
            )
        valid = sorted({index % len(items) for index in self.valid_idx})
        return _by_membership(len(items), valid, "valid_idx is empty")


@dataclass(frozen=True)
class ColSplitter:
    """Validation is the rows of a table whose column `col` is true, or is one of the values `on`."""

    col: str | int = "is_valid"
    on: Any = None

    def __call__(self, items: Any) -> Splits:
        if not hasattr(items, "columns"):
            raise SplitError(
                f"ColSplitter needs a table and got {type(items).__name__}",
                try_="ColSplitter on a data frame, or RandomSplitter()",
            )
        names = list(items.columns)
        if isinstance(self.col, str) and self.col not in names:
            raise SplitError(
                f"the table has no column {self.col!r}; its columns are {', '.join(map(str, names))}"
            )
        column = items[self.col] if isinstance(self.col, str) else items.iloc[:, self.col]
        wanted: Any = (
            {True}
            if self.on is None
            else (
                set(cast("Iterable[Any]", self.on)) if isinstance(self.on, (list, tuple, set)) else {self.on}
            )
        )
        valid = [index for index, value in enumerate(column) if value in wanted]
        return _by_membership(len(items), valid, f"no row has {self.col} in {wanted}")


def _valid_count(count: int, share: float) -> int:
    if not isinstance(share, (int, float)) or not math.isfinite(share) or not 0 < share < 1:  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ArgumentError(f"valid_pct is {share!r}; expected a share between 0 and 1", try_="valid_pct=0.2")
    cut = int(share * count)
    if cut == 0 or cut == count:
        raise SplitError(
            f"{'validation' if cut == 0 else 'training'} is empty: {count} items, valid_pct {share:g} gives {cut} to validation",
            try_="a share that leaves one or more on each side, such as valid_pct=0.5, or more items",
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
