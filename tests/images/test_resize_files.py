"""A folder of photos made small: every file, its place and its name, and the unreadable ones said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from plainlearn.core.errors import ArgumentError, MissingFileError, StorageError
from plainlearn.images.load import image_size
from plainlearn.images.resize_files import resize_images


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    turned = Image.Exif()
    turned[274] = 6
    (tmp_path / "in" / "deep").mkdir(parents=True)
    pixels = np.random.default_rng(0).integers(0, 256, (40, 80, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "in" / "a.jpg", exif=turned)
    Image.fromarray(pixels).save(tmp_path / "in" / "deep" / "b.png")
    Image.fromarray(pixels[:9, :9]).save(tmp_path / "in" / "small.png")
    (tmp_path / "in" / "bad.jpg").write_bytes(b"\xff\xd8\xffrubbish")
    return tmp_path / "in"


def test_every_image_is_written_small_and_upright_in_its_place(photos: Path) -> None:
    dest = photos.parent / "out"
    assert [bad.name for bad in resize_images(photos, max_size=20, recurse=True, dest=dest)] == ["bad.jpg"]
    found = {
        file.relative_to(dest).as_posix(): image_size(file) for file in dest.rglob("*") if file.is_file()
    }
    assert found == {"a.jpg": (10, 20), "deep/b.png": (20, 10), "small.png": (9, 9)}
    assert image_size(photos / "a.jpg") == (40, 80), "the originals stay"


def test_a_folder_can_be_made_small_where_it_is(photos: Path) -> None:
    before = (photos / "small.png").read_bytes(), (photos / "bad.jpg").read_bytes()
    resize_images(photos, max_size=20, recurse=True, dest=photos)
    assert image_size(photos / "deep" / "b.png") == (20, 10)
    assert before == ((photos / "small.png").read_bytes(), (photos / "bad.jpg").read_bytes())
    assert not list(photos.rglob("*.part"))
    resize_images(photos, max_size=5, dest=photos)
    assert image_size(photos / "deep" / "b.png") == (20, 10)


def test_a_file_of_somebody_s_own_in_another_folder_is_not_replaced(photos: Path) -> None:
    dest = photos.parent / "out"
    dest.mkdir()
    (dest / "a.jpg").write_text("mine")
    with pytest.raises(StorageError, match=r"a\.jpg is there already[\s\S]*force=True"):
        resize_images(photos, max_size=20, dest=dest)
    assert (dest / "a.jpg").read_text() == "mine"
    resize_images(photos, max_size=20, dest=dest, force=True)
    assert image_size(dest / "a.jpg") == (10, 20)
    resize_images(photos, max_size=20, dest=dest)  # the very same copies: there is nothing to replace


def test_what_is_missing_is_asked_for(photos: Path) -> None:
    with pytest.raises(ArgumentError, match=r"\n  Try resize_images\(path, max_size=400, dest=path\)"):
        resize_images(photos)
    with pytest.raises(MissingFileError):
        resize_images(photos / "no", max_size=5, dest=photos)
