"""What can be told of an image file without a model: can it be read, how large is it, what does it look like.

Facts are gathered by threads and kept in the cache folder, each as long as its file's size and times stay,
so that looking a second time costs a stat a file.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple, dataclass
from functools import partial
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from plainlearn.core.errors import DataError, MissingFileError
from plainlearn.data.label import is_missing
from plainlearn.datasets.byte_progress import say
from plainlearn.datasets.remote import is_url
from plainlearn.datasets.storage import cache_home
from plainlearn.images.decode import image_size
from plainlearn.images.files import MAX_MEMORY, EncodedImage
from plainlearn.images.load import load_image, load_mask

_THUMB: Final = 16
_FORMAT: Final = 2  # of the kept facts; another number makes them worthless
_CHUNK: Final = 32  # files that a thread takes at a time
_KEEP_SECONDS: Final = 30.0  # so that a run that is stopped has not looked for nothing
_KEEP_DAYS: Final = 90  # what was not written to for so long is looked at again
_OURS: Final = re.compile(r"[0-9a-f]{24}(\.json|-\w+\.part)")
_MOST_BYTES_A_PIXEL: Final = 32  # that opening any kind of file takes; see `decoding_cost`
_MOST_LEVELS: Final = 300  # of a mask: more are no labels, and are not kept


@dataclass(frozen=True)
class Facts:
    """Of one file. `problem` says why it cannot be read; then the rest is empty.

    `levels` are the numbers that a mask holds, in order; of an image there are none.
    """

    bytes: int
    kind: str = ""
    width: int = 0
    height: int = 0
    digest: str = ""
    thumb: str = ""
    levels: tuple[int, ...] = ()
    problem: str = ""

    def picture(self) -> NDArray[np.uint8]:
        """The file as 16 × 16 grey levels."""
        return np.frombuffer(base64.b64decode(self.thumb), dtype=np.uint8).reshape(_THUMB, _THUMB)


def gather(files: Sequence[str | os.PathLike[str]], *, workers: int | None = None) -> list[Facts]:
    """The facts of every image file, in order: those that are known from the cache, the others looked up."""
    return _gather(files, "images", lambda name: image_facts(name), workers)


def gather_masks(files: Sequence[str | os.PathLike[str]], *, workers: int | None = None) -> list[Facts]:
    """The same of masks, whose pixels are numbers."""
    return _gather(files, "masks", mask_facts, workers)


def _gather(
    files: Sequence[str | os.PathLike[str]], what: str, measure: Callable[[str], Facts], workers: int | None
) -> list[Facts]:
    names = [os.path.abspath(file) for file in files]  # noqa: PTH100 (of strings, ten times as fast)
    cache = _FactsCache(names, what)
    stamps = [_stamp(name) for name in names]
    found: dict[str, Facts] = {}
    wanted = [
        (name, stamp)
        for name, stamp in dict(zip(names, stamps, strict=True)).items()
        if not cache.has(name, stamp)
    ]
    chunks = [wanted[at : at + _CHUNK] for at in range(0, len(wanted), _CHUNK)]
    began = kept = time.monotonic()
    announced = False
    pool = ThreadPoolExecutor(workers or _cores())
    try:
        for chunk, facts in zip(chunks, pool.map(partial(_measure_all, measure), chunks), strict=True):
            for (name, stamp), fact in zip(chunk, facts, strict=True):
                found[name] = fact
                cache.put(name, stamp, fact)
            now = time.monotonic()
            if not announced and now - began > 3:
                announced = True
                say(f"reading {len(wanted)} {what} once, to find those that cannot be read")
            if now - kept > _KEEP_SECONDS:
                kept = now
                cache.save()
    finally:
        pool.shutdown(cancel_futures=True)  # when it is stopped, what nobody waits for is not begun
    if wanted:
        cache.save()
    return [found[name] if name in found else cache.facts(name) for name in names]


def image_facts(name: str) -> Facts:
    """Read one file whole: nothing less tells whether it is sound.

    A JPEG is decoded at an eighth of its size, which reads all of its data and finds the same damage.
    """

    def look() -> Facts:
        image = EncodedImage.of(name)
        pixels = load_image(image, mode="L", draft_to=2 * _THUMB)
        width, height = image_size(image)
        size = len(image.data)
        if width * height * _MOST_BYTES_A_PIXEL + 4 * size > MAX_MEMORY:
            load_image(image)  # in colour and at full size it may be more than a picture may take
        small = Image.fromarray(pixels).resize((_THUMB, _THUMB), Image.Resampling.BOX)
        thumb = base64.b64encode(small.tobytes()).decode("ascii")
        return Facts(size, image.kind or "", width, height, _digest(image.data), thumb)

    return _facts_or_problem(name, look)


def mask_facts(name: str) -> Facts:
    """Read one mask, and note which numbers it holds."""

    def look() -> Facts:
        image = EncodedImage.of(name)
        mask = load_mask(image)
        levels = np.unique(mask)
        if len(levels) > _MOST_LEVELS:
            levels = levels[[0, -1]]
        height, width = mask.shape
        data = image.data
        return Facts(len(data), image.kind or "", width, height, _digest(data), levels=tuple(levels.tolist()))

    return _facts_or_problem(name, look)


def _facts_or_problem(name: str, look: Callable[[], Facts]) -> Facts:
    try:
        return look()
    except (DataError, MissingFileError) as error:
        return Facts(_size(name), problem=error.what)


def _measure_all(measure: Callable[[str], Facts], chunk: Sequence[tuple[str, str]]) -> list[Facts]:
    return [measure(name) for name, _ in chunk]


def _digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()


class _FactsCache:
    """The kept facts of the folder that the files have in common; one JSON file, replaced whole."""

    def __init__(self, names: Sequence[str], what: str) -> None:
        common = _common(names)
        key = hashlib.blake2b(
            f"{what}:{common}".encode("utf-8", "surrogateescape"), digest_size=12
        ).hexdigest()
        self.path = cache_home() / "audit" / f"{key}.json"
        #: By name: the stamp, then the facts as a plain list, made into `Facts` when they are asked for.
        self.known: dict[str, list[Any]] = {}
        try:
            checksum, _, text = self.path.read_bytes().partition(b"\n")
            kept: dict[str, Any] = json.loads(text) if checksum == _checksum(text) else {}
        except (OSError, ValueError):
            return  # nothing is kept yet, or it is damaged: it is only a memory, and is made anew
        if kept.get("format") == _FORMAT:
            self.known = kept["files"]

    def has(self, name: str, stamp: str) -> bool:
        return bool(stamp) and name in self.known and self.known[name][0] == stamp

    def facts(self, name: str) -> Facts:
        _, *values, levels, problem = self.known[name]
        return Facts(*values, levels=tuple(levels), problem=problem)

    def put(self, name: str, stamp: str, facts: Facts) -> None:
        # What is wrong is looked at again each time: it may be put right without a trace in the file, as by a
        # library that was missing, or a disk that comes back.
        if stamp and not facts.problem:
            self.known[name] = [stamp, *astuple(facts)]
        else:
            self.known.pop(name, None)

    def save(self) -> None:
        text = json.dumps({"format": _FORMAT, "files": self.known}).encode()
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(
                dir=self.path.parent, prefix=f"{self.path.stem}-", suffix=".part", delete=False
            ) as file:
                file.write(_checksum(text) + b"\n" + text)
            os.replace(file.name, self.path)  # noqa: PTH105
            for old in self.path.parent.iterdir():
                # The folder may be one that the user named: what has another name than ours is not ours.
                if _OURS.fullmatch(old.name) and time.time() - old.stat().st_mtime > _KEEP_DAYS * 86400:
                    old.unlink()
        except OSError:
            return  # a cache that cannot be written costs time, not truth


def _checksum(text: bytes) -> bytes:
    return hashlib.blake2b(text, digest_size=16).hexdigest().encode()


def _common(names: Sequence[str]) -> str:
    """The folder that holds them all; of files on several drives, none."""
    try:
        return os.path.commonpath(names) if names else ""
    except ValueError:
        return ""


def _stamp(name: str) -> str:
    """What changes when a file does: also the time of its last change of any kind, which nobody can set back."""
    try:
        found = os.stat(name)  # noqa: PTH116
    except (OSError, ValueError):
        return ""
    return f"{found.st_size}:{found.st_mtime_ns}:{found.st_ctime_ns}"


def _size(name: str) -> int:
    try:
        return os.stat(name).st_size  # noqa: PTH116
    except (OSError, ValueError):
        return 0


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def files_among(values: Sequence[Any]) -> tuple[dict[int, str], dict[int, str]]:
    """By place, the names of files on this machine, and what is said of empty values among them.

    Neither if the first is no file: a getter that opens things itself, or far away, is not called for all.
    """
    files: dict[int, str] = {}
    empty: dict[int, str] = {}
    first = next((value for value in values if not is_missing(value)), None)
    for place, value in enumerate(values if _is_file(first) else ()):
        if _is_file(value):
            files[place] = os.fspath(value)
        elif is_missing(value):
            empty[place] = f"no file is named: {value!r}"
    return files, empty


def _is_file(value: Any) -> bool:
    if isinstance(value, str):
        return not is_missing(value) and not is_url(value)
    return isinstance(value, os.PathLike)
