"""`untar_data`: from an address to a folder of data on this machine; over the network only if it must be.

Below the cache folder lie archives/, what was downloaded, and data/, what was unpacked; beside each data folder a
hidden record says which address and which SHA-256 it is from.
"""

from __future__ import annotations

import hashlib
import json
import os
import pathlib
import urllib.parse
from collections.abc import Collection
from dataclasses import asdict, dataclass, field
from typing import Final, cast

from plainlearn.core.errors import DataError, DownloadError, MissingFileError
from plainlearn.core.paths import Path
from plainlearn.datasets.byte_progress import say
from plainlearn.datasets.checksums import file_sha256, normal_sha256, verify_file
from plainlearn.datasets.limits import Limits
from plainlearn.datasets.storage import cache_home, locked, make_folder, writing
from plainlearn.datasets.urls import KNOWN_SHA256, URLs, archive_name, archive_stem

__all__ = ["MIRROR_VARIABLE", "URLs", "untar_data"]

MIRROR_VARIABLE: Final = "PLAINLEARN_MIRROR"
_ON_BOARD: Final = {URLs.MNIST_SAMPLE: "mnist_sample.tgz"}


def untar_data(
    url: str,
    *,
    force_download: bool = False,
    base: str | os.PathLike[str] | None = None,
    data: str | os.PathLike[str] | None = None,
    sha256: str | Collection[str] | None = None,
    limits: Limits | None = None,
    show_progress: bool | None = None,
) -> Path:
    """The folder with the data of the archive at `url`, fetched and unpacked if it is not there yet.

    The archive is looked for in `PLAINLEARN_MIRROR`, a folder or an address that holds archives by their file
    names; then in plainlearn itself, which has MNIST_SAMPLE on board; then at `url`. `force_download` does so
    although the folder is there, and replaces it once the new one is complete.

    `base` is the cache folder, otherwise `PLAINLEARN_HOME` or the system's place for caches; `data` is where
    the folder is made, otherwise base/data. The archive must have the `sha256` given, else the one known for
    this address, else the one it had when it was first seen here. `limits` says how much it may hold.

    Raises `DownloadError` if the archive cannot be had, is not the one expected, damaged or hostile, or if the
    disk is full or read-only: then nothing half-made is left.

    So `untar_data(URLs.MNIST_SAMPLE).ls()` shows labels.csv, train, valid and the README, on any machine, offline.
    """
    name = archive_name(url)
    home = cache_home() if base is None else Path(base).expanduser()
    place = home / "data" if data is None else Path(data).expanduser()
    folder, record = _folder_of(url, place, archive_stem(name))
    if not force_download and _is_filled(folder):
        return folder
    from plainlearn.datasets.archive import unpack

    make_folder(place)
    with locked(place, folder.name):
        folder, record = _folder_of(url, place, archive_stem(name))
        if not force_download and _is_filled(folder):  # another process was quicker
            return folder
        ending = name.removeprefix(archive_stem(name))
        expected = _expected(url, sha256, record)
        order = _Order(url, name, home / "archives" / f"{folder.name}{ending}", expected, show_progress)
        archive, found = _archive(order, anew=force_download)
        try:
            limits = limits or Limits()
            unpack(
                archive, place, name=folder.name, overwrite=True, limits=limits, show_progress=show_progress
            )
        except DownloadError:
            # It may be a page of HTML, which without a known checksum must not pass for the archive next time.
            if archive == order.download and not expected:
                archive.unlink()
            raise
        _write_record(folder, _Record(url, found, str(archive)))
        if not expected and show_progress is not False:
            say(f"{folder.name}: this archive's SHA-256 is {found}; from now on that is expected of {url}")
    return folder


@dataclass(frozen=True)
class _Record:
    """Where a data folder is from."""

    url: str
    sha256: str
    archive: str


def _folder_of(url: str, place: Path, stem: str) -> tuple[Path, _Record | None]:
    """The folder for `url`, named after its archive; with a suffix if another address took the name before."""
    for folder in (place / stem, place / f"{stem}-{hashlib.sha256(url.encode()).hexdigest()[:8]}"):
        record = _read_record(folder)
        if record is None or record.url == url:
            return folder, record
    raise AssertionError(f"two addresses with one hash: {url}")


def _record_path(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.json")


def _read_record(folder: Path) -> _Record | None:
    path = _record_path(folder)
    try:
        return _Record(**cast(dict[str, str], json.loads(path.read_text(encoding="utf-8"))))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, TypeError) as error:
        raise DataError(
            f"{path} is damaged ({error}); expected what plainlearn wrote there about {folder}",
            try_="deleting it",
        ) from error


