"""Which items can be used: asked of every block before anything is trained, and what is said of the others."""

from __future__ import annotations

import inspect
import os
import unicodedata
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from plainlearn.core.errors import DataError
from plainlearn.core.lists import L
from plainlearn.data.blocks import Audits, Block, Checks, Examined, Examines, HasLabels
from plainlearn.data.dataset import BlockDataset, Datasets, LazyValues, LeftOut, describe_item
from plainlearn.data.split import Splits
from plainlearn.data.stages import Item, Value
from plainlearn.data.transform import Function

_SHOWN = 5
_SIDES = ("training", "validation")


class DataWarning(UserWarning):
    """Something about the data that training can live with, and a person should know."""


def leave_out_unusable(
    dataset: BlockDataset, splits: Splits, *, strict: bool = False
) -> tuple[Splits, tuple[L[LeftOut], L[LeftOut]]]:
    """The splits without the items that a block cannot use, and these, with the reasons, on each side.

    Warns, with names, of them and of what makes a score doubtful. Raises `DataError` if nothing is left on one side,
    if a class loses all its training items, and with `strict` for any item that cannot be used.
    """
    found = _Validation(dataset, splits)
    problems = found.problems
    if problems:
        found.refuse(strict=strict)
        lines = [
            f"{_count(len(problems), len(dataset))} cannot be used and {_are(len(problems))} left out:",
            *_first_lines(found.messages),
            "dls.left_out holds all of them; nothing is deleted, and strict=True would stop here.",
        ]
        warn("\n".join(lines))
    if doubtful := found.doubtful():
        warn("\n".join([*doubtful, "dls.check() shows all of this, and more."]))
    left_out = {found.order[place]: reason for place, reason in problems.items()}
    train, valid = (
        (
            L([index for index in side if index not in left_out]),
            L[LeftOut]([(dataset.items[index], left_out[index]) for index in side if index in left_out]),
        )
        for side in splits
    )
    return (train[0], valid[0]), (train[1], valid[1])


class _Validation:
    """All items, training first, with what the blocks say of them. A place is one in this order."""

    def __init__(self, dataset: BlockDataset, splits: Splits) -> None:
        self.order = [*splits[0], *splits[1]]
        self.items, self.trained = L([dataset.items[index] for index in self.order]), len(splits[0])
        self.blocks, self.getters, self.n_inp = dataset.blocks, dataset.getters, dataset.n_inp
        found = [
            block.examine(LazyValues(self.items, getter)) if isinstance(block, Examines) else Examined()
            for block, getter in zip(self.blocks, self.getters, strict=True)
        ]
        first: dict[int, str] = {}
        for each in found:
            first = {**each.problems, **first}
        # A function of the user's own may make them fit before they are placed in their picture.
        if not any(isinstance(each, Function) for each in dataset.item_tfms):
            first = {**self.wrong_sizes(found), **first}
        self.problems = dict(sorted(first.items()))
        self.messages = [_named(self.items[place], reason) for place, reason in self.problems.items()]
        self.digests = [each.digests for each in found[: self.n_inp]]

    def wrong_sizes(self, found: Sequence[Examined]) -> dict[int, str]:
        """Masks that are not of the size of their sample's picture, which is that of the first block."""
        lines: dict[int, str] = {}
        for block, getter, each in zip(self.blocks, self.getters, found, strict=True):
            for place, (height, width) in each.frames.items() if block.geometry == "mask" else ():
                frame = found[0].frames.get(place, (height, width))
                if frame != (height, width):
                    lines[place] = (
                        f"the mask {describe_item(getter(self.items[place]))} is {height} × {width} and its image "
                        f"{frame[0]} × {frame[1]}; expected the same"
                    )
        return lines

    def side(self, place: int) -> int:
        return int(place >= self.trained)

    def refuse(self, *, strict: bool) -> None:
        """Raise where leaving out is not enough, or not wanted."""
        problems, total = self.problems, len(self.items)
        named = "\n" + "\n".join(_first_lines(self.messages))
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
        lines = dict(zip(self.problems, self.messages, strict=True))
        for place, labels in enumerate(self.labels(position)[: self.trained]):
            before.update(labels)
            if place not in lines:
                after.update(labels)
                continue
            for label in labels:
                reasons.setdefault(label, lines[place])
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

    def doubtful(self) -> list[str]:
        """What equal inputs say against the split and the labels, a sentence each."""
        if not self.digests or any(len(digests) != len(self.items) for digests in self.digests):
            return []
        same: defaultdict[tuple[str, ...], list[int]] = defaultdict(list)
        for place, digests in enumerate(zip(*self.digests, strict=True)):
            if place not in self.problems and all(digests):
                same[digests].append(place)
        groups = [group for group in same.values() if len(group) > 1]
        if not groups:
            return []
        what = self.blocks[0].name.lower()
        leaks = [group for group in groups if len({self.side(place) for place in group}) > 1]
        lines: list[str] = []
        if leaks:
            lines.append(
                f"the same {what} is in training and in validation, so the score would flatter the model "
                f"({_times(leaks)}): {self.pair(leaks[0], [self.side(place) for place in leaks[0]])}"
            )
        for position in range(self.n_inp, len(self.blocks)):
            labels = self.labels(position)
            conflicting = [
                group for group in groups if len({frozenset(labels[place]) for place in group}) > 1
            ]
            if conflicting:
                lines.append(
                    f"the same {what} has different labels ({_times(conflicting)}): "
                    f"{self.pair(conflicting[0], [frozenset(labels[place]) for place in conflicting[0]])}"
                )
        return lines

    def pair(self, group: Sequence[int], values: Sequence[Any]) -> str:
        """Two of a group that differ in these `values`."""
        other = next(place for place, value in zip(group, values, strict=True) if value != values[0])
        return " = ".join(describe_item(self.getters[0](self.items[place])) for place in (group[0], other))


