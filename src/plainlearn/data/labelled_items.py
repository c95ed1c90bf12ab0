"""Images and their labels as people keep them: folders named after classes, a table beside them, or names with a pattern."""

from __future__ import annotations

import os
import re
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, cast

from plainlearn.core.describe import describe
from plainlearn.core.errors import ArgumentError, DataError, MissingFileError
from plainlearn.core.paths import Path, no_folder, shown
from plainlearn.data.items import get_image_files
from plainlearn.data.label import ColReader, is_missing, split_labels
from plainlearn.data.stages import Item, Value
from plainlearn.data.validate_items import warn

__all__ = [
    "FileOf",
    "LabelOf",
    "Labelled",
    "LabelledItems",
    "labelled_items",
    "read_csv",
    "refuse_leaks",
    "refuse_loose",
    "refuse_missing",
    "refuse_unlabelled",
    "without_repeats",
]

#: What folders, and the cells of a table's column `split`, are called by side, in lower case.
_SIDES: Final = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("valid", "val", "validation", "dev"), "valid"),
    **dict.fromkeys(("test", "testing"), "test"),
}
_FILE_COLUMNS: Final = (
    "file",
    "filename",
    "file_name",
    "fname",
    "image",
    "image_id",
    "img",
    "path",
    "name",
    "id",
)
_LABEL_COLUMNS: Final = (
    "label",
    "labels",
    "class",
    "classes",
    "category",
    "categories",
    "target",
    "y",
    "breed",
    "tags",
)
_SIDE_COLUMNS: Final = ("is_valid", "split", "subset", "set")
_TABLES: Final = (".csv", ".tsv", ".txt")


@dataclass(frozen=True)
class LabelledItems:
    """Images, the label of each, and its side: "train", "valid", "test", or "" where nothing says so.

    A label is text, or with `label_delim` a list of texts. `source` tells a person where the labels are from.
    """

    items: list[Path]
    labels: list[Any]
    sides: list[str]
    source: str

    def on(self, *sides: str) -> LabelledItems:
        """Those on these sides."""
        rows = [row for row, side in enumerate(self.sides) if side in sides]
        return LabelledItems(
            [self.items[row] for row in rows], [self.labels[row] for row in rows], [self.sides[row] for row in rows],
            self.source,
        )  # fmt: skip

    def __len__(self) -> int:
        return len(self.items)


def labelled_items(
    folder: str | os.PathLike[str],
    labels: str | None = None,
    *,
    file_col: str | None = None,
    label_col: str | None = None,
    label_delim: str | None = None,
) -> LabelledItems:
    """The images of `folder` with their labels, as they are found there, or as `labels` says.

    Without `labels`, the folder holding an image is its class; `train`, `valid` (`val`, …) and `test` above the
    class folders are sides. `labels` is a table (a CSV file, in the folder or anywhere; `folder` may be it too), or a
    pattern whose first group in each file's name is the label. A table's columns are told by their names, or are
    `file_col` and `label_col`; its files may lack their endings; `label_delim` splits a cell into several labels.
    A column `is_valid` or `split` tells the sides.

    Raises `MissingFileError`, `DataError` and `ArgumentError`, which say what was found and what to type.
    """
    root = Path(folder)
    if labels is None and root.is_file() and root.suffix.lower() in _TABLES:
        root, labels = root.parent, str(root)
    if not root.is_dir():
        raise no_folder(root)
    if labels is None:
        if file_col or label_col or label_delim:
            raise ArgumentError("the columns of a table are named, and no table", try_="--labels labels.csv")
        return _by_folders(root)
    table = _table_named(root, labels)
    if table is not None:
        return _by_table(root, table, file_col, label_col, label_delim)
    return _by_pattern(root, labels, label_delim)


def _by_folders(root: Path) -> LabelledItems:
    items = _images(root)
    sides, split = _sides_of(root, items)
    tops = [root / name for name in _children(root) if name.lower() in _SIDES] if split else [root]
    for top in tops:
        try:
            refuse_loose(items, top)
        except DataError as error:
            raise DataError(error.what, try_="a folder for each class, or " + _pattern_for(items)) from error
    labels = [item.parent.name for item in items]
    below = f", below {', '.join(top.name for top in tops)}" if split else ""
    return LabelledItems(items, labels, sides, f"folders named after their class{below}")