def _write_record(folder: Path, record: _Record) -> None:
    path = _record_path(folder)
    with writing(path):
        new = path.with_name(path.name + ".new")
        new.write_text(json.dumps(asdict(record), indent=1), encoding="utf-8")
        new.replace(path)


def _is_filled(folder: Path) -> bool:
    try:
        with os.scandir(folder) as entries:
            return next(entries, None) is not None
    except FileNotFoundError:
        return False
    except NotADirectoryError as error:
        in_the_way = next(place for place in (folder, *folder.parents) if place.exists())
        raise DownloadError(
            f"{folder} cannot be used: {in_the_way} is a file; expected a folder",
            try_="moving that file away, or export PLAINLEARN_HOME=/another/folder",
        ) from error


def _expected(url: str, sha256: str | Collection[str] | None, record: _Record | None) -> tuple[str, ...]:
    if sha256 is not None:
        return normal_sha256(sha256)
    return KNOWN_SHA256.get(url) or ((record.sha256,) if record else ())


@dataclass(frozen=True)
class _Order:
    """What is wanted, and, in `tried`, who did not have it: clauses for the message."""

    url: str
    name: str
    download: Path  # where the archive goes if it must be downloaded
    expected: tuple[str, ...]
    show_progress: bool | None
    tried: list[str] = field(default_factory=list[str])


def _archive(order: _Order, *, anew: bool) -> tuple[Path, str]:
    """The archive on this machine, and its SHA-256, which is among the expected, if any are."""
    return (
        (None if anew else _downloaded_before(order))
        or _from_mirror(order)
        or _on_board(order)
        or _from_address(order)
    )


def _downloaded_before(order: _Order) -> tuple[Path, str] | None:
    if not order.expected or not order.download.is_file():
        return None
    found = file_sha256(order.download)
    if found in order.expected:
        return order.download, found
    say(f"{order.download} is not what it was when it was downloaded: fetching it anew")
    return None


def _from_mirror(order: _Order) -> tuple[Path, str] | None:
    mirror = os.environ.get(MIRROR_VARIABLE)
    if not mirror:
        order.tried.append(f"{MIRROR_VARIABLE} is not set")
        return None
    if mirror.startswith(("http://", "https://")):
        from plainlearn.datasets.fetch import Unreachable

        address = f"{mirror.rstrip('/')}/{urllib.parse.quote(order.name)}"
        try:
            return _download(order, address)
        except Unreachable as error:
            order.tried.append(f"{MIRROR_VARIABLE}={mirror} did not give {order.name} ({error.reason})")
            return None
    folder = Path(mirror.removeprefix("file://")).expanduser()
    if not folder.is_dir():
        raise MissingFileError(
            f"{MIRROR_VARIABLE} is {mirror!r}; expected a folder of this machine, or an address, that holds archives",
            try_=f"unset {MIRROR_VARIABLE}",
        )
    path = folder / order.name
    if not path.is_file():
        order.tried.append(f"{MIRROR_VARIABLE}={mirror} has no {order.name}")
        return None
    return path, (verify_file(path, order.expected) if order.expected else file_sha256(path))


def _on_board(order: _Order) -> tuple[Path, str] | None:
    # By address, not by name: another address may well end in the same name.
    if order.url not in _ON_BOARD:
        return None
    from importlib import resources

    resource = resources.files("plainlearn").joinpath("datasets", "onboard", _ON_BOARD[order.url])
    if not resource.is_file():
        order.tried.append("this installation lacks plainlearn's own copy")
        return None
    with resources.as_file(resource) as path:
        found = verify_file(path, order.expected)
        if isinstance(resource, pathlib.Path):
            return Path(path), found
        # plainlearn is in a zip: what as_file gives is gone after the `with`.
        with writing(order.download):
            order.download.parent.mkdir(parents=True, exist_ok=True)
            order.download.write_bytes(path.read_bytes())
    return order.download, found


def _from_address(order: _Order) -> tuple[Path, str]:
    from plainlearn.datasets.fetch import Unreachable

    try:
        return _download(order, order.url)
    except Unreachable as error:
        raise DownloadError(
            "; ".join([f"{order.url} could not be downloaded: {error.reason}", *order.tried]),
            try_=f"putting {order.name} into a folder, and export {MIRROR_VARIABLE}=/that/folder",
        ) from error


def _download(order: _Order, address: str) -> tuple[Path, str]:
    from plainlearn.datasets.fetch import fetch

    archives = order.download.parent
    make_folder(archives)
    with locked(archives, order.download.name):
        found = fetch(
            address, order.download, sha256=order.expected or None, show_progress=order.show_progress
        )
    return order.download, found
