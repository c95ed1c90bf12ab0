"""Which items can be used: asked of every block before anything is trained, and what is said of the others."""

from __future__ import annotations

import inspect
import os
import unicodedata
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from plainlearn.core.errors import DataError
from plainlearn.core.lists import L
from plainlearn.data.blocks import Block, Examined
from plainlearn.data.dataset import Datasets, Getter, LazyValues, rows_of, shown
from plainlearn.data.split import Splits

_SHOWN = 5
_SIDES = ("training", "validation")

LeftOut = tuple[Any, str]
"""An item that is left out, and why."""


class DataWarning(UserWarning):
    """Something about the data that training can live with, and a person should know."""


@dataclass(frozen=True)
class Usable:
    """The items to train with, and which of them belong to each side; on each side, what was left out."""

    items: Any
    splits: tuple[L[int], L[int]]
    left_out: tuple[L[LeftOut], L[LeftOut]]


def usable(
    items: Any,
    splits: Splits,
    blocks: Sequence[Block],
    getters: Sequence[Getter],
    *,
    n_inp: int,
    strict: bool = False,
    as_they_are: bool = True,
) -> Usable:
    """Leave out what a block cannot use, and warn, with names, of that and of what makes a score doubtful.

    `as_they_are` says that no function of the user's own changes things before they are placed in their picture.
    Raises `DataError` if nothing is left on one side, if a class loses all its training items, and with
    `strict` for any item that cannot be used.
    """
    row = rows_of(items)
    listed = L([row(index) for side in splits for index in side])
    search = _Search(listed, len(splits[0]), blocks, getters, n_inp, as_they_are=as_they_are)
    problems = search.problems
    if problems:
        search.refuse(strict=strict)
        told = [f"{_count(len(problems), len(listed))} cannot be used and {_are(len(problems))} left out:"]
        told += [f"  {line}" for line in search.told[:_SHOWN]]
        if len(problems) > _SHOWN:
            told.append(f"  … and {len(problems) - _SHOWN} more")
        told.append("dls.left_out holds all of them; nothing is deleted, and strict=True would stop here.")
        tell("\n".join(told))
    if doubts := search.doubts():
        tell("\n".join([*doubts, "dls.check() shows all of this, and more."]))
    sides = (range(len(splits[0])), range(len(splits[0]), len(listed)))
    kept = (L([place for place in side if place not in problems]) for side in sides)
    left_out = (
        L[LeftOut]([(listed[place], problems[place]) for place in side if place in problems])
        for side in sides
    )
    return Usable(listed, (next(kept), next(kept)), (next(left_out), next(left_out)))


