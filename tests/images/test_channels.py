"""Pictures of any number of channels: the right numbers from every source, through every transform, or a refusal by name."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from plainlearn.augment.aug_transforms import aug_transforms
from plainlearn.augment.lighting import Hue, Normalize, Saturation
from plainlearn.augment.transforms import Flip, Resize
from plainlearn.core.errors import ArgumentError, DataError, MissingExtraError, ShapeError
from plainlearn.course.pil_image import PILImageBW
from plainlearn.data import CategoryBlock, DataBlock, IndexSplitter
from plainlearn.images import channels as channels_file
from plainlearn.images.channels import load_channels
from plainlearn.images.load import load_image
from plainlearn.vision.blocks import ImageBlock

RNG = np.random.default_rng(0)
BYTES = RNG.integers(0, 256, (6, 8, 5), dtype=np.uint8)


def npy(values: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, values)
    return file.getvalue()


def tiff(values: Any, **how: Any) -> bytes:
    tifffile = pytest.importorskip("tifffile")
    file = io.BytesIO()
    tifffile.imwrite(file, values, **{"photometric": "minisblack", **how})
    return file.getvalue()


def test_arrays_tensors_and_npy_files_give_the_same_picture(tmp_path: Path) -> None:
    file = tmp_path / "a.npy"
    file.write_bytes(npy(BYTES))
    planes = BYTES.transpose(2, 0, 1)
    for source in (BYTES, planes, torch.from_numpy(planes.copy()), torch.from_numpy(BYTES), file, str(file),
                   npy(planes), npy(np.asfortranarray(BYTES))):  # fmt: skip
        got = load_channels(source, 5)
        assert np.array_equal(got, BYTES) and got.flags.c_contiguous and got.flags.writeable
    both = RNG.integers(0, 256, (2, 3, 2), dtype=np.uint8)
    assert np.array_equal(load_channels(both, 2), both)
    assert np.array_equal(load_channels(torch.from_numpy(both), 2), both.transpose(1, 2, 0))
    assert load_channels(both[..., 0], 1).shape == (2, 3, 1)


@pytest.mark.parametrize("count", [1, 2, 4, 5, 13])
@pytest.mark.parametrize("how", [{}, {"compression": "zlib"}, {"compression": "lzw"}, {"tile": (16, 16)}])
def test_bands_and_pages_of_a_tiff_are_channels(count: int, how: Any) -> None:
    values = RNG.integers(0, 65536, (20, 24, count), dtype=np.uint16)
    planes = values.transpose(2, 0, 1)
    made = [tiff(planes, **how), tiff(planes, bigtiff=True, byteorder=">", **how)]
    if count > 1:
        made += [tiff(values, planarconfig="contig", **how), tiff(planes, planarconfig="separate", **how)]
    for data in made:
        assert np.array_equal(load_channels(data, count), load_channels(values, count))


@pytest.mark.parametrize("how", [{}, {"compression": "zlib"}, {"planarconfig": "separate"}])
def test_a_tiff_that_is_cut_off_anywhere_is_refused_or_whole(how: Any) -> None:
    data = tiff(BYTES.transpose(2, 0, 1), **how)
    refused = 0
    for end in range(1, len(data), 7):
        try:
            got = load_channels(data[:end], 5)
        except DataError:
            refused += 1
        else:
            assert np.array_equal(got, BYTES), end
    assert refused > len(data) / 14


def test_more_than_8_bits_are_scaled_by_a_range_that_is_stated() -> None:
    wide = np.array([[[0, 257, 65535, 128 * 257]]], np.uint16)
    assert load_channels(wide, 4).tolist() == [[[0, 1, 255, 128]]]
    assert load_channels(wide / np.float32(65535), 4).tolist() == [[[0, 1, 255, 128]]]
    assert load_channels(np.array([[[0, 4095]]], np.int16), 2, value_range=(0, 4095)).tolist() == [[[0, 255]]]
    each = load_channels(np.array([[[-10.0, 3000.0]]]), 2, value_range=[(-10, 10), (0, 6000)])
    assert each.tolist() == [[[0, 128]]]
    with pytest.raises(DataError, match=r"run from 0 to 3000.*within 0 to 1\n  Try value_range=\(0, 3000\)"):
        load_channels(np.array([[[0.0, 3000.0]]]), 2)
    with pytest.raises(ArgumentError, match="value_range has 3 pairs for 2 channels"):
        load_channels(np.zeros((2, 2, 2)), 2, value_range=[(0, 1)] * 3)
    with pytest.raises(DataError, match="1 of its 2 values are nan"):
        load_channels(np.array([[[0.0, float("nan")]]]), 2)


def test_bands_of_other_files_are_taken_as_stored(tmp_path: Path) -> None:
    rgba = RNG.integers(0, 256, (5, 4, 4), dtype=np.uint8)
    file = tmp_path / "a.png"
    Image.fromarray(rgba).save(file)
    assert np.array_equal(load_channels(file, 4), rgba)
    with Image.open(file) as opened:
        assert np.array_equal(load_channels(opened, 4), rgba)
    turned = Image.Exif()
    turned[274] = 6
    Image.fromarray(rgba).save(file, exif=turned)
    assert np.array_equal(load_channels(file, 4), np.rot90(rgba, -1))
    Image.fromarray(rgba[..., :3]).save(tmp_path / "b.png")
    assert np.array_equal(load_channels(tmp_path / "b.png", 3), load_image(tmp_path / "b.png"))


def test_orientation_and_white_of_a_tiff_count() -> None:
    turned = tiff(BYTES.transpose(2, 0, 1), extratags=[(274, "H", 1, 6, True)])
    assert np.array_equal(load_channels(turned, 5), np.rot90(BYTES, -1))
    assert np.array_equal(
        load_channels(tiff(BYTES[..., 0], photometric="miniswhite"), 1), 255 - BYTES[..., :1]
    )


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (npy(BYTES[..., :3]), r"a\.bin \(\d+ bytes\) cannot be used: its values have the shape \(6, 8, 3\); expected .* 5"),
        (npy(BYTES)[:-7], "its header says 240 bytes of uint8 .6, 8, 5., and 233 follow"),
        (npy(np.array([[[None] * 5]])), "it holds Python objects"),
        (npy(np.zeros((1, 1, 5), "U3")), "its values are of type <U3; expected numbers"),
        (b"\x93NUMPY\x01\x00\x10\x00rubbish", "cannot be decoded"),
        (b"<html></html>", "looks like HTML"),
        (lambda: tiff(BYTES, planarconfig="contig")[:-20], "damaged TIFF: it breaks off"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_with_the_file_s_name(data: Any, said: str, tmp_path: Path) -> None:
    file = tmp_path / "a.bin"
    file.write_bytes(data() if callable(data) else data)
    with pytest.raises(DataError, match=said) as caught:
        load_channels(file, 5)
    assert "a.bin" in str(caught.value)


def test_pages_of_different_sizes_are_no_channels(tmp_path: Path) -> None:
    tifffile = pytest.importorskip("tifffile")
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(BYTES[..., 0], photometric="minisblack")
        file.write(BYTES[:3, :, 0], photometric="minisblack")
    with pytest.raises(DataError, match="its pages are of different kinds"):
        load_channels(tmp_path / "a.tif", 2)


def test_a_huge_picture_is_refused_before_it_takes_memory() -> None:
    with pytest.raises(DataError, match=r"would take .* MiB to open"):
        load_channels(tiff(np.zeros((2000, 2000), np.uint8), compression="zlib"), 1, max_memory=1 << 20)


def test_without_the_library_for_tiff_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    data = tiff(BYTES, planarconfig="contig")
    monkeypatch.setitem(__import__("sys").modules, "tifffile", None)
    with pytest.raises(MissingExtraError, match=r'pip install "plainlearn\[tiff\]"'):
        load_channels(data, 5)
    assert channels_file.load_channels(BYTES, 5) is not None


# ---- in a data block


def loaders(count: int, **settings: Any) -> Any:
    pictures = RNG.integers(0, 65536, (6, 10, 12, count), dtype=np.uint16)
    block = DataBlock((ImageBlock(channels=count), CategoryBlock), get_x=lambda item: pictures[item],
                      get_y=lambda item: item % 2, splitter=IndexSplitter([0, 1]), **settings)  # fmt: skip
    return pictures, block.dataloaders(range(6), bs=4, shuffle=False, num_workers=0, seed=0, device="cpu")


@pytest.mark.parametrize("count", [1, 2, 4, 5, 13])
def test_any_number_of_channels_goes_through_every_transform(count: int) -> None:
    _, dls = loaders(
        count, item_tfms=Resize(9), batch_tfms=[*aug_transforms(size=8, flip_vert=True), Normalize()]
    )
    x, y = dls.one_batch()
    assert x.shape == (4, count, 8, 8) and x.mean().abs() < 0.05
    assert dls.blocks[0].channels == count and len(dls.batch_tfms[-1].mean) == count
    dls.show_batch((x, y))
    pictures, plain = loaders(count, item_tfms=Flip(1.0))
    x, y = plain.one_batch()
    wanted = torch.from_numpy(load_channels(pictures[2][:, ::-1], count))
    assert torch.allclose(x[0], wanted.permute(2, 0, 1) / 255, atol=1e-6)
    image, _ = plain.decoded_samples((x, y))[0]
    assert np.array_equal(image, wanted[..., 0] if count == 1 else wanted)


@pytest.mark.parametrize("transform", [Saturation(p=1.0), Hue(p=1.0)])
def test_what_needs_colours_refuses_other_channels_and_leaves_grey(transform: Any) -> None:
    with pytest.raises(
        ShapeError, match=r"needs red, green and blue; the images have 5 channels\n  Try leaving"
    ):
        loaders(5, batch_tfms=transform)[1].one_batch()
    assert (
        torch.equal(loaders(1, batch_tfms=transform)[1].one_batch()[0], loaders(1)[1].one_batch()[0]) is False
    )
    grey = torch.rand(2, 1, 3, 3)
    assert transform.change(grey, np.random.default_rng(0)) is grey


def test_the_block_says_what_it_opens() -> None:
    assert ImageBlock() == ImageBlock("RGB") == ImageBlock("RGB", channels=3) != ImageBlock(channels=3)
    assert ImageBlock(cls=PILImageBW) == ImageBlock("L") and ImageBlock("L").channels == 1
    made = ImageBlock(channels=5, value_range=(0, 4095))
    assert eval(repr(made)) == made and made.value_range == (0, 4095)
    assert ImageBlock("L", value_range=(0, 4095)).open(np.full((1, 1), 4095, np.uint16)).tolist() == [[255]]
    for wrong, said in (
        ({"mode": "RGB", "channels": 5}, r"mode 'RGB' has 3 channels, and channels is 5\n  Try ImageBlock\(channels=5\)"),
        ({"channels": 0}, "channels is 0; expected 1 or more"),
        ({"channels": True}, "channels is True"),
        ({"mode": "L", "cls": PILImageBW}, "expected one of them"),
        ({"value_range": [(0, 1)] * 3}, "which only channels= can use"),
        ({"mode": PILImageBW}, r"Try ImageBlock\(cls=PILImageBW\)"),
    ):  # fmt: skip
        with pytest.raises(ArgumentError, match=said):
            ImageBlock(**wrong)  # type: ignore[arg-type]


def test_kept_pictures_are_told_apart_by_how_they_were_scaled(tmp_path: Path) -> None:
    file = tmp_path / "a.npy"
    file.write_bytes(npy(np.full((2, 2, 2), 100, np.uint16)))
    for high, level in ((100, 255), (200, 128), (100, 255)):
        block = ImageBlock(channels=2, value_range=(0, high), cache="disk")
        assert (block.open(file) == level).all() and (block.open(file) == level).all()
