"""`Path`, the course's path: pathlib's, with `ls()`, and shown relative to a base folder.

It is a subclass. pathlib's own classes stay as they are.
"""

from __future__ import annotations

import difflib
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

__all__ = ["Path", "no_folder", "shown"]


class Path(_SystemPath):
    """A file's or folder's path, with everything that `pathlib.Path` can do, and `ls`.

    Set `Path.BASE_PATH` to see the paths below it without it; nothing but `repr` changes.

    >>> Path("data") / "train" / "3"
    Path('data/train/3')
    """

    __slots__ = ()

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
        """What the folder holds, in order of name, so that it is the same on every machine.

        `n_max` limits how many. `file_type` keeps one kind, such as "image" or "text"; `file_exts`
        keeps one or several extensions, such as ".jpg", in upper or lower case; with both, what either keeps.
        Raises `MissingFileError` if there is no such folder.
        """
        if n_max is not None and n_max < 0:
            raise ArgumentError(f"n_max is {n_max}; expected 0 or more, or None for all")
        if not self.is_dir():
            raise no_folder(self)
        children = sorted(self.iterdir(), key=lambda child: child.name)
        if file_type is not None or file_exts is not None:
            endings = (*_endings(file_exts), *_endings_of_type(file_type))
            children = [child for child in children if child.name.lower().endswith(endings)]
        return L(children[:n_max])


def _endings(file_exts: str | Iterable[str] | None) -> tuple[str, ...]:
    several = [] if file_exts is None else [file_exts] if isinstance(file_exts, str) else file_exts
    return tuple("." + ext.lower().removeprefix(".") for ext in several)


def _endings_of_type(file_type: str | None) -> tuple[str, ...]:
    if file_type is None:
        return ()
    # Python's own tables, not the machine's: the official names, and usual ones, such as .webp before 3.13.
    unofficial, official = mimetypes.MimeTypes().types_map
    kinds = {ending: kind.partition("/")[0] for ending, kind in (unofficial | official).items()}
    endings = tuple(ending for ending, kind in kinds.items() if kind == file_type)
    if not endings:
        raise ArgumentError(
            f"file_type is {file_type!r}; expected one of {', '.join(sorted(set(kinds.values())))}",
            try_=f"file_exts={file_type!r}",
        )
    return endings


def no_folder(path: pathlib.Path) -> MissingFileError | ArgumentError:
    """The error for a path that is no folder: it names the nearest one, and what in it has a like name."""
    if path.exists():
        return ArgumentError(f"{shown(path)} is a file; expected a folder", try_=shown(path.parent))
    missing, nearest = path.name, path.absolute().parent
    while not nearest.is_dir() and nearest != nearest.parent:
        missing, nearest = nearest.name, nearest.parent
    here = sorted(os.listdir(nearest)) if os.access(nearest, os.R_OK) else []  # noqa: PTH208 (names are compared)
    alike = difflib.get_close_matches(missing, here, n=1)
    told = ", ".join([shown(name) for name in here if name[:1] != "."][:5]) or "nothing"
    return MissingFileError(
        f"there is no folder {shown(path)}; the nearest that exists is {shown(nearest)} (in it: {told})",
        try_=shown(nearest / alike[0]) if alike else "",
    )


def shown(path: str | bytes | os.PathLike[str]) -> str:
    """A name as messages show it: as it is, unless it would break the line or the terminal."""
    name = os.fsdecode(path)
    return name if name.isprintable() else ascii(name)
