"""Labelled files from lists and tables, and what is refused of them before anything is trained."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from plainlearn.core.describe import describe
from plainlearn.core.errors import DataError, MissingFileError
from plainlearn.core.paths import Path
from plainlearn.data.label import ColReader, is_missing
from plainlearn.data.validate_items import tell


class Labelled(NamedTuple):
    """An item of a list or table: the file and its label."""

    file: Path
    label: Any


def refuse_missing(files: Sequence[Any], source: str, what: str = "images", *, try_: str = "") -> None:
    """Raise `MissingFileError` unless all files that `source` names are there."""
    missing = [str(file) for file in files if not os.path.exists(file)]  # noqa: PTH110 (10× as fast as Path)
    if missing:
        raise MissingFileError(
            f"{len(missing)} of {len(files)} {what} that {source} names are not there; the first is {missing[0]}",
            try_=try_,
        )


def refuse_loose(items: Sequence[Path], folder: Path) -> None:
    """An image outside the class folders would get the name of the folder above as its label."""
    name = str(folder)
    loose = [item for item in items if os.path.dirname(item) == name]  # noqa: PTH120 (10× as fast as Path)
    if loose:
        raise DataError(
            f"{len(loose)} images lie in {folder} itself, not in the folder of a class; the first is {loose[0].name}",
            try_="a folder for each class, or ImageDataLoaders.from_name_func for labels in the names",
        )


def refuse_unlabelled(files: Sequence[Path], labels: Sequence[Any], source: str) -> None:
    """Raise `DataError` for an empty label, naming its file and row; a list of several may be empty."""
    rows = [
        row for row, label in enumerate(labels) if not isinstance(label, (list, tuple)) and is_missing(label)
    ]
    if rows:
        raise DataError(
            f"{len(rows)} of {len(files)} images have no label in {source}; the first is {files[rows[0]]}, "
            f"row {rows[0]} (counted from 0)",
            try_="leaving them out, or giving them a label",
        )


def without_repeats(pairs: Sequence[Labelled]) -> list[Labelled]:
    """Each image once; a repeated row would put it into training and validation at the same time."""
    kept: dict[Path, Labelled] = {}
    for pair in pairs:
        before = kept.setdefault(pair.file, pair)
        if before.label != pair.label:
            raise DataError(
                f"{pair.file} is listed twice, with the labels {before.label!r} and {pair.label!r}; expected one"
            )
    repeated = len(pairs) - len(kept)
    if repeated:
        tell(
            f"{repeated} of {len(pairs)} rows repeat an image and are left out, as a random split would put it on "
            "both sides; use df.drop_duplicates() to do so yourself, or valid_col= to keep them on one side"
        )
    return list(kept.values())


def refuse_leaks(pairs: Sequence[Labelled], valid: Sequence[int]) -> None:
    """Raise `DataError` for an image that is in training and, at the indices `valid`, in validation."""
    held_out = {pairs[index].file for index in valid}
    chosen = set(valid)
    leaks = [pair.file for index, pair in enumerate(pairs) if index not in chosen and pair.file in held_out]
    if leaks:
        raise DataError(
            f"{len(leaks)} rows put an image into training that is in validation too; the first is {leaks[0]}",
            try_="one side for each image",
        )


@dataclass(frozen=True)
class FileOf:
    """The image of an item: of a pair; of a row of a new table, read as the first table was; or the item itself."""

    column: int | str | None = None
    folder: Path = Path()  # noqa: RUF009 (a path does not change)
    suff: str = ""

    def __call__(self, item: Any) -> Any:
        if isinstance(item, Labelled):
            return item.file
        return self.folder / f"{_cell(item, self.column)}{self.suff}" if hasattr(item, "iloc") else item


@dataclass(frozen=True)
class LabelOf:
    """The label, or labels, of an item: of a pair, or of a row of a new table. Raises `DataError` for a bare file."""

    column: int | str | None = None
    label_delim: str | None = None

    def __call__(self, item: Any) -> Any:
        if isinstance(item, Labelled):
            return item.label
        if hasattr(item, "iloc"):
            return _cell(item, self.column, self.label_delim)
        raise DataError(f"the item {describe(item)} has no label", try_="with_labels=False")


def _cell(row: Any, column: int | str | None, label_delim: str | None = None) -> Any:
    if column is None:
        raise DataError("the loaders were made from lists, and the item is a row of a table",
                        try_="the list of its files, such as df['file'].tolist()")  # fmt: skip
    return ColReader(column, label_delim=label_delim)(row)
