"""Files that are elsewhere: in a bucket, behind a web address, inside an archive; listed and read through fsspec.

It knows addresses and bytes, not pictures. Nothing is kept on this machine unless the address
says so: fsspec's own `filecache::https://…` does.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from operator import itemgetter
from pathlib import PurePosixPath
from threading import Lock
from typing import Any, Final, TypeVar, cast
from urllib.parse import unquote, urlsplit

from plainlearn.core.errors import ArgumentError, DataError, MissingFileError, PlainlearnError
from plainlearn.core.lists import L

__all__ = ["FileSystem", "RemotePath", "is_url", "list_files"]

T = TypeVar("T")

MAX_BYTES: Final = 1 << 30
"""How large a remote file may be, unless its reader says otherwise."""

# A server that is not there is told from one that is slow: the first within seconds, the second may take its time.
_CONNECT_SECONDS: Final = 10.0
_SILENT_SECONDS: Final = 30.0
_WHOLE_SECONDS: Final = 300.0
_ATTEMPTS: Final = 3
_PAUSE_SECONDS = 0.5
_PERMANENT: Final = (
    FileNotFoundError,
    PermissionError,
    IsADirectoryError,
    NotImplementedError,
    PlainlearnError,
)


def is_url(place: object) -> bool:
    """Whether this names a place by an address, which fsspec reads, rather than by a path.

    >>> is_url("s3://bucket/pets"), is_url("zip://::pets.zip"), is_url("data/pets")
    (True, True, False)
    """
    return isinstance(place, str) and "://" in place


class FileSystem:
    """What stands behind an address: one of fsspec's file systems, spoken to with limits and named errors.

    `url` is any that fsspec understands, chained ones too; `options` are its storage options, such as
    `anon=True`. A request may fail twice in ways that may pass. Errors name the address: `MissingFileError`
    if nothing is there, `DataError` for the rest, `ArgumentError` for a protocol that cannot be spoken.
    """

    def __init__(self, url: str, **options: object) -> None:
        import fsspec
        from fsspec.archive import AbstractArchiveFileSystem

        self.url, self.options = url, options
        before, head, after = _split_chain(url)
        self._before = "".join(f"{cache}::" for cache in before)
        self._after = "".join(f"::{place}" for place in after)
        self._protocol = head.partition("://")[0] if "://" in head else "file"
        self._slash = "/" if self._protocol == "file" or head.startswith(f"{self._protocol}:///") else ""
        try:
            found = cast(Any, fsspec).url_to_fs(url, **_with_limits(url, options))
        except ImportError as error:
            needed = getattr(error.__cause__, "name", None) or error.name or "its package"
            raise ArgumentError(
                f"{url} cannot be read: {error}",
                try_='pip install "plainlearn[remote]"' if needed == "aiohttp" else f"pip install {needed}",
            ) from error
        except Exception as error:
            if "Protocol not known" in str(error):
                raise ArgumentError(f"{url} is no address that can be read: {error}") from error
            raise _explained(url, error) from error
        self.fs: Any = found[0]
        self.root = str(found[1]).rstrip("/") if found[1] != "/" else "/"
        # An archive is one open file, at one place at a time.
        is_archive = isinstance(self.fs, AbstractArchiveFileSystem)
        self._one_at_a_time: AbstractContextManager[Any] = Lock() if is_archive else nullcontext()

    def __reduce__(self) -> tuple[Callable[..., FileSystem], tuple[Any, ...]]:
        return _file_system, (self.url, self.options)

    def address(self, path: str) -> str:
        """The address of a path of this file system; `RemotePath(address)` finds it again."""
        plain = path if "://" in path else f"{self._protocol}://{self._slash}{path.lstrip('/')}"
        return f"{self._before}{plain}{self._after}"

    def read(self, path: str, start: int | None = None, end: int | None = None) -> bytes:
        """The bytes of a file, or those from `start` to before `end`, which may lie behind its end."""

        def read(**limit: float) -> bytes:
            with self._one_at_a_time:
                return self.fs.cat_file(path, start=start, end=end, **limit)

        return self._ask(path, read)

    def size(self, path: str) -> int:
        """How many bytes the file has."""

        def size(**limit: float) -> int | None:
            with self._one_at_a_time:
                return self.fs.size(path, **limit)

        found = self._ask(path, size)
        if found is None:
            raise DataError(
                f"{self.address(path)} does not say how large it is, so no part of it can be read",
                try_=f"filecache::{self.address(path)}, which fetches it whole, once",
            )
        return int(found)

    def ls(self, folder: str) -> tuple[list[str], list[tuple[str, int | None]]]:
        """What a folder holds, anew: the paths of its folders, and those of its files with their sizes."""

        def ls(**limit: float) -> list[dict[str, Any]]:
            with self._one_at_a_time:
                self.fs.invalidate_cache(folder)
                return self.fs.ls(folder, detail=True, **limit)

        found = {str(info["name"]).rstrip("/"): info for info in self._ask(folder, ls)}
        if found.get(folder, {}).get("type") == "file":
            raise ArgumentError(
                f"{self.address(folder)} is a file; expected a folder", try_="RemotePath(…), for one file"
            )
        # A web page may also lead elsewhere, or up again.
        above = f"{folder.rstrip('/')}/" if folder else ""
        inside = {path: info for path, info in found.items() if path.startswith(above) and path != folder}
        folders = [path for path, info in inside.items() if info["type"] == "directory"]
        return folders, [
            (path, info.get("size")) for path, info in inside.items() if info["type"] != "directory"
        ]

    def _ask(self, path: str, question: Callable[..., T]) -> T:
        for attempt in range(_ATTEMPTS):
            try:
                return question(**self._limit())
            except Exception as error:
                if attempt + 1 == _ATTEMPTS or isinstance(error, _PERMANENT):
                    raise _explained(self.address(path), error) from error
            time.sleep(_PAUSE_SECONDS * 2**attempt)
        raise AssertionError

    def _limit(self) -> dict[str, float]:
        # Only those that talk to the network take a limit, and their own have none.
        return {"timeout": _WHOLE_SECONDS} if getattr(self.fs, "async_impl", False) else {}


@dataclass(frozen=True, slots=True, order=True)
class RemotePath:
    """A file elsewhere, by its address: `name`, `stem`, `suffix`, `parent` as of a path, and `read_bytes`.

    It is no `os.PathLike`: that would promise a file on this machine. `str` gives the address, from which
    an equal `RemotePath` can be made; `size` is how many bytes it has, where a listing told.

    >>> photo = RemotePath("s3://bucket/pets/cat/1.jpg")
    >>> photo.name, photo.parent.name, photo.suffix
    ('1.jpg', 'cat', '.jpg')
    """

    url: str
    size: int | None = field(default=None, compare=False, repr=False)
    _system: tuple[FileSystem, str] | None = field(default=None, compare=False, repr=False)

    def __str__(self) -> str:
        return self.url

    def __repr__(self) -> str:
        return f"RemotePath({self.url!r})"

    @property
    def path(self) -> PurePosixPath:
        """The address without protocol, query and whatever archive it lies in."""
        _, head, _ = _split_chain(self.url)
        if not head.startswith(("http://", "https://")):
            return PurePosixPath(head.partition("://")[2] or head)
        place = urlsplit(head)
        return PurePosixPath(place.netloc + unquote(place.path))

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def stem(self) -> str:
        return self.path.stem

    @property
    def suffix(self) -> str:
        return self.path.suffix

    @property
    def parent(self) -> PurePosixPath:
        return self.path.parent

    @property
    def location(self) -> tuple[FileSystem, str]:
        """Where it is read: the file system, and the path there."""
        if self._system:
            return self._system
        system = FileSystem(self.url)
        return system, system.root

    def read_bytes(self, max_bytes: int = MAX_BYTES) -> bytes:
        """The file's bytes. Raises `DataError` for more than `max_bytes`, before they are fetched if possible."""
        system, path = self.location
        if self.size is not None and self.size > max_bytes:
            raise _too_large(self.url, self.size, max_bytes)
        # A listing that tells no size leaves a question to ask; a reading that ends in time needs none.
        end = None if self.size is not None else max_bytes + 1
        data = system.read(path, end=end)
        if len(data) > max_bytes:
            raise _too_large(self.url, len(data), max_bytes)
        if self.size is not None and len(data) != self.size:
            raise DataError(f"{self.url} gave {len(data):,} bytes; the listing says {self.size:,}")
        if not data:
            raise DataError(f"{self.url} is empty (0 bytes)")
        return data


