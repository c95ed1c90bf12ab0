"""Image loaders in one line, for the usual ways in which people keep labelled images."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypedDict, Unpack, cast

import torch

from plainlearn.core.describe import describe
from plainlearn.core.errors import ArgumentTypeError, DataError, MissingFileError
from plainlearn.core.lists import L
from plainlearn.core.paths import Path
from plainlearn.data.block import DataBlock
from plainlearn.data.block_loaders import BlockLoaders
from plainlearn.data.blocks import Block, BlockLike, CategoryBlock, MultiCategoryBlock, RegressionBlock
from plainlearn.data.items import get_image_files
from plainlearn.data.label import RegexLabeller, parent_label, split_labels, using_attr
from plainlearn.data.labelled_items import (
    FileOf,
    Labelled,
    LabelOf,
    read_csv,
    refuse_leaks,
    refuse_loose,
    refuse_missing,
    refuse_unlabelled,
    without_repeats,
)
from plainlearn.data.split import ColSplitter, GrandparentSplitter, RandomSplitter, Splits, Splitter
from plainlearn.data.stages import Getter, Item
from plainlearn.data.transform import Transforms
from plainlearn.vision.blocks import ImageBlock, MaskBlock

if TYPE_CHECKING:
    from pandas import DataFrame

AnyPath = str | os.PathLike[str]


class LoaderOptions(TypedDict, total=False):
    """What goes on to `DataBlock` and its `dataloaders`, where it is explained."""

    item_tfms: Transforms
    batch_tfms: Transforms
    bs: int
    val_bs: int | None
    num_workers: int | None
    device: torch.device | str | None
    shuffle: bool
    drop_last: bool | None
    check: bool
    strict: bool


class ImageOptions(LoaderOptions, total=False):
    """The same, and how pictures are opened."""

    img_block: Block | None


class RandomOptions(ImageOptions, total=False):
    """The same, and the random share of the items that is for validation."""

    valid_pct: float
    seed: int | None


class ImageDataLoaders(BlockLoaders):
    """Loaders of labelled images. Each way of keeping labels is a class method; all give `BlockLoaders`.

    Further arguments, such as `item_tfms` and `bs`, are those of `DataBlock` and of its `dataloaders`.
    """

    @classmethod
    def from_folder(
        cls,
        path: AnyPath,
        train: str = "train",
        valid: str = "valid",
        valid_pct: float | None = None,
        seed: int | None = None,
        vocab: Sequence[Any] | None = None,
        **kwargs: Unpack[ImageOptions],
    ) -> BlockLoaders:
        """Images in folders named after their class, below `train` and `valid`, or split at random by `valid_pct`.

        Raises `MissingFileError` or `DataError` for a folder that is missing, empty, without
        `train`, or with fewer than two classes.
        """
        root = Path(path)
        if valid_pct is None:
            items = _files_of_sides(root, train, valid)
            splitter: Splitter = GrandparentSplitter(train, valid)
        else:
            items = _files(root)
            refuse_loose(items, root)
            splitter = RandomSplitter(valid_pct, seed)
        labels_from = f"{root} (classes are folder names)"
        return _loaders(
            root, items, splitter, CategoryBlock(vocab), labels_from, get_y=parent_label, **kwargs
        )

    @classmethod
    def from_path_func(
        cls,
        path: AnyPath,
        fnames: Sequence[AnyPath],
        label_func: Callable[[Path], Any],
        valid_pct: float = 0.2,
        seed: int | None = None,
        **kwargs: Unpack[ImageOptions],
    ) -> BlockLoaders:
        """The files `fnames`, labelled by `label_func(path)`."""
        if not len(fnames):
            raise DataError(
                f"fnames is empty; expected image files of {path}", try_="fnames=get_image_files(path)"
            )
        files = [Path(name) for name in fnames]
        refuse_missing(files, "fnames")
        splitter = RandomSplitter(valid_pct, seed)
        return _loaders(
            path, files, splitter, CategoryBlock(), "what label_func says", get_y=label_func, **kwargs
        )

    @classmethod
    def from_name_func(
        cls,
        path: AnyPath,
        fnames: Sequence[AnyPath],
        label_func: Callable[[str], Any],
        **kwargs: Unpack[RandomOptions],
    ) -> BlockLoaders:
        """The files `fnames`, labelled by `label_func(name)` of each file's name."""
        return cls.from_path_func(path, fnames, using_attr(label_func, "name"), **kwargs)

    @classmethod
    def from_path_re(
        cls, path: AnyPath, fnames: Sequence[AnyPath], pat: str, **kwargs: Unpack[RandomOptions]
    ) -> BlockLoaders:
        """The files `fnames`, labelled by the first group of the pattern in each path (with `/` between folders)."""
        return cls.from_path_func(path, fnames, _PathLabeller(RegexLabeller(pat)), **kwargs)

    @classmethod
    def from_name_re(
        cls, path: AnyPath, fnames: Sequence[AnyPath], pat: str, **kwargs: Unpack[RandomOptions]
    ) -> BlockLoaders:
        """The files `fnames`, labelled by the first group of the pattern in each file's name."""
        return cls.from_name_func(path, fnames, RegexLabeller(pat), **kwargs)

    @classmethod
    def from_lists(
        cls,
        path: AnyPath,
        fnames: Sequence[AnyPath],
        labels: Sequence[Any],
        valid_pct: float = 0.2,
        seed: int | None = None,
        y_block: BlockLike | None = None,
        **kwargs: Unpack[ImageOptions],
    ) -> BlockLoaders:
        """Files and their labels, side by side."""
        if len(fnames) != len(labels):
            raise DataError(
                f"there are {len(fnames)} file names and {len(labels)} labels; expected one label each"
            )
        if not len(fnames):
            raise DataError(f"fnames is empty; expected image files of {path}")
        files = [Path(path) / name for name in fnames]
        refuse_missing(files, "fnames")
        refuse_unlabelled(files, labels, "labels")
        pairs = [Labelled(file, label) for file, label in zip(files, labels, strict=True)]
        splitter, target = RandomSplitter(valid_pct, seed), y_block or _block_for(labels)
        return _loaders(path, pairs, splitter, target, "labels", get_x=FileOf(), get_y=LabelOf(), **kwargs)

    @classmethod
    def from_df(
        cls,
        df: DataFrame,
        path: AnyPath = ".",
        valid_pct: float = 0.2,
        seed: int | None = None,
        fn_col: int | str = 0,
        folder: str = "",
        suff: str = "",
        label_col: int | str = 1,
        label_delim: str | None = None,
        y_block: BlockLike | None = None,
        valid_col: int | str | None = None,
        **kwargs: Unpack[ImageOptions],
    ) -> BlockLoaders:
        """A table with a column of file names, below `path/folder`, and one of labels.

        `label_delim` splits a text into several labels; `valid_col` marks the rows for validation. Labels
        that are all numbers with a fraction are for regression, unless `y_block` says otherwise.

        Raises `DataError` for a row without a label, an image that has two different labels, or one that
        is on both sides; of rows that repeat each other, one is kept, with a warning.
        """
        if not hasattr(df, "iloc"):
            raise ArgumentTypeError(
                f"df is {describe(df)}; expected a table, as pandas has them",
                try_="ImageDataLoaders.from_csv(path, csv_fname)",
            )
        if len(df) == 0:
            raise DataError("the table has no rows; expected a file name and a label in each")
        names, labels = _column(df, fn_col, "fn_col"), _column(df, label_col, "label_col")
        base = Path(path) / folder
        files = [base / f"{name}{suff}" for name in names]
        hint = "folder= and suff= (such as '.jpg') to say where the names point"
        refuse_missing(files, f"the column {fn_col!r}", try_=hint)
        if label_delim is not None:
            labels = [split_labels(label, label_delim) for label in labels]
        labels_from = f"the column {label_col!r}"
        refuse_unlabelled(files, labels, labels_from)
        pairs = [Labelled(file, label) for file, label in zip(files, labels, strict=True)]
        if valid_col is None:
            pairs = without_repeats(pairs)
            splitter: Splitter = RandomSplitter(valid_pct, seed)
        else:
            sides = ColSplitter(valid_col)(df)
            refuse_leaks(pairs, sides[1])
            splitter = _Sides(sides)
        getters = {"get_x": FileOf(fn_col, base, suff), "get_y": LabelOf(label_col, label_delim)}
        return _loaders(
            path, pairs, splitter, y_block or _block_for(labels), labels_from, **getters, **kwargs
        )

    @classmethod
    def from_csv(
        cls,
        path: AnyPath,
        csv_fname: AnyPath = "labels.csv",
        header: int | None = 0,
        delimiter: str | None = None,
        quoting: int = 0,
        **kwargs: Any,
    ) -> BlockLoaders:
        """The CSV file `path/csv_fname`, read as text, then as `from_df`, to which further arguments go."""
        df = read_csv(Path(path) / csv_fname, header=header, delimiter=delimiter, quoting=quoting)
        if header is not None:
            _refuse_lost_row(df, Path(path), **kwargs)
        return cls.from_df(df, path, **kwargs)


