"""A folder of plainlearn's own: a file in it lists which files are ours, and only these are ever replaced or removed.

photos.run/
  .plainlearn-files      a line of words, then a name a line
  run.json               ours, since it is listed
  notes.txt              the user's, and never touched
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import Final

from plainlearn.core.errors import DataError, StorageError
from plainlearn.core.paths import shown
from plainlearn.core.wholefile import Mark, is_part, sweep, write_whole

__all__ = ["MARKER", "OwnFolder", "check_claimable", "claim"]

MARKER: Final = ".plainlearn-files"

_MARK: Final = Mark(b"# plainlearn made the files below")
_HEAD: Final = f"{_MARK.text.decode()}, and replaces or removes no other file of this folder."
#: Stands in the marker of a folder that was there, empty, before: that one is not removed.
_GIVEN: Final = "# The folder was here before."


@dataclass(frozen=True)
class OwnFolder:
    """The folder `path`, in which `files`, relative to it, are ours; `made` says whether the folder is too."""

    path: Path
    files: tuple[str, ...]
    made: bool

    def remove(self, names: Iterable[str] | None = None) -> None:
        """Remove those of our files, or all of them; then folders that are empty, the whole one with the last file if we made it.

        What is not listed stays, and so does whatever a link leads to, out of the folder.
        """
        going = self.files if names is None else tuple(name for name in names if name in self.files)
        root = self.path.resolve()
        for name in going:
            parent = (self.path / name).parent
            if not parent.is_dir() or not parent.resolve().is_relative_to(root):
                continue
            (self.path / name).unlink(missing_ok=True)
            sweep(parent)
            while parent != self.path and not parent.is_symlink() and not any(parent.iterdir()):
                parent.rmdir()
                parent = parent.parent
        left = tuple(name for name in self.files if name not in going)
        if left:
            OwnFolder(self.path, left, self.made).write_marker()
            return
        (self.path / MARKER).unlink(missing_ok=True)
        if self.made and not self.path.is_symlink() and not any(self.path.iterdir()):
            self.path.rmdir()

    def write_marker(self) -> None:
        """Write down what is ours."""
        lines = [_HEAD, *([] if self.made else [_GIVEN]), *self.files]
        write_whole(self.path / MARKER, "".join(f"{line}\n" for line in lines).encode(), mark=_MARK)


def claim(
    folder: str | os.PathLike[str],
    files: Iterable[str],
    *,
    other: str,
    older: Mapping[str, Mark] | None = None,
) -> OwnFolder:
    """Make the folder ours: from now on it lists `files`, relative names that are about to be written there.

    Raises as `check_claimable` does, and `StorageError` for a place that cannot be written.
    """
    wanted = tuple(files)
    ours = check_claimable(folder, wanted, other=other, older=older)
    made = ours.made or not ours.path.is_dir()
    claimed = OwnFolder(ours.path, tuple(dict.fromkeys((*ours.files, *wanted))), made)
    try:
        ours.path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"{folder} cannot be made or written: {error.strerror}", try_=other) from error
    claimed.write_marker()
    return claimed


def check_claimable(
    folder: str | os.PathLike[str],
    files: Iterable[str] = (),
    *,
    other: str,
    older: Mapping[str, Mark] | None = None,
) -> OwnFolder:
    """What is ours in `folder` by now. Changes nothing.

    One that is missing or empty can be ours, and one that has our marker is. One without it is, if it holds nothing but
    files of `older`, by patterns of their names: what versions that wrote no marker left. `other` is what to do instead.
    Raises `StorageError` for any other folder, and for one of `files` that is there and not listed.
    """
    path = Path(folder)
    if path.exists() and not path.is_dir():
        raise StorageError(f"{path} is a file; expected a folder, or nothing", try_=other)
    if not path.is_dir():
        return OwnFolder(path, (), made=False)
    ours = _listed(path) if (path / MARKER).is_file() else _unmarked(path, older or {}, other)
    foreign = [name for name in files if name not in ours.files and os.path.lexists(path / name)]
    if foreign:
        raise _refusal(path, foreign, other)
    return ours


def _listed(path: Path) -> OwnFolder:
    lines = (path / MARKER).read_text("utf-8").splitlines()
    names = tuple(line for line in lines if line and not line.startswith("#"))
    odd = [name for name in names if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts]
    if lines[:1] != [_HEAD] or odd:
        raise DataError(
            f"{path / MARKER} is not as plainlearn writes it; nothing was changed",
            try_="moving the folder away",
        )
    return OwnFolder(path, names, _GIVEN not in lines)


def _unmarked(path: Path, older: Mapping[str, Mark], other: str) -> OwnFolder:
    entries = sorted(path.rglob("*"))
    names = [
        entry.relative_to(path).as_posix() for entry in entries if entry.is_symlink() or not entry.is_dir()
    ]
    known = [name for name in names if _is_older(path / name, name, older)]
    if len(known) < len(names) or (not names and any(path.iterdir())):
        raise _refusal(path, [entry.name for entry in path.iterdir()], other)
    return OwnFolder(path, tuple(known), made=bool(known))


def _is_older(file: Path, name: str, older: Mapping[str, Mark]) -> bool:
    if file.is_symlink():
        return False
    if is_part(file.name):  # what a killed writer has left
        return True
    return any(fnmatchcase(name, pattern) and mark.is_on(file) for pattern, mark in older.items())


def _refusal(path: Path, names: Iterable[str], other: str) -> StorageError:
    told = sorted(map(shown, names))
    more = f" and {len(told) - 3} more" if len(told) > 3 else ""
    return StorageError(
        f"{path} is there already, and plainlearn did not make what it holds ({', '.join(told[:3])}{more}); "
        "nothing in it was changed",
        try_=other,
    )
