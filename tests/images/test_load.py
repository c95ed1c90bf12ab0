"""What `load_image` and its kin promise beyond single files, which `test_corpus.py` goes through."""

from __future__ import annotations

import io
import subprocess
import sys
import tarfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from corpus.base import GREEN, QUARTERS, RED, encode, exif, jpeg, photo, picture, png, quarters
from corpus.jpegs import broken_off, doubled_step
from PIL import Image

from plainlearn.core.errors import ArgumentError, ArgumentTypeError, DataError, MissingFileError
from plainlearn.images import decode as decode_module
from plainlearn.images.load import (
    find_bad_images,
    image_size,
    load_image,
    load_mask,
    verify_image,
    verify_images,
)


def by_pillow(data: bytes) -> Any:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


@pytest.fixture
def saved_photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.jpg"
    path.write_bytes(encode(photo(1200, 800), "JPEG", quality=90, subsampling=0))
    return path


# --- JPEG ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 2}, {"quality": 30}])
def test_jpeg_pixels_are_pillows_to_the_bit(options):
    data = jpeg(photo(), **options)

    assert np.array_equal(load_image(data), by_pillow(data))


def test_real_photos_decode_to_pillows_pixels(test_data):
    with tarfile.open(test_data / "oxford-iiit-pet.tgz") as archive:
        photos = [member for member in archive if member.name.endswith(".jpg")][::40]
        for member in photos:
            data = archive.extractfile(member).read()
            assert np.array_equal(load_image(data), by_pillow(data)), member.name
            assert image_size(data) == Image.open(io.BytesIO(data)).size


