"""What can be told of an image file without a model: can it be read, how large is it, what does it look like.

Facts are gathered by threads and kept in the cache folder, each as long as its file's size and time stay,
so that looking a second time costs a stat a file.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from plainlearn.core.errors import DataError, MissingFileError
from plainlearn.data.storage import cache_home
from plainlearn.vision.image import image_size, load_image
from plainlearn.vision.imagefile import kind_of

_THUMB = 16
_FORMAT = 1  # of the kept facts; another number makes them worthless


@dataclass(frozen=True)
class Facts:
    """Of one file. `problem` says why it cannot be read; then the rest is empty."""

    bytes: int
    kind: str = ""
    width: int = 0
    height: int = 0
    digest: str = ""
    thumb: str = ""
    problem: str = ""

    def picture(self) -> NDArray[np.uint8]:
        """The file as 16 × 16 grey levels."""
        return np.frombuffer(base64.b64decode(self.thumb), dtype=np.uint8).reshape(_THUMB, _THUMB)


def gather(files: Sequence[str | os.PathLike[str]], *, workers: int | None = None) -> list[Facts]:
    """The facts of every file, in order: those that are known from the cache, the others looked up."""
    names = [os.path.abspath(file) for file in files]  # noqa: PTH100 (of strings, ten times as fast)
    shelf = _Shelf(names)
    stamps = [_stamp(name) for name in names]
    wanted = [place for place, name in enumerate(names) if not shelf.has(name, stamps[place])]
    if wanted:
        with ThreadPoolExecutor(workers or os.cpu_count()) as pool:
            found = pool.map(look_at, [names[place] for place in wanted], chunksize=16)
            for place, facts in zip(wanted, found, strict=True):
                shelf.put(names[place], stamps[place], facts)
        shelf.keep()
    return [shelf.known[name][1] for name in names]


def look_at(name: str) -> Facts:
    """Read one file whole: nothing less tells whether it is sound."""
    try:
        size = os.stat(name).st_size  # noqa: PTH116
        pixels = load_image(name, mode="L", draft_to=2 * _THUMB)
        width, height = image_size(name)
        with open(name, "rb") as file:  # noqa: PTH123
            data = file.read()
    except (DataError, MissingFileError) as error:
        return Facts(_size(name), problem=str(error).splitlines()[0])
    except OSError as error:
        return Facts(_size(name), problem=f"{name} cannot be read: {error.strerror}")
    small = Image.fromarray(pixels).resize((_THUMB, _THUMB), Image.Resampling.BOX)
    thumb = base64.b64encode(small.tobytes()).decode("ascii")
    digest = hashlib.blake2b(data, digest_size=16).hexdigest()
    return Facts(size, kind_of(data[:64], name) or "", width, height, digest, thumb)


class _Shelf:
    """The kept facts of the folder that the files have in common; one JSON file, replaced whole."""

    def __init__(self, names: Sequence[str]) -> None:
        common = os.path.commonpath(names) if names else ""
        key = hashlib.blake2b(common.encode("utf-8", "surrogateescape"), digest_size=12).hexdigest()
        self.path = cache_home() / "audit" / f"{key}.json"
        self.known: dict[str, tuple[str, Facts]] = {}
        try:
            kept = json.loads(self.path.read_text(encoding="utf-8"))
            if kept["format"] == _FORMAT:
                self.known = {name: (stamp, Facts(**facts)) for name, (stamp, facts) in kept["files"].items()}
        except (OSError, ValueError, KeyError, TypeError):
            self.known = {}  # nothing kept, or damaged: it is only a memory, and is made anew

    def has(self, name: str, stamp: str) -> bool:
        return bool(stamp) and name in self.known and self.known[name][0] == stamp

    def put(self, name: str, stamp: str, facts: Facts) -> None:
        self.known[name] = (stamp, facts)

    def keep(self) -> None:
        files = {name: (stamp, asdict(facts)) for name, (stamp, facts) in self.known.items() if stamp}
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(
                "w", dir=self.path.parent, delete=False, encoding="utf-8"
            ) as file:
                json.dump({"format": _FORMAT, "files": files}, file)
            os.replace(file.name, self.path)  # noqa: PTH105
        except (OSError, UnicodeEncodeError):
            return  # a cache that cannot be written costs time, not truth


def _stamp(name: str) -> str:
    try:
        found = os.stat(name)  # noqa: PTH116
    except OSError:
        return ""
    return f"{found.st_size}:{found.st_mtime_ns}"


def _size(name: str) -> int:
    try:
        return os.stat(name).st_size  # noqa: PTH116
    except OSError:
        return 0
