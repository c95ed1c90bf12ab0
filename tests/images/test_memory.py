"""What opening an image costs is known beforehand, and the limit holds."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from corpus.base import HEIGHT, WIDTH, encode, exif, photo, picture
from PIL import Image

from plainlearn.core.errors import DataError
from plainlearn.images.load import image_size, load_image


def test_the_limit_can_be_raised_and_lowered():
    data = encode(Image.new("L", (3000, 2000)), "PNG")

    with pytest.raises(
        DataError, match=r"3,000×2,000 pixels would take .* MiB to open; the limit is 10 MiB"
    ) as caught:
        load_image(data, max_memory=10 << 20)
    enough = int(str(caught.value).split("max_memory=")[1].split()[0])

    assert load_image(data, max_memory=enough).shape == (2000, 3000, 3)


def test_pillows_own_limit_neither_warns_nor_refuses_where_it_can_be_passed_by(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)

    for form in ("JPEG", "PNG", "BMP", "PPM"):
        assert image_size(encode(picture(), form)) == (WIDTH, HEIGHT)
        assert load_image(encode(picture(), form)).shape == (HEIGHT, WIDTH, 3)
    for form in ("GIF", "TIFF", "WEBP"):
        with pytest.raises(DataError, match=f"MAX_IMAGE_PIXELS, 100, which rules over {form}"):
            load_image(encode(picture(), form))


MEASURE = """
import sys
from plainlearn.images import decode
from plainlearn.images import load as image
from plainlearn.images.load import load_image
path, tiny = sys.argv[1:]
load_image(tiny)  # plugins and tables are loaded once
predicted = []
for module in (decode, image):
    check = module.check_memory
    def noting(size, cost, file_bytes, limit, check=check):
        try:
            check(size, cost, file_bytes, 0)
        except Exception as error:
            predicted.append(int(str(error).split("would take ")[1].split(" MiB")[0].replace(",", "")))
    module.check_memory = noting
def peak():
    return int(open("/proc/self/status").read().split("VmHWM:")[1].split()[0]) / 1024
open("/proc/self/clear_refs", "w").write("5")
before = peak()
load_image(path)
print(peak() - before, max(predicted))
"""


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="Linux tells the peak of a process")
@pytest.mark.parametrize(
    ("form", "options"),
    [
        ("PNG", {"compress_level": 1}),
        ("JPEG", {"progressive": True, "subsampling": 0}),
        ("JPEG", {"exif": exif(6)}),
        ("WEBP", {"method": 0}),
        ("TIFF", {"compression": "tiff_adobe_deflate"}),
    ],
)
def test_opening_takes_no_more_memory_than_was_foretold(form, options, tmp_path):
    for name, im in {"large": photo(4000, 2400), "tiny": picture()}.items():
        (tmp_path / name).write_bytes(encode(im, form, **options))

    words = [sys.executable, "-c", MEASURE, tmp_path / "large", tmp_path / "tiny"]
    used, foretold = subprocess.run(words, capture_output=True, text=True, check=True).stdout.split()

    assert 20 < float(used) <= float(foretold) + 4  # MiB; 4 for what allocators round up