class _Search:
    """All items, training first, with what the blocks say of them."""

    def __init__(
        self,
        items: L[Any],
        trained: int,
        blocks: Sequence[Block],
        getters: Sequence[Getter],
        n_inp: int,
        *,
        as_they_are: bool,
    ) -> None:
        self.items, self.trained, self.blocks, self.getters = items, trained, blocks, getters
        self.n_inp = n_inp
        found = [
            Examined() if type(block).examine is Block.examine else block.examine(LazyValues(items, getter))
            for block, getter in zip(blocks, getters, strict=True)
        ]
        first: dict[int, str] = {}
        for each in found:
            first = {**each.problems, **first}
        if as_they_are:
            first = {**self.misfits(found), **first}
        self.problems = dict(sorted(first.items()))
        self.told = [_named(items[place], reason) for place, reason in self.problems.items()]
        self.marks = [each.marks for each in found[:n_inp]]

    def misfits(self, found: Sequence[Examined]) -> dict[int, str]:
        """Masks that are not of the size of their sample's picture, which is that of the first block."""
        told: dict[int, str] = {}
        for block, getter, each in zip(self.blocks, self.getters, found, strict=True):
            for place, (height, width) in each.frames.items() if block.geometry == "mask" else ():
                frame = found[0].frames.get(place, (height, width))
                if frame != (height, width):
                    told[place] = (
                        f"the mask {shown(getter(self.items[place]))} is {height} × {width} and its image "
                        f"{frame[0]} × {frame[1]}; expected the same"
                    )
        return told

    def side(self, place: int) -> int:
        return int(place >= self.trained)

    def refuse(self, *, strict: bool) -> None:
        """Raise where leaving out is not enough, or not wanted."""
        problems, total = self.problems, len(self.items)
        more = f"\n  … and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
        named = "".join(f"\n  {line}" for line in self.told[:_SHOWN]) + more
        if len(problems) == total:
            raise DataError(f"none of the {total} items can be used:{named}")
        lost = Counter(self.side(place) for place in problems)
        for side, count in enumerate((self.trained, total - self.trained)):
            if count and lost[side] == count:
                raise DataError(
                    f"{_SIDES[side]} is left without an item, as none of its {count} can be used:{named}"
                )
        for position in range(self.n_inp, len(self.blocks)):
            self.refuse_lost_classes(position)
        if strict:
            raise DataError(
                f"{_count(len(problems), total)} cannot be used:{named}",
                try_="replacing or removing them, or strict=False to leave them out",
            )

    def refuse_lost_classes(self, position: int) -> None:
        block, before, after = self.blocks[position], Counter[Any](), Counter[Any]()
        reasons: dict[Any, str] = {}
        told = dict(zip(self.problems, self.told, strict=True))
        for place, labels in enumerate(self.labels(position)[: self.trained]):
            before.update(labels)
            if place not in told:
                after.update(labels)
                continue
            for label in labels:
                reasons.setdefault(label, told[place])
        gone = [label for label in before if not after[label]]
        if gone:
            rest = "" if len(gone) == 1 else f" (and {len(gone) - 1} more such classes)"
            raise DataError(
                f"the {block.name.lower()} {gone[0]!r} has no training item left{rest}: none of its "
                f"{before[gone[0]]} can be used. The first:\n  {reasons[gone[0]]}",
                try_=f"replacing them, or removing {gone[0]!r} from the items",
            )

    def labels(self, position: int) -> list[tuple[Any, ...]]:
        """The labels of every item, where the block has such; those that it refuses count as none."""
        return labels_of(self.blocks[position], LazyValues(self.items, self.getters[position]))

    def doubts(self) -> list[str]:
        """What equal inputs say against the split and the labels, a sentence each."""
        if not self.marks or any(len(marks) != len(self.items) for marks in self.marks):
            return []
        same: defaultdict[tuple[str, ...], list[int]] = defaultdict(list)
        for place, marks in enumerate(zip(*self.marks, strict=True)):
            if place not in self.problems and all(marks):
                same[marks].append(place)
        groups = [group for group in same.values() if len(group) > 1]
        if not groups:
            return []
        what = self.blocks[0].name.lower()
        leaks = [group for group in groups if len({self.side(place) for place in group}) > 1]
        told: list[str] = []
        if leaks:
            told.append(
                f"the same {what} is in training and in validation, so the score would flatter the model "
                f"({_times(leaks)}): {self.pair(leaks[0], [self.side(place) for place in leaks[0]])}"
            )
        for position in range(self.n_inp, len(self.blocks)):
            labels = self.labels(position)
            torn = [group for group in groups if len({frozenset(labels[place]) for place in group}) > 1]
            if torn:
                told.append(
                    f"the same {what} has different labels ({_times(torn)}): "
                    f"{self.pair(torn[0], [frozenset(labels[place]) for place in torn[0]])}"
                )
        return told

    def pair(self, group: Sequence[int], told_apart_by: Sequence[Any]) -> str:
        """Two of a group that differ: `told_apart_by` says in what."""
        other = next(place for place, by in zip(group, told_apart_by, strict=True) if by != told_apart_by[0])
        return " = ".join(shown(self.getters[0](self.items[place])) for place in (group[0], other))


def alike_names(labels: Iterable[Any]) -> list[list[str]]:
    """Those of the labels that differ only in case, in the spaces around them, or in Unicode form; in groups.

    >>> alike_names(["Cat", "dog", "cat "])
    [['Cat', 'cat ']]
    """
    by_sense: defaultdict[str, list[str]] = defaultdict(list)
    for label in sorted(label for label in labels if isinstance(label, str)):
        by_sense[unicodedata.normalize("NFKC", label).casefold().strip()].append(label)
    return [group for group in by_sense.values() if len(group) > 1]