def _file_system(url: str, options: dict[str, object]) -> FileSystem:
    return FileSystem(url, **options)


def _split_chain(url: str) -> tuple[list[str], str, list[str]]:
    """A chained address as what stands before its first path, that part, and what it lies in."""
    parts = url.split("::")
    first = next((number for number, part in enumerate(parts) if "://" in part), 0)
    return parts[:first], parts[first], parts[first + 1 :]


def list_files(
    url: str,
    fits: Callable[[str], bool],
    *,
    recurse: bool = True,
    folders: Collection[str] | None = None,
    enters: Callable[[str], bool],
    **options: object,
) -> L[RemotePath]:
    """The files at `url` and below whose name `fits`, by folder and then by name, whoever lists them.

    `enters` says which folders are gone into; `folders` names those of the root, whose own files then
    count only if "." is among them. `options` are fsspec's storage options.

    Raises `MissingFileError` if there is no such folder, `DataError` if any folder cannot be listed.
    """
    system = FileSystem(url, **options)
    inner, here = system.ls(system.root)
    if folders is not None:
        here = here if "." in folders else []
        known = {_name(path): path for path in inner}
        if missing := sorted({*folders} - {*known} - {"."}):
            raise MissingFileError(
                f"{url} has no folder {', '.join(missing)}, which folders= names; its folders: {', '.join(sorted(known))}"
            )
        inner = [path for name, path in known.items() if name in folders]
    found = here
    while recurse and inner:
        path = inner.pop()
        if enters(_name(path)):
            more, files = system.ls(path)
            inner += more
            found += files
    kept = [(path.rpartition("/"), size) for path, size in found if fits(_name(path))]
    kept.sort(key=itemgetter(0))
    paths = (("".join(parts), size) for parts, size in kept)
    return L[RemotePath](RemotePath(system.address(path), size, (system, path)) for path, size in paths)