class SegmentationDataLoaders(BlockLoaders):
    """Loaders of images with a mask each."""

    @classmethod
    def from_label_func(
        cls,
        path: AnyPath,
        fnames: Sequence[AnyPath],
        label_func: Callable[[Path], Any],
        codes: Sequence[Any] | None = None,
        values: Sequence[int] | None = None,
        valid_pct: float = 0.2,
        seed: int | None = None,
        **kwargs: Unpack[LoaderOptions],
    ) -> BlockLoaders:
        """The images `fnames`; `label_func(path)` is where each one's mask is, `codes` what its labels mean.

        `values` are the numbers that the files hold for label 0, 1, 2, … when they are others.
        """
        files = [Path(name) for name in fnames]
        if not files:
            raise DataError(f"fnames is empty; expected image files of {path}")
        refuse_missing(files, "fnames")
        masks = [label_func(file) for file in files]
        named = [os.fspath(cast("str", mask)) for mask in masks if isinstance(mask, (str, os.PathLike))]
        if not kwargs.get("check", True) or not any(os.path.exists(mask) for mask in named):  # noqa: PTH110
            refuse_missing(named, "label_func", "masks")  # single ones are left out with their images
        splitter = RandomSplitter(valid_pct, seed)
        return _loaders(path, files, splitter, MaskBlock(codes, values), "", get_y=label_func, **kwargs)