@pytest.mark.parametrize(
    ("draft_to", "scale"), [(1, 8), (50, 8), (51, 4), (100, 4), (101, 2), (200, 2), (201, 1)]
)
def test_a_draft_keeps_at_least_twice_the_side_needed(saved_photo, draft_to, scale):
    assert load_image(saved_photo, draft_to=draft_to).shape == (800 // scale, 1200 // scale, 3)


def test_a_draft_of_an_odd_size_is_rounded_up_and_upright():
    data = encode(photo(803, 1001), "JPEG", exif=exif(6))

    assert image_size(data) == (1001, 803)
    assert load_image(data, draft_to=100).shape == (201, 251, 3)


def test_a_draft_shrunk_further_looks_like_the_full_image_shrunk(saved_photo):
    def shrunk(pixels: Any) -> Any:
        return np.asarray(Image.fromarray(pixels).resize((300, 200), Image.Resampling.LANCZOS), float)

    error = shrunk(load_image(saved_photo, draft_to=200)) - shrunk(load_image(saved_photo))

    assert 10 * np.log10(255**2 / (error**2).mean()) > 45


def test_without_simplejpeg_pillow_gives_the_same_pixels_drafts_and_turns(saved_photo, monkeypatch):
    odd = encode(photo(803, 1001), "JPEG", exif=exif(6))
    sources = [saved_photo, jpeg(picture().convert("L")), odd]
    wanted = [[load_image(source, draft_to=side) for side in (None, 100)] for source in sources]

    monkeypatch.setattr(decode_module, "simplejpeg", None)

    for source, (full, draft) in zip(sources, wanted, strict=True):
        assert np.array_equal(load_image(source), full)
        assert np.array_equal(load_image(source, draft_to=100), draft)


@pytest.mark.skipif(decode_module.simplejpeg is None, reason="damage is seen by simplejpeg")
@pytest.mark.parametrize("data", [broken_off(0.5, b"\xff\xd9"), doubled_step()], ids=["cut", "doubled"])
def test_a_damaged_jpeg_is_used_only_if_one_insists(data):
    with pytest.raises(DataError, match="damaged JPEG"):
        load_image(data)

    assert load_image(data, strict=False).shape == (240, 320, 3)


# --- other sources ------------------------------------------------------------------------------------

ARRAY = quarters(*QUARTERS)


@pytest.mark.parametrize(
    "source",
    [
        ARRAY,
        ARRAY / 255,
        (ARRAY * 257.0).astype(np.uint16),
        ARRAY > 0,
        np.asfortranarray(ARRAY),
        ARRAY[::-1][::-1],
        torch.tensor(ARRAY).permute(2, 0, 1),
        (torch.tensor(ARRAY).permute(2, 0, 1) / 255).bfloat16(),
        (torch.tensor(ARRAY).permute(2, 0, 1) / 255).requires_grad_(),
        Image.fromarray(ARRAY),
        Image.fromarray(ARRAY).convert("RGBA"),
        png(),
    ],
    ids=lambda source: type(source).__name__,
)
def test_sources_of_all_kinds_give_the_same_pixels(source):
    pixels = load_image(source)

    assert np.array_equal(pixels, ARRAY)
    assert pixels.flags.c_contiguous and pixels.flags.writeable
    pixels[:] = 7  # a copy: what was given stays as it is
    assert np.array_equal(load_image(source), ARRAY)


def test_grey_arrays_become_three_channels_and_alpha_is_laid_over_the_background():
    assert load_image(np.uint8([[7]])).tolist() == [[[7, 7, 7]]]
    assert load_image(np.uint8([[[7]]]), mode="L").tolist() == [[7]]
    assert load_image(torch.full((1, 2, 2), 7, dtype=torch.uint8)).shape == (2, 2, 3)
    assert load_image(np.uint8([[[9, 9, 9, 0]]])).tolist() == [[[255, 255, 255]]]


def test_an_open_pillow_image_is_turned_upright_once(tmp_path):
    for form in ("JPEG", "PNG", "TIFF"):
        path = tmp_path / form
        stored = picture().transpose(Image.Transpose.ROTATE_90)
        if form == "TIFF":
            stored.save(path, form, tiffinfo={0x0112: 6})
        else:
            stored.save(path, form, exif=exif(6))
        with Image.open(path) as im:
            pixels = load_image(im)
        assert np.abs(pixels[4, 4].astype(int) - RED).max() < 8
        assert np.abs(pixels[4, 40].astype(int) - GREEN).max() < 8


@pytest.mark.parametrize(
    ("source", "says"),
    [
        (np.zeros((0, 5)), r"shape \(0, 5\)"),
        (np.zeros(5), r"shape \(5,\)"),
        (np.zeros((2, 3, 4, 5)), "shape"),
        (np.zeros((4, 5, 2)), r"\(4, 5, 2\)"),
        (torch.zeros(32, 48, 3), r"permute\(2, 0, 1\)"),
    ],
)
def test_arrays_that_are_no_image_are_refused_with_their_shape(source, says):
    with pytest.raises(ArgumentError, match=says):
        load_image(source)


def test_arguments_that_make_no_sense_are_refused():
    with pytest.raises(ArgumentTypeError, match="type int; expected a path"):
        load_image(5)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ArgumentError, match="mode is 'CMYK'"):
        load_image(png(), mode="CMYK")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ArgumentError, match="draft_to is 0"):
        load_image(jpeg(), draft_to=0)
    with pytest.raises(DataError, match=r"an image of 3 bytes cannot be used: it looks like text"):
        load_image(b"abc")


def test_a_truncated_pillow_image_is_refused_by_its_files_name(tmp_path):
    path = tmp_path / "half.png"
    path.write_bytes(png(photo())[:9000])

    with Image.open(path) as im, pytest.raises(DataError, match=r"half\.png"):
        load_image(im)


# --- missing files and sizes --------------------------------------------------------------------------


def test_a_missing_file_is_named_with_the_nearest_folder(tmp_path):
    with pytest.raises(
        MissingFileError, match=r"there is no file .*cat\.jpg; the nearest folder that exists is"
    ) as caught:
        load_image(tmp_path / "no" / "where" / "cat.jpg")
    assert str(caught.value).endswith(str(tmp_path))
    with pytest.raises(FileNotFoundError):
        image_size(tmp_path / "cat.jpg")
    with pytest.raises(DataError, match="cannot be the name of a file: embedded null"):
        load_image("a\0b.jpg")
    with pytest.raises(DataError, match="File name too long"):
        load_image(tmp_path / ("n" * 300))


