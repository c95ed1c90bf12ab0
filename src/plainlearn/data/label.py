"""Labellers: functions from an item to its label."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plainlearn.core.errors import DataError


def parent_label(item: str | os.PathLike[str]) -> str:
    """The name of the folder that holds the file.

    >>> parent_label("pets/cat/1.jpg")
    'cat'
    """
    return Path(item).parent.name


@dataclass(frozen=True)
class RegexLabeller:
    """The first group of the pattern `pat` in the item's text; `match=True` looks at its beginning only.

    Raises `DataError` that shows the text when the pattern is not there.

    >>> RegexLabeller(r"(.+)_\\d+.jpg$")("great_pyrenees_17.jpg")
    'great_pyrenees'
    """

    pat: str
    match: bool = False

    def __post_init__(self) -> None:
        if re.compile(self.pat).groups < 1:
            raise DataError(
                f"the pattern {self.pat!r} has no group; the label is what its first ( ) holds",
                try_=r"RegexLabeller(r'(.+)_\d+.jpg$')",
            )

    def __call__(self, item: Any) -> str:
        text = str(item)
        found = re.match(self.pat, text) if self.match else re.search(self.pat, text)
        if found is None:
            raise DataError(
                f"the pattern {self.pat!r} is not in {text!r}",
                try_="looking at the file names with path.ls()",
            )
        return found.group(1)


@dataclass(frozen=True)
class UsingAttr:
    """`f` of the attribute `attr` of the item, such as of a path's `name`."""

    f: Callable[[Any], Any]
    attr: str

    def __call__(self, item: Any) -> Any:
        return self.f(getattr(item, self.attr))


def using_attr(f: Callable[[Any], Any], attr: str) -> UsingAttr:
    """The course's name for `UsingAttr`."""
    return UsingAttr(f, attr)


@dataclass(frozen=True)
class FuncLabeller:
    """What `func(item)` gives."""

    func: Callable[[Any], Any]

    def __call__(self, item: Any) -> Any:
        return self.func(item)


@dataclass(frozen=True)
class ColReader:
    """The value of a table's row in column `cols`; text may get `pref` and `suff` around it.

    `label_delim` splits a text into a list of labels; empty texts give an empty list.
    """

    cols: str | int
    pref: str | os.PathLike[str] = ""
    suff: str = ""
    label_delim: str | None = None

    def __call__(self, row: Any) -> Any:
        try:
            value = row[self.cols] if isinstance(self.cols, str) else row.iloc[self.cols]
        except (KeyError, IndexError):
            names = ", ".join(map(str, row.index)) if hasattr(row, "index") else repr(row)
            raise DataError(f"the row has no column {self.cols!r}; its columns are {names}") from None
        if self.label_delim is not None:
            return [part for part in str(value).split(self.label_delim) if part]
        if not self.pref and not self.suff:
            return value
        # A prefix that is a folder is joined as one; a text is put in front as it is.
        joined = Path(self.pref) / f"{value}" if isinstance(self.pref, os.PathLike) else f"{self.pref}{value}"
        return f"{joined}{self.suff}"