def alike_names(labels: Iterable[Any]) -> list[list[str]]:
    """Those of the labels that differ only in case, in the spaces around them, or in Unicode form; in groups.

    >>> alike_names(["Cat", "dog", "cat "])
    [['Cat', 'cat ']]
    """
    by_sense: defaultdict[str, list[str]] = defaultdict(list)
    for label in sorted(label for label in labels if isinstance(label, str)):
        by_sense[unicodedata.normalize("NFKC", label).casefold().strip()].append(label)
    return [group for group in by_sense.values() if len(group) > 1]


def warn_of_alike_names(targets: Sequence[Block]) -> None:
    """Warn of classes that are most likely one: the model would learn to tell them apart."""
    for block in targets:
        if groups := alike_names(block.vocab or ()):
            # In ASCII, as two forms of one letter look the same.
            names = "; ".join(" and ".join(map(ascii, group)) for group in groups[:_SHOWN])
            warn(
                f"class names differ only in case, spaces or Unicode form, and are different classes to the model: {names}"
            )


def audit_of(datasets: Datasets, root: Path) -> Any:
    """The report of the first input that has one; see `BlockLoaders.check`."""
    base = datasets.train
    inputs = [(at, block) for at, block in enumerate(base.blocks[: base.n_inp]) if isinstance(block, Audits)]
    if not inputs:
        raise DataError(
            f"no input here can be audited; they are {', '.join(map(repr, base.blocks[: base.n_inp]))}"
        )
    items: list[Item] = []
    sides: list[str] = []
    problems: dict[int, str] = {}
    for side, dataset, missing in zip(("train", "valid"), datasets, datasets.left_out, strict=True):
        items += dataset.items
        problems |= {len(items) + place: reason for place, (_, reason) in enumerate(missing)}
        items += [item for item, _ in missing]
        sides += [side] * (len(items) - len(sides))
    everything = L(items)
    first, block = inputs[0]
    if len(inputs) > 1:
        # A label belongs to the inputs together, and one of them may be in many items: each counts once a side.
        columns = [zip(LazyValues(everything, base.getters[at]), sides, strict=True) for at, _ in inputs]
        pairs = list(dict.fromkeys(pair for column in columns for pair in column))
        values, sides = [value for value, _ in pairs], [side for _, side in pairs]
        return block.audit(values, [()] * len(pairs), sides, classes=(), problems={}, root=root)
    labels: list[tuple[Any, ...]] = [()] * len(items)
    classes: Sequence[Any] = ()
    for target, getter in zip(base.blocks[base.n_inp :], base.getters[base.n_inp :], strict=True):
        if isinstance(target, HasLabels):
            labels, classes = labels_of(target, LazyValues(everything, getter)), target.vocab or ()
            break
    values = list(LazyValues(everything, base.getters[first]))
    return block.audit(values, labels, sides, classes=classes, problems=problems, root=root)


def labels_of(block: Block, values: Sequence[Value]) -> list[tuple[Any, ...]]:
    """Each value's labels, learned from these values if need be; none where the block has none, or refuses the value."""
    if not isinstance(block, HasLabels):
        return [()] * len(values)
    known = list(values)
    sound = [not (isinstance(block, Checks) and block.check(value)) for value in known]
    if not any(sound):
        return [()] * len(known)
    learned = block.setup([value for value, fits in zip(known, sound, strict=True) if fits])
    return [
        tuple(learned.labels_of(value) or ()) if fits else ()
        for value, fits in zip(known, sound, strict=True)
    ]


def warn(text: str) -> None:
    """Warn at the line of the user's that led here, each time: a cell that is run again shows it again."""
    frame = inspect.currentframe()
    while frame and frame.f_back and frame.f_globals.get("__name__", "").startswith("plainlearn."):
        frame = frame.f_back
    assert frame is not None
    # Without a registry it is never taken for one that was shown before.
    warnings.warn_explicit(text, DataWarning, frame.f_code.co_filename, frame.f_lineno)


def _named(item: Item, reason: str) -> str:
    """The reason, which names the file, with the item in front unless it is but its file."""
    return reason if isinstance(item, (str, os.PathLike, tuple)) else f"{describe_item(item)}: {reason}"


def _first_lines(lines: Sequence[str]) -> list[str]:
    more = [f"  … and {len(lines) - _SHOWN} more"] if len(lines) > _SHOWN else []
    return [*(f"  {line}" for line in lines[:_SHOWN]), *more]


def _count(some: int, total: int) -> str:
    return f"{some} of {total} items"


def _are(count: int) -> str:
    return "is" if count == 1 else "are"


def _times(groups: Sequence[Any]) -> str:
    return "once" if len(groups) == 1 else f"{len(groups)} times, the first"
