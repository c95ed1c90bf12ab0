"""A folder that is filled with an archive's members, and refuses those that a data set has no use for.

Refused: names that lead out, absolute ones, two members in one place, devices, pipes, links to what is not in the
archive. Symbolic links wait until everything else is written, so nothing is ever written through one; then each
must end within the result. Nobody else sees the folder yet.
"""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import PureWindowsPath
from typing import Final

from plainlearn.core.errors import DownloadError
from plainlearn.core.paths import Path
from plainlearn.datasets.members import Member
from plainlearn.datasets.storage import writing

__all__ = ["SafeTree", "refusable"]

_ON_WINDOWS: Final = os.name == "nt"
# There, these are devices, streams, or other names than they seem.
_WINDOWS_TRAPS: Final = re.compile(
    r'.*[<>:"|?*\x00-\x1f].*|.*[. ]|(con|prn|aux|nul|com\d|lpt\d)(\..*)?', re.IGNORECASE | re.DOTALL
)


def refusable(name: str, *, on_windows: bool = _ON_WINDOWS) -> str:
    """What is wrong with a path that an archive gives, for "it ..."; nothing if it stays within the archive.

    >>> refusable("train/3/7.png"), refusable("../../.ssh/authorized_keys")
    ('', 'leads out of the archive')
    """
    parts = name.split("/")
    if "\0" in name:
        return "has a zero byte in its name"
    if "\\" in name:
        return "has a backslash in its name, which is not the same on every system"
    if name.startswith("/") or PureWindowsPath(name).drive:
        return "is an absolute path"
    if ".." in parts:
        return "leads out of the archive"
    if on_windows and any(_WINDOWS_TRAPS.fullmatch(part) for part in parts if part not in ("", ".")):
        return "has a name that Windows cannot give to a file"
    return ""


def _split(path: str) -> tuple[str, ...]:
    return tuple(part for part in path.split("/") if part not in ("", "."))


class SafeTree:
    """The new `folder`, to which `add` writes the members of `archive`, and which `finish` checks."""

    def __init__(self, archive: Path, folder: Path) -> None:
        self.archive, self.folder = archive, folder
        self._links: list[tuple[Member, tuple[str, ...]]] = []
        self._folders: set[tuple[str, ...]] = set()
        with writing(folder):
            folder.mkdir()

    def add(self, member: Member) -> None:
        """Write one member. Raises `DownloadError` if it is refused, or the disk refuses it."""
        parts = self._checked(member, member.name)
        if member.kind == "special":
            raise self._refusal(member, "is a device, a pipe or a sparse file")
        if not parts and member.kind != "folder":
            raise self._refusal(member, "has no name")
        if member.kind == "symlink":
            self._links.append((member, parts))
            return
        place = self.folder.joinpath(*parts)
        with self._in_new_place(member, place):
            if member.kind == "folder":
                self._make_folders(parts)
                return
            self._make_folders(parts[:-1])
            if member.kind == "hardlink":
                self._link_to_earlier(member, place)
                return
            # "x": nothing is ever overwritten, also where names that differ only in case are one.
            with place.open("xb") as file:
                for chunk in member.chunks():
                    file.write(chunk)

    def finish(self) -> tuple[Path, str]:
        """Make the symbolic links, and return the result and the name that the archive gives it.

        That is the only folder at the top; if there is not just one, all that was written, without a name.
        Raises `DownloadError` if a link leads out of the result, or there is none.
        """
        inside = list(self.folder.iterdir())
        if not inside:
            raise DownloadError(f"{self.archive} is empty: it holds no file and no folder")
        name = inside[0].name if len(inside) == 1 and inside[0].is_dir() else ""
        if any(parts[0] != name for _, parts in self._links):
            name = ""
        # A name that no archive can know: a link that leaves the result cannot come back into it.
        result = self.folder.joinpath(name).rename(self.folder.with_name(secrets.token_hex(16)))
        places = [(member, result.joinpath(*parts[bool(name) :])) for member, parts in self._links]
        for member, place in places:
            with self._in_new_place(member, place):
                # Never into the folder that another link points to.
                if any(parent.is_symlink() for parent in place.parents if parent.is_relative_to(result)):
                    raise self._refusal(member, "lies behind another link")
                place.parent.mkdir(parents=True, exist_ok=True)
                place.symlink_to(member.target)
        root = os.path.realpath(result)
        for member, place in places:
            # Now that all links exist, since each may pass through others.
            if not Path(os.path.realpath(place)).is_relative_to(root):
                raise self._refusal(member, f"links to {member.target!r}, outside")
        return result, name

    def _link_to_earlier(self, member: Member, place: Path) -> None:
        source = self.folder.joinpath(*self._checked(member, member.target))
        if not source.is_file():
            raise self._refusal(
                member, f"links to {member.target!r}, which is no file in the archive before it"
            )
        place.hardlink_to(source)

    def _make_folders(self, parts: tuple[str, ...]) -> None:
        if parts in self._folders:
            return
        self.folder.joinpath(*parts).mkdir(parents=True, exist_ok=True)
        self._folders.add(parts)

    def _checked(self, member: Member, path: str) -> tuple[str, ...]:
        wrong = refusable(path)
        if wrong:
            raise self._refusal(member, wrong if path == member.name else f"links to {path!r}, which {wrong}")
        return _split(path)

    @contextmanager
    def _in_new_place(self, member: Member, place: Path) -> Generator[None]:
        with writing(place):
            try:
                yield
            except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
                raise self._refusal(
                    member, "is there twice, or as a file and a folder (on some disks A and a are one name)"
                ) from error

    def _refusal(self, member: Member, why: str) -> DownloadError:
        return DownloadError(
            f"{self.archive} was refused, and nothing of it kept: its {member.kind} {member.name!r} {why}",
            try_="another source of the archive",
        )
