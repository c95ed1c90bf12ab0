"""A CSV file as a table of text, whose labels stay what they are; what makes it none is said."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any, cast

from plainlearn.core.errors import DataError, MissingFileError

__all__ = ["read_csv"]


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