def test_a_line_break_in_a_name_does_not_break_the_message(tmp_path):
    path = tmp_path / "two\nlines.jpg"
    path.write_text("hello")

    with pytest.raises(DataError) as caught:
        load_image(path)

    assert r"two\nlines.jpg" in str(caught.value).splitlines()[0]


def test_a_file_larger_than_the_limit_is_not_read(tmp_path):
    path = tmp_path / "huge.tif"
    with path.open("wb") as file:
        file.truncate(1 << 40)

    with pytest.raises(DataError, match="1,099,511,627,776 bytes; the limit is"):
        load_image(path)


# --- masks --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["L", "P", "1"])
def test_masks_keep_their_numbers(mode):
    labels = np.uint8([[0, 1, 1], [1, 0, 0]])
    mask = Image.fromarray(labels > 0 if mode == "1" else labels)
    if mode == "P":
        mask.putpalette([9, 9, 9, 200, 0, 0])

    found = load_mask(encode(mask, "PNG"))

    assert found.dtype == np.uint8 and found.tolist() == labels.tolist()


def test_masks_of_more_than_8_bits_are_not_scaled_and_stay_whole():
    labels = np.array([[0, 255, 256, 40000]])

    for source in (
        encode(Image.fromarray(labels.astype(np.uint16)), "PNG"),
        encode(Image.fromarray(labels.astype(np.int32)), "TIFF"),
        encode(Image.fromarray(labels.astype(np.float32)), "TIFF"),
        labels,
        torch.tensor(labels),
    ):
        found = load_mask(source)
        assert found.dtype == np.int32 and found.tolist() == labels.tolist()


def test_a_mask_saved_in_colour_serves_if_its_channels_are_equal():
    grey = Image.fromarray(np.uint8([[0, 3], [7, 255]]))

    assert load_mask(encode(grey.convert("RGB"), "PNG")).tolist() == [[0, 3], [7, 255]]
    with pytest.raises(DataError, match=r"it is in colour \(mode RGB\); expected a mask"):
        load_mask(png())


def test_masks_that_do_not_keep_numbers_are_refused(tmp_path):
    (tmp_path / "mask.jpg").write_bytes(jpeg())

    with pytest.raises(DataError, match=r"mask\.jpg .* is a JPEG, which changes numbers"):
        load_mask(tmp_path / "mask.jpg")
    for value in (0.5, np.nan, np.inf):
        with pytest.raises(DataError, match="fractions"):
            load_mask(encode(Image.fromarray(np.float32([[value]])), "TIFF"))
    with pytest.raises(ArgumentTypeError, match="float64; expected whole numbers"):
        load_mask(np.array([[0.5]]))


def test_a_mask_is_turned_like_its_image():
    stored = encode(Image.fromarray(np.uint8([[1, 2], [3, 4]])), "PNG", exif=exif(6))

    assert load_mask(stored).tolist() == [[3, 1], [4, 2]]


# --- many files ---------------------------------------------------------------------------------------


def test_verify_images_finds_the_bad_ones_in_the_order_given(tmp_path):
    for name, content in {"a.jpg": jpeg(), "b.jpg": b"", "c.jpg": jpeg()[:300], "d.png": png()}.items():
        (tmp_path / name).write_bytes(content)
    names = [tmp_path / name for name in ("d.png", "c.jpg", "gone.jpg", "b.jpg", "a.jpg")]

    for workers in (0, 1, 3, None):
        assert [path.name for path in verify_images(names, workers)] == ["c.jpg", "gone.jpg", "b.jpg"]
    assert "0 bytes" in find_bad_images(names)[2][1]
    with pytest.raises(ArgumentError, match="n_workers is -1"):
        verify_images(names, -1)
    assert verify_image(names[0]) is None


def test_threads_get_what_one_gets(saved_photo):
    sources = [saved_photo, png(photo()), encode(photo(), "WEBP"), encode(photo(), "TIFF"), b"no image"] * 12

    def outcome(source: Any) -> Any:
        try:
            return load_image(source).tobytes()
        except DataError as error:
            return str(error)

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(outcome, sources)) == [outcome(source) for source in sources]


def test_opening_images_does_not_import_torch():
    code = "import sys, plainlearn.images.load; print('torch' in sys.modules)"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "False"