def _loaders(
    path: AnyPath,
    items: Sequence[Item],
    splitter: Splitter,
    target: BlockLike,
    labels_from: str,
    *,
    get_x: Getter | None = None,
    get_y: Getter,
    img_block: Block | None = None,
    item_tfms: Transforms = None,
    batch_tfms: Transforms = None,
    **options: Any,
) -> BlockLoaders:
    """Loaders of images with one target. Raises `DataError` for a single class; `labels_from` says where classes are from."""
    block = DataBlock(
        (img_block or ImageBlock(), target), splitter=splitter, get_x=get_x, get_y=get_y,
        item_tfms=item_tfms, batch_tfms=batch_tfms,
    )  # fmt: skip
    dls = block.dataloaders(items, path=path, **options)
    learned = dls.blocks[-1]
    if isinstance(learned, CategoryBlock) and len(learned.vocab) < 2:
        raise DataError(
            f"there is one class, {learned.vocab[0]!r}, in {labels_from}; a classifier needs two or more to tell apart"
        )
    return dls


@dataclass(frozen=True)
class _PathLabeller:
    """A labeller of the whole path, with `/` between folders on every system."""

    labeller: RegexLabeller

    def __call__(self, file: Path) -> str:
        return self.labeller(file.as_posix())


@dataclass(frozen=True)
class _Sides:
    """A split that was made before: the table that says it is not among the items."""

    sides: Splits

    def __call__(self, items: Sequence[Item]) -> Splits:
        return self.sides


def _files(root: Path) -> L[Path]:
    items = get_image_files(root)
    if not items:
        raise DataError(
            f"{root} holds no image files, in itself or below", try_="path.ls() to see what is there"
        )
    return items


def _files_of_sides(root: Path, train: str, valid: str) -> L[Path]:
    """The files below both folders. What lies beside them is not looked at."""
    if not root.is_dir():
        return _files(root)  # which says what is wrong with the path
    for side in (train, valid):
        if not (root / side).is_dir():
            below = sorted(
                entry.name for entry in root.iterdir() if entry.is_dir() and not entry.name.startswith(".")
            )
            found = ", ".join(below[:8]) or "no folders"
            raise MissingFileError(
                f"{root} has no folder {side!r} (found: {found})",
                try_=f"valid_pct=0.2 for a random split, or {'train' if side == train else 'valid'}= with its name",
            )
    sides = [get_image_files(root / side) for side in (train, valid)]
    for side, items in zip((train, valid), sides, strict=True):
        if not items:
            raise DataError(f"{root / side} holds no image files", try_="path.ls() to see what is there")
        refuse_loose(items, root / side)
    return L([*sides[0], *sides[1]])


def _column(df: DataFrame, column: int | str, name: str) -> list[Any]:
    if isinstance(column, str) and column not in df.columns:
        raise DataError(f"{name} is {column!r}; the table's columns are {', '.join(map(str, df.columns))}")
    if isinstance(column, int) and not -len(df.columns) <= column < len(df.columns):
        raise DataError(f"{name} is {column}; the table has {len(df.columns)} columns")
    table = cast("Any", df)
    return list(table[column] if isinstance(column, str) else table.iloc[:, column])


def _refuse_lost_row(
    df: DataFrame, path: Path, fn_col: int | str = 0, folder: str = "", suff: str = "", **_: Any
) -> None:
    """A table without a header whose first row was taken for one would be an image short, in silence."""
    if isinstance(fn_col, int) and -df.shape[1] <= fn_col < df.shape[1]:
        name = f"{df.columns[fn_col]}{suff}"
        if (path / folder / name).is_file():
            raise DataError(
                f"the first line, taken for the names of the columns, names the image {name}",
                try_="header=None for a table without a header",
            )


def _block_for(labels: Sequence[Any]) -> Block:
    """The block that such labels imply: lists, numbers with a fraction, or classes."""
    head = labels[0]
    if isinstance(head, (list, tuple)):
        return MultiCategoryBlock()
    # A table read as text has numbers as text; with a fraction in each they are amounts, not names.
    fractions = isinstance(head, float) or all(
        isinstance(label, str) and re.fullmatch(r"[-+]?\d+\.\d+", label.strip()) for label in labels
    )
    return RegressionBlock() if fractions else CategoryBlock()
