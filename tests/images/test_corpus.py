"""Every file of the corpus is used rightly, refused by name, or passed over; nothing hangs, warns or leaks."""

from __future__ import annotations

import os
import re
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from corpus.base import HEIGHT, QUARTERS, WIDTH, Case
from corpus.cases import CASES, make_corpus
from PIL import Image, ImageFile

from plainlearn.core.errors import DataError, MissingFileError
from plainlearn.core.paths import shown
from plainlearn.data.items import find_files, get_image_files
from plainlearn.images.load import find_bad_images, image_size, load_image, verify_image

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="pipes, sockets and such names are of Unix")


def cases(*outcomes: str) -> list[object]:
    return [
        pytest.param(case, id=f"{case.title}".replace(" ", "-")) for case in CASES if case.outcome in outcomes
    ]


def open_handles() -> int:
    folder = Path("/proc/self/fd")
    return len(list(folder.iterdir())) if folder.is_dir() else 0


def created(case: Case, folder: Path) -> Path:
    if not case.needs():
        pytest.skip("this machine cannot make the case, or does not see it")
    return case.create(folder / "corpus")


@pytest.mark.parametrize("case", cases("used"))
def test_sound_files_are_used_with_the_right_colours_the_right_way_up(case, tmp_path, capfd):
    path = created(case, tmp_path)

    pixels = load_image(path)

    assert pixels.dtype == np.uint8 and pixels.flags.c_contiguous and pixels.flags.writeable
    height, width, _ = pixels.shape
    if case.expect == QUARTERS and case.title != "icon":
        assert (width, height) == (WIDTH, HEIGHT)
    assert image_size(path) == (width, height)
    across, down = (
        [slice(0, max(width // 2 - 2, 1)), slice(width // 2 + 2, None)],
        [
            slice(0, max(height // 2 - 2, 1)),
            slice(height // 2 + 2, None),
        ],
    )
    if width < 6 or height < 6:
        across, down = [slice(None)] * 2, [slice(None)] * 2
    for colour, (rows, columns) in zip(case.expect, [(r, c) for r in down for c in across], strict=True):
        off = np.abs(pixels[rows, columns].astype(int) - colour)
        assert off.max() <= case.tolerance, (
            f"expected {colour}, got {pixels[rows, columns].mean(axis=(0, 1))}"
        )
    verify_image(path)
    assert list(get_image_files(tmp_path / "corpus")) == [path] or case.name.endswith(".dat.png")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("case", cases("refused"))
def test_unsound_files_are_refused_by_name(case, tmp_path, capfd):
    path = created(case, tmp_path)

    for attempt in (load_image, verify_image):
        with pytest.raises((DataError, MissingFileError)) as caught:
            attempt(path)

        message = str(caught.value)
        assert shown(path) in message
        assert re.search(case.says, message, re.DOTALL), message
        assert (
            path.stat().st_size == 0
            or not os.access(path, os.R_OK)
            or f"{path.stat().st_size:,} bytes" in message
        )
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("case", cases("refused"))
def test_bytes_are_refused_like_the_file(case, tmp_path):
    path = created(case, tmp_path)
    if not os.access(path, os.R_OK) or not path.stat().st_size:
        pytest.skip("no bytes to give")

    with pytest.raises(DataError, match=f"an image of {path.stat().st_size:,} bytes"):
        load_image(path.read_bytes())


@pytest.mark.parametrize("case", cases("skipped"))
def test_what_is_no_file_or_is_hidden_is_passed_over_when_listing(case, tmp_path):
    path = created(case, tmp_path)

    assert path not in get_image_files(tmp_path / "corpus")

    if case.says:
        with pytest.raises((DataError, MissingFileError), match=case.says) as caught:
            load_image(path)
        assert shown(path) in str(caught.value)
        if "folder" not in case.says:
            assert path in [found for found, _ in find_files(tmp_path / "corpus", ".jpg").left_out]


def test_a_folder_of_everything_is_sorted_into_used_and_refused_without_a_trace(tmp_path):
    made = make_corpus(tmp_path / "corpus")
    handles = open_handles()
    settings = (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES, list(warnings.filters))

    bad = find_bad_images(get_image_files(tmp_path / "corpus"), n_workers=4)

    assert {path for path, _ in bad} == {path for path, case in made.items() if case.outcome == "refused"}
    assert all(shown(path) in why for path, why in bad)
    assert settings == (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES, list(warnings.filters))
    assert open_handles() == handles


def test_the_corpus_is_as_large_as_promised():
    assert len(CASES) >= 130
    assert len({case.name for case in CASES}) == len(CASES)