def _by_pattern(root: Path, pattern: str, label_delim: str | None) -> LabelledItems:
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise ArgumentError(
            f"--labels {pattern!r} is no file of {shown(root)}, and as a pattern it cannot be read: {error}",
            try_="--labels labels.csv, or --labels '(.+)_'",
        ) from error
    if not compiled.groups:
        raise ArgumentError(
            f"--labels {pattern!r} is neither a file of {shown(root)} nor a pattern with a group ( ), which holds the label",
            try_=f"a table that is there ({_tables_of(root)}), or --labels '(.+)_'",
        )
    items = _images(root)
    found = [compiled.search(item.name) for item in items]
    texts = [match and match.group(1) for match in found]
    missing = [item for item, text in zip(items, texts, strict=True) if not text]
    if missing:
        raise DataError(
            f"the pattern {pattern!r} finds no label in {len(missing)} of {len(items)} names; the first is {missing[0].name}",
            try_=_pattern_for(items),
        )
    labels: list[Any] = [split_labels(text, label_delim) if label_delim else text for text in texts]
    return LabelledItems(
        items, labels, _sides_of(root, items)[0], f"the pattern {pattern!r} in the names of files"
    )


def _by_table(
    root: Path, table: Path, file_col: str | None, label_col: str | None, label_delim: str | None
) -> LabelledItems:
    delimiter = "\t" if table.suffix.lower() == ".tsv" else None
    rows = read_csv(table, delimiter=delimiter)
    if len(rows) and any((root / str(name)).is_file() for name in rows.columns):
        rows = read_csv(
            table, delimiter=delimiter, header=None
        )  # its first line names an image, so no columns
        rows.columns = [str(number) for number in range(rows.shape[1])]
    if not len(rows):
        raise DataError(f"{table} has no rows; expected a file name and a label in each")
    columns = [str(name) for name in rows.columns]
    names = _column(columns, file_col, _FILE_COLUMNS, "--file-col", table, fallback=columns[0])
    rest = [name for name in columns if name != names and name.lower() not in _SIDE_COLUMNS]
    told = _column(
        columns, label_col, _LABEL_COLUMNS, "--label-col", table, fallback=rest[0] if len(rest) == 1 else None
    )
    files = _files_named(root, table, list(rows[names]), names)
    labels: list[Any] = list(rows[told])
    refuse_unlabelled(files, labels, f"the column {told!r} of {table}")
    if label_delim is not None:
        labels = [split_labels(label, label_delim) for label in labels]
    side_column = next((name for name in columns if name.lower() in _SIDE_COLUMNS), None)
    sides = (
        _sides_of(root, files)[0]
        if side_column is None
        else _sides_told(list(rows[side_column]), side_column, table)
    )
    kept = {
        pair.file for pair in without_repeats([Labelled(*pair) for pair in zip(files, labels, strict=True)])
    }
    first = [row for row, file in enumerate(files) if file in kept and not kept.discard(file)]
    return LabelledItems(
        [files[row] for row in first], [labels[row] for row in first], [sides[row] for row in first],
        f"the column {told!r} of {table.name}",
    )  # fmt: skip


def _table_named(root: Path, labels: str) -> Path | None:
    """The table that `labels` names, if it names one."""
    for place in (root / labels, Path(labels)):
        try:
            if place.is_file():
                return place
        except OSError:  # a pattern that no file could be called
            return None
    if labels.lower().endswith(_TABLES) and "(" not in labels:
        raise MissingFileError(
            f"there is no table {labels}, neither in {shown(root)} nor here; tables there: {_tables_of(root)}"
        )
    return None


def _column(
    columns: Sequence[str],
    given: str | None,
    usual: Sequence[str],
    option: str,
    table: Path,
    *,
    fallback: str | None,
) -> str:
    """The column that is named, else one with a usual name, else the fallback."""
    if given is not None and given not in columns:
        raise ArgumentError(f"{option} is {given!r}; the columns of {table} are {', '.join(columns)}")
    by_name = {name.lower(): name for name in reversed(columns)}
    found = given or next((by_name[name] for name in usual if name in by_name), fallback)
    if found is None:
        raise ArgumentError(
            f"which column of {table} is meant is not known; its columns are {', '.join(columns)}",
            try_=f"{option} {columns[-1]!r}",
        )
    return found


def _files_named(root: Path, table: Path, names: Sequence[str], column: str) -> list[Path]:
    """The files below the folder, or beside the table; where names lack an ending or a folder, the one image that fits."""
    for base in dict.fromkeys((root, table.parent)):
        files = [base / name for name in names]
        if all(file.is_file() for file in files):
            return files
    by_name: dict[str, Path | None] = {}
    for image in get_image_files(root):
        below = image.relative_to(root)
        for name in {below.as_posix(), below.with_suffix("").as_posix(), image.name, image.stem}:
            by_name[name] = None if name in by_name else image
    found = [by_name.get(name.removeprefix("./")) for name in names]
    missing = [name for name, file in zip(names, found, strict=True) if file is None]
    if missing:
        why = "fits several images" if missing[0] in by_name else "is not there"
        raise MissingFileError(
            f"{len(missing)} of {len(names)} images that the column {column!r} of {table} names cannot be found below "
            f"{shown(root)}; the first, {missing[0]!r}, {why}",
            try_="--file-col with the column of file names, or the folder that they are in",
        )
    return [file for file in found if file is not None]


