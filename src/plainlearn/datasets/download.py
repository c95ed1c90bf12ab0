"""`untar_data`: from an address to a folder of data on this machine; over the network only if it must be.

Below the cache folder lie archives/, what was downloaded, and data/, what was unpacked; beside each data folder a
hidden record says which address and which SHA-256 it is from, and a hidden list which files of it are.
"""

from __future__ import annotations

import hashlib
import json
import os
import urllib.parse
from collections.abc import Collection, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final, cast

from plainlearn.core.errors import DataError, DownloadError, MissingFileError
from plainlearn.core.paths import Path
from plainlearn.datasets.byte_progress import say
from plainlearn.datasets.storage import (
    cache_home,
    file_in_the_way,
    file_sha256,
    locked,
    make_folder,
    normal_sha256,
    verify_file,
    writing,
)
from plainlearn.datasets.urls import KNOWN_SHA256, URLs, archive_name, archive_stem

if TYPE_CHECKING:
    from plainlearn.datasets.archive import Limits

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
    although the folder is there, and replaces what `untar_data` put there, once the new folder is complete: files that were
    added to it, such as models, stay.

    `base` is the cache folder, otherwise `PLAINLEARN_HOME` or the system's place for caches; `data` is where
    the folder is made, otherwise base/data. The archive must have the `sha256` given, else the one known for
    this address, else the one it had when it was first seen here. `limits` says how much it may hold.

    Raises `DataError` if it would replace a folder that is not its own, and `DownloadError` if the archive cannot be
    had, is not the one expected, damaged or hostile, or if the disk is full or read-only: then nothing half-made is left.

    So `untar_data(URLs.MNIST_SAMPLE).ls()` shows labels.csv, train, valid and the README, on any machine, offline.
    """
    name = archive_name(url)
    stem = archive_stem(name)
    home = cache_home() if base is None else Path(base).expanduser()
    place = home / "data" if data is None else Path(data).expanduser()
    folder, record = _folder_of(url, place, stem)
    if not force_download and _is_filled(folder):
        return folder
    from plainlearn.datasets.archive import extract

    make_folder(place)
    with locked(place, folder.name), ExitStack() as while_unpacking:
        folder, record = _folder_of(url, place, stem)
        if not force_download and _is_filled(folder):  # another process was quicker
            return folder
        if record is None and _is_filled(folder):
            raise DataError(
                f"{folder} was not made by untar_data, so force_download does not replace it",
                try_="moving it away, or data= for another place",
            )
        if sha256 is not None:
            expected = normal_sha256(sha256)
        else:
            expected = KNOWN_SHA256.get(url) or ((record.sha256,) if record else ())
        kept = home / "archives" / f"{folder.name}{name.removeprefix(stem)}"
        file = None if force_download else _downloaded_before(kept, expected)
        file = file or _archive(url, kept, expected, show_progress, while_unpacking)
        if file == kept and len(expected) == 1:
            found = expected[0]  # compared a moment ago; a large file takes its time
        else:
            found = verify_file(file, expected) if expected else file_sha256(file)
        try:
            added = _files_in(folder) - _files_of_archive(folder)
            extract(
                file, place, name=folder.name, overwrite=True, keep=sorted(added), limits=limits, show_progress=show_progress,
            )  # fmt: skip
        except DownloadError:
            # It may be a page of HTML, which without a known checksum must not pass for the archive next time.
            if file == kept and not expected:
                file.unlink()
            raise
        _write_record(folder, _Record(url, found, str(file)), _files_in(folder) - added)
        if not expected and show_progress is not False:
            say(f"{folder.name}: this archive's SHA-256 is {found}; from now on that is expected of {url}")
    return folder


# ---------------------------------------------------------------- the folder, and where it is from


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


def _write_record(folder: Path, record: _Record, files: Collection[str]) -> None:
    """Write down where the folder is from, and which files of it are; the record last, as it says that all is done."""
    listed = "\0".join(sorted(files)).encode("utf-8", "surrogateescape")
    for path, content in (
        (_list_path(folder), listed),
        (_record_path(folder), json.dumps(asdict(record), indent=1).encode()),
    ):
        with writing(path):
            new = path.with_name(path.name + ".new")
            new.write_bytes(content)
            new.replace(path)


def _list_path(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.files")


def _files_of_archive(folder: Path) -> set[str]:
    """What `untar_data` put there; nothing is known of a folder that a version without lists made."""
    try:
        return set(_list_path(folder).read_bytes().decode("utf-8", "surrogateescape").split("\0"))
    except FileNotFoundError:
        return set()


def _files_in(folder: Path) -> set[str]:
    """The files of the folder and below, by their names from it on."""
    return {
        os.path.relpath(os.path.join(place, name), folder)  # noqa: PTH118 (there may be a million)
        for place, _, names in os.walk(folder)
        for name in names
    }


def _is_filled(folder: Path) -> bool:
    try:
        return any(folder.iterdir())
    except FileNotFoundError:
        return False
    except NotADirectoryError as error:
        raise file_in_the_way(f"{folder} cannot be used", folder) from error


# ---------------------------------------------------------------- the archive, and who has it


def _downloaded_before(kept: Path, expected: tuple[str, ...]) -> Path | None:
    if not expected or not kept.is_file():
        return None
    if file_sha256(kept) in expected:
        return kept
    say(f"{kept} is not what it was when it was downloaded: fetching it anew")
    return None


def _archive(
    url: str, kept: Path, expected: tuple[str, ...], show_progress: bool | None, scope: ExitStack
) -> Path:
    """The archive, where it lies while `scope` is open, or downloaded to `kept`."""
    from plainlearn.datasets.fetch import Unreachable, download_url

    complaints: list[str] = []
    for source, complaint in _sources(url, scope):
        if isinstance(source, Path) and source.is_file():
            return source
        if isinstance(source, str):
            try:
                return download_url(
                    source, kept, sha256=expected or None, anew=True, show_progress=show_progress
                )
            except Unreachable as error:
                complaint += f": {error.reason}"
        complaints.append(complaint)
    # The last that was asked is the address itself.
    raise DownloadError(
        "; ".join([complaints.pop(), *complaints]),
        try_=f"putting {archive_name(url)} into a folder, and export {MIRROR_VARIABLE}=/that/folder",
    )


def _sources(url: str, scope: ExitStack) -> Iterator[tuple[Path | str, str]]:
    """Files and addresses in the order in which they are asked, and what to say of each if it does not give the archive."""
    name, mirror = archive_name(url), os.environ.get(MIRROR_VARIABLE)
    if not mirror:
        yield Path(), f"{MIRROR_VARIABLE} is not set"
    elif mirror.startswith(("http://", "https://")):
        yield (
            f"{mirror.rstrip('/')}/{urllib.parse.quote(name)}",
            f"{MIRROR_VARIABLE}={mirror} did not give {name}",
        )
    else:
        folder = Path(mirror.removeprefix("file://")).expanduser()
        if not folder.is_dir():
            raise MissingFileError(
                f"{MIRROR_VARIABLE} is {mirror!r}; expected a folder of this machine, or an address, that holds archives",
                try_=f"unset {MIRROR_VARIABLE}",
            )
        yield folder / name, f"{MIRROR_VARIABLE}={mirror} has no {name}"
    # By address, not by name: another address may well end in the same name.
    if url in _ON_BOARD:
        from importlib import resources

        resource = resources.files("plainlearn").joinpath("datasets", "onboard", _ON_BOARD[url])
        here = scope.enter_context(resources.as_file(resource)) if resource.is_file() else str(resource)
        yield Path(here), "this installation lacks plainlearn's own copy"
    yield url, f"{url} could not be downloaded"
