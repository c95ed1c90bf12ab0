"""PNGs, built chunk by chunk where Pillow would not write them."""

from __future__ import annotations

import struct
import zlib

import numpy as np
from corpus.base import (
    BLUE,
    GREEN,
    GREYS,
    HEIGHT,
    LADDER,
    QUARTERS,
    RED,
    WHITE,
    WIDTH,
    Case,
    array,
    data,
    exif,
    picture,
    png,
    quarters,
    saved,
)
from PIL import Image


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png_of(
    rows: bytes, depth: int, colour: int, *more: bytes, size: tuple[int, int] = (WIDTH, HEIGHT)
) -> bytes:
    """A PNG of raw rows, without filters; `more` chunks stand before the data."""
    head = struct.pack(">IIBBBBB", *size, depth, colour, 0, 0, 0)
    step = len(rows) // size[1]
    lines = b"".join(b"\0" + rows[at : at + step] for at in range(0, len(rows), step))
    body = (chunk(b"IHDR", head), *more, chunk(b"IDAT", zlib.compress(lines)), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(body)


def with_chunk(name: bytes, body: bytes, into: bytes | None = None, spoil: bool = False) -> bytes:
    """A PNG with one chunk more behind its header; `spoil` makes its checksum wrong."""
    into = into or png()
    new = chunk(name, body)
    return into[:33] + (new[:-1] + bytes((new[-1] ^ 1,)) if spoil else new) + into[33:]


def flipped(whole: bytes, at: int) -> bytes:
    return whole[:at] + bytes((whole[at] ^ 0x10,)) + whole[at + 1 :]


def packed(depth: int, *values: int) -> bytes:
    """Four flat quarters of `depth` bits a pixel."""
    grid = quarters(*((v,) for v in values))
    bits = np.unpackbits(grid[..., None], axis=-1)[..., -depth:].reshape(HEIGHT, -1)
    return np.packbits(bits, axis=-1).tobytes()


def big_endian(*values: tuple[int, ...]) -> bytes:
    return quarters(*values, dtype=">u2").tobytes()


CLEAR_RED = (255, 0, 0, 0)
SEE_THROUGH = quarters(CLEAR_RED, (0, 255, 0, 255), (0, 0, 255, 128), (255, 255, 255, 255))
LAID = (WHITE, GREEN, (127, 127, 255), WHITE)  # SEE_THROUGH over white
PALETTE = chunk(b"PLTE", bytes((*RED, *GREEN, *BLUE, *WHITE)))


def png_with_short_data() -> bytes:
    rows = quarters(*QUARTERS).tobytes()[: WIDTH * 3 * (HEIGHT // 2)]
    half = png_of(rows, 8, 2, size=(WIDTH, HEIGHT // 2))
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", WIDTH, HEIGHT, 8, 2, 0, 0, 0))
    return half[:8] + head + half[33:]


def interlaced(share: float = 1.0) -> bytes:
    """A PNG in Adam7's seven passes, of whose rows only a share is there."""
    grid, rows = quarters(*QUARTERS), b""
    starts = (
        (0, 0, 8, 8),
        (4, 0, 8, 8),
        (0, 4, 4, 8),
        (2, 0, 4, 4),
        (0, 2, 2, 4),
        (1, 0, 2, 2),
        (0, 1, 1, 2),
    )
    for left, top, across, down in starts:
        rows += b"".join(b"\0" + row.tobytes() for row in grid[top::down, left::across])
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", WIDTH, HEIGHT, 8, 2, 0, 0, 1))
    body = chunk(b"IDAT", zlib.compress(rows[: int(len(rows) * share)]))
    return b"\x89PNG\r\n\x1a\n" + head + body + chunk(b"IEND", b"")


def png_with_bad_deflate() -> bytes:
    """The checksum of the chunk is right, what it holds is not."""
    good = png_of(quarters(*QUARTERS).tobytes(), 8, 2)
    at = good.index(b"IDAT")
    length = int.from_bytes(good[at - 4 : at])
    return good[: at - 4] + chunk(b"IDAT", b"\x78\x9c" + b"\xff" * (length - 2)) + good[at + 8 + length :]


def apng() -> bytes:
    return png(save_all=True, append_images=[Image.new("RGB", (WIDTH, HEIGHT), "black")], duration=9)


def declared(width: int, height: int) -> bytes:
    """A PNG of a few bytes that claims to be huge."""
    return png_of(bytes(3), 8, 2, size=(1, 1)).replace(
        chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0)),
        chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)),
    )


PNGS = [
    Case("plain", "plain.png", data(png)),
    Case(
        "1 bit",
        "1bit.png",
        data(lambda: png_of(packed(1, 0, 1, 1, 0), 1, 0)),
        expect=((0,) * 3, WHITE, WHITE, (0,) * 3),
    ),
    Case("2 bits", "2bit.png", data(lambda: png_of(packed(2, 0, 1, 2, 3), 2, 0)), expect=LADDER),
    Case("4 bits", "4bit.png", data(lambda: png_of(packed(4, 0, 5, 10, 15), 4, 0)), expect=LADDER),
    Case("grey", "grey.png", saved("PNG", lambda: picture().convert("L")), expect=GREYS),
    Case("palette", "palette.png", data(lambda: png_of(packed(2, 0, 1, 2, 3), 2, 3, PALETTE))),
    Case(
        "palette, a colour see-through",
        "palette_clear.png",
        data(lambda: png_of(packed(2, 0, 1, 2, 3), 2, 3, PALETTE, chunk(b"tRNS", b"\0\xff\x80\xff"))),
        expect=LAID,
    ),
    Case("colours hidden under alpha", "alpha.png", saved("PNG", array(SEE_THROUGH)), expect=LAID),
    Case(
        "grey with alpha",
        "la.png",
        saved("PNG", lambda: Image.fromarray(quarters((9, 0), (85, 255), (0, 128), (255, 255)), "LA")),
        expect=(WHITE, LADDER[1], (127,) * 3, WHITE),
    ),
    Case(
        "one grey see-through",
        "grey_clear.png",
        data(lambda: png_of(packed(8, 0, 85, 170, 255), 8, 0, chunk(b"tRNS", b"\0\0"))),
        expect=(WHITE, *LADDER[1:]),
    ),
    Case(
        "one colour see-through",
        "key.png",
        data(lambda: png_of(quarters(*QUARTERS).tobytes(), 8, 2, chunk(b"tRNS", b"\0\xff\0\0\0\0"))),
        expect=(WHITE, GREEN, BLUE, WHITE),
    ),
    Case(
        "16 bits grey",
        "grey16.png",
        data(lambda: png_of(big_endian((0,), (21845,), (43690,), (65535,)), 16, 0)),
        expect=LADDER,
        tolerance=0,
    ),
    Case(
        "16 bits grey, one see-through",
        "grey16_clear.png",
        data(lambda: png_of(big_endian((0,), (21845,), (43690,), (65535,)), 16, 0, chunk(b"tRNS", b"\0\0"))),
        expect=(WHITE, *LADDER[1:]),
    ),
    Case(
        "16 bits colour",
        "rgb16.png",
        data(lambda: png_of(big_endian(*(tuple(v * 257 for v in q) for q in QUARTERS)), 16, 2)),
    ),
    Case(
        "16 bits colour with alpha",
        "rgba16.png",
        data(
            lambda: png_of(
                big_endian((65535, 0, 0, 0), *((*(v * 257 for v in q), 65535) for q in QUARTERS[1:])), 16, 6
            )
        ),
        expect=(WHITE, GREEN, BLUE, WHITE),
    ),
    Case("interlaced", "interlaced.png", data(interlaced)),
    Case(
        "interlaced, a pass missing", "pass.png", data(lambda: interlaced(0.5)), "refused", says="truncated"
    ),
    Case(
        "black below", "black.png", saved("PNG", lambda: Image.new("RGB", (48, 32))), expect=((0,) * 3,) * 4
    ),
    Case("animated: the first", "animated.png", data(apng)),
    Case("animation that claims nonsense", "badapng.png", data(lambda: with_chunk(b"acTL", b"\xff" * 8))),
    Case("corrupt ICC", "icc.png", data(lambda: with_chunk(b"iCCP", b"x\0\0not deflated"))),
    Case(
        "a text of 100 MB",
        "text.png",
        data(lambda: with_chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(10**8)))),
    ),
    Case(
        "an orientation with a wrong checksum",
        "spoilt_exif.png",
        data(lambda: with_chunk(b"eXIf", exif(6)[6:], spoil=True)),
        "refused",
        says="eXIf.*checksum",
    ),
    Case(
        "an unknown chunk with a wrong checksum",
        "spoilt_name.png",
        data(lambda: with_chunk(b"tRNs", b"ab", spoil=True)),
        "refused",
        says="tRNs.*checksum",
    ),
    Case("a spoilt text", "spoilt_text.png", data(lambda: with_chunk(b"tEXt", b"k\0v", spoil=True))),
    Case("a private chunk", "private.png", data(lambda: with_chunk(b"prVt", b"whatever"))),
    Case("a corrupt EXIF", "badexif.png", data(lambda: with_chunk(b"eXIf", b"II*\0\xff\xff\xff\xff\x01"))),
    Case("bytes behind it", "trailing.png", data(lambda: png() + b"more")),
    Case("named .jpg", "png_named.jpg", data(png)),
    Case("named with no image's ending", "png.dat.png", data(png)),
    Case("cut in half", "half.png", data(lambda: png()[: len(png()) // 2]), "refused", says="breaks off"),
    Case("last chunk missing", "noend.png", data(lambda: png()[:-12]), "refused", says="breaks off"),
    Case("a bit wrong in the data", "bit.png", data(lambda: flipped(png(), 60)), "refused", says="checksum"),
    Case(
        "a bit wrong in the header",
        "bithead.png",
        data(lambda: flipped(png(), 18)),
        "refused",
        says="checksum",
    ),
    Case(
        "a chunk's length wrong", "length.png", data(lambda: flipped(png(), 34)), "refused", says="breaks off"
    ),
    Case("damage under a right checksum", "deflate.png", data(png_with_bad_deflate), "refused", says="PNG"),
    Case("half of the rows", "rows.png", data(png_with_short_data), "refused", says="PNG|truncated"),
    Case(
        "made for iPhone apps",
        "cgbi.png",
        data(lambda: with_chunk(b"CgBI", bytes(4))),
        "refused",
        says="Apple",
    ),
    Case("no width", "nowidth.png", data(lambda: declared(0, 5)), "refused", says="0×5"),
    Case(
        "a bomb",
        "bomb.png",
        data(lambda: declared(100_000, 100_000)),
        "refused",
        says="100,000×100,000.*max_memory=",
    ),
]
