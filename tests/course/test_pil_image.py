"""The course's images: upright, in their mode, and Pillow's own in all else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import PIL.Image
import pytest
import torch

from plainlearn.core.errors import MissingFileError
from plainlearn.course import pil_image as Image
from plainlearn.course.pil_image import PILImage, PILImageBW, PILMask, image2tensor
from plainlearn.images.load import load_image

PIXELS = np.random.default_rng(0).integers(0, 256, (5, 8, 3), dtype=np.uint8)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    turned = PIL.Image.Exif()
    turned[274] = 6
    PIL.Image.fromarray(PIXELS).save(tmp_path / "a.png", exif=turned)
    return tmp_path / "a.png"


def test_an_image_is_made_of_anything_upright_and_in_colour(file: Path) -> None:
    upright = np.rot90(PIXELS, -1)
    for source in (file, str(file), file.read_bytes(), upright, torch.from_numpy(upright.copy()).permute(2, 0, 1),
                   PIL.Image.fromarray(upright)):  # fmt: skip
        made = PILImage.create(source)
        assert isinstance(made, PILImage) and isinstance(made, PIL.Image.Image) and made.mode == "RGB"
        assert np.array_equal(np.asarray(made), upright)
    assert (made.size, made.shape) == ((5, 8), (8, 5))
    grey = PILImageBW.create(file)
    assert grey.mode == "L" and np.array_equal(np.asarray(grey), load_image(file, mode="L"))
    assert PILImage.create(grey).mode == "RGB"
    with pytest.raises(MissingFileError, match=r"no\.png"):
        PILImage.create("no.png")


def test_a_mask_keeps_its_numbers(tmp_path: Path) -> None:
    wide = np.array([[0, 70000], [3, 255]], np.int32)
    assert np.array_equal(np.asarray(PILMask.create(wide)), wide)
    palette = PIL.Image.new("P", (2, 1))
    palette.putdata([1, 7])
    palette.putpalette(list(range(30)))
    palette.save(tmp_path / "m.png")
    assert np.asarray(PILMask.create(tmp_path / "m.png")).tolist() == [[1, 7]]


def test_thumbnails_keep_proportions_and_leave_the_image_alone(file: Path) -> None:
    image = PILImage.create(PIXELS)
    assert image.to_thumb(4).size == (4, 3) and image.to_thumb(2, 8).size == (3, 2) and image.size == (8, 5)
    assert image.to_thumb(99).size == (8, 5)


def test_the_course_s_image_opens_as_pillow_s_and_is_pillow_s_in_all_else(file: Path) -> None:
    opened = Image.open(file)
    assert np.array_equal(np.asarray(opened), PIXELS) and opened.shape == (5, 8)
    assert Image.open(str(file)).to_thumb(4, 4).size == (4, 3)
    assert Image.new is PIL.Image.new and Image.Image is PIL.Image.Image and isinstance(opened, Image.Image)
    PIL.Image.fromarray(PIXELS[..., 0]).save(file)
    assert Image.open(file).mode == "L"
    with pytest.raises(AttributeError, match="nothing"):
        _ = Image.nothing


@pytest.mark.parametrize("mode", ["1", "L", "RGB", "RGBA", "P", "I;16", "F", "CMYK"])
def test_an_image_is_drawn_on_the_axes_that_are_given(mode: Any) -> None:
    ax = plt.subplots()[1]
    image = Image.PILBase.of(PIL.Image.fromarray(PIXELS[..., 0]).convert(mode))
    assert image.show(ctx=ax) is ax and len(ax.images) == 1
    assert image.show(title="new").get_title() == "new"
    plt.close("all")


def test_an_image_as_a_tensor_has_its_channels_first() -> None:
    assert torch.equal(image2tensor(PILImage.create(PIXELS)), torch.from_numpy(PIXELS).permute(2, 0, 1))
    assert image2tensor(PILImageBW.create(PIXELS)).shape == (1, 5, 8)