def tell_alike_names(targets: Sequence[Block]) -> None:
    """Warn of classes that are most likely one: the model would learn to tell them apart."""
    for block in targets:
        if groups := alike_names(block.vocab or ()):
            # In ASCII, as two forms of one letter look the same.
            names = "; ".join(" and ".join(map(ascii, group)) for group in groups[:_SHOWN])
            tell(
                f"class names differ only in case, spaces or Unicode form, and are different classes to the model: {names}"
            )


def audit_of(datasets: Datasets, left_out: Sequence[Sequence[LeftOut]], root: Any) -> Any:
    """The report of the first input that has one; see `BlockLoaders.check`."""
    base = datasets.train
    inputs = [at for at in range(base.n_inp) if type(base.blocks[at]).audit is not Block.audit]
    if not inputs:
        raise DataError(
            f"no input here can be audited; they are {', '.join(map(repr, base.blocks[: base.n_inp]))}"
        )
    items: list[Any] = []
    sides: list[str] = []
    problems: dict[int, str] = {}
    for side, dataset, missing in zip(("train", "valid"), (base, datasets.valid), left_out, strict=True):
        items += dataset.items
        problems |= {len(items) + place: reason for place, (_, reason) in enumerate(missing)}
        items += [item for item, _ in missing]
        sides += [side] * (len(items) - len(sides))
    listed = L(items)
    if len(inputs) > 1:
        # A label belongs to the inputs together, and one of them may be in many items: each counts once a side.
        columns = [zip(LazyValues(listed, base.getters[at]), sides, strict=True) for at in inputs]
        pairs = list(dict.fromkeys(pair for column in columns for pair in column))
        values, sides = [value for value, _ in pairs], [side for _, side in pairs]
        return base.blocks[inputs[0]].audit(
            values, [()] * len(pairs), sides, classes=(), problems={}, root=root
        )
    labels: list[tuple[Any, ...]] = [()] * len(items)
    classes: Sequence[Any] = ()
    for block, getter in zip(base.blocks[base.n_inp :], base.getters[base.n_inp :], strict=True):
        if type(block).labels_of is not Block.labels_of:
            labels, classes = labels_of(block, LazyValues(listed, getter)), block.vocab or ()
            break
    values = list(LazyValues(listed, base.getters[inputs[0]]))
    return base.blocks[inputs[0]].audit(values, labels, sides, classes=classes, problems=problems, root=root)


def labels_of(block: Block, values: Sequence[Any]) -> list[tuple[Any, ...]]:
    """Each value's labels, learned from these values if need be; none where the block has none, or refuses the value."""
    if type(block).labels_of is Block.labels_of:
        return [()] * len(values)
    known = list(values)
    sound = [not block.check(value) for value in known]
    if not any(sound):
        return [()] * len(known)
    learned = block.setup([value for value, fits in zip(known, sound, strict=True) if fits])
    return [
        tuple(learned.labels_of(value) or ()) if fits else ()
        for value, fits in zip(known, sound, strict=True)
    ]


def tell(text: str) -> None:
    """Warn at the line of the user's that led here, each time: a cell that is run again shows it again."""
    frame = inspect.currentframe()
    while frame and frame.f_back and frame.f_globals.get("__name__", "").startswith("plainlearn."):
        frame = frame.f_back
    assert frame is not None
    # Without a registry it is never taken for one that was shown before.
    warnings.warn_explicit(text, DataWarning, frame.f_code.co_filename, frame.f_lineno)


def _named(item: Any, reason: str) -> str:
    """The reason, which names the file, with the item in front unless it is but its file."""
    return reason if isinstance(item, (str, os.PathLike, tuple)) else f"{shown(item)}: {reason}"


def _count(some: int, total: int) -> str:
    return f"{some} of {total} items"


def _are(count: int) -> str:
    return "is" if count == 1 else "are"


def _times(groups: Sequence[Any]) -> str:
    return "once" if len(groups) == 1 else f"{len(groups)} times, the first"