def _sides_told(cells: Sequence[str], column: str, table: Path) -> list[str]:
    if column.lower() == "is_valid":
        known = {"true": "valid", "1": "valid", "false": "train", "0": "train"}
    else:
        known = _SIDES
    sides = [known.get(cell.strip().lower(), "") for cell in cells]
    odd = [cell for cell, side in zip(cells, sides, strict=True) if not side]
    if odd:
        raise DataError(
            f"{len(odd)} rows of {table} have {odd[0]!r} in {column!r}; expected {', '.join(known)}"
        )
    return sides


def _sides_of(root: Path, items: Sequence[Path]) -> tuple[list[str], bool]:
    """The side of each image by its uppermost folder, where all images lie in folders of sides."""
    start = len(root.parts)
    tops = [item.parts[start].lower() if len(item.parts) > start + 1 else "" for item in items]
    if not tops or not all(top in _SIDES for top in tops):
        found = sorted({top for top in tops if _SIDES.get(top) in ("train", "valid")})
        if len(found) > 1:  # one may be a class; both are a split, beside which something lies
            other = Counter(top or "the folder itself" for top in tops if top not in _SIDES).most_common(1)[0]
            raise DataError(
                f"{shown(root)} holds the folders {' and '.join(found)} of a split, and {other[1]} images beside them "
                f"(in {other[0]}), which would be on no side",
                try_="moving them away, or naming one side's folder",
            )
        return [""] * len(items), False
    return [_SIDES[top] for top in tops], True


def _images(root: Path) -> list[Path]:
    items = list(get_image_files(root))
    if not items:
        there = ", ".join(shown(name) for name in _children(root)[:5]) or "nothing"
        raise DataError(
            f"{shown(root)} holds no image, in itself or below; in it: {there}", try_="another folder"
        )
    return items


def _children(root: Path) -> list[str]:
    return sorted(entry.name for entry in root.iterdir() if not entry.name.startswith("."))


def _tables_of(root: Path) -> str:
    return ", ".join(name for name in _children(root) if name.lower().endswith(_TABLES)) or "none"


def _pattern_for(items: Sequence[Path]) -> str:
    numbered = sum(re.search(r"._\d+\.\w+$", item.name) is not None for item in items)
    known = numbered > len(items) / 2
    pattern = r"'(.+)_\d+'" if known else "with a pattern of the file names, or a table"
    return f"--labels {pattern} (a name here: {items[0].name})"


# ---------------------------------------------------------------- pairs of a file and its label


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
        warn(
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

    def __call__(self, item: Item) -> Value:
        if isinstance(item, Labelled):
            return item.file
        return self.folder / f"{_cell(item, self.column)}{self.suff}" if hasattr(item, "iloc") else item


@dataclass(frozen=True)
class LabelOf:
    """The label, or labels, of an item: of a pair, or of a row of a new table. Raises `DataError` for a bare file."""

    column: int | str | None = None
    label_delim: str | None = None

    def __call__(self, item: Item) -> Value:
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


# ---------------------------------------------------------------- tables


def read_csv(
    file: str | os.PathLike[str], *, header: int | None = 0, delimiter: str | None = None, quoting: int = 0
) -> Any:
    """The file as a pandas table of two columns or more, all text: `007` is not 7, and `NA` is a name.

    Raises `MissingFileError`, and `DataError` for what is not UTF-8 or no table.
    """
    import pandas as pd

    if not Path(file).is_file():
        raise MissingFileError(f"the label file {file} is not there", try_="csv_fname= with its name")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # it tells of values that are dropped
            table: Any = pd.read_csv(
                file, header=header, sep=delimiter or ",", quoting=cast(Any, quoting), dtype=str,
                keep_default_na=False, index_col=False, encoding="utf-8-sig",
            )  # fmt: skip
    except UnicodeDecodeError as error:
        raise DataError(
            f"{file} is not UTF-8 text: {error}",
            try_="saving it as UTF-8, or from_df(pd.read_csv(file, encoding='latin-1', dtype=str), path)",
        ) from error
    except (ValueError, pd.errors.ParserWarning) as error:  # pandas' own errors are of these
        raise DataError(f"{file} cannot be read as a table: {str(error).strip()}") from error
    if table.shape[1] < 2:
        line = str(table.columns[0]) if header is not None or not len(table) else str(table.iloc[0, 0])
        other = max((mark for mark in ";\t|: " if mark in line), key=line.count, default=None)
        raise DataError(
            f"{file} has one column, {line!r}, with the delimiter {delimiter or ','!r}; expected file names and labels",
            try_=f"delimiter={other!r}" if other else "a column of labels beside the file names",
        )
    return table