def _name(path: str) -> str:
    return path.rpartition("/")[2]


def _with_limits(url: str, options: dict[str, Any]) -> dict[str, Any]:
    """The options, with limits for web servers, to which fsspec would listen for five minutes a connection."""
    webs = [name for name in ("http", "https") if f"{name}://" in url]
    if not webs:
        return options
    try:
        import aiohttp
    except ImportError:
        return options  # fsspec says what is missing, as for every other protocol
    patience = aiohttp.ClientTimeout(
        total=_WHOLE_SECONDS, sock_connect=_CONNECT_SECONDS, sock_read=_SILENT_SECONDS
    )
    mine = {name: options.get(name, {}) for name in webs}
    return options | {name: {"client_kwargs": {"timeout": patience}, **given} for name, given in mine.items()}


def _too_large(url: str, size: int, limit: int) -> DataError:
    at_least = "at least " if size == limit + 1 else ""
    return DataError(f"{url} has {at_least}{size:,} bytes; the limit is {limit:,}")


def _explained(url: str, error: Exception) -> PlainlearnError:
    if isinstance(error, PlainlearnError):
        return error
    if isinstance(error, FileNotFoundError):
        return MissingFileError(f"there is nothing at {url}")
    reason = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, PermissionError):
        return DataError(f"{url} may not be read: {reason}", try_="credentials, as its protocol wants them")
    partly = (
        "range requests" in reason and "zip://::simplecache::http://…, which fetches the archive whole, once"
    )
    return DataError(f"{url} cannot be read: {reason}", try_=partly or "")
