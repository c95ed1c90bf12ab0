"""`Path`, the course's path: pathlib's, with `ls()`, and shown relative to a base folder.

It is a subclass. pathlib's own classes stay as they are.
"""

from __future__ import annotations

import difflib
import itertools
import mimetypes
import os
import pathlib
from collections.abc import Iterable
from typing import TYPE_CHECKING, ClassVar

from plainlearn.core.errors import ArgumentError, MissingFileError
from plainlearn.core.lists import L

if TYPE_CHECKING:
    _SystemPath = pathlib.Path
else:
    _SystemPath = type(pathlib.Path())  # PosixPath or WindowsPath: Python 3.11 cannot subclass Path itself

__all__ = ["Path"]


class Path(_SystemPath):
    """A file's or folder's path, with everything that `pathlib.Path` can do, and `ls`.

    Set `Path.BASE_PATH` to see the paths below it without it; nothing but `repr` changes.

    >>> Path("data") / "train" / "3"
    Path('data/train/3')
    """

    BASE_PATH: ClassVar[str | os.PathLike[str] | None] = None

    def __repr__(self) -> str:
        base = Path.BASE_PATH
        shown = self.relative_to(base) if base is not None and self.is_relative_to(base) else self
        return f"Path({shown.as_posix()!r})"

    def ls(
        self,
        n_max: int | None = None,
        file_type: str | None = None,
        file_exts: str | Iterable[str] | None = None,
    ) -> L[Path]:
        """What the folder holds, in order of name, which is the same on every machine.

        `n_max` limits how many. `file_type` keeps one kind, such as "image" or "text"; `file_exts`
        keeps one or several extensions, such as ".jpg", in upper or lower case; with both, what either keeps.
        Raises `MissingFileError` if there is no such folder.
        """
        if n_max is not None and n_max < 0:
            raise ArgumentError(f"n_max is {n_max}; expected 0 or more, or None for all")
        if not self.is_dir():
            raise _no_folder(self)
        children = sorted(self.iterdir())
        if file_type is not None or file_exts is not None:
            ends = (*_endings(file_exts), *_endings_of_type(file_type))
            children = [child for child in children if child.name.lower().endswith(ends)]
        return L[Path](itertools.islice(children, n_max))


def _endings(file_exts: str | Iterable[str] | None) -> tuple[str, ...]:
    exts = () if file_exts is None else (file_exts,) if isinstance(file_exts, str) else tuple(file_exts)
    return tuple("." + ext.lower().removeprefix(".") for ext in exts)


def _endings_of_type(file_type: str | None) -> tuple[str, ...]:
    if file_type is None:
        return ()
    mimetypes.init()
    found = tuple(ext for ext, kind in mimetypes.types_map.items() if kind.startswith(f"{file_type}/"))
    if not found:
        known = sorted({kind.partition("/")[0] for kind in mimetypes.types_map.values()})
        raise ArgumentError(f"file_type {file_type!r} is not known; expected one of {', '.join(known)}")
    return found


def _no_folder(path: pathlib.Path) -> MissingFileError | ArgumentError:
    """The error for a path that is no folder: it names the nearest that is, and a likely name there."""
    if path.exists():
        return ArgumentError(f"{path} is a file; expected a folder", try_=f"ls() of {path.parent}")
    above, hint = path.absolute(), ""
    while not above.is_dir():
        missing, above = above.name, above.parent
        names = [child.name for child in above.iterdir()] if above.is_dir() else []
        alike = difflib.get_close_matches(missing, names, n=1)
        hint = str(above / alike[0]) if alike else ""
    return MissingFileError(f"there is no folder {path}; the nearest that exists is {above}", try_=hint)
