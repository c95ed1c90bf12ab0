"""GIF, WebP, TIFF and the rarer formats."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from corpus.base import (
    BLUE,
    GREEN,
    HEIGHT,
    LADDER,
    WHITE,
    WIDTH,
    Case,
    array,
    data,
    encode,
    has_avif,
    photo,
    picture,
    quarters,
    saved,
)
from corpus.pngs import LAID, SEE_THROUGH
from PIL import Image, features

BLACK = Image.new("RGB", (WIDTH, HEIGHT), "black")


def webp(**options: Any) -> Callable[[Path], Any]:
    return saved("WEBP", **{"lossless": True, **options})


def gif_claiming(width: int, height: int) -> bytes:
    return b"GIF89a" + struct.pack("<HH", width, height) + encode(picture(), "GIF")[10:]


def webp_claiming(side: int) -> bytes:
    """The extended header of a WebP whose canvas is huge."""
    body = b"\x10\0\0\0" + 2 * struct.pack("<I", side - 1)[:3]
    rest = encode(picture(), "WEBP", lossless=True)[12:]
    chunks = b"VP8X" + struct.pack("<I", len(body)) + body + rest
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WEBP" + chunks


def half_of(form: str, im: Callable[[], Image.Image] = picture, **options: Any) -> Callable[[Path], Any]:
    return data(lambda: (whole := encode(im(), form, **options))[: len(whole) // 2])


GIFS_AND_WEBPS = [
    Case("GIF", "plain.gif", saved("GIF")),
    Case("GIF, animated: the first", "animated.gif", saved("GIF", save_all=True, append_images=[BLACK])),
    Case(
        "GIF, part see-through",
        "clear.gif",
        saved("GIF", array(SEE_THROUGH)),
        expect=(WHITE, GREEN, BLUE, WHITE),
    ),
    Case("GIF, cut in half", "half.gif", half_of("GIF", photo), "refused", says="GIF"),
    Case("GIF, header only", "head.gif", data(lambda: encode(picture(), "GIF")[:13]), "refused", says="GIF"),
    Case(
        "GIF, a bomb", "bomb.gif", data(lambda: gif_claiming(65535, 65535)), "refused", says="65,535×65,535"
    ),
    Case("WebP, lossless", "lossless.webp", webp()),
    Case("WebP, lossy", "lossy.webp", webp(lossless=False, quality=95), tolerance=40),
    Case("WebP, colours under alpha", "alpha.webp", webp(im=array(SEE_THROUGH), exact=True), expect=LAID),
    Case("WebP, animated: the first", "animated.webp", webp(save_all=True, append_images=[BLACK])),
    Case("WebP, corrupt ICC", "icc.webp", webp(icc_profile=b"no profile")),
    Case("WebP, cut in half", "half.webp", half_of("WEBP", photo), "refused", says="breaks off"),
    Case("WebP, a bomb", "bomb.webp", data(lambda: webp_claiming(16383)), "refused", says="16,383×16,383"),
]


# --- TIFF ---------------------------------------------------------------------------------------------


def tiff(values: Any = None, **options: Any) -> bytes:
    return encode(picture() if values is None else Image.fromarray(values), "TIFF", **options)


def tiff_of(rows: bytes, *more: tuple[int, int, tuple[int, ...]], **tags: int) -> bytes:
    """A TIFF, little-endian, in one strip; `more` tags are (number, kind, values), `tags` override."""
    kinds = {3: "H", 4: "I"}
    known: dict[str, int] = {"bits": 8, "compression": 1, "photometric": 1, "channels": 1, **tags}
    fields: dict[int, tuple[int, tuple[int, ...]]] = {
        256: (4, (WIDTH,)),
        257: (4, (HEIGHT,)),
        258: (3, (known["bits"],)),
        259: (3, (known["compression"],)),
        262: (3, (known["photometric"],)),
        273: (4, (8,)),
        277: (3, (known["channels"],)),
        278: (4, (HEIGHT,)),
        279: (4, (len(rows),)),
    }
    fields.update({tag: (kind, values) for tag, kind, values in more})
    at = 8 + len(rows) + len(rows) % 2
    entries, later = b"", b""
    for tag, (kind, values) in sorted(fields.items()):
        packed_values = struct.pack(f"<{len(values)}{kinds[kind]}", *values)
        if len(packed_values) > 4:
            place = at + 2 + 12 * len(fields) + 4 + len(later)
            later, packed_values = later + packed_values, struct.pack("<I", place)
        entries += struct.pack("<HHI", tag, kind, len(values)) + packed_values.ljust(4, b"\0")
    directory = struct.pack("<H", len(fields)) + entries + bytes(4) + later
    return b"II*\0" + struct.pack("<I", at) + rows + bytes(len(rows) % 2) + directory


def grey(*values: float, dtype: Any = np.uint8) -> Any:
    return quarters(*((v,) for v in values), dtype=dtype)


def twelve_bits() -> bytes:
    grid = quarters((0,), (1365,), (2730,), (4095,), dtype=np.uint16).reshape(-1, 2).astype(np.uint32)
    first, second = grid[:, 0], grid[:, 1]
    three = np.stack([first >> 4, (first & 15) << 4 | second >> 8, second & 255], axis=1).astype(np.uint8)
    return tiff_of(three.tobytes(), bits=12)


def tiled() -> bytes:
    """A TIFF in tiles of 16 by 16."""
    grid = grey(0, 85, 170, 255)
    tiles = [
        grid[y : y + 16, x : x + 16].tobytes() for y in range(0, HEIGHT, 16) for x in range(0, WIDTH, 16)
    ]
    offsets = tuple(8 + 256 * n for n in range(len(tiles)))
    more = ((322, 4, (16,)), (323, 4, (16,)), (324, 4, offsets), (325, 4, (256,) * len(tiles)))
    whole = tiff_of(b"".join(tiles), *more)
    return whole.replace(struct.pack("<HH", 273, 4), struct.pack("<HH", 37273, 4))  # no strips


def spoilt_tag() -> bytes:
    """A tag that does not matter points behind the end of the file."""
    return tiff_of(grey(0, 85, 170, 255).tobytes(), (270, 3, (1, 2, 3))).replace(
        struct.pack("<HHI", 270, 3, 3), struct.pack("<HHI", 270, 2, 10**9)
    )


LADDER_ROWS = grey(0, 85, 170, 255).tobytes()
CHECKS = ((0,) * 3, WHITE, WHITE, (0,) * 3)
FLOATS = (0.0, 1 / 3, 2 / 3, 1.0)

TIFFS = [
    Case("TIFF", "plain.tif", data(tiff)),
    Case("TIFF, BigTIFF", "big.tif", data(lambda: tiff(big_tiff=True))),
    Case("TIFF, LZW", "lzw.tiff", data(lambda: tiff(compression="tiff_lzw"))),
    Case("TIFF, deflate", "deflate.tif", data(lambda: tiff(compression="tiff_adobe_deflate"))),
    Case("TIFF, JPEG inside", "jpeg.tif", data(lambda: tiff(compression="jpeg", quality=95)), tolerance=40),
    Case("TIFF, pages: the first", "pages.tif", data(lambda: tiff(save_all=True, append_images=[BLACK]))),
    Case("TIFF, tiles", "tiles.tif", data(tiled), expect=LADDER),
    Case(
        "TIFF, fax",
        "fax.tif",
        saved("TIFF", array(grey(0, 255, 255, 0) > 0), compression="group4"),
        expect=CHECKS,
    ),
    Case("TIFF, CMYK", "cmyk.tif", saved("TIFF", lambda: picture().convert("CMYK"))),
    Case("TIFF, LAB", "lab.tif", data(lambda: lab()), expect=((0,) * 3, (119,) * 3, (119,) * 3, WHITE)),
    Case("TIFF, alpha", "alpha.tif", saved("TIFF", array(SEE_THROUGH)), expect=LAID),
    Case(
        "TIFF, 16 bits",
        "u16.tif",
        data(lambda: tiff(grey(0, 21845, 43690, 65535, dtype=np.uint16))),
        expect=LADDER,
    ),
    Case("TIFF, 12 bits", "u12.tif", data(twelve_bits), expect=LADDER),
    Case(
        "TIFF, white is zero",
        "inverted.tif",
        data(lambda: tiff_of(grey(255, 170, 85, 0).tobytes(), photometric=0)),
        expect=LADDER,
    ),
    Case(
        "TIFF, 16 bits, white is zero",
        "inverted16.tif",
        data(lambda: tiff_of(grey(65535, 43690, 21845, 0, dtype="<u2").tobytes(), photometric=0, bits=16)),
        expect=LADDER,
    ),
    Case("TIFF, floats", "float.tif", data(lambda: tiff(grey(*FLOATS, dtype=np.float32))), expect=LADDER),
    Case(
        "TIFF, 32 bits",
        "i32.tif",
        data(lambda: tiff(grey(0, 21845, 43690, 65535, dtype=np.int32))),
        expect=LADDER,
    ),
    Case("TIFF, a spoilt tag", "tag.tif", data(spoilt_tag), expect=LADDER),
    Case(
        "TIFF, floats to 255",
        "float255.tif",
        data(lambda: tiff(grey(0, 85, 170, 255, dtype=np.float32))),
        "refused",
        says=r"0 to 255.*value_range=\(0, 255\)",
    ),
    Case(
        "TIFF, not a number",
        "nan.tif",
        data(lambda: tiff(grey(0, np.nan, 0.5, 1, dtype=np.float32))),
        "refused",
        says="384 of its 1,536 values are nan",
    ),
    Case(
        "TIFF, below zero",
        "negative.tif",
        data(lambda: tiff(grey(-5, 0, 5, 9, dtype=np.int32))),
        "refused",
        says="-5 to 9",
    ),
    Case(
        "TIFF, signed bytes",
        "signed.tif",
        data(lambda: tiff_of(LADDER_ROWS, (339, 3, (2,)))),
        "refused",
        says="signed",
    ),
    Case(
        "TIFF, a camera's preview",
        "raw.tif",
        data(lambda: tiff_of(LADDER_ROWS, (254, 4, (1,)))),
        "refused",
        says="preview",
    ),
    Case("TIFF, cut in half", "half.tif", half_of("TIFF"), "refused", says="breaks off"),
    Case(
        "TIFF, cut in half, deflate",
        "halfz.tif",
        half_of("TIFF", compression="tiff_adobe_deflate"),
        "refused",
        says="breaks off",
    ),
    Case(
        "TIFF, strips that are not there",
        "strip.tif",
        data(lambda: tiff_of(LADDER_ROWS, (278, 4, (8,)))),
        "refused",
        says="1 of the 4 parts",
    ),
    Case(
        "TIFF, a bomb",
        "bomb.tif",
        data(lambda: tiff_of(LADDER_ROWS, (256, 4, (60_000,)), (257, 4, (60_000,)), (278, 4, (60_000,)))),
        "refused",
        says="60,000×60,000",
    ),
]


def lab() -> bytes:
    """Greys of the LAB space: black, middle, middle, white."""
    return encode(Image.fromarray(quarters((0, 0, 0), (128, 0, 0), (128, 0, 0), (255, 0, 0)), "LAB"), "TIFF")


# --- the others ---------------------------------------------------------------------------------------

HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(64)


def _no_heif() -> bool:
    import importlib.util

    return importlib.util.find_spec("pillow_heif") is None


OTHERS = [
    Case("BMP", "plain.bmp", saved("BMP")),
    Case("BMP, palette", "palette.bmp", saved("BMP", lambda: picture().quantize(4))),
    Case("BMP, cut in half", "half.bmp", half_of("BMP"), "refused", says="BMP"),
    Case("PPM", "plain.ppm", saved("PPM")),
    Case("PGM, 12 bits", "12bit.pgm", data(lambda: pgm(4095, 0, 1365, 2730, 4095)), expect=LADDER),
    Case("PBM", "plain.pbm", saved("PPM", array(grey(0, 255, 255, 0) > 0)), expect=CHECKS),
    Case("PPM, cut in half", "half.ppm", half_of("PPM"), "refused", says="PPM"),
    Case("icon", "plain.ico", saved("ICO", lambda: picture().resize((48, 48), 0), sizes=[(48, 48)])),
    Case("Targa", "plain.tga", saved("TGA")),
    Case("JPEG 2000", "plain.jp2", saved("JPEG2000"), tolerance=8, needs=lambda: features.check("jpg_2000")),
    Case(
        "JPEG 2000, cut near its end",
        "cut.jp2",
        data(lambda: encode(photo(), "JPEG2000")[:-40]),
        "refused",
        says="broken data stream",
        needs=lambda: features.check("jpg_2000"),
    ),
    Case(
        "AVIF",
        "plain.avif",
        saved("AVIF", quality=95, subsampling="4:4:4"),
        tolerance=12,
        needs=lambda: has_avif(),
    ),
    Case(
        "AVIF, cut in half",
        "half.avif",
        half_of("AVIF", photo),
        "refused",
        says="AVIF",
        needs=lambda: has_avif(),
    ),
    Case("HEIC", "photo.heic", data(lambda: HEIC), "refused", says="pip install pillow-heif", needs=_no_heif),
]


def pgm(most: int, *values: int) -> bytes:
    return f"P5 {WIDTH} {HEIGHT} {most}\n".encode() + quarters(*((v,) for v in values), dtype=">u2").tobytes()
