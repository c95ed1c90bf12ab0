"""What black, white and see-through mean in pictures of every kind, and which way is up."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from corpus.base import HEIGHT, WIDTH, encode, picture, quarters
from PIL import Image, ImageOps

from plainlearn.core.errors import ArgumentError, DataError
from plainlearn.images.decode import orient
from plainlearn.images.load import load_image
from plainlearn.images.pixels import scale_to_uint8


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_mode_l_is_the_luminance_of_the_colours(form):
    pixels = load_image(encode(picture(), form), mode="L")

    assert pixels.shape == (HEIGHT, WIDTH)
    assert abs(int(pixels[4, 4]) - 76) < 4 and abs(int(pixels[4, 40]) - 150) < 4


@pytest.mark.parametrize(
    "mode", ["L", "P", "LA", "RGBA", "CMYK", "YCbCr", "HSV", "LAB", "I;16", "I", "F", "1"]
)
def test_white_is_white_in_every_mode_of_pillow(mode):
    most: Any = {"1": 1, "F": 1.0, "I": 65535, "I;16": 65535, "CMYK": 0, "YCbCr": (255, 128, 128)}.get(
        mode, "white"
    )
    if mode == "LAB":
        white = Image.fromarray(np.uint8([[[255, 0, 0]]]), "LAB")  # Pillow's a and b are signed bytes
    elif mode == "P":
        white = Image.new("RGB", (1, 1), "white").quantize(2)
    else:
        white = Image.new(mode, (1, 1), most)

    assert load_image(white).min() >= 254  # LAB is rounded on the way
    assert load_image(white, mode="L").min() >= 254


def test_what_is_see_through_shows_the_background():
    clear = encode(Image.fromarray(quarters((9, 9, 9, 0), (9, 9, 9, 128), *[(1, 2, 3, 255)] * 2)), "PNG")

    pixels = load_image(clear, background=(200, 100, 0))

    assert pixels[0, 0].tolist() == [200, 100, 0]
    assert np.abs(pixels[0, -1].astype(int) - [104, 54, 5]).max() <= 1
    assert pixels[-1, 0].tolist() == [1, 2, 3]
    assert load_image(clear, mode="L", background=(255, 0, 0))[0, 0] == 76


@pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.uint32, np.int64])
def test_16_bits_are_divided_by_257_and_rounded(dtype):
    values = np.arange(65536).reshape(256, 256)

    assert np.array_equal(scale_to_uint8(values.astype(dtype)), np.rint(values / 257).astype(np.uint8))


def test_value_range_says_what_is_black_and_white_and_clips():
    values = np.array([[0, 100, 4095, 5000]], np.uint16)

    assert scale_to_uint8(values, (0, 4095)).tolist() == [[0, 6, 255, 255]]
    assert scale_to_uint8(np.array([-1.0, 0.0, 1.0]), (-1, 1)).tolist() == [0, 128, 255]
    tall = Image.fromarray(np.tile(np.float32([0, 255, 300]), (700_000, 1)))  # converted in several strips
    assert load_image(tall, value_range=(0, 255), mode="L")[[0, -1]].tolist() == [[0, 255, 255]] * 2
    with pytest.raises(DataError, match="0 to 300"):
        load_image(tall)


@pytest.mark.parametrize("bad", [(1, 1), (5, 2), (0, float("nan"))])
def test_a_range_without_extent_is_refused(bad):
    with pytest.raises(ArgumentError, match="value_range"):
        load_image(np.zeros((2, 2)), value_range=bad)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_a_number_is_refused_even_with_a_range(bad):
    with pytest.raises(DataError, match="1 of its 4 values are nan or infinite"):
        load_image(np.array([[0, 1], [0.5, bad]]), value_range=(0, 1))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_turning_colours_and_numbers_agree_with_pillow(orientation):
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    im = Image.fromarray(pixels)
    im.getexif()[0x0112] = orientation
    upright = np.asarray(ImageOps.exif_transpose(im))

    assert np.array_equal(orient(pixels, orientation), upright)
    assert np.array_equal(orient(pixels[..., 0].astype(np.int32), orientation), upright[..., 0])
