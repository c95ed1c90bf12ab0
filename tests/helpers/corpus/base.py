"""Image files of every kind that real folders hold, sound and unsound, each with what is to become of it.

`CASES` lists them; a case makes its file in a folder given. Nothing binary is kept in the repository, and
what a case holds can be read in its few lines. The picture is always the same where the format allows:
48 wide, 32 high, its quarters red, green (above), blue, white (below), so that a wrong turn, a wrong
channel or a lost half is seen in four colours.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image

WIDTH, HEIGHT = 48, 32
RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)
QUARTERS = (RED, GREEN, BLUE, WHITE)
GREYS = ((76,) * 3, (150,) * 3, (29,) * 3, (255,) * 3)
LADDER = ((0,) * 3, (85,) * 3, (170,) * 3, (255,) * 3)

Outcome = Literal["used", "refused", "skipped"]
Colours = tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Case:
    """One file. `make` writes it to the path it is given.

    `name` is the file's name, with its folder if that matters. `outcome`: "used" means that `load_image`
    gives the quarters `expect` within `tolerance`; "refused", that it raises an error that holds `says`;
    "skipped", that `get_image_files` does not give it.
    """

    title: str
    name: str
    make: Callable[[Path], Any]
    outcome: Outcome = "used"
    expect: Colours = QUARTERS
    says: str = ""
    tolerance: int = 3
    needs: Callable[[], bool] = lambda: True

    def create(self, folder: Path) -> Path:
        path = folder / self.name
        path.parent.mkdir(parents=True, exist_ok=True)
        self.make(path)
        return path


# --- the picture, and the ways to save it -------------------------------------------------------------


def quarters(
    *colours: tuple[int, ...], size: tuple[int, int] = (WIDTH, HEIGHT), dtype: Any = np.uint8
) -> Any:
    """An array of four flat quarters: top left, top right, bottom left, bottom right."""
    width, height = size
    out = np.empty((height, width, len(colours[0])), dtype)
    out[: height // 2, : width // 2], out[: height // 2, width // 2 :] = colours[0], colours[1]
    out[height // 2 :, : width // 2], out[height // 2 :, width // 2 :] = colours[2], colours[3]
    return out[..., 0] if len(colours[0]) == 1 else out


def picture() -> Image.Image:
    return Image.fromarray(quarters(*QUARTERS))


def photo(width: int = 320, height: int = 240) -> Image.Image:
    """A picture with detail everywhere, so that its JPEG has data everywhere."""
    rng = np.random.default_rng(7)
    coarse = rng.integers(0, 256, (height // 8, width // 8, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def encode(im: Image.Image, form: str, **options: Any) -> bytes:
    out = io.BytesIO()
    im.save(out, form, **options)
    return out.getvalue()


JPEG: dict[str, Any] = {"quality": 95, "subsampling": 0}
JPEG_TOLERANCE = 6


def jpeg(im: Image.Image | None = None, **options: Any) -> bytes:
    return encode(im or picture(), "JPEG", **{**JPEG, **options})


def png(im: Image.Image | None = None, **options: Any) -> bytes:
    return encode(im or picture(), "PNG", **options)


def saved(form: str, im: Callable[[], Image.Image] = picture, **options: Any) -> Callable[[Path], Any]:
    return lambda path: path.write_bytes(encode(im(), form, **options))


def data(make: Callable[[], bytes]) -> Callable[[Path], Any]:
    return lambda path: path.write_bytes(make())


def array(values: Any) -> Callable[[], Image.Image]:
    return lambda: Image.fromarray(values)


def has_avif() -> bool:
    """Pillow reads and writes it from 11.3 on, if it was built so."""
    Image.init()
    return "AVIF" in Image.SAVE


# --- orientation --------------------------------------------------------------------------------------

# How an upright picture must be stored so that EXIF's orientation n turns it back.
_STORE: dict[int, Callable[[Image.Image], Image.Image]] = {
    1: lambda im: im,
    2: lambda im: im.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    3: lambda im: im.transpose(Image.Transpose.ROTATE_180),
    4: lambda im: im.transpose(Image.Transpose.FLIP_TOP_BOTTOM),
    5: lambda im: im.transpose(Image.Transpose.TRANSPOSE),
    6: lambda im: im.transpose(Image.Transpose.ROTATE_90),
    7: lambda im: im.transpose(Image.Transpose.TRANSVERSE),
    8: lambda im: im.transpose(Image.Transpose.ROTATE_270),
}


def exif(orientation: int, order: str = "<", kind: int = 3) -> bytes:
    """An EXIF block that says nothing but the orientation; `kind` 3 is a short, 4 a long."""
    head = b"II*\0" if order == "<" else b"MM\0*"
    value = struct.pack(
        order + ("HH" if kind == 3 else "I"), *((orientation, 0) if kind == 3 else (orientation,))
    )
    entry = struct.pack(order + "HHI", 0x0112, kind, 1) + value
    return b"Exif\0\0" + head + struct.pack(order + "IH", 8, 1) + entry + bytes(4)


def turned(form: str, orientation: int) -> Callable[[], bytes]:
    def make() -> bytes:
        stored = _STORE[orientation](picture())
        if form == "TIFF":
            return encode(stored, form, tiffinfo={0x0112: orientation})
        options = {"JPEG": JPEG, "WEBP": {"lossless": True}, "AVIF": {"quality": 95, "subsampling": "4:4:4"}}
        return encode(stored, form, exif=exif(orientation), **options.get(form, {}))

    return make


ORIENTED = [
    Case(
        f"{form} turned by orientation {n}",
        f"turned_{n}{end}",
        data(turned(form, n)),
        tolerance=12 if form == "AVIF" else JPEG_TOLERANCE,
        needs=lambda form=form: form != "AVIF" or has_avif(),
    )
    for form, end in {"JPEG": ".jpg", "PNG": ".png", "WEBP": ".webp", "TIFF": ".tif", "AVIF": ".avif"}.items()
    for n in (range(1, 9) if form != "AVIF" else (3, 6))
]
