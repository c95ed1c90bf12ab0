"""`resize_images`: a folder of large photos made small once, so that every epoch reads less."""

from __future__ import annotations

import io
import os
import secrets
from concurrent.futures import ThreadPoolExecutor

import PIL.Image

from plainlearn.core.errors import ArgumentError, DataError, MissingFileError
from plainlearn.core.lists import L
from plainlearn.core.paths import Path
from plainlearn.core.wholefile import check_replaceable
from plainlearn.data.items import get_image_files
from plainlearn.images.load import load_image

__all__ = ["resize_images"]


def resize_images(
    path: str | os.PathLike[str],
    max_workers: int | None = None,
    max_size: int | None = None,
    recurse: bool = False,
    dest: str | os.PathLike[str] | None = None,
    *,
    force: bool = False,
) -> L[Path]:
    """Write the images of the folder `path` so that no side is longer than `max_size`, upright, below `dest`.

    Subfolders and names stay; `dest` may be `path` itself, whose files are then replaced, each only once its small
    copy is complete. Smaller images are written as they are. Returns those that cannot be read, which are left alone.
    In another folder a file that is there and is not that very copy is replaced only with `force`: else `StorageError`.
    Raises `ArgumentError` without a `max_size` and a `dest`, and `MissingFileError` for a folder that is not there.
    """
    if max_size is None or max_size < 1 or dest is None:
        raise ArgumentError(f"max_size is {max_size} and dest {dest}; expected a number of pixels and a folder",
                            try_="resize_images(path, max_size=400, dest=path)")  # fmt: skip
    source, target = Path(path), Path(dest)
    files = get_image_files(source, recurse=recurse)

    def put(content: bytes, place: Path, *, own: bool) -> None:
        """Into its place; a copy that is there already stays. `own` says that it is the original's place."""
        if place.is_file() and place.read_bytes() == content:
            return
        check_replaceable(place, None, force=own or force, other="another dest")
        # Not by `whole_file`, which flushes the disk: a copy that a power cut takes is made again.
        part = place.with_name(f".plainlearn-{secrets.token_hex(8)}.part")
        part.write_bytes(content)
        os.replace(part, place)  # noqa: PTH105

    def write(file: Path) -> Path | None:
        place = target / file.relative_to(source)
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            image = PIL.Image.fromarray(load_image(file))
        except (DataError, MissingFileError):
            return file  # what is returned says so
        if max(image.size) <= max_size:
            if place != file:
                put(file.read_bytes(), place, own=False)
            return None
        image.thumbnail((max_size, max_size), PIL.Image.Resampling.LANCZOS)
        kind = PIL.Image.registered_extensions().get(place.suffix.lower(), "PNG")
        small = io.BytesIO()
        image.save(small, format=kind, **({"quality": 90} if kind == "JPEG" else {}))
        put(small.getvalue(), place, own=place == file)
        return None

    with ThreadPoolExecutor(max_workers or os.cpu_count()) as pool:
        return L[Path](bad for bad in pool.map(write, files) if bad is not None)
